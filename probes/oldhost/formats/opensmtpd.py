"""OpenSMTPD's log: since 6.0 ``SESSION smtp …`` with key=value, before that ``smtp-in: …`` in words.

A message is its ``msgid``, an envelope (one recipient) its ``evpid``, whose first eight digits are the msgid.
No Message-ID is logged. Every address of the machine is "local" to it: what tells is the envelope alone.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar, Final

from probes.oldhost.formats.desk import Desk, Format, Said, bare, remember
from probes.oldhost.lines import address, text
from probes.oldhost.message import Fate, Kind, Message

_LINE: Final = re.compile(rb"([0-9a-f]{16}) (smtp|mda|mta) (?:event=)?([a-z-]+)(?: (.*))?$")
_FIELD: Final = re.compile(rb'([a-z-]+)=(<.*?>(?=,? |$)|"(?:[^"\\]|\\.)*"|[^ ]*)')
_RCPT: Final = re.compile(rb"rcpt to:\s*(<[^<>]*>)", re.I)
_SESSION: Final = re.compile(rb"smtp-in: New session ([0-9a-f]{16}) from host .{0,300}? ?\[([^\[\]]*)\]$")
_TAKEN: Final = re.compile(
    rb"smtp-in: Accepted message ([0-9a-f]{8}) on session ([0-9a-f]{16}): from=(<.*?>), to=(<.*?>), "
)
_TRIED: Final = re.compile(rb"(delivery|relay): (Ok|TempFail|PermFail|Loop) for ([0-9a-f]{16}): (.*)$")
_FAILED: Final = re.compile(rb'smtp-in: Failed command on session ([0-9a-f]{16}): "(.*?)" => (.*)$')
_LOGIN: Final = re.compile(
    rb"smtp-in: Accepted authentication for user (.{1,200}?) on session ([0-9a-f]{16})$"
)
_ONWARD: Final = re.compile(rb"\b([0-9a-f]{8}) Message accepted for delivery")
_TO: Final = re.compile(rb"\[?(?:IPv6:)?([0-9A-Fa-f.:]{2,45})\]?(?: |$)")


class OpenSmtpd(Format):
    name: ClassVar[str] = "opensmtpd"

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk)
        self._sessions: dict[str, list[str]] = {}  # session -> [client or "local", user]
        self._orphans: dict[str, str] = {}  # session whose first line is still to come -> msgid
        self._settled: dict[str, list[str]] = {}  # msgid -> envelopes that are done

    def read(self, said: Said) -> bool:
        found = _LINE.match(said.text)
        if found is None:
            return self._in_words(said)
        session, rest = text(found[1]), found[4] or b""
        fields = {text(m[1]): m[2] for m in reversed(list(_FIELD.finditer(rest)))}
        if found[2] == b"smtp":
            return self._smtp(session, found[3], fields, said)
        if found[3] == b"delivery":
            return self._delivery(found[2] == b"mta", fields, said)
        return True

    def _smtp(self, session: str, event: bytes, fields: dict[str, bytes], said: Said) -> bool:
        if event == b"connected":
            self._connected(session, text(fields.get("address", b""), 64), said)
        elif event == b"authentication" and fields.get("result", b"ok").strip(b'"') in (b"ok", b"success"):
            self._sessions.setdefault(session, ["", ""])[1] = text(fields.get("user", b""))
        elif event == b"message":
            return self._message(session, fields, said)
        elif event == b"envelope":
            return self._envelope(session, fields, said)
        elif event == b"failed-command":
            self._refusal(
                session, _quoted(fields.get("command", b"")), _quoted(fields.get("result", b"")), said
            )
        return True

    def _connected(self, session: str, place: str, said: Said) -> None:
        remember(self._sessions, session, [place, ""])
        waiting = self._orphans.pop(session, "")
        if waiting and self.mail.get(waiting) is not None:
            self._open(session, waiting, said)

    def _message(self, session: str, fields: dict[str, bytes], said: Said) -> bool:
        msgid = text(fields.get("msgid", b""))
        if len(msgid) != 8:
            return False
        self._open(session, msgid, said)
        count = fields.get("nrcpt", fields.get("ndest", b""))
        message = self.mail.get(msgid)
        if message is not None and count.isdigit() and len(count) < 8:
            message.nrcpt = int(count)
        return True

    def _open(self, session: str, msgid: str, said: Said) -> None:
        known = self.mail.get(msgid)
        if known is not None and known.kind != "internal":
            return
        place, user = self._sessions.get(session, ["", ""])
        local = place.startswith("local") or place.startswith("/")
        client = None if local else address(place.strip("[]").encode())
        kind: Kind = "local"
        if not local:
            kind = self.from_client(client, bool(user)) if client else "internal"
        message = self.arrived(msgid, kind, said, client)
        if session not in self._sessions:
            remember(self._orphans, session, msgid)
        self.accept(message, message.began)
        self.queued_as(message, msgid)
        if user:
            self.logged_in(message, user, said.at)

    def _envelope(self, session: str, fields: dict[str, bytes], said: Said) -> bool:
        msgid = text(fields.get("evpid", b"")[:8])
        if len(msgid) != 8 or "to" not in fields:
            return False
        if self.mail.get(msgid) is None:
            self._open(session, msgid, said)
        message = self.mail.get(msgid)
        assert message is not None  # it was just opened
        if fields.get("from") == b"<>" and message.kind in ("local", "own"):
            message.kind, message.bounce = "internal", True
        self.expect(message, bare(fields["to"]), said.since)
        return True

    def _delivery(self, relayed: bool, fields: dict[str, bytes], said: Said) -> bool:
        evpid = text(fields.get("evpid", b""))
        if len(evpid) != 16 or "to" not in fields:
            return False
        msgid = evpid[:8]
        message = self.mail.get(msgid) or self.arrived(msgid, "internal", said)
        self.accept(message, message.began)
        message.touched = said.since
        to, rcpt = bare(fields["to"]), bare(fields.get("rcpt", b""))
        orig = "" if rcpt == "-" else rcpt
        result = _quoted(fields.get("result", b""))
        if message.root == msgid:
            self.saw(message, orig or to)
        fate = self._fate(message, relayed, result, fields)
        self.tried(message, to, orig, fate, said.since, msgid)
        if result != b"TempFail":
            self._done(msgid, evpid, message.nrcpt, said)
        return True

    def _fate(self, message: Message, relayed: bool, result: bytes, fields: dict[str, bytes]) -> Fate:
        stat = _quoted(fields.get("stat", b""))
        if result != b"Ok":
            return ("deferred" if result == b"TempFail" else "bounced", text(stat), "")
        if not relayed:
            return ("delivered", "", "")
        place, onward = _TO.match(_quoted(fields.get("relay", b""))), _ONWARD.search(stat)
        ip = address(place[1]) if place else None
        child = self.onward(message, text(onward[1]), ip) if onward and ip else None
        if child is not None and onward is not None:
            self.mail.merge(message, child)
            return ("passed", "", text(onward[1]))
        return (self.place(ip), "", "")

    def _done(self, msgid: str, evpid: str, count: int, said: Said) -> None:
        """Nothing tells that a message left the queue: all its envelopes did."""
        done = [one for one in self._settled.get(msgid, []) if one != evpid][-999:]
        remember(self._settled, msgid, [*done, evpid])
        if 0 < count <= len(done) + 1:
            self._settled.pop(msgid, None)
            self.gone(msgid, said.since)

    def _refusal(self, session: str, command: bytes, reply: bytes, said: Said) -> None:
        rcpt = _RCPT.match(command)
        if rcpt is not None:
            client = address(self._sessions.get(session, ["", ""])[0].strip("[]").encode())
            self.refused(said.at, bare(rcpt[1]), client, None, text(reply))

    # -- before 6.0 -------------------------------------------------------------------------------------

    def _in_words(self, said: Said) -> bool:
        line = said.text
        for form, take in (
            (_SESSION, self._old_session), (_TAKEN, self._old_message), (_TRIED, self._old_delivery),
            (_LOGIN, self._old_login), (_FAILED, self._old_refusal),
        ):  # fmt: skip
            found = form.match(line)
            if found is not None:
                return take(found, said)
        return b"to=<" not in line

    def _old_session(self, found: re.Match[bytes], said: Said) -> bool:
        self._connected(text(found[1]), text(found[2], 64), said)
        return True

    def _old_login(self, found: re.Match[bytes], said: Said) -> bool:
        self._sessions.setdefault(text(found[2]), ["", ""])[1] = text(found[1])
        return True

    def _old_message(self, found: re.Match[bytes], said: Said) -> bool:
        """One such line an envelope."""
        session, msgid = text(found[2]), text(found[1])
        message = self.mail.get(msgid)
        if message is None or (message.kind == "internal" and not message.nrcpt):
            self._open(session, msgid, said)
        message = self.mail.get(msgid)
        assert message is not None  # it was just opened
        message.nrcpt += 1
        return self._envelope(session, {"evpid": found[1], "from": found[3], "to": found[4]}, said)

    def _old_delivery(self, found: re.Match[bytes], said: Said) -> bool:
        fields = {text(m[1]): m[2].rstrip(b",") for m in reversed(list(_FIELD.finditer(found[4])))}
        stat = found[4].partition(b"stat=")[2]
        return self._delivery(
            found[1] == b"relay", {**fields, "evpid": found[3], "result": found[2], "stat": stat}, said
        )

    def _old_refusal(self, found: re.Match[bytes], said: Said) -> bool:
        self._refusal(text(found[1]), found[2], found[3], said)
        return True

    # -- going on after a stop --------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        return {
            **super().state(),
            "sessions": self._sessions,
            "settled": self._settled,
            "orphans": self._orphans,
        }

    def restore(self, state: dict[str, Any]) -> None:
        super().restore(state)
        self._sessions = {str(s): [str(one[0]), str(one[1])] for s, one in state["sessions"].items()}
        self._orphans = {str(s): str(m) for s, m in state["orphans"].items()}
        self._settled = {str(m): [str(one) for one in done] for m, done in state["settled"].items()}


def _quoted(raw: bytes) -> bytes:
    return raw[1:-1] if len(raw) > 1 and raw.startswith(b'"') and raw.endswith(b'"') else raw
