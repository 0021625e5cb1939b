"""Courier's log: ``courierd: newmsg``, ``courierlocal``, ``courieresmtp``, and its IMAP and POP3 logins.

No Message-ID is logged, and an alias is resolved before the first line: mail from outside that leaves for a
domain elsewhere had a recipient here whom the log never names. It is a hit with recipient "".
"""

from __future__ import annotations

import re
from typing import Any, ClassVar, Final

from probes.oldhost.formats.desk import Desk, Format, Said, bare, remember
from probes.oldhost.lines import Service, address, text
from probes.oldhost.message import Fate, Message

_NEW: Final = re.compile(rb"newmsg,id=([0-9A-F.]{20,60})(?:,auth=(.*?))?: (.*)$")
_IP: Final = re.compile(rb"\[([0-9A-Fa-f.:]{2,45})\]")
_HELO: Final = re.compile(rb"dns; ([^ ()]+) \(")
_AUTH: Final = re.compile(rb"\bAUTH: [A-Z0-9-]+ ([^ ,()]+)")
_STARTED: Final = re.compile(rb"started,id=([0-9A-F.]{20,60}),from=<(.*)>,module=(\w+),host=.*,addr=(<.*>)$")
_ENDED: Final = re.compile(rb"completed,id=([0-9A-F.]{20,60})$")
_TRIED: Final = re.compile(rb"id=([0-9A-F.]{20,60}),from=<.*?>,addr=(<.*?>)(?:,size=\d+)?(?:[,:] ?)(.*)$")
_REFUSED: Final = re.compile(
    rb"error,relay=([0-9A-Fa-f.:]+),(?:port=\d+,)?(?:ident=[^,]*,)?from=<.*?>,to=(<.*?>): (.*)$"
)
_LOGIN: Final = re.compile(rb"LOGIN, user=([^,]+), ip=\[([^\[\]]+)\]")
_SERVICES: Final[dict[bytes, Service]] = {
    b"imapd": "imap",
    b"imapd-ssl": "imap",
    b"pop3d": "pop3",
    b"pop3d-ssl": "pop3",
}


LOGINS: Final = frozenset(_SERVICES)  # programs that may stand beside any mail server


class Courier(Format):
    name: ClassVar[str] = "courier"

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk)
        self._replies: dict[str, str] = {}  # queue id and address -> what the other host said last

    def read(self, said: Said) -> bool:
        if said.tag in _SERVICES:
            self._login(said)
        elif said.tag == b"courierd":
            return self._courierd(said)
        elif said.tag == b"courieresmtpd":
            self._refusal(said)
        elif said.text.startswith(b"id="):
            return self._attempt(said)
        return True

    def _courierd(self, said: Said) -> bool:
        if said.text.startswith(b"newmsg,"):
            return self._arrival(said)
        if said.text.startswith(b"started,id="):
            return self._started(said)
        ended = _ENDED.match(said.text)
        if ended is not None:
            self.gone(text(ended[1]), said.since)
        return True

    def _arrival(self, said: Said) -> bool:
        found = _NEW.match(said.text)
        if found is None:
            return False
        queue_id, received = text(found[1]), found[3]
        # Only the last bracket is what Courier itself saw: HELO comes before it.
        ips = _IP.findall(received)
        client = _plain(address(ips[-1])) if ips else None
        auth = found[2] or (m[1] if (m := _AUTH.search(received)) else None)
        helo = _HELO.match(received)
        kind = "local" if client is None else self.from_client(client, auth is not None)
        message = self.arrived(queue_id, kind, said, client, text(helo[1]) if helo else None)
        self.accept(message, message.began)
        self.queued_as(message, queue_id.partition(".")[2])
        if auth:
            self.logged_in(message, text(auth), said.at)
        return True

    def _started(self, said: Said) -> bool:
        found = _STARTED.match(said.text)
        if found is None:
            return False
        queue_id = text(found[1])
        message = self.mail.get(queue_id)
        if message is None or found[3] == b"dsn":
            return True
        if found[2] == b"" and message.kind in ("own", "local"):
            message.kind, message.bounce = "internal", True
        self.accept(message, message.began)
        if message.root == queue_id:
            self.saw(message, bare(found[4]))
        if found[3] != b"local":  # courierlocal alone shows the whole address of a local mailbox
            self._expected(message, bare(found[4]), said)
        return True

    def _expected(self, message: Message, to: str, said: Said) -> None:
        if self.desk.ours(to):
            self.expect(message, to, said.since)

    def _attempt(self, said: Said) -> bool:
        found = _TRIED.match(said.text)
        if found is None:
            return False
        queue_id, to, how = text(found[1]), bare(found[2]), found[3]
        key = f"{queue_id} {to}"
        fate = self._fate(said.tag, how, key)
        if fate is None:
            remember(self._replies, key, text(how))
            return True
        message = self.mail.get(queue_id) or self.arrived(queue_id, "internal", said)
        self.accept(message, message.began)
        message.touched = said.since
        if message.root == queue_id:
            self.saw(message, to)
        self.tried(message, to, "", fate, said.since, queue_id)
        away = said.tag == b"courieresmtp" and not self.desk.ours(to) and not self.desk.beneath(to)
        if away and message.kind == "outside":
            self.note(message, "", to, fate, said.since)
        return True

    def _fate(self, tag: bytes, how: bytes, key: str) -> Fate | None:
        if how.startswith(b"success: "):
            self._replies.pop(key, None)
            if tag != b"courieresmtp":
                return ("delivered", "", "")
            ips = _IP.findall(how)
            return (self.place(_plain(address(ips[-1]))) if ips else "relayed", "", "")
        for word, state in ((b"failure", "bounced"), (b"deferred", "deferred")):
            if how.startswith((word + b": ", b"status: " + word)):
                reply = self._replies.pop(key, "") or text(how)
                return ("bounced" if state == "bounced" else "deferred", reply, "")
        return None

    def _refusal(self, said: Said) -> None:
        found = _REFUSED.match(said.text)
        if found is not None:
            self.refused(said.at, bare(found[2]), _plain(address(found[1])), None, text(found[3]))

    def _login(self, said: Said) -> None:
        found = _LOGIN.match(said.text)
        if found is not None:
            self.desk.use(text(found[1]), _SERVICES[said.tag], _plain(address(found[2])), said.at)

    def state(self) -> dict[str, Any]:
        return {**super().state(), "replies": self._replies}

    def restore(self, state: dict[str, Any]) -> None:
        super().restore(state)
        self._replies = {str(k): str(v) for k, v in state["replies"].items()}


def _plain(found: str | None) -> str | None:
    """Courier writes IPv4 as IPv4-mapped IPv6 (RFC 4291 section 2.5.5.2)."""
    return found.removeprefix("::ffff:") if found and "." in found else found
