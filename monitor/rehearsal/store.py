"""Mailboxes in memory: what SMTP delivers into and IMAP reads from."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from datetime import datetime

from msgspec import Struct

JUNK = "Junk"
# RFC 6154 section 2; names in the order in which LIST shows them.
FOLDERS: dict[str, str | None] = {"INBOX": None, "Sent": "\\Sent", JUNK: "\\Junk", "Trash": "\\Trash"}
FOLDER_LIMIT = 20_000


class Message(Struct, kw_only=True):
    """One message in a folder. ``flags`` change only by what a client does to them."""

    uid: int
    raw: bytes
    internal_date: datetime
    flags: set[str]


class Folder:
    """Messages in UID order; who waits for the next one is told. Nothing is ever expunged."""

    def __init__(self, name: str, special_use: str | None, uid_validity: int) -> None:
        self.name = name
        self.special_use = special_use
        self.uid_validity = uid_validity
        self.messages: list[Message] = []
        self._waiting: set[asyncio.Event] = set()

    @property
    def uid_next(self) -> int:
        return self.messages[-1].uid + 1 if self.messages else 1

    def append(self, raw: bytes, internal_date: datetime) -> Message:
        """Raises ``OverflowError`` when the folder is full."""
        if len(self.messages) >= FOLDER_LIMIT:
            raise OverflowError(f"{self.name} holds {FOLDER_LIMIT} messages")
        message = Message(uid=self.uid_next, raw=raw, internal_date=internal_date, flags=set())
        self.messages.append(message)
        for event in self._waiting:
            event.set()
        return message

    def subscribe(self, event: asyncio.Event) -> Callable[[], None]:
        """Have ``event`` set at every delivery, until the returned function is called."""
        self._waiting.add(event)
        return lambda: self._waiting.discard(event)


class Mailbox:
    """One account's folders on one host, and the name and password that open them."""

    def __init__(self, address: str, login: str, password: str, uid_validity: int) -> None:
        self.address = address
        self.login = login
        self.password = password
        self.folders = {
            name: Folder(name, use, uid_validity + number)
            for number, (name, use) in enumerate(FOLDERS.items())
        }

    def folder(self, name: str) -> Folder | None:
        """By name; INBOX in any case (RFC 3501 section 5.1)."""
        return self.folders.get("INBOX" if name.upper() == "INBOX" else name)


class Store:
    """All mailboxes of one host."""

    def __init__(self, mailboxes: list[Mailbox]) -> None:
        self._by_address = {m.address: m for m in mailboxes}
        self._by_login = {m.login: m for m in mailboxes}

    def __iter__(self) -> Iterator[Mailbox]:
        return iter(self._by_address.values())

    def of(self, address: str) -> Mailbox | None:
        return self._by_address.get(address.lower())

    def login(self, name: str, password: str) -> Mailbox | None:
        """The mailbox that this name and password open."""
        mailbox = self._by_login.get(name)
        return mailbox if mailbox is not None and mailbox.password == password else None
