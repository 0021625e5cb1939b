"""One server's word on the question, and what came of asking each server again and again."""

from __future__ import annotations

from collections import deque
from datetime import datetime, timedelta

from msgspec import Struct

# RFC 8914 sections 4.4, 4.20: kept past its time; 4.5, 4.16 to 4.18: forged, blocked, censored, filtered.
STALE, FORGED = frozenset({3, 19}), frozenset({4, 15, 16, 17})
ANSWERED = ("answer", "nodata", "nxdomain")
SETTLED = 3  # answers in a row that must agree: behind one address there may be many caches
MOST_RUNS, MOST_CACHES = 32, 256

# What an answer says: its outcome, its RRset, and the name in whose stead it is to be asked, if any.
Key = tuple[str, tuple[str, ...], str]


class Said(Struct, frozen=True, kw_only=True):
    """What one address answered at ``at``.

    ``outcome``: a ``DnsOutcome``, or ``alias`` (an authority sends on to another zone's name, ``alias``),
    or ``blocked`` (the resolver says itself that it does not give the true answer). ``ttl`` in seconds,
    what remains of it at a resolver; of a negative answer the negative TTL. ``cache``: NSID. ``dnssec``:
    what a validator makes of an authority's answer (``probes.dns.dnssec``).
    """

    at: datetime
    address: str
    outcome: str
    transport: str
    rrset: tuple[str, ...] = ()
    alias: str = ""
    ttl: int = 0
    serial: int | None = None
    negative_ttl: int | None = None
    cache: str | None = None
    ede: tuple[int, ...] = ()
    rtt_ms: float | None = None
    dnssec: str | None = None

    @property
    def heard(self) -> bool:
        """Whether it says anything about the records: silence, refusal and blocking do not."""
        return self.outcome in ANSWERED or self.outcome == "alias"

    @property
    def key(self) -> Key:
        return self.outcome, self.rrset, self.alias if self.outcome == "alias" else ""

    @property
    def expires(self) -> datetime:
        return self.at + timedelta(seconds=self.ttl)

    @property
    def stale(self) -> bool:
        return bool(STALE & set(self.ede))


class Run(Struct, kw_only=True):
    """The same answer from the same cache, time after time: first and last sight, the greatest TTL,
    and the expiry that its first sight announced."""

    first: datetime
    last: Said
    ttl: int
    announced: datetime

    @property
    def key(self) -> Key:
        return self.last.key


class Change(Struct, frozen=True):
    """Something else than before, at one address: ``before`` None where nothing had been heard."""

    before: Said | None
    after: Said


class Track:
    """Everything one address has said. ``runs``: by cache, in order of time."""

    def __init__(self) -> None:
        self.last: Said | None = None
        self.asked = self.failures = 0
        self.recent: deque[Key] = deque(maxlen=SETTLED)
        self.runs: dict[str | None, list[Run]] = {}

    def note(self, said: Said) -> Change | None:
        before, self.last = self.last, said
        self.asked += 1
        if not said.heard:
            self.failures += 1
            gone = before is not None and before.outcome != said.outcome
            return Change(before, said) if gone else None
        self.failures = 0
        self.recent.append(said.key)
        return self._run(said, before)

    def _run(self, said: Said, before: Said | None) -> Change | None:
        """Into the runs of its cache. Those of one cache are told apart from those of another."""
        runs = self.runs.setdefault(said.cache, [])
        if runs and runs[-1].key == said.key:
            run = runs[-1]
            run.last, run.ttl = said, max(run.ttl, said.ttl)
            back = before is not None and not before.heard
            return Change(before, said) if back else None
        was = runs[-1].last if runs else None
        runs.append(Run(first=said.at, last=said, ttl=said.ttl, announced=said.expires))
        del runs[:-MOST_RUNS]
        if len(self.runs) > MOST_CACHES:
            del self.runs[next(iter(self.runs))]
        return Change(was, said)

    @property
    def words(self) -> list[Said]:
        """The latest of each cache."""
        return [runs[-1].last for runs in self.runs.values()]
