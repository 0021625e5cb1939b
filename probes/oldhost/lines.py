"""One log line in parts: who wrote it and what of it bears on mail. No state, no I/O."""

from __future__ import annotations

import re
from typing import Final, Literal, TypeAlias

from msgspec import Struct

TEXT_LIMIT = 500  # of what is kept of any text from outside
CUT = 1 << 16  # bytes that are kept of a longer line
NOQUEUE = "NOQUEUE"
LONGEST_DELAY = 8 * 86_400_000  # ms: no queue keeps a message for longer

DAEMONS: Final = frozenset(
    b"smtpd cleanup qmgr oqmgr nqmgr pickup bounce local virtual lmtp smtp pipe discard error retry "
    b"postsuper postscreen master anvil scache tlsmgr trivial-rewrite verify proxymap dnsblog tlsproxy "
    b"postlogd postfix-script postdrop postalias sendmail flush showq spawn qmqpd".split()
)
_BEARING: Final = frozenset(
    b"smtpd cleanup qmgr oqmgr nqmgr pickup postsuper postscreen bounce local virtual lmtp smtp pipe "
    b"discard error retry".split()
)


class Writer(Struct, frozen=True):
    """Which process wrote a line: ``daemon`` (smtpd), ``service`` (submission; "" for the plain one)."""

    daemon: str
    service: str
    pid: bytes
    bearing: bool  # whether its lines can prove anything about a message


class Delivery(Struct, frozen=True):
    """A delivery agent's ``to=`` line. ``relay`` as logged, ``delay`` in ms since the message arrived."""

    to: str
    orig_to: str
    relay: str
    delay: int
    status: Literal["sent", "deferred", "bounced"]
    text: str


class Refusal(Struct, frozen=True):
    """A ``reject:`` line. ``reply`` begins with the code where the line has it."""

    stage: str
    client: str | None
    reply: str
    recipient: str
    helo: str | None


def writer(written: bytes) -> Writer | None:
    """``postfix/smtpd[311``, ``postfix-out/smtpd[…``, ``postfix/submission/smtpd[…``; else None."""
    program, _, pid = written.partition(b"[")
    parts = program.split(b"/")
    if len(parts) < 2 or parts[-1] not in DAEMONS:
        return None
    service = parts[-2] if len(parts) > 2 else b""
    return Writer(parts[-1].decode(), service.decode("ascii", "replace"), pid, parts[-1] in _BEARING)


def text(raw: bytes, limit: int = TEXT_LIMIT) -> str:
    """As it came, bounded; bytes that are no UTF-8 as Latin-1, so that every value can be written as JSON."""
    raw = raw[:limit]
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.end >= len(raw) - 1 and error.reason.startswith("unexpected end"):  # cut in a character
            return text(raw[: error.start])
        return raw.decode("latin-1")


_HEADER: Final = re.compile(
    rb"(?:[A-Z][a-z]{2} {1,2}\d{1,2} \d\d:\d\d:\d\d(?:\.\d+)?|\d{4}-\d\d-\d\dT\S+) \S+ [^\s:\[]+(?:\[\d+\])?:"
)


def has_header(line: bytes) -> bool:
    """Whether the line begins as syslog's do: stamp, host, program."""
    return _HEADER.match(line) is not None


_CLIENT: Final = re.compile(rb"client=([^\[\]]*)\[([^\[\]]*)\]")
_ORIG_CLIENT: Final = re.compile(rb", orig_client=[^\[\]]*\[([^\[\]]*)\]")
_ORIG_QUEUE: Final = re.compile(rb", orig_queue_id=(\w+)")
_SASL: Final = re.compile(rb", sasl_username=(.*?)(?:, sasl_sender=.*)?$")


class Client(Struct, frozen=True):
    """smtpd's ``client=`` line. ``orig`` and ``orig_queue`` come from XFORWARD (a content filter's hop)."""

    address: str | None
    orig: str | None
    orig_queue: str | None
    login: str | None


def client(rest: bytes) -> Client:
    found = _CLIENT.match(rest)
    orig, queue, sasl = _ORIG_CLIENT.search(rest), _ORIG_QUEUE.search(rest), _SASL.search(rest)
    return Client(
        address(found[2]) if found else None,
        address(orig[1]) if orig else None,
        text(queue[1]) if queue else None,
        text(sasl[1]) if sasl else None,
    )


def address(raw: bytes) -> str | None:
    """An IP address as logged; ``unknown`` is none."""
    found = text(raw, 64).removeprefix("IPv6:")
    return found if found and found != "unknown" else None


# Each part ends at a character that it cannot contain, so that hostile lines stay cheap.
_ADDRESS: Final = rb"(<.*?>(?=, )|[^,<]*)"
_FIELDS: Final = rb"(?:[\w-]+=[^,]*, )*?"
_DELIVERY: Final = re.compile(
    rb"to=" + _ADDRESS + rb", (?:orig_to=" + _ADDRESS + rb", )?relay=([^,]*), "
    + _FIELDS + rb"delay=([\d.]{1,20}), " + _FIELDS + rb"status=([\w-]+)(?: \((.*)\))?"
)  # fmt: skip
_TAKEN: Final[dict[bytes, Literal["sent", "deferred", "bounced"]]] = {
    b"sent": "sent",
    b"deferred": "deferred",
    b"bounced": "bounced",
    b"SOFTBOUNCE": "deferred",
}
# Address verification (verify(8)) logs these for messages that do not exist.
_PROBES: Final = (b"deliverable", b"undeliverable", b"undeliverable-but-not-cached")


