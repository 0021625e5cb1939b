"""One blocking IMAP session (RFC 3501) that reads and never changes anything: EXAMINE, BODY.PEEK, IDLE.

For a worker thread. Every method raises :class:`Gone` where the connection is of no more use, within its
deadline, and :class:`NoLogin` where the server turned the login down. Reads are bounded in bytes and time.
"""

from __future__ import annotations

import contextlib
import imaplib
import re
import socket
import ssl
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime
from typing import Any

from imapclient.imap_utf7 import decode as decode_utf7
from imapclient.imap_utf7 import encode as encode_utf7
from imapclient.response_parser import parse_response
from msgspec import Struct

from probes.mail.imapwire import Client, Wire
from probes.mail.sasl import choose, private
from probes.secret import Secret, Token
from probes.service import Service, tls_context

MOST_HEADER = 64 * 1024
BATCH = 50
MOST_FOLDERS = 2000
# RFC 6154 has \Junk; servers without it are known by these names.
JUNK_NAMES = frozenset(
    ("junk", "spam", "bulk mail", "bulk", "junk e-mail", "junk email", "junk mail", "junkmail", "spambox",
     "迷惑メール", "迷惑メールフォルダ", "迷惑メール フォルダー", "スパム")
)  # fmt: skip
_NO_SUCH_USER = re.compile(
    r"(?:no such|unknown|non-?existent|invalid) (?:user|account|mailbox)"
    r"|(?:user|account|mailbox) (?:is )?(?:unknown|not found|does(?:n't| not) exist)",
    re.IGNORECASE,
)
# RFC 5530 section 3: not now, and nothing is wrong with the password.
_NOT_NOW = re.compile(r"\[(?:UNAVAILABLE|INUSE|LIMIT|SERVERBUG|CONTACTADMIN)\]", re.IGNORECASE)

INBOX = "INBOX"
_ITEMS = b"(MESSAGES UIDNEXT UIDVALIDITY)"
_BYTES = re.compile(r"b'(.*)'|b\"(.*)\"", re.DOTALL)


class Gone(Exception):
    """The session is over, and why."""


class NoLogin(Exception):
    """The server turned the login down; ``missing`` where it says that it knows no such user."""

    def __init__(self, reply: str) -> None:
        super().__init__(reply)
        self.missing = _NO_SUCH_USER.search(reply) is not None


class Refused(Exception):
    """The server said no to this one command; the session goes on. Its words."""


class State(Struct, frozen=True):
    """A folder as EXAMINE or STATUS shows it; ``messages`` in it, where that was told."""

    uid_validity: int
    uid_next: int
    messages: int | None = None

    def same(self, other: State) -> bool:
        """Whether nothing has come since (RFC 3501 section 2.3.1.1)."""
        return (self.uid_validity, self.uid_next) == (other.uid_validity, other.uid_next)


class Letter(Struct, frozen=True):
    """One message: its UID, INTERNALDATE (None where it is none) and header block."""

    uid: int
    internal_date: datetime | None
    header: bytes


