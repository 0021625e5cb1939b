"""What really happened in a rehearsal, for tests to hold the watch against."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

from msgspec import Struct

Kind = Literal["outside", "submission", "canary"]


class Sent(Struct, frozen=True, kw_only=True):
    """A message that a host said 250 to."""

    message_id: str
    sender: str
    recipient: str
    host: str
    at: datetime


class Landed(Struct, frozen=True, kw_only=True):
    message_id: str
    side: str
    account: str
    folder: str
    at: datetime


class Refused(Struct, frozen=True, kw_only=True):
    """A message that no host took in the end; ``reply`` is what was last said about it."""

    message_id: str
    recipient: str
    reply: str
    at: datetime


class Truth:
    """The world's own record. Canaries are in ``landed`` too; only the world's senders are in ``sent``."""

    def __init__(self) -> None:
        self.sent: list[Sent] = []
        self.landed: list[Landed] = []
        self.refused: list[Refused] = []

    def landed_on(self, side: str) -> set[str]:
        """Message-IDs that lie in some mailbox of that side."""
        return {entry.message_id for entry in self.landed if entry.side == side}

    def missing(self) -> set[str]:
        """Accepted messages that lie in no mailbox at all."""
        return {s.message_id for s in self.sent} - {entry.message_id for entry in self.landed}


def moment() -> datetime:
    return datetime.now(UTC)
