"""The shapes of a judgement. Words are not here: a finding has a ``code`` and the figures for its
sentence; ``monitor.wording`` turns both into English or Japanese."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from msgspec import Struct

State = Literal["met", "unmet", "unknown", "waived"]
VerdictWord = Literal["before", "propagating", "draining", "safe", "regressed", "blind", "alarm"]
RequirementName = Literal[
    "authority", "horizon", "resolvers", "canaries", "quiet", "stragglers", "arrivals"
]  # fmt: skip
REQUIREMENTS: tuple[RequirementName, ...] = (
    "authority", "horizon", "resolvers", "canaries", "quiet", "stragglers", "arrivals",
)  # fmt: skip


class Finding(Struct, frozen=True, kw_only=True):
    """The state of one requirement; ``args`` fill the sentence that ``code`` names in the catalogue.

    Times in ``args`` are aware datetimes, durations seconds, lists tuples of strings. ``eta``: when it
    may be met by waiting alone. ``waived``: subjects that a waiver took out of the judgement.
    """

    name: RequirementName
    state: State
    code: str
    args: dict[str, Any] = {}
    eta: datetime | None = None
    waived: tuple[str, ...] = ()


class LooseEnd(Struct, frozen=True, kw_only=True):
    """What switching off would still break; never blocks the verdict. Same code + args rule."""

    kind: Literal["use", "queue", "record", "sender", "unobserved"]
    subject: str
    code: str
    args: dict[str, Any] = {}
    last: datetime | None = None


SenderState = Literal["new", "old", "silent", "overdue"]


class SenderRow(Struct, frozen=True, kw_only=True):
    """One earlier correspondent. ``before``: its letters before the change, ``gap`` seconds apart on
    average; ``first_new``: first seen on new; ``last_old``: last seen on old since the change;
    ``expected``: when it is due again. ``state``: where it was heard last since the change; silent, or
    overdue."""

    who: str
    clients: tuple[str, ...]
    before: int
    gap: float
    last_before: datetime
    first_new: datetime | None
    last_old: datetime | None
    state: SenderState
    expected: datetime


class Judgement(Struct, frozen=True, kw_only=True):
    """One verdict at one instant. ``code``/``args`` word the verdict's own headline.

    Beside it, where it was asked for: ``loose_ends``, and ``senders``, the earlier correspondents, the most
    frequent first.
    """

    at: datetime
    verdict: VerdictWord
    findings: tuple[Finding, ...]
    code: str = ""
    args: dict[str, Any] = {}
    eta: datetime | None = None
    share_bound: float | None = None
    confidence: float = 0.95
    changed_at: datetime | None = None
    horizon: datetime | None = None
    loose_ends: tuple[LooseEnd, ...] = ()
    senders: tuple[SenderRow, ...] = ()