class Session:
    """From a connected socket to the end. ``round_trip``: seconds for a command and its whole answer."""

    def __init__(self, sock: socket.socket, service: Service, round_trip: float) -> None:
        self._sock = sock
        self._service = service
        self._round_trip = round_trip
        self._closed = False
        self._client: Client | None = None
        self._idle: Any = None
        self._exists: bytes | None = None
        self._raw: dict[str, bytes] = {}  # folders' names as the server writes them
        self._notified: list[str] = []
        self.idles = False  # whether the server has IDLE; known after open

    # -- beginning and end ----------------------------------------------------------------------------

    def open(self, login: str, secret: Secret) -> None:
        """TLS by the meant name, then the login."""
        with _ending():
            context = tls_context(self._service.ca_file, self._service.verify)
            implicit = context if self._service.tls == "implicit" else None
            self._client = Client(
                self._sock, self._service.shown_name, implicit, self._hold, self._round_trip
            )
            if self._service.tls == "starttls":
                self._wire.secure(context)
                self._client._starttls_done = True
        with _ending():
            self._log_in(login, secret)
            self.idles = bool(self._known.has_capability("IDLE"))

    def _log_in(self, login: str, secret: Secret) -> None:
        self._wire.begin(self._round_trip)
        if self._wire.state != "NONAUTH":  # PREAUTH (RFC 3501 section 7.1.4): whose mailbox that is, is open
            raise Gone("the server lets everybody in without a login")
        try:
            self._authenticate(login, secret)
        except imaplib.IMAP4.abort:
            raise
        except imaplib.IMAP4.error as error:
            reply = _said(error)
            if _NOT_NOW.search(reply) or "command error: BAD" in reply:
                raise Gone(reply) from None
            raise NoLogin(reply) from None

    def _authenticate(self, login: str, secret: Secret) -> None:
        """LOGIN (RFC 3501 section 6.2.3) where a password may go as it is, else AUTHENTICATE (6.2.2)."""
        client, service = self._known, self._service
        words = (_text(word).upper() for word in client.capabilities())
        offered = {word.removeprefix("AUTH=") for word in words if word.startswith("AUTH=")}
        simple = all(" " <= c <= "~" for c in login + secret.reveal())
        bare = simple and not isinstance(secret, Token) and not client.has_capability("LOGINDISABLED")
        if bare and (private(service) or "CRAM-MD5" not in offered):
            client._imap.login(_quoted(login), secret.reveal())  # IMAPClient would call any end a refusal
            return
        mechanism = choose(offered, login, secret, service)
        if mechanism is None and isinstance(secret, Token):
            raise Gone("the server takes no OAuth login (neither OAUTHBEARER nor XOAUTH2 over verified TLS)")
        if mechanism is None:
            raise Gone("the server takes no login outside of ASCII" if not simple else "no login is offered")
        first = [mechanism.initial] if mechanism.initial is not None else []
        client._imap.authenticate(
            mechanism.name, lambda challenge: first.pop() if first else mechanism.answer(challenge)
        )

    def _hold(self, sock: socket.socket) -> None:
        self._sock = sock
        if self._closed:
            raise Gone("closed")

    def close(self) -> None:
        """At once, without a word. A worker that waits on this connection ends with :class:`Gone`."""
        self._closed = True
        with contextlib.suppress(OSError):  # not connected any more
            # Not SSLSocket's own, which would let a reading thread go on in clear text.
            socket.socket.shutdown(self._sock, socket.SHUT_RDWR)

    def free(self) -> None:
        """Give the descriptor back; when no worker uses the session."""
        self._sock.close()

    # -- folders --------------------------------------------------------------------------------------

    def junk(self) -> str | None:
        """The folder into which this server sorts what it holds for spam."""
        self.wake()
        with _ending():
            self._wire.begin(self._round_trip)
            raw = junk_folder(self._known.list_folders()[:MOST_FOLDERS])
            if raw is None:
                return None
            self._raw[name := _shown(raw)] = raw
            return name

    def first(self, named: Sequence[str]) -> tuple[list[str], dict[str, State | None]]:
        """The junk folder and those that are ``named``, each once; of all these, if it can be, the server
        tells of new mail from now on. And the first pulse."""
        junk = self.junk()
        names = dict.fromkeys([*([junk] if junk is not None else []), *named])
        folders = [name for name in names if name.upper() != INBOX]
        self._notify(folders)
        return folders, self.pulse(folders)

    def pulse(self, folders: Sequence[str]) -> dict[str, State | None]:
        """The end of IDLE, the state of each of these folders (None where it is gone), and INBOX examined
        again, last: the cheapest look there is, and proof that the server is alive."""
        self.wake()
        with _ending():
            wire = self._wire
            wire.begin(self._round_trip)
            for kind in ("STATUS", "LIST"):
                wire.untagged_responses.pop(kind, None)
            found: dict[str, State | None] = dict.fromkeys(folders)
            with wire.corked():  # RFC 3501 section 5.5: none of these hangs on another's answer
                asked = [(name, wire._command(name, *words)) for name, *words in self._about(folders)]
                last = self._begin_examine(INBOX)
            for name, tag in asked:
                self._completed(name, tag)
            found |= {name: state for name, state in self._told().items() if name in found}
            return {**found, INBOX: self._examined(last)}

    def _completed(self, name: str, tag: Any) -> None:
        """What is refused (a folder that is gone, a command that is not known) has told nothing."""
        try:
            self._wire._command_complete(name, tag)
        except imaplib.IMAP4.abort:
            raise
        except imaplib.IMAP4.error:
            return

    def _about(self, folders: Sequence[str]) -> list[tuple[Any, ...]]:
        """What asks for the states of folders that are not examined: STATUS (RFC 3501 section 6.3.10), or
        for several of them LIST-STATUS (RFC 5819; RFC 5258 section 6: several patterns)."""
        names = [_name(self._wire_name(folder)) for folder in folders]
        if len(names) > 1 and self._known.has_capability("LIST-STATUS"):
            listed = b"(" + b" ".join(names) + b")"
            return [("LIST", b'""', listed, b"RETURN (STATUS " + _ITEMS + b")")]
        return [("STATUS", name, _ITEMS) for name in names]

    def _told(self) -> dict[str, State]:
        """What has been said of folders, the last word of each."""
        said = parse_response(self._wire.untagged_responses.pop("STATUS", None) or [b""])
        found: dict[str, State] = {}
        for name, items in zip(said[::2], said[1::2], strict=False):
            held = dict(zip(items[::2], items[1::2], strict=False)) if isinstance(items, tuple) else {}
            if b"UIDVALIDITY" in held and b"UIDNEXT" in held:
                raw = name if isinstance(name, bytes) else str(name).encode()
                shown = next((n for n, r in self._raw.items() if r == raw), _shown(raw))
                counted = held.get(b"MESSAGES")
                messages = counted if isinstance(counted, int) else None
                found[shown] = State(int(held[b"UIDVALIDITY"]), int(held[b"UIDNEXT"]), messages)
        return found

    def _notify(self, folders: Sequence[str]) -> None:
        """RFC 5465. A server that refuses goes on as it was."""
        if folders == self._notified or not (self.idles and self._known.has_capability("NOTIFY")):
            return
        self._notified = list(folders)
        with _ending(), contextlib.suppress(Refused):
            self._wire.begin(self._round_trip)
            names = b" ".join(_name(self._wire_name(folder)) for folder in folders)
            what = b"(MessageNew MessageExpunge)"
            self._ask("NOTIFY", b"SET (SELECTED %b) (MAILBOXES (%b) %b)" % (what, names, what))

    def _ask(self, command: str, *words: bytes) -> None:
        kind, data = self._wire._simple_command(command, *words)
        if kind != "OK":
            raise Refused(str(data[-1:]))

    def _wire_name(self, folder: str) -> bytes:
        return self._raw.setdefault(folder, encode_utf7(folder))

    def examine(self, folder: str) -> State:
        """RFC 3501 section 6.3.2."""
        with _ending():
            self._wire.begin(self._round_trip)
            return self._examined(self._begin_examine(folder))

    def _begin_examine(self, folder: str) -> Any:
        self._wire.is_readonly = True
        return self._wire._command("EXAMINE", _name(self._wire_name(folder)))

    def _examined(self, tag: Any) -> State:
        wire = self._wire
        wire.untagged_responses.clear()
        kind, data = wire._command_complete("EXAMINE", tag)
        if kind != "OK":
            raise Gone(_text(data[-1]))
        wire.state = "SELECTED"
        exists = self._number("EXISTS")
        self._exists = str(exists or 0).encode()
        following = self._number("UIDNEXT")
        if following is None:  # RFC 3501 section 6.3.1 requires it; servers before it did not
            following = max(self._known.search(["UID", "1:*"]), default=0) + 1
        return State(self._number("UIDVALIDITY") or 0, following, exists)

    def _number(self, kind: str) -> int | None:
        told: Any = self._wire.untagged_responses.get(kind)
        return int(told[-1]) if told else None

    @property
    def changed(self) -> bool:
        """Whether the server has told of messages since EXAMINE: it will not tell of them again in IDLE."""
        told = self._wire.untagged_responses.get("EXISTS")
        return bool(told and told[-1] != self._exists)

    def uids(self, since: int) -> list[int]:
        """The UIDs from ``since`` on in the examined folder. ``n:*`` names the last message even where its
        UID is below n (RFC 3501 section 6.4.8)."""
        with _ending():
            self._wire.begin(self._round_trip)
            return sorted({u for u in self._known.search(["UID", f"{since}:*"]) if u >= since})

    def uids_since(self, day: date) -> list[int]:
        """The UIDs of the messages whose INTERNALDATE is of ``day`` or later."""
        with _ending():
            self._wire.begin(self._round_trip)
            return sorted(set(self._known.search(["SINCE", day])))

    def headers(self, uids: Sequence[int]) -> list[Letter]:
        """At most ``BATCH`` of them; those that have gone meanwhile are not in the answer."""
        with _ending():
            self._wire.begin(2 * self._round_trip)
            items = (f"BODY.PEEK[HEADER]<0.{MOST_HEADER}>", "INTERNALDATE")
            found = self._known.fetch(list(uids[:BATCH]), items)
            return [letter for uid in uids if (letter := _letter(uid, found.get(uid))) is not None]

    # -- waiting --------------------------------------------------------------------------------------

    def idle(self) -> None:
        """RFC 2177: from here on the socket becomes readable when the server tells of something."""
        with _ending():
            wire = self._wire
            wire.begin(self._round_trip)
            self._idle = wire._command("IDLE")
            while wire._get_response() is not None:
                if wire.tagged_commands.get(self._idle) is not None:
                    raise Gone("the server refused IDLE")

    def wake(self) -> None:
        """DONE, and its answer: the server is alive."""
        with _ending():
            if self._idle is None:
                return
            wire, tag, self._idle = self._wire, self._idle, None
            wire.begin(self._round_trip)
            wire.send(b"DONE\r\n")
            wire._command_complete("IDLE", tag)

    @property
    def waiting(self) -> bool:
        """Whether there is something to read already."""
        return self._wire.waiting

    @property
    def descriptor(self) -> int:
        return self._wire.sock.fileno()

    @property
    def _known(self) -> Client:
        if self._client is None:
            raise Gone("not open")
        return self._client

    @property
    def _wire(self) -> Wire:
        wire: Wire = self._known._imap
        return wire


