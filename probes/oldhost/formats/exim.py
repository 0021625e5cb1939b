"""Exim's log: its own mainlog and rejectlog with whatever ``log_selector`` adds, and the same by syslog.

Exim's specification, chapter 53: ``<=`` is a message that was taken, ``=>`` and ``->`` a delivery, ``>>`` one
by cut-through, ``==`` one that is put off, ``**`` one that failed, ``Completed`` the end. Sender, HELO,
Message-ID and subject are the other side's text: each part is read before, never inside or after them.
"""

from __future__ import annotations

import re
import zlib
from typing import Any, ClassVar, Final

from probes.oldhost.formats.desk import Desk, Format, Said, bare, remember
from probes.oldhost.lines import CUT, address, text
from probes.oldhost.message import Fate, Kind, Message

LATELY = 64  # refusals that are told apart: by syslog each comes twice, from mainlog and rejectlog
MOST_PIECES = 100

_STAMP: Final = re.compile(rb"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)?(?: [+-]\d{4})? ")
_PID: Final = re.compile(rb"\[\d+\] ")
_PIECE: Final = re.compile(rb"\[(\d{1,4})([/\\])(\d{1,4})\] ")
# 4.97 made the parts of an id longer: 16 characters before, 23 since.
_ID: Final = re.compile(
    rb"([0-9A-Za-z]{6}-(?:[0-9A-Za-z]{6}-[0-9A-Za-z]{2}|[0-9A-Za-z]{11}-[0-9A-Za-z]{4})) "
)
_WORD: Final = re.compile(rb'(?:"(?:[^"\\]|\\.)*"[^ ]*|[^ ]*)')
_HOST: Final = re.compile(
    rb"(?:^| )H=(?:([^ (\[][^ ]*) )?(?:\((.{0,300}?)\) )?\[([0-9A-Fa-f.:]{2,45})\](?=[: ]|$)"
)
_AUTH: Final = re.compile(rb" A=[^ :]*(?::(.+?))?(?= S=| X=| P=|$)")
_MSGID: Final = re.compile(rb" id\*?=([^ ]+)")
_SUBJECT: Final = re.compile(rb' T="(?:[^"\\]|\\.)*"')
_TARGET: Final = re.compile(
    rb'("(?:[^"\\]|\\.)*"[^ :]*|:[a-z]+:|[|/][^<]*(?= <)|[^" ][^ ]*?)'
    rb"(?: \([^)]*\))*(?: <([^<>]*)>)?(?=:? |:?$)"
)
_TO_HOST: Final = re.compile(rb" H=[^ ]+ \[([0-9A-Fa-f.:]{2,45})\]")
_GOES_ON: Final = re.compile(rb"OK id=([0-9A-Za-z-]{16,23})")
_REFUSED: Final = re.compile(rb" (temporarily )?rejected RCPT (<.*?>|[^ ]+?): (.*)$")
_AFTER_DATA: Final = re.compile(
    rb" (temporarily )?rejected (?:after DATA|by [^:]{1,40}|during [^:]{1,40}): (.*)$"
)
_ARROWS: Final = (b"=>", b"->", b">>", b"*>", b"==", b"**")


