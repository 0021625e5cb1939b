"""The observations that a judgement rests on, kept by subject while a record is read: the last of each."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

from monitor.evidence.dns import Dns
from monitor.evidence.names import canonical
from monitor.verdict.answers import host_name
from probes.observation import (
    AccountState,
    AuthorityAnswer,
    CanaryLanded,
    CanarySent,
    Coverage,
    Mail,
    Observation,
    Operator,
    Plan,
    ResolverAnswer,
)

KEPT = 4  # of one subject
ROUTE = 12  # canaries of one route
MOST = 4096  # subjects
Key = tuple[str, str]


class Trail:
    """Feed in order of time with :meth:`add`; times and texts are the observations' own."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._kept: dict[Key, deque[Observation]] = {}
        self._ends: dict[str, list[Observation]] = {}  # of canaries

    def add(self, seen: Observation) -> None:
        match seen:
            case Plan():
                self.plan = seen
                self._keep(("plan", ""), seen, 1)
            case AuthorityAnswer():
                self._answer("authority", canonical(seen.address), seen)
            case ResolverAnswer():
                self._answer("resolver", seen.resolver, seen)
            case CanarySent() | CanaryLanded():
                self._canary(seen)
            case Mail():
                self._mail(seen)
            case Coverage():
                self._keep(("coverage", seen.source), seen, 1)
            case AccountState():
                self._keep((f"account:{seen.side}", seen.account), seen, 1)
            case Operator() if seen.action != "note":
                self._keep(("operator", seen.subject or seen.action), seen, 1)
            case _:
                pass

    def of(self, kind: str, subjects: Iterable[str]) -> Iterator[Observation]:
        """What is kept of these subjects, oldest first of each."""
        for subject in subjects:
            yield from self._kept.get((kind, subject), ())

    def all_of(self, kind: str) -> Iterator[Observation]:
        for (what, _), kept in self._kept.items():
            if what == kind:
                yield from kept

    def canaries(self, route: str) -> Iterator[Observation]:
        """The last of a route, each with its ends."""
        for sent in self._kept.get(("canary", route), ()):
            yield from self._ends.get(getattr(sent, "canary", ""), ())

    def _answer(self, kind: str, subject: str, seen: AuthorityAnswer | ResolverAnswer) -> None:
        """The last answer for the MX and those that were other than the one before; of hosts, the last."""
        name = host_name(seen.name)
        if seen.type != "MX" or name != host_name(self.plan.domain):
            if seen.type in ("A", "AAAA", "NS"):
                self._keep((f"{kind}.{seen.type}", f"{subject} {name}"), seen, 1)
            return
        kept = self._kept.get((kind, subject))
        last = kept[-1] if kept else None
        if isinstance(last, type(seen)) and (last.outcome, last.rrset) == (seen.outcome, seen.rrset):
            assert kept is not None
            kept[-1] = seen
        else:
            self._keep((kind, subject), seen, KEPT)

    def _canary(self, seen: CanarySent | CanaryLanded) -> None:
        if isinstance(seen, CanarySent):
            kept = self._kept.get(("canary", seen.route))
            if kept is not None and len(kept) == ROUTE:
                self._ends.pop(getattr(kept[0], "canary", ""), None)
            self._keep(("canary", seen.route), seen, ROUTE)
            self._ends.setdefault(seen.canary, [])
        ends = self._ends.get(seen.canary)
        if ends is not None and len(ends) < KEPT:
            ends.append(seen)

    def _mail(self, seen: Mail) -> None:
        if seen.origin == "canary":
            return
        self._keep((f"mail:{seen.side}", ""), seen, 5 * KEPT)
        for name in (seen.message_id, seen.queue_id, seen.digest) if seen.side == "old" else ():
            if name:
                self._keep(("message", name), seen, 1)
        if seen.disposition == "rejected" and seen.side == "new":
            self._keep(("refused", seen.recipient.lower()), seen, 1)

    def _keep(self, key: Key, seen: Observation, most: int) -> None:
        if key not in self._kept and len(self._kept) >= MOST:
            del self._kept[next(iter(self._kept))]
        kept = self._kept.setdefault(key, deque(maxlen=most))
        kept.append(seen)


def old_enders(dns: Dns) -> list[str]:
    """Authorities, by when caches may last have fetched old data from them: the latest first."""
    ends = {
        address: max((run.ended or 0) + run.ttl_ms for runs in known.runs.values() for run in runs)
        for address, known in dns.authorities.items() if any(known.runs.values())
    }  # fmt: skip
    return sorted(ends, key=lambda address: -ends[address])
