"""A small IMAP4rev1 server (RFC 3501) over the store: LOGIN, LIST with SPECIAL-USE, EXAMINE, SELECT, STATUS,
SEARCH, FETCH and IDLE. It never expunges, so sequence numbers only grow."""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import fnmatch
import re
import ssl
from collections.abc import Awaitable, Callable
from typing import Any, Literal

from monitor.rehearsal.imapwords import (
    LINE_LIMIT,
    BadCommand,
    Token,
    numbers,
    read_command,
    search,
    section,
    tokens,
)
from monitor.rehearsal.loopback import HOST
from monitor.rehearsal.store import Folder, Mailbox, Message, Store

CONNECTIONS = 200
# RFC 3501 section 5.4: no autologout before 30 minutes.
IDLE_LIMIT = 1860.0
BASE = "IMAP4rev1 SASL-IR LITERAL+ ID IDLE NAMESPACE UNSELECT SPECIAL-USE"


class ImapServer:
    """``tls``: ``implicit``, or ``starttls`` (no login before it). ``allowed`` False refuses every login."""

    def __init__(
        self, name: str, store: Store, context: ssl.SSLContext, tls: Literal["implicit", "starttls"]
    ) -> None:
        self.name = name
        self.store = store
        self.context = context
        self.tls = tls
        self.allowed = True
        self._server: asyncio.Server | None = None
        self._sessions: set[asyncio.Task[None]] = set()

    async def start(self) -> int:
        context = self.context if self.tls == "implicit" else None
        self._server = await asyncio.start_server(self._serve, HOST, 0, ssl=context, limit=LINE_LIMIT)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        sessions = tuple(self._sessions)
        for task in sessions:
            task.cancel()
        await asyncio.gather(*sessions, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._sessions.add(task)
        try:
            if len(self._sessions) <= CONNECTIONS:
                with contextlib.suppress(OSError, asyncio.IncompleteReadError, TimeoutError):
                    await _Session(self, reader, writer).run()
        except asyncio.CancelledError:  # the server closes; the streams' own machinery must not see it
            pass
        finally:
            self._sessions.discard(task)
            writer.transport.abort()


class _Session:
    def __init__(
        self, server: ImapServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._server = server
        self._reader = reader
        self._writer = writer
        self._secure = server.tls == "implicit"
        self._mailbox: Mailbox | None = None
        self._folder: Folder | None = None
        self._read_only = True
        self._announced = 0

    async def run(self) -> None:
        self._say(f"* OK [CAPABILITY {self._capabilities()}] {self._server.name} ready")
        while not self._writer.is_closing():
            await self._writer.drain()
            try:
                async with asyncio.timeout(IDLE_LIMIT):
                    command = await read_command(self._reader, self._writer)
            except BadCommand as error:
                self._say(f"* BYE {error}")
                await self._writer.drain()
                return
            if command is None or not await self._command(command):
                await self._writer.drain()
                return

    async def _command(self, command: bytes) -> bool:
        """Carry one command out; False after LOGOUT."""
        tag = "*"
        try:
            words = tokens(command)
            if len(words) < 2 or not isinstance(words[0], str) or not isinstance(words[1], str):
                raise BadCommand("a tag and a command are needed")
            tag, name = words[0], words[1].upper()
            handler = self._handler(name)
            outcome = await handler(words[2:])
        except BadCommand as error:
            outcome = f"BAD {error}"
            name = ""
        if outcome:
            self._announce()
            self._say(f"{tag} {outcome}")
        if name == "STARTTLS" and outcome.startswith("OK"):
            await self._start_tls()
        return name != "LOGOUT"

    def _handler(self, name: str) -> Callable[[list[Token]], Awaitable[str]]:
        """By state: RFC 3501 section 3."""
        always = {"CAPABILITY": self._capability, "NOOP": self._noop, "LOGOUT": self._logout, "ID": self._id}
        before = {"LOGIN": self._login, "AUTHENTICATE": self._authenticate, "STARTTLS": self._offer_tls}
        after = {
            "LIST": self._list, "LSUB": self._list, "STATUS": self._status, "SELECT": self._select,
            "EXAMINE": self._examine, "NAMESPACE": self._namespace, "IDLE": self._idle,
        }  # fmt: skip
        selected = {
            "FETCH": self._fetch, "SEARCH": self._search, "UID": self._uid, "CHECK": self._noop,
            "CLOSE": self._unselect, "UNSELECT": self._unselect,
        }  # fmt: skip
        allowed = always | (before if self._mailbox is None else after)
        allowed |= selected if self._folder is not None else {}
        if name not in allowed:
            raise BadCommand("not now, or not known")
        return allowed[name]

    # -- any state ------------------------------------------------------------------------------------

    def _capabilities(self) -> str:
        if self._mailbox is not None:
            return BASE
        return f"{BASE} AUTH=PLAIN" if self._secure else f"{BASE} STARTTLS LOGINDISABLED"

    async def _capability(self, words: list[Token]) -> str:
        self._say(f"* CAPABILITY {self._capabilities()}")
        return "OK done"

    async def _noop(self, words: list[Token]) -> str:
        return "OK done"

    async def _id(self, words: list[Token]) -> str:
        self._say('* ID ("name" "mxcutover rehearsal")')  # RFC 2971
        return "OK done"

    async def _logout(self, words: list[Token]) -> str:
        self._say("* BYE goodbye")
        return "OK done"

    # -- before login ---------------------------------------------------------------------------------

    async def _offer_tls(self, words: list[Token]) -> str:
        return "BAD TLS is on already" if self._secure else "OK begin TLS now"

    async def _start_tls(self) -> None:
        """RFC 3501 section 6.2.1. Whatever came in clear text after the command is thrown away."""
        await self._writer.drain()
        buffer: bytearray = getattr(self._reader, "_buffer", bytearray())
        buffer.clear()
        await self._writer.start_tls(self._server.context, ssl_handshake_timeout=10)
        self._secure = True

    async def _login(self, words: list[Token]) -> str:
        if len(words) != 2:
            raise BadCommand("LOGIN takes a name and a password")
        return self._open(_string(words[0]), _string(words[1]))

    async def _authenticate(self, words: list[Token]) -> str:
        """PLAIN only (RFC 4616), with or without an initial response (RFC 4959)."""
        if not words or _string(words[0]).upper() != "PLAIN":
            return "NO this mechanism is not offered"
        if len(words) == 1:
            self._say("+ ")
            await self._writer.drain()
            line = (await self._reader.readline()).strip().decode("latin-1")
        else:
            line = _string(words[1])
        try:
            parts = base64.b64decode(line, validate=True).decode().split("\0")
        except (binascii.Error, UnicodeDecodeError):
            raise BadCommand("not base64 of UTF-8") from None
        return self._open(parts[1], parts[2]) if len(parts) == 3 else "BAD not a PLAIN response"

    def _open(self, login: str, password: str) -> str:
        if not self._secure:
            return "NO [PRIVACYREQUIRED] STARTTLS first"  # RFC 5530
        mailbox = self._server.store.login(login, password) if self._server.allowed else None
        if mailbox is None:
            return "NO [AUTHENTICATIONFAILED] name or password is wrong"
        self._mailbox = mailbox
        return f"OK [CAPABILITY {BASE}] logged in"

    # -- after login ----------------------------------------------------------------------------------

    async def _namespace(self, words: list[Token]) -> str:
        self._say('* NAMESPACE (("" "/")) NIL NIL')  # RFC 2342
        return "OK done"

    async def _list(self, words: list[Token]) -> str:
        """With the attributes of RFC 6154; ``(SPECIAL-USE)`` and ``RETURN`` are taken note of."""
        assert self._mailbox is not None
        only_special = bool(words) and isinstance(words[0], list)
        words = words[1:] if only_special else words
        if len(words) < 2:
            raise BadCommand("LIST takes a reference and a pattern")
        pattern = _string(words[0]) + _string(words[1])
        if not pattern:
            self._say('* LIST (\\Noselect) "/" ""')
            return "OK done"
        for folder in self._mailbox.folders.values():
            if _matches(folder.name, pattern) and (folder.special_use or not only_special):
                uses = f" {folder.special_use}" if folder.special_use else ""
                self._say(f'* LIST (\\HasNoChildren{uses}) "/" {folder.name}')
        return "OK done"

    def _named(self, words: list[Token]) -> Folder | None:
        assert self._mailbox is not None
        return self._mailbox.folder(_string(words[0])) if words else None

    async def _status(self, words: list[Token]) -> str:
        folder = self._named(words)
        if folder is None:
            return "NO [NONEXISTENT] no such folder"
        if len(words) != 2 or not isinstance(words[1], list):
            raise BadCommand("STATUS takes a folder and a list")
        unseen = sum("\\Seen" not in m.flags for m in folder.messages)
        figures = {
            "MESSAGES": len(folder.messages), "RECENT": 0, "UIDNEXT": folder.uid_next,
            "UIDVALIDITY": folder.uid_validity, "UNSEEN": unseen,
        }  # fmt: skip
        asked = [_string(word).upper() for word in words[1]]
        if not set(asked) <= set(figures):
            raise BadCommand("not a status item")
        self._say(f"* STATUS {folder.name} ({' '.join(f'{k} {figures[k]}' for k in asked)})")
        return "OK done"

    async def _select(self, words: list[Token]) -> str:
        return self._enter(words, read_only=False)

    async def _examine(self, words: list[Token]) -> str:
        return self._enter(words, read_only=True)

    def _enter(self, words: list[Token], read_only: bool) -> str:
        self._folder = None
        folder = self._named(words)
        if folder is None:
            return "NO [NONEXISTENT] no such folder"
        self._folder, self._read_only = folder, read_only
        self._announced = len(folder.messages)
        self._say(f"* {self._announced} EXISTS")
        self._say("* 0 RECENT")
        self._say("* FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft)")
        self._say("* OK [PERMANENTFLAGS ()] flags are kept by reading only")
        self._say(f"* OK [UIDVALIDITY {folder.uid_validity}] valid")
        self._say(f"* OK [UIDNEXT {folder.uid_next}] next")
        return "OK [READ-ONLY] examined" if read_only else "OK [READ-WRITE] selected"

    async def _unselect(self, words: list[Token]) -> str:
        self._folder = None
        return "OK done"

    async def _idle(self, words: list[Token]) -> str:
        """RFC 2177: until DONE, every delivery into the selected folder is told at once."""
        woken = asyncio.Event()
        stop = self._folder.subscribe(woken) if self._folder is not None else lambda: None
        done = asyncio.ensure_future(self._reader.readline())
        try:
            self._say("+ idling")
            async with asyncio.timeout(IDLE_LIMIT):
                while not done.done():
                    self._announce()
                    await self._writer.drain()
                    await self._first(done, woken)
        finally:
            stop()
            done.cancel()
        line = done.result()
        return "OK done" if line.strip().upper() == b"DONE" else "BAD expected DONE"

    @staticmethod
    async def _first(done: asyncio.Future[bytes], woken: asyncio.Event) -> None:
        wake = asyncio.ensure_future(woken.wait())
        try:
            pending: set[asyncio.Future[Any]] = {done, wake}
            await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        finally:
            wake.cancel()
            woken.clear()

    # -- with a folder --------------------------------------------------------------------------------

    async def _uid(self, words: list[Token]) -> str:
        name = _string(words[0]).upper() if words else ""
        if name == "FETCH":
            return self._fetched(words[1:], by_uid=True)
        if name == "SEARCH":
            return self._searched(words[1:], by_uid=True)
        raise BadCommand("UID takes FETCH or SEARCH here")

    async def _fetch(self, words: list[Token]) -> str:
        return self._fetched(words, by_uid=False)

    async def _search(self, words: list[Token]) -> str:
        return self._searched(words, by_uid=False)

    def _searched(self, words: list[Token], by_uid: bool) -> str:
        assert self._folder is not None
        if words and isinstance(words[0], str) and words[0].upper() == "CHARSET":
            words = words[2:]
        if not words:
            raise BadCommand("SEARCH takes a criterion")
        known = self._folder.messages[: self._announced]
        test = search(words, len(known), self._folder.uid_next - 1)
        found = [(m.uid if by_uid else n) for n, m in enumerate(known, 1) if test(n, m)]
        self._say(" ".join(["* SEARCH", *map(str, found)]))
        return "OK done"

    def _fetched(self, words: list[Token], by_uid: bool) -> str:
        assert self._folder is not None
        if len(words) != 2:
            raise BadCommand("FETCH takes a set and items")
        known = self._folder.messages[: self._announced]
        has = numbers(_string(words[0]), self._folder.uid_next - 1 if by_uid else len(known))
        items = _items(words[1], by_uid)
        for number, message in enumerate(known, 1):
            if has(message.uid if by_uid else number):
                parts = [self._item(message, item) for item in items]
                self._writer.write(b"* %d FETCH (" % number + b" ".join(parts) + b")\r\n")
        return "OK done"

    def _item(self, message: Message, item: str) -> bytes:
        if item == "UID":
            return b"UID %d" % message.uid
        if item == "FLAGS":
            return f"FLAGS ({' '.join(sorted(message.flags))})".encode()
        if item == "INTERNALDATE":
            return f'INTERNALDATE "{message.internal_date:%d-%b-%Y %H:%M:%S %z}"'.encode()
        if item == "RFC822.SIZE":
            return b"RFC822.SIZE %d" % len(message.raw)
        return self._body(message, item)

    def _body(self, message: Message, item: str) -> bytes:
        match = re.fullmatch(r"BODY(\.PEEK)?\[(.*)\](?:<(\d{1,9})\.(\d{1,9})>)?", item, re.DOTALL)
        if match is None:
            raise BadCommand("this item is not served")
        text = section(message.raw, match[2])
        start = ""
        if match[3]:
            first = int(match[3])
            text, start = text[first : first + int(match[4])], f"<{first}>"
        if not match[1] and not self._read_only:  # only PEEK leaves \Seen alone: RFC 3501 section 6.4.5
            message.flags.add("\\Seen")
        return f"BODY[{match[2]}]{start} {{{len(text)}}}\r\n".encode("latin-1") + text

    # -- saying it ------------------------------------------------------------------------------------

    def _announce(self) -> None:
        if self._folder is not None and len(self._folder.messages) > self._announced:
            self._announced = len(self._folder.messages)
            self._say(f"* {self._announced} EXISTS")

    def _say(self, line: str) -> None:
        self._writer.write(line.encode("latin-1", "replace") + b"\r\n")


def _string(word: Token) -> str:
    if not isinstance(word, str):
        raise BadCommand("a word was expected, not a list")
    return word


def _matches(name: str, pattern: str) -> bool:
    """``*`` and ``%`` (RFC 3501 section 6.3.8); there is no hierarchy here, so both match alike."""
    literal = pattern.replace("[", "[[]").replace("?", "[?]").replace("%", "*")
    return fnmatch.fnmatchcase(name.upper(), literal.upper())


def _items(asked: Token, by_uid: bool) -> list[str]:
    words = [_string(w) for w in asked] if isinstance(asked, list) else [asked]
    items: list[str] = []
    for word in words:
        upper = word.upper()
        items += ["FLAGS", "INTERNALDATE", "RFC822.SIZE"] if upper == "FAST" else [upper]
    return ["UID", *(i for i in items if i != "UID")] if by_uid else items
