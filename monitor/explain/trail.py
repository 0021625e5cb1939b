"""The observations that a question may come back to, kept as they were read. Bounded for each subject."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import TypeAlias

from monitor.evidence.mail import Taken
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
    Skip,
)

LATEST = 8  # answers of one server, cache or mailbox
TURNS = 8  # times at which one server changed its answer
Answer: TypeAlias = "AuthorityAnswer | ResolverAnswer"


class Turns:
    """One server's answers to one question: the latest, and the last and first around each change."""

    def __init__(self) -> None:
        self.latest: deque[Answer] = deque(maxlen=LATEST)
        self.turns: deque[tuple[Answer, Answer]] = deque(maxlen=TURNS)

    def add(self, seen: Answer) -> None:
        before = self.latest[-1] if self.latest else None
        if before is not None and _said(before) != _said(seen):
            self.turns.append((before, seen))
        self.latest.append(seen)


def _said(seen: Answer) -> tuple[object, ...]:
    return seen.outcome, tuple(sorted(seen.rrset)) if seen.outcome in ("answer", "bogus") else ()


class Trail:
    """Takes observations in order of time. Mail is kept whole: any message may be asked about."""

    def __init__(self) -> None:
        self.plan: Plan | None = None
        self.authorities: dict[tuple[str, str, str], Turns] = {}  # address, name, type
        self.resolvers: dict[tuple[str, str, str], Turns] = {}
        self.canaries: dict[str, list[CanarySent | CanaryLanded]] = {}
        self.mail: dict[tuple[str, str, str], Mail] = {}  # side, recipient, what it is known by
        self.accounts: dict[tuple[str, str], AccountState] = {}
        self.skips: dict[str, Skip] = {}
        self.coverage: dict[str, Coverage] = {}
        self.operator: deque[Operator] = deque(maxlen=50)

    def add(self, seen: Observation) -> None:
        match seen:
            case AuthorityAnswer():
                key = (canonical(seen.address), host_name(seen.name), seen.type)
                self.authorities.setdefault(key, Turns()).add(seen)
            case ResolverAnswer():
                self.resolvers.setdefault((seen.resolver, host_name(seen.name), seen.type), Turns()).add(seen)
            case CanarySent() | CanaryLanded():
                self.canaries.setdefault(seen.canary, []).append(seen)
            case Mail():
                for name in _names(seen):
                    self.mail.setdefault((seen.side, seen.recipient.lower(), name), seen)
            case AccountState():
                self.accounts[seen.side, seen.account] = seen
            case Skip():
                self.skips[seen.subject] = seen
            case Coverage():
                self.coverage[seen.source] = seen
            case Operator():
                self.operator.append(seen)
            case Plan():
                self.plan = seen
            case _:
                pass

    def of(self, side: str, taken: Iterable[Taken]) -> list[Mail]:
        """The observations that told of these messages, in their order."""
        found = (self._one(side, t) for t in taken)
        return [seen for seen in found if seen is not None]

    def _one(self, side: str, t: Taken) -> Mail | None:
        for name in (t.message_id, t.digest, t.queue_id, t.client):
            seen = self.mail.get((side, t.recipient.lower(), name)) if name else None
            if seen is not None:
                return seen
        return None


def _names(seen: Mail) -> set[str]:
    """What a message is known by; one without any name by who brought it."""
    names = {name for name in (seen.message_id, seen.digest, seen.queue_id) if name}
    return names or ({seen.client} if seen.client else set())
