"""A mail log of any format, or of several at once, to the mail that the server took for one domain. No I/O.

Each line goes to the format whose program wrote it: syslog's tag tells, or the shape of a program's own file.
What no format claims goes to :class:`PostfixLog`, with Postfix's own lines: it knows logins, lost lines and
what can't be read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

from probes.logformat import FORMATS, LogFormat
from probes.observation import Observation, Side, now
from probes.oldhost.formats.courier import LOGINS, Courier
from probes.oldhost.formats.desk import Desk, Format, Said
from probes.oldhost.formats.dovecot import SERVERS, Dovecot
from probes.oldhost.formats.exchange import Exchange
from probes.oldhost.formats.exim import Exim
from probes.oldhost.formats.haraka import Haraka
from probes.oldhost.formats.opensmtpd import OpenSmtpd
from probes.oldhost.formats.qmail import Qmail
from probes.oldhost.formats.sendmail import Sendmail
from probes.oldhost.lines import CUT
from probes.oldhost.postfix import PostfixLog

_KINDS: Final[tuple[type[Format], ...]] = (
    Exim,
    Sendmail,
    Qmail,
    OpenSmtpd,
    Courier,
    Haraka,
    Exchange,
    Dovecot,
)
_POSTFIX: Final = (b" postfix/", b" postfix-")  # an instance has a name: postfix-out/smtpd
_POSTFIX_WITHIN: Final = 96  # bytes: stamp, host and tag; a longer name only takes the slower way
_BOM: Final = b"\xef\xbb\xbf"

# Stamp, perhaps a priority, host, tag, process: RFC 3164 section 4.1, or with a stamp of RFC 3339.
_SYSLOG: Final = re.compile(
    rb"(?:[A-Z][a-z]{2} [ \d]?\d \d\d:\d\d:\d\d(?:\.\d+)?|\d{4}-\d\d-\d\dT[^ ]+) (?:<[^ ]*> )?[^ ]+ "
    rb"([^ :\[]+)(?:\[(\d+)\])?: ?"
)
_OWN: Final = re.compile(
    rb"(?:@[0-9a-f]{24}|\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:?\d\d)?(?: [+-]\d{4})?) "
)
_TAGS: Final[dict[bytes, str]] = {
    b"exim": "exim", b"exim4": "exim", b"smtpd": "opensmtpd", b"haraka": "haraka", b"dovecot": "dovecot",
    b"sendmail": "sendmail", b"qmail": "qmail", b"qmail-send": "qmail", b"tcpserver": "qmail",
    b"qmail-smtpd": "qmail", b"imapd": "courier", b"imapd-ssl": "courier", b"pop3d": "courier",
    b"pop3d-ssl": "courier", b"MSExchange": "exchange",
}  # fmt: skip
# Who else speaks of mailboxes, and takes no mail by itself.
_HELPERS: Final = (
    b"dovecot", b"amavis", b"spam", b"rspamd", b"open", b"postgrey", b"clam", b"policy", b"milter", b"sieve",
    b"fail2ban", b"sshd", b"cron", b"su", b"roundcube", b"mailman", b"fetchmail", b"saslauthd", b"auth",
)  # fmt: skip
_STARTS: Final[tuple[tuple[bytes, str], ...]] = (
    (b"sm-", "sendmail"),
    (b"courier", "courier"),
    (b"exim", "exim"),
    (b"qmail", "qmail"),
    (b"sendmail", "sendmail"),
)
_QMAIL: Final = re.compile(
    rb"(?:new msg|info msg|end msg|bounce msg|starting delivery|delivery|triple bounce:|status: local"
    rb"|tcpserver:|local:|remote:) "
)
_EXIM: Final = re.compile(
    rb"(?:\[\d+\] )?(?:[0-9A-Za-z]{6}-(?:[0-9A-Za-z]{6}-[0-9A-Za-z]{2}|[0-9A-Za-z]{11}-[0-9A-Za-z]{4}) |H=|U="
    rb"|SMTP |exim |cwd=|Start queue run|End queue run|no MAIL in|no host name found|[a-z_]+ authenticator )"
)
_SHORT: Final = re.compile(rb"[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d ")
_DOVECOT: Final = re.compile(rb"(?:Info: |dovecot: )*(?:lmtp|lda|deliver|sieve)\(")
_EXCHANGE: Final = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z,")
_HARAKA: Final = re.compile(rb"\[[A-Z]+\] \[|level=[A-Z]+ ")


class MailLog:
    """``format``: what the log is, "auto" where the lines tell. ``recognise``: a Message-ID as logged to the
    canary it belongs to, or None; ``queued`` the same where a log names none, from the queue id as the
    server's reply to DATA named it and when that was (ms). ``own``: addresses of the host itself, and
    ``others`` of the host that mail moves to (never its own, not even on loopback); ``watcher``: addresses
    whose logins are the watcher's own; ``zone`` as for :class:`Stamps`. Results come from :meth:`feed`,
    :meth:`tick` and :meth:`flush`."""

    def __init__(
        self, domain: str, recognise: Callable[[str], str | None] = lambda _: None, *, side: Side = "old",
        own: Collection[str] = (), others: Collection[str] = (), watcher: Collection[str] = (),
        zone: str | None = None, now: Callable[[], datetime] = now, format: LogFormat = "auto",
        queued: Callable[[str, int], str | None] = lambda _, __: None,
    ) -> None:  # fmt: skip
        self._desk = Desk(
            domain, recognise, side=side, own=own, others=others, watcher=watcher, zone=zone, now=now,
            queued=queued,
        )  # fmt: skip
        self._postfix = PostfixLog(
            domain, recognise, side=side, own=own, others=others, watcher=watcher, zone=zone, now=now
        )
        self._only: str | None = None if format == "auto" else format
        self._wanted = frozenset(FORMATS if format == "auto" else (format, "dovecot"))
        self._formats: dict[str, Format] = {k.name: k(self._desk) for k in _KINDS}
        self._dovecot = Dovecot(self._desk)
        self._formats["dovecot"] = self._dovecot
        self._heard: set[str] = set()
        self._settled = 0  # ms: up to when messages that left were forgotten
        self._before = ""  # whose line came last, in a file of its own

    @property
    def clock(self) -> int:
        """ms: the latest stamp read."""
        return max(self._postfix.clock, self._desk.clock)

    @property
    def not_before(self) -> int:
        """ms: what was accepted earlier is not reported."""
        return self._postfix.not_before

    @not_before.setter
    def not_before(self, moment: int) -> None:
        self._postfix.not_before = self._desk.tell.not_before = moment

    @property
    def evicted(self) -> int:
        """How many messages were reported and forgotten for want of room."""
        return self._postfix.evicted + sum(one.mail.evicted for one in self._formats.values())

    @property
    def heard(self) -> tuple[str, ...]:
        """Of which programs lines were read so far."""
        return tuple(name for name in FORMATS if name in self._heard)

    # -- reading ------------------------------------------------------------------------------------

    def feed(self, batch: Iterable[bytes], near: int, live: bool = False) -> list[Observation]:
        """Whole lines without their newline; ``near`` (ms): when they were written, or soon after.

        ``live``: they were written since the last look.
        """
        lines = batch if isinstance(batch, list) else list(batch)
        self._desk.live = live
        plain, named = _POSTFIX
        foreign = [
            i for i, one in enumerate(lines)
            if plain not in (head := one[:_POSTFIX_WITHIN]) and named not in head
        ]  # fmt: skip
        self._before = self._before if len(foreign) == len(lines) else ""
        if self._only is None or self._only == "postfix":
            self._heard.update(["postfix"] if len(foreign) < len(lines) else [])
        claimed = {i for i in foreign if self._claim(lines[i], near)}
        if self._only is not None and self._only != "postfix":
            others = set(range(len(lines))).difference(foreign)
            claimed.update(others)
            for i in others:
                self._unwanted(lines[i], near)
        rest = [one for i, one in enumerate(lines) if i not in claimed] if claimed else lines
        out = self._postfix.feed(rest, near, live)
        moment = near if live else self._desk.clock
        if claimed:
            self._settle(moment)
        return self._told(out, max(moment, self._postfix.clock))

    def feed_text(self, text: bytes, near: int) -> list[Observation]:
        """A large piece of history: whole lines, each with its newline. As :meth:`feed`, and much faster."""
        if self._only not in (None, "postfix"):
            return self.feed(text.split(b"\n")[:-1], near)
        self._desk.live = False
        if any(tag in text for tag in _POSTFIX):
            self._heard.add("postfix")
            self._before = ""
        claimed = False

        def claim(line: bytes) -> bool:
            nonlocal claimed
            taken = self._claim(line, near)
            claimed = claimed or taken
            return taken

        out = self._postfix.feed_text(text, near, claim)
        if claimed:
            self._settle(self._desk.clock)
        return self._told(out, self.clock)

    def tick(self, moment: int) -> list[Observation]:
        """The log is read to its end at ``moment`` (ms): what has waited long enough is reported."""
        out = self._postfix.tick(moment)
        for name in self._heard.intersection(self._formats):
            self._formats[name].tick(moment)
        return self._told(out, moment)

    def flush(self) -> list[Observation]:
        """Nothing more will be read: all that is proven is reported."""
        out = self._postfix.flush()
        for one in self._formats.values():
            if one is not self._dovecot:
                one.flush()
        out = self._told(out, self.clock)
        self._dovecot.flush()
        return out + self._desk.tell.take()

    def stamp(self, line: bytes, near: int) -> int | None:
        """When a line was written (ms), or None."""
        return self._desk.stamps.read(line.removeprefix(_BOM), near, self.clock)

    def _settle(self, moment: int) -> None:
        self._settled = moment
        for name in self._heard.intersection(self._formats):
            self._formats[name].forget(moment)

    def _told(self, out: list[Observation], moment: int) -> list[Observation]:
        out = out + self._desk.tell.take()
        if "dovecot" in self._heard:
            self._dovecot.join(out, self._heard, self._under_way, moment)
            out += self._desk.tell.take()
        return out

    def _under_way(self, message_id: str) -> bool:
        """Whether a server's lines have told of such a message that has not left yet."""
        named = self._postfix.knows(message_id)
        return named or any(one.mail.named(message_id) is not None for one in self._formats.values())

    def _claim(self, line: bytes, near: int) -> bool:
        """Whether a format has taken the line."""
        if b"\0" in line or len(line) >= CUT:
            return False
        line = line.removesuffix(b"\r").removeprefix(_BOM)
        found = self._split(line)
        if found is None:
            return self._continued(line) or self._strange(line, near)
        name, tag, pid, text = found
        if name not in self._wanted:
            return self._unwanted(line, near)
        if tag not in LOGINS:
            self._heard.add(name)
        at = self._desk.moment(line, near)
        said = Said(tag, pid, text, at, self._desk.since(at, near))
        if not self._formats[name].read(said) and self._desk.concerns(line):
            self._desk.tell.unread(at)
        self._before = "" if tag else name
        if not -3_600_000 < said.since - self._settled < 1000:  # lines are a little out of order
            self._settle(said.since)
        return True

    def _unwanted(self, line: bytes, near: int) -> bool:
        """The plan names another format: as long as no line of that was heard, it may be the wrong one. Never
        claims the line."""
        if self._only not in self._heard and self._desk.addresses(line):
            self._desk.tell.unread(self._desk.moment(line, near))
        return False

    def _strange(self, line: bytes, near: int) -> bool:
        """As long as no server that is known here was heard, one that is not may be speaking of the domain:
        what names an address of it was not understood. Never claims the line."""
        if not SERVERS.isdisjoint(self._heard):
            return False
        header = _SYSLOG.match(line)
        if (
            header is not None
            and not header[1].lower().startswith(_HELPERS)
            and self._desk.addresses(line[header.end() :])
        ):
            self._desk.tell.unread(self._desk.moment(line, near))
        return False

    def _continued(self, line: bytes) -> bool:
        """A line without a stamp of its own: Exim's rejectlog shows the header of what was refused."""
        exim = self._formats["exim"]
        return self._before == "exim" and isinstance(exim, Exim) and exim.header(line)

    def _split(self, line: bytes) -> tuple[str, bytes, bytes, bytes] | None:
        """(format, tag, process, text) of a line that belongs to one."""
        header = _SYSLOG.match(line) if line[10:11] != b" " or not line[:1].isdigit() else None
        if header is None:
            return self._own(line)
        tag, text = header[1], line[header.end() :]
        name = _program(tag)
        if name is None and b"msgid=" in line:
            bare = _SHORT.match(line)  # Dovecot's own file names no host
            if bare is not None and _DOVECOT.match(line, bare.end()):
                return "dovecot", b"", b"", line[bare.end() :]
        if name == "opensmtpd" and b"tcpserver: " in text[:32]:  # qmail-smtpd's logger is called so, too
            name = "qmail"
        if name == "dovecot" and not _DOVECOT.match(text):
            return None
        return (name, tag, header[2] or b"", text) if name else None

    def _own(self, line: bytes) -> tuple[str, bytes, bytes, bytes] | None:
        """A line of a program's own file."""
        if line[:1] == b"#" and line.startswith((b"#Software:", b"#Fields:", b"#Log-type:")):
            return "exchange", b"", b"", line
        if line[24:25] == b"," and _EXCHANGE.match(line):
            return "exchange", b"", b"", line
        header = _OWN.match(line)
        if header is None:
            return None
        text = line[header.end() :]
        if _QMAIL.match(text):
            return "qmail", b"", b"", text
        if _DOVECOT.match(text):
            return "dovecot", b"", b"", text
        if line[10:11] == b"T":
            return ("haraka", b"", b"", text) if _HARAKA.match(text) else None
        exim = line[10:11] == b" " and ("exim" in self._heard or _EXIM.match(text) is not None)
        return ("exim", b"", b"", text) if exim and b"-login: " not in line else None

    # -- going on after a stop ------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """What :meth:`restore` needs to go on with the next line, as JSON can hold it."""
        heard = {name: self._formats[name].state() for name in self._heard if name in self._formats}
        return {
            "postfix": self._postfix.state(), "desk": self._desk.state(), "formats": heard,
            "heard": sorted(self._heard), "before": self._before,
        }  # fmt: skip

    def restore(self, state: dict[str, Any]) -> None:
        """Raises ``ValueError`` where this is nothing that :meth:`state` made."""
        try:
            if "postfix" not in state:  # kept before there were other formats
                self._postfix.restore(state)
                return
            self._postfix.restore(state["postfix"])
            self._desk.restore(state["desk"])
            for name, kept in state["formats"].items():
                self._formats[name].restore(kept)
            self._heard, self._before = {str(n) for n in state["heard"]}, str(state["before"])
        except (LookupError, TypeError, AttributeError) as error:
            raise ValueError(f"not a state of this log: {error}") from None


@lru_cache(maxsize=512)
def _program(tag: bytes) -> str | None:
    """Of which format the lines of a program are."""
    return _TAGS.get(tag) or next((name for start, name in _STARTS if tag.startswith(start)), None)
