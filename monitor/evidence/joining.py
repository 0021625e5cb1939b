"""The log's and the mailbox's word of one message, joined so that it counts once.

By Message-ID where both have it; else by the queue id, which the host wrote into its log and into the
message's ``Received`` field (RFC 5321 section 4.4). A log may name another recipient than the mailbox: an
alias, or none.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from monitor.evidence.mail import Taken

NEAR = 120_000  # ms: hosts use short queue ids again


class Joins:
    """Places of messages by the queue id under which a side took them; which of them were joined to a
    mailbox under another recipient's name, and what the log had said of those."""

    def __init__(self) -> None:
        self.accounts: frozenset[str] = frozenset()  # lower case: who has a mailbox of their own
        self._queued: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
        self._aliased: dict[tuple[str, int], Taken] = {}

    def __copy__(self) -> Joins:
        """Nothing that is entered into the one is in the other."""
        new = Joins()
        new.accounts = self.accounts
        new._queued.update((key, list(places)) for key, places in self._queued.items())
        new._aliased.update(self._aliased)
        return new

    def enter(self, side: str, place: int, taken: Taken) -> None:
        if taken.queue_id is not None and taken.disposition != "rejected":
            self._queued[side, taken.queue_id].append(place)

    def place(self, side: str, kept: Sequence[Taken], taken: Taken) -> int | None:
        """Of the message that the other source has told of already under the same queue id."""
        if taken.queue_id is None or taken.disposition == "rejected":
            return None
        under = [kept[p] for p in self._queued[side, taken.queue_id]]
        those = [p for p in self._queued[side, taken.queue_id] if _one(kept[p], taken)]
        same = next((p for p in those if _whose(kept[p]) == _whose(taken)), None)
        if same is not None:
            return same
        logged = {_whose(one) for one in (*under, taken) if one.source == "log"}
        return next((p for p in those if self._an_alias(kept[p], taken, logged)), None)

    def _an_alias(self, one: Taken, other: Taken, logged: set[str]) -> bool:
        """Whether the log's recipient has no mailbox of its own, and the log does not name this mailbox's."""
        return _whose(_log(one, other)) not in self.accounts and _whose(_box(one, other)) not in logged

    def joined(self, side: str, place: int, known: Taken, other: Taken) -> Taken:
        """Both words as one: whose mailbox it is in, and what the log knows of how it came."""
        log, box = _log(known, other), _box(known, other)
        if _whose(log) != _whose(box):
            self._aliased[side, place] = log
        return replace(
            log, recipient=box.recipient, message_id=log.message_id or box.message_id,
            digest=None if log.message_id else log.digest or box.digest, client=log.client or box.client,
            helo=log.helo or box.helo, origin=box.origin if log.origin == "unknown" else log.origin,
        )  # fmt: skip

    def parted(self, side: str, place: int, taken: Taken) -> Taken | None:
        """The other recipient's message, where the log tells only now of the mailbox's own: it was joined to
        the wrong one."""
        return self._aliased.pop((side, place), None) if taken.source == "log" else None


def _one(known: Taken, taken: Taken) -> bool:
    """Whether two sources speak of one message, as far as the message itself shows."""
    if known.source == taken.source or known.disposition != taken.disposition:
        return False
    if known.message_id and taken.message_id:
        return known.message_id == taken.message_id
    return abs(known.at - taken.at) <= NEAR


def _whose(taken: Taken) -> str:
    return taken.recipient.lower()


def _log(one: Taken, other: Taken) -> Taken:
    return one if one.source == "log" else other


def _box(one: Taken, other: Taken) -> Taken:
    return other if one.source == "log" else one