def delivery(rest: bytes) -> Delivery | bool:
    """A ``to=`` line; True where it is understood and proves nothing, False where it can't be read."""
    found = _DELIVERY.match(rest)
    if found is None:
        return False
    status = _TAKEN.get(found[5])
    if status is None:
        return found[5] in _PROBES
    try:
        delay = min(int(float(found[4]) * 1000), LONGEST_DELAY)
    except (ValueError, OverflowError):
        delay = 0
    return Delivery(
        mailbox(found[1]), mailbox(found[2] or b""), text(found[3]), delay, status, text(found[6] or b"")
    )


def mailbox(raw: bytes) -> str:
    """An envelope address without its angle brackets."""
    return text(raw[1:-1] if raw.startswith(b"<") and raw.endswith(b">") else raw)


_ACTION: Final = re.compile(rb"(reject|milter-reject|proxy-reject|discard|hold): ([\w-]+)")
_FROM: Final = re.compile(rb" from [^\[\]\s]*\[([^\[\]]*)\](?::\d+)?")
_NO_MAIL: Final = (b"VRFY", b"ETRN", b"CONNECT", b"EHLO", b"HELO", b"MAIL", b"STARTTLS", b"AUTH")


def refusal(rest: bytes) -> Refusal | None:
    """A refusal that names its recipient; None for one that names none, or that refused no mail.

    "reject: RCPT from host[addr]: 550 5.1.1 …; from=<> to=<> proto=ESMTP helo=<>": postscreen puts a
    port behind the client and commas into the envelope, cleanup's header checks put the reply last.
    """
    action = _ACTION.match(rest)
    begin = rest.rfind(b"; from=<")
    proto = rest.rfind(b" proto=")
    to = rest.rfind(b" to=<", begin, proto)
    if action is None or action[2] in _NO_MAIL or not 0 <= begin < to < proto:
        return None
    head, tail = rest[action.end() : begin], rest[proto:].partition(b" helo=<")[2]
    name, _, late = tail.partition(b">")
    content = action[2].islower()  # "header", "body": what comes before the client is the sender's text
    client = _FROM.search(head, head.rfind(b" from ") if content else 0)
    reply = late.lstrip(b": ") or (head[client.end() :] if client else head).lstrip(b":; ")
    return Refusal(
        text(action[2]), address(client[1]) if client else None,
        text(b"discarded: " + reply if action[1] == b"discard" else reply),
        mailbox(rest[to + 4 : proto].rstrip(b",")), text(name) or None,
    )  # fmt: skip


_PROXIED: Final = re.compile(rb"proxy-accept: [\w-]+ from [^\[\]\s]*\[([^\[\]]*)\].*? queued as (\w+)")


def proxied(rest: bytes) -> tuple[str, str | None, str | None] | None:
    """A proxy filter's acceptance: (queue id, client, HELO)."""
    found = _PROXIED.match(rest)
    return (text(found[2]), address(found[1]), helo(rest)) if found else None


_REQUEUED: Final = re.compile(rb": Requeue: (\w+)\.\w+ to (\w+)$")


def requeued(line: bytes) -> tuple[str, str] | None:
    found = _REQUEUED.search(line)
    return (text(found[1]), text(found[2])) if found else None


_HELO: Final = re.compile(rb" proto=\S+ helo=<([^<>]*)>")


def helo(rest: bytes) -> str | None:
    found = _HELO.search(rest)
    return text(found[1]) if found and found[1] else None


Service: TypeAlias = Literal["imap", "pop3", "submission"]
_SERVICES: Final[dict[bytes, Service]] = {b"imap": "imap", b"pop3": "pop3", b"submission": "submission"}
_LOGIN: Final = re.compile(
    rb"\b(imap|pop3|submission)-login: (?:Info: )?(?:Login|Logged in): user=<([^<>]*)>"
    rb"(?:.*?\brip=([0-9A-Fa-f.:]{2,45}))?"
)


def login(line: bytes) -> tuple[Service, str, str | None] | None:
    """Dovecot's word of a login: (service, user, client's address)."""
    found = _LOGIN.search(line)
    if found is None:
        return None
    return _SERVICES[found[1]], text(found[2]), text(found[3]) if found[3] else None


# rsyslog: "imuxsock lost 7 messages from pid 12 due to rate-limiting", "begin to drop messages due to
# rate-limiting", "imjournal: 99 messages lost"; journald: "Suppressed 12 messages from postfix.service".
_LOSS: Final = re.compile(
    rb"(?:imuxsock|imjournal|rsyslogd).*(?:messages lost|lost \d+ messages|drop(?:ping)? messages)"
    rb"|Suppressed \d+ messages from"
)


def loss(line: bytes) -> bool:
    """Whether the logger says that it left lines out."""
    return _LOSS.search(line) is not None