@contextlib.contextmanager
def _ending() -> Iterator[None]:
    """Whatever goes wrong inside ends the session: a peer that talks nonsense can make imaplib raise nearly
    anything (RFC 3501 section 9 is not what all servers speak)."""
    try:
        yield
    except (Gone, NoLogin, Refused):
        raise
    except ssl.SSLCertVerificationError as error:
        raise Gone(f"the certificate does not verify: {error.verify_message}") from None
    except Exception as error:
        raise Gone(_said(error) or type(error).__name__) from None


def _said(error: Exception) -> str:
    """The server's words in what imaplib raised of them."""
    text = re.sub(r"^(?:(?:login|authenticate) failed: |command: \w+ => |socket error: )+", "", str(error))
    found = _BYTES.fullmatch(text)
    return (found[1] or found[2] or "") if found else text


def _quoted(login: str) -> str:
    """imaplib quotes the password of LOGIN, not the name (RFC 3501 section 4.3)."""
    return '"' + login.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _name(raw: bytes) -> bytes:
    """A quoted string (RFC 3501 section 4.3); a name in modified UTF-7 is ASCII."""
    return b'"' + raw.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'


def junk_folder(listed: Sequence[tuple[Any, Any, Any]]) -> bytes | None:
    """By its attribute \\Junk (RFC 6154 section 2), else by its name. Names in modified UTF-7."""
    named: list[bytes] = []
    for flags, delimiter, name in listed:
        words = {str(_text(f)).lower() for f in flags or ()}
        if not isinstance(name, bytes) or not name.isascii() or words & {"\\noselect", "\\nonexistent"}:
            continue
        if "\\junk" in words:
            return name
        last = _shown(name).rsplit(_text(delimiter) or "/", 1)[-1]
        if last.casefold() in JUNK_NAMES:
            named.append(name)
    return min(named, key=len, default=None)


def _shown(name: bytes) -> str:
    """A folder's name for people (RFC 3501 section 5.1.3)."""
    try:
        return str(decode_utf7(name))
    except (ValueError, LookupError):
        return _text(name)


def _text(value: Any) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value or "")


def _letter(uid: int, found: Any) -> Letter | None:
    if not found:
        return None
    parts: Iterator[Any] = (v for k, v in found.items() if isinstance(k, bytes) and k.startswith(b"BODY["))
    header = next((p for p in parts if isinstance(p, bytes)), b"")
    return Letter(uid, _utc(found.get(b"INTERNALDATE")), header)


def _utc(at: Any) -> datetime | None:
    try:
        found: datetime = at.astimezone(UTC)
        return found if 1990 <= found.year < 2200 else None
    except (AttributeError, ValueError, OverflowError, TypeError):
        return None
