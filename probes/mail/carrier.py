"""One blocking IMAP session that reads whole messages, adds one to a folder, or takes named ones away.

Reading changes nothing: EXAMINE and BODY.PEEK, as everywhere else. What adds and takes away (APPEND, RFC 3501
section 6.3.11; UID EXPUNGE, RFC 4315) is called by ``rescue`` and ``cleanup`` alone.
"""

from __future__ import annotations

import imaplib
import re
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, Protocol

from msgspec import Struct

from probes.mail.header import Field, every, fields
from probes.mail.imap import (
    BATCH,
    MOST_FOLDERS,
    MOST_HEADER,
    Gone,
    Refused,
    Session,
    State,
    _ending,
    _said,
    _shown,
    _text,
    junk_folder,
)
from probes.mail.received import parse
from probes.mail.trace import digest, message_id

MOST_MESSAGE = 128 * 1024 * 1024
PIECE = 1024 * 1024  # bytes of a message that one command asks for: each has its own deadline
SLOWEST = 20_000  # bytes a second that an upload is given time for
MOST_LISTED = 50_000  # messages of one folder
MOST_HOPS = 50
MOST_FLAGS = 100
_ORDER = {"\\inbox": 0, "\\junk": 1}
_USES = ("\\trash", "\\archive", "\\sent", "\\drafts", "\\all", "\\flagged")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_FLAG = re.compile(r"\\?[!#$&'+,\-./0-9:;<=>?@A-Z\[^_`a-z|}~]{1,200}")  # RFC 3501 section 9: an atom
_APPENDUID = re.compile(rb"\[APPENDUID (\d{1,10}) (\d{1,10})\]", re.IGNORECASE)
_ITEMS = ("INTERNALDATE", "FLAGS", f"BODY.PEEK[HEADER]<0.{MOST_HEADER}>")


class Folder(Struct, frozen=True, kw_only=True):
    """``use``: its special use in lower case (RFC 6154), ``\\inbox`` for INBOX, "" where it has none.
    ``path``: its name by levels, without the INBOX below which some servers keep all folders (RFC 2342)."""

    name: str
    use: str = ""
    path: tuple[str, ...] = ()


class Entry(Struct, frozen=True, kw_only=True):
    """One message as a listing shows it. ``key`` names it within its folder; ``date`` is its INTERNALDATE in
    the server's own zone; ``flags`` are without ``\\Recent``, which nobody can set."""

    key: int
    date: datetime | None
    flags: tuple[str, ...]
    header: tuple[Field, ...]

    @property
    def name(self) -> str:
        """Message-ID, else the header's digest; "" where there is neither."""
        return message_id(self.header) or digest(self.header) or ""

    @property
    def identities(self) -> frozenset[str]:
        """By what an observation may name it: its name, and the queue ids that its hops wrote."""
        hops = (parse(value).queue_id for value in every(self.header, "received")[:MOST_HOPS])
        return frozenset(filter(None, (self.name, *hops)))


class Source(Protocol):
    """Whence messages are copied: a blocking session, never changed by it. Raises :class:`Gone`."""

    def folders(self) -> Sequence[Folder]: ...

    def entries(self, folder: str, since: datetime) -> Iterator[Entry]:
        """Those that came into the folder at ``since`` or later; a day's more is no harm."""
        ...

    def whole(self, folder: str, entry: Entry) -> bytes | None:
        """The message as it stands, or None where it is gone. Raises :class:`Refused` for one too long."""
        ...

    def close(self) -> None: ...

    def free(self) -> None: ...