class Exim(Format):
    name: ClassVar[str] = "exim"

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk)
        self._pieces: dict[str, bytes] = {}  # process -> the begin of a line that syslog got in pieces
        self._lately: dict[int, int] = {}
        self._headers: tuple[int, str, str | None, str | None, str] | None = None

    def read(self, said: Said) -> bool:
        piece = _PIECE.match(said.text)
        if piece is None:
            return self._line(said, said.text)
        pid, rest = text(said.pid), said.text[piece.end() :]
        if piece[1] != b"1":
            begun = self._pieces.pop(pid, None)
            if begun is None:
                return self.header(rest)
            rest = begun + rest
        if piece[2] == b"/" and piece[1] != piece[3] and len(rest) < CUT:
            remember(self._pieces, pid, rest)
            while len(self._pieces) > MOST_PIECES:
                del self._pieces[next(iter(self._pieces))]
            return True
        return self._line(said, rest)

    def header(self, line: bytes) -> bool:
        """A line of a refused message's header, as the rejectlog shows it behind the refusal."""
        if self._headers is None:
            return False
        if line.startswith(b"Envelope-to: "):
            at, queue_id, client, helo, reply = self._headers
            for one in line[len(b"Envelope-to: ") :].split(b", "):
                self.refused(at, bare(one), client, helo, reply, queue_id=queue_id)
        return True

    def _line(self, said: Said, line: bytes) -> bool:
        for inner in (_STAMP, _PID):
            found = inner.match(line)
            line = line[found.end() :] if found else line
        found = _ID.match(line)
        if found is None:
            self._headers = None
            return self._session(said, line)
        queue_id, rest = text(found[1]), line[found.end() :]
        what = rest[:2]
        if what in (b"<=", b"(="):
            self._arrival(queue_id, rest[3:], said)
        elif what in _ARROWS:
            return self._delivery(queue_id, what, rest[3:], said)
        elif rest.startswith(b"Completed"):
            self.gone(queue_id, said.since)
        else:
            self._after_data(queue_id, rest, said)
        return True

    # -- arrivals ---------------------------------------------------------------------------------------

    def _arrival(self, queue_id: str, rest: bytes, said: Said) -> None:
        sender = _WORD.match(rest)
        assert sender is not None  # it matches nothing at least
        fields = rest[sender.end() :]
        mark = _MSGID.search(fields)
        head = fields[: mark.start()] if mark else fields.partition(b' T="')[0]
        host = _HOST.search(head)
        client = address(host[3]) if host else None
        protocol = head.partition(b" P=")[2].partition(b" ")[0]
        auth = _AUTH.search(head)
        message = self.arrived(queue_id, self._kind(client, protocol, auth is not None), said, client)
        message.helo = text(host[2] or host[1] or b"") or None if host else None
        message.bounce = client is None and sender[0] == b"<>" and b" R=" in head
        if message.bounce:
            message.kind = "internal"
        self.accept(message, said.at)
        if mark:
            message = self.identified(message, f"<{text(mark[1])}>")
        if auth is not None and auth[1]:
            self.logged_in(message, text(auth[1]), said.at)
        self._recipients(message, fields[mark.end() :] if mark else fields, said)

    def _kind(self, client: str | None, protocol: bytes, auth: bool) -> Kind:
        if auth or protocol in (b"esmtpa", b"esmtpsa", b"asmtp"):
            return "submission"
        return "local" if client is None else self.from_client(client)

    def _recipients(self, message: Message, tail: bytes, said: Said) -> None:
        """``+received_recipients``: " from <sender> for r1 r2" at the end."""
        named = _SUBJECT.sub(b"", tail).rpartition(b" for ")
        if not named[1] or message.fates:
            return
        found = named[2].split(b" ")[:1000]
        message.nrcpt = max(message.nrcpt, len(found))
        for one in found:
            self.expect(message, bare(one), said.since)

    # -- deliveries -------------------------------------------------------------------------------------

    def _delivery(self, queue_id: str, what: bytes, rest: bytes, said: Said) -> bool:
        target = _TARGET.match(rest)
        if target is None:
            return False
        message = self.mail.get(queue_id) or self.arrived(queue_id, "internal", said)
        self.accept(message, message.began)
        message.touched = said.since
        to, orig, tail = bare(target[1]), text(target[2] or b""), rest[target.end() :]
        if message.root == queue_id:
            self.saw(message, to)
            self.saw(message, orig or to)
        self.tried(message, to, orig, self._fate(message, what, tail), said.since, queue_id)
        if "@" not in to + orig and message.kind == "outside":
            self.note(message, "", to, self._fate(message, what, tail), said.since)
        return True

    def _fate(self, message: Message, what: bytes, tail: bytes) -> Fate:
        if what in (b"==", b"**"):
            reply = text(tail.partition(b": ")[2]) or text(tail.strip())
            return ("deferred" if what == b"==" else "bounced", reply, "")
        host = _TO_HOST.search(tail)
        place = address(host[1]) if host else None
        goes_on = _GOES_ON.search(tail)
        child = self.onward(message, text(goes_on[1]), place) if goes_on else None
        if child is not None and goes_on is not None:
            self.mail.merge(message, child)
            return ("passed", "", text(goes_on[1]))
        return (self.place(place), "", "")

    # -- refusals ---------------------------------------------------------------------------------------

    def _session(self, said: Said, line: bytes) -> bool:
        found = _REFUSED.search(line)
        if found is None:
            return True
        if self._fresh(said, line):
            host = _HOST.search(line[: found.start()])
            self.refused(
                said.at, bare(found[2]), address(host[3]) if host else None,
                text(host[2] or host[1] or b"") or None if host else None, _reply(found[1], found[3]),
            )  # fmt: skip
        return True

    def _after_data(self, queue_id: str, rest: bytes, said: Said) -> None:
        """Whom it was for stands in the rejectlog alone, in the lines that follow."""
        found = _AFTER_DATA.search(rest)
        self._headers = None
        if found is not None:
            host = _HOST.search(rest[: found.start()])
            helo = text(host[2] or host[1] or b"") or None if host else None
            client = address(host[3]) if host else None
            self._headers = (said.at, queue_id, client, helo, _reply(found[1], found[2]))

    def _fresh(self, said: Said, line: bytes) -> bool:
        key = zlib.crc32(line)
        before = self._lately.get(key)
        remember(self._lately, key, said.at)
        while len(self._lately) > LATELY:
            del self._lately[next(iter(self._lately))]
        return before is None or abs(said.at - before) > 1000

    # -- going on after a stop --------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        return {
            **super().state(),
            "pieces": {pid: text(rest, CUT) for pid, rest in self._pieces.items()},
            "lately": [list(one) for one in self._lately.items()],
            "headers": list(self._headers) if self._headers else None,
        }

    def restore(self, state: dict[str, Any]) -> None:
        super().restore(state)
        self._pieces = {str(pid): str(rest).encode() for pid, rest in state["pieces"].items()}
        self._lately = {int(key): int(at) for key, at in state["lately"]}
        found = state["headers"]
        self._headers = (int(found[0]), str(found[1]), found[2], found[3], str(found[4])) if found else None


def _reply(temporarily: bytes | None, said: bytes) -> str:
    """The log leaves the code out: what is refused for now was 4yz to the client (RFC 5321 section 4.2.1)."""
    found = text(said)
    return f"451 {found}" if temporarily and not found[:1].isdigit() else found
