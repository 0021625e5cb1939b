"""Caches with the habits that were found in the wild; each is asked in order of time. Seconds of world time.

Sources: the defaults of BIND, Unbound, Knot Resolver, PowerDNS Recursor and dnsmasq; RFC 8767 (serve-stale);
PAM 2023, LNCS 13882:550-563 (one resolver in eleven extends TTLs).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf
from random import Random
from typing import Literal, NamedTuple

from tests.worlds.zone import Authority, Leads, Version

Word = Literal[
    "plain", "cap", "minimum", "prefetch", "constant", "forwarder", "stretch", "stale", "quiet-stale"
]  # fmt: skip
BEHAVED: frozenset[Word] = frozenset({"plain", "cap", "prefetch", "constant", "forwarder"})
STALE_TTL = 30  # RFC 8767 section 4
STALE_FOR = 86400.0  # BIND's and Unbound's window
CAP, MINIMUM = 3600, 3600


class Answer(NamedTuple):
    """``leads`` None: SERVFAIL."""

    leads: Leads | None
    ttl: int
    stale: bool = False


class Span(NamedTuple):
    """Old data was there to be handed out."""

    begin: float
    end: float


NEVER = Span(inf, inf)


@dataclass(slots=True)
class Cache:
    """One cache. ``busy``: mean seconds between other people's questions (``inf``: nobody else asks).

    ``cut``: while it cannot reach any authority; ``longer``: how much a stretching one keeps beyond its word.
    From ``moves_at`` on it goes by another delegation, to ``later``. Up to ``calm`` no record matters but the
    last. ``held``: every span for which it had old data to hand out.
    """

    chance: Random
    servers: Sequence[Authority]
    habit: Word = "plain"
    busy: float = inf
    name: str | None = None
    upstream: Cache | None = None
    cut: Span = NEVER
    longer: float = 0.0
    later: Sequence[Authority] = ()
    moves_at: float = inf
    held: list[Span] = field(default_factory=list)
    calm: float = -inf
    _has: Version | None = None
    _expires: float = -inf
    _shown: int = 0

    @property
    def behaved(self) -> bool:
        return self.habit in BEHAVED

    def ask(self, t: float) -> Answer:
        """What it answers at ``t``; none earlier than the question before."""
        self._catch_up(t)
        if self._has is None or self._end() <= t:
            if self._cut(t):
                return Answer(None, 0)
            self._fetch(t)
        assert self._has is not None
        left = self._expires - t
        if left <= 0:
            return Answer(self._has.leads, STALE_TTL, self.habit == "stale")
        return Answer(self._has.leads, self._shown if self.habit == "constant" else max(0, int(left)))

    def _catch_up(self, t: float) -> None:
        """What other people's questions made it do since."""
        if self.busy == inf:
            return
        if self._has is None:
            first = self.servers[0].at(t - 3600).ttl + self.busy
            self._fetch(t - self.chance.uniform(0, first))
        for _ in range(400):
            begin = self._end()
            if self.habit == "prefetch":
                begin -= min(self._shown * 0.1, 300)
            at = begin + self.chance.expovariate(1 / self.busy)
            often = self._shown + self.busy
            if t - at > 3 * often and (t <= self.calm or not self._old):
                at = t - self.chance.uniform(0, often)
            if at > t or self._cut(at):
                return
            self._fetch(at)

    @property
    def _old(self) -> bool:
        return self._has is not None and self._has.leads != "new"

    def _cut(self, t: float) -> bool:
        return self.cut.begin <= t < self.cut.end

    def _end(self) -> float:
        """Until when what it has is handed out."""
        if self.habit == "stretch":
            return self._expires + self.longer
        if self.habit in ("stale", "quiet-stale") and self._cut(self._expires):
            return min(self.cut.end, self._expires + STALE_FOR)
        return self._expires

    def _fetch(self, t: float) -> None:
        if self._old and self.held and self.held[-1].end > t:
            self.held[-1] = self.held[-1]._replace(end=t)
        self._has = version = self._from(t)
        ttl = version.ttl
        if self.habit == "cap":
            ttl = min(ttl, CAP)
        elif self.habit == "minimum":
            ttl = max(ttl, MINIMUM)
        self._shown, self._expires = ttl, t + ttl
        if version.leads != "new":
            self.held.append(Span(t, self._end()))

    def _from(self, t: float) -> Version:
        if self.upstream is not None:
            answer = self.upstream.ask(t)
            if answer.leads is not None:
                return Version(t, answer.leads, answer.ttl)
        servers = self.servers if t < self.moves_at else self.later
        there = [server for server in servers if t < server.dark_from]
        return self.chance.choice(there or self.later or servers).at(t)

    def old_at(self, t: float) -> bool:
        """Whether it had old data to hand out at ``t``, or was to have it; asked when all is over."""
        return any(span.begin <= t < span.end for span in self.held)