class Carrier(Session):
    """An opened :class:`Session` that can do more; ``round_trip`` bounds each of its commands."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._open_folder: str | None = None

    def folders(self) -> list[Folder]:
        """INBOX first, then junk, then what else can be opened, in the server's order."""
        with _ending():
            self._wire.begin(self._round_trip)
            return self._folders(self._known.list_folders()[:MOST_FOLDERS])

    def _folders(self, listed: Sequence[tuple[Any, Any, Any]]) -> list[Folder]:
        junk = junk_folder(listed)
        found = [Folder(name="INBOX", use="\\inbox")]
        for flags, delimiter, raw in listed:
            words = {_text(f).lower() for f in flags or ()}
            if not isinstance(raw, bytes) or not raw.isascii() or words & {"\\noselect", "\\nonexistent"}:
                continue
            self._raw[name := _shown(raw)] = raw
            if name.upper() != "INBOX":
                use = "\\junk" if raw == junk else next((u for u in _USES if u in words), "")
                path = name.split(_text(delimiter)) if delimiter else [name]
                path = path[1:] if len(path) > 1 and path[0].upper() == "INBOX" else path
                found.append(Folder(name=name, use=use, path=tuple(path)))
        return sorted(found, key=lambda f: _ORDER.get(f.use, 2))

    # -- reading --------------------------------------------------------------------------------------

    def entries(self, folder: str, since: datetime) -> Iterator[Entry]:
        self.look_at(folder)
        # SEARCH SINCE goes by the day in the server's zone: a day earlier covers any.
        uids = self.uids_since((since - timedelta(days=1)).date())[-MOST_LISTED:]
        for start in range(0, len(uids), BATCH):
            yield from self.listed(folder, uids[start : start + BATCH])

    def listed(self, folder: str, uids: Sequence[int]) -> list[Entry]:
        """At most ``BATCH`` of them."""
        self._examine_once(folder)
        with _ending():
            self._wire.begin(2 * self._round_trip)
            found = self._known.fetch(list(uids[:BATCH]), _ITEMS) if uids else {}
            return [_entry(uid, found[uid]) for uid in uids if uid in found]

    def look_at(self, folder: str) -> State:
        """EXAMINE it anew: what came since the last time is seen. Raises :class:`Refused` where it cannot be
        opened."""
        self._open_folder = None
        with _ending():
            self._wire.begin(self._round_trip)
            try:
                found = self._known.select_folder(self._raw.get(folder, folder), readonly=True)
            except imaplib.IMAP4.abort:
                raise
            except imaplib.IMAP4.error as error:
                raise Refused(_said(error)) from None
            following = found.get(b"UIDNEXT")
            if following is None:
                following = max(self._known.search(["UID", "1:*"]), default=0) + 1
            state = State(int(found.get(b"UIDVALIDITY", 0)), int(following))
        self._open_folder = folder
        return state

    def _examine_once(self, folder: str) -> None:
        if self._open_folder != folder:
            self.look_at(folder)

    def whole(self, folder: str, entry: Entry) -> bytes | None:
        self._examine_once(folder)
        raw = bytearray()
        with _ending():
            self._wire.most_literal = PIECE
            while True:
                self._wire.begin(2 * self._round_trip)
                item = f"BODY.PEEK[]<{len(raw)}.{PIECE}>"
                found = self._known.fetch([entry.key], (item,)).get(entry.key)
                if found is None:
                    return None
                raw += (piece := _body(found))
                if len(piece) < PIECE:
                    return bytes(raw)
                if len(raw) > MOST_MESSAGE:
                    break
        raise Refused(f"the message is longer than {MOST_MESSAGE // 1024**2} MiB")

    # -- changing -------------------------------------------------------------------------------------

    def add(self, folder: str, raw: bytes, flags: Sequence[str], date: datetime) -> int | None:
        """APPEND it as it is; its UID where the server tells (APPENDUID, RFC 4315 section 3).

        Raises :class:`Refused` where the server does not take it. imaplib's own APPEND would rewrite line
        ends.
        """
        wire = self._wire
        self._leave()
        name = self._known._normalise_folder(self._raw.get(folder, folder))
        with _ending():
            wire.begin(2 * self._round_trip + len(raw) / SLOWEST)
            wire.literal = raw  # type: ignore[assignment]  # bytes, as imaplib's own append gives it
            try:
                kind, data = wire._simple_command(
                    "APPEND", name, f"({' '.join(flags)})", f'"{internal(date)}"'
                )
            except imaplib.IMAP4.abort:
                raise
            except imaplib.IMAP4.error as error:
                raise Refused(_said(error)) from None
        said = b" ".join(x for x in data if isinstance(x, bytes))
        if kind != "OK":
            raise Refused(said.decode("utf-8", "replace"))
        found = _APPENDUID.search(said)
        return int(found[2]) if found else None

    def _leave(self) -> None:
        """Courier takes nothing into a folder that it shows read-only just now. CLOSE removes nothing there
        (RFC 3501 section 6.4.2); elsewhere it would."""
        self._open_folder = None
        with _ending():
            if self._wire.state == "SELECTED" and self._wire.is_readonly:
                self._wire.begin(self._round_trip)
                self._known.close_folder()

    def having(self, folder: str, field: str, part: str) -> list[int]:
        """The UIDs of the messages whose header field holds ``part`` (RFC 3501 section 6.4.4)."""
        self.look_at(folder)
        with _ending():
            self._wire.begin(self._round_trip)
            return sorted(set(self._known.search(["HEADER", field, part])))

    def take_away(self, folder: str, uid_validity: int, uids: Sequence[int]) -> None:
        """Delete these messages and no others, for good (UID EXPUNGE, RFC 4315 section 2.1).

        Raises :class:`Refused` where the server cannot do that, does not do it, or the folder is another one
        by now.
        """
        self._open_folder = None
        with _ending():
            self._wire.begin(3 * self._round_trip)
            if not self._known.has_capability("UIDPLUS"):
                raise Refused("the server has no UIDPLUS: it cannot take away single messages")
            try:
                found = self._known.select_folder(self._raw.get(folder, folder))
                if int(found.get(b"UIDVALIDITY", 0)) != uid_validity:
                    raise Refused("the folder is another one by now (UIDVALIDITY)")
                self._known.add_flags(list(uids), ["\\Deleted"], silent=True)
                self._known.uid_expunge(list(uids))
            except imaplib.IMAP4.abort:
                raise
            except imaplib.IMAP4.error as error:
                raise Refused(_said(error)) from None


def internal(date: datetime) -> str:
    """A date-time of RFC 3501 section 9, in the zone that it has: ``01-Nov-2026 09:00:00 +0900``."""
    return f"{date:%d}-{_MONTHS[date.month - 1]}-{date.year:04d} {date:%H:%M:%S %z}"


def plain_flags(flags: Any) -> tuple[str, ...]:
    """Those that can be set (RFC 3501 section 2.3.2), in a stable order."""
    words = {_text(f) for f in flags or ()}
    return tuple(sorted(w for w in words if _FLAG.fullmatch(w) and w.lower() != "\\recent")[:MOST_FLAGS])


def _entry(uid: int, found: Any) -> Entry:
    date = found.get(b"INTERNALDATE")
    good = isinstance(date, datetime) and date.tzinfo is not None and 1970 <= date.year < 9000
    return Entry(
        key=uid, date=date if good else None, flags=plain_flags(found.get(b"FLAGS")),
        header=fields(_body(found)),
    )  # fmt: skip


def _body(found: Any) -> bytes:
    parts = (v for k, v in found.items() if isinstance(k, bytes) and k.startswith(b"BODY["))
    return next((p for p in parts if isinstance(p, bytes)), b"")


__all__ = ["Carrier", "Entry", "Folder", "Gone", "Refused", "Source", "internal", "plain_flags"]
