"""Haraka's log, default and logfmt: a transaction (``UUID.n``) is taken when ``queue`` ends with ``code=OK``.

``recipient … code=OK`` alone proves nothing, and the queue may still refuse. Haraka has no mailboxes: it
hands on, and where to only its outbound lines tell. Without one a message counts as delivered where it was
taken.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar, Final

from probes.oldhost.formats.desk import Desk, Format, Said, bare, remember
from probes.oldhost.lines import address, text
from probes.oldhost.message import Fate, Message

_DEFAULT: Final = re.compile(rb"\[[A-Z]+\] \[([0-9A-Fa-f.-]{1,64})\] \[([\w./-]+)\] (.*)$")
_LOGFMT: Final = re.compile(rb"level=[A-Z]+ uuid=([0-9A-Fa-f.-]{1,64}) origin=([\w./-]+) message=(.*)$")
_QUOTED: Final = re.compile(rb'"((?:[^"\\]|\\.)*)"(.*)$')
_FIELD: Final = re.compile(rb' (\w+)=(<.*?>(?= |$)|"(?:[^"\\]|\\.)*"|[^ ]*)')
_WHO: Final = re.compile(rb"recipient (<.*?>)(?= code=| |$)")
_CODES: Final = {
    b"OK": "",
    b"DENY": "550",
    b"DENYDISCONNECT": "550",
    b"DENYSOFT": "450",
    b"DENYSOFTDISCONNECT": "421",
}
NOWHERE: Final = "taken; the log does not tell where it went"


class Haraka(Format):
    name: ClassVar[str] = "haraka"

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk)
        self._clients: dict[str, str] = {}  # connection -> client
        self._recipients: dict[str, list[str]] = {}  # transaction -> who may get it
        self._names: dict[str, str] = {}  # transaction -> Message-ID
        self._over: dict[str, int] = {}  # connection -> when it ended

    def read(self, said: Said) -> bool:
        found = _DEFAULT.match(said.text)
        if found is not None:
            uuid, origin, rest = text(found[1]), found[2], found[3]
        else:
            found = _LOGFMT.match(said.text)
            if found is None:
                return True
            uuid, origin, rest = text(found[1]), found[2], found[3]
            quoted = _QUOTED.match(rest)
            rest = quoted[1] + quoted[2] if quoted else rest
        if origin == b"outbound":
            return self._outbound(uuid, rest, said)
        return self._core(uuid, rest, said) if origin == b"core" else True

    def _core(self, uuid: str, rest: bytes, said: Said) -> bool:
        word = rest.partition(b" ")[0]
        if word == b"recipient":
            return self._recipient(uuid, rest, said)
        fields = {text(m[1]): m[2] for m in reversed(list(_FIELD.finditer(rest)))}
        if word == b"connect":
            remember(self._clients, _connection(uuid), text(fields.get("ip", b""), 64))
        elif word == b"message" and "mid" in fields:
            taken = self.mail.get(uuid)
            if taken is not None:
                self.identified(taken, text(fields["mid"]))
            else:
                remember(self._names, uuid, text(fields["mid"]))
        elif word == b"queue":
            self._queue(uuid, fields, said)
        elif word == b"disconnect":
            self._disconnect(uuid, fields, said)
        return True

    def _recipient(self, uuid: str, rest: bytes, said: Said) -> bool:
        who = _WHO.match(rest)
        if who is None:
            return False
        fields = {text(m[1]): m[2] for m in reversed(list(_FIELD.finditer(rest, who.end())))}
        code = _CODES.get(fields.get("code", b""))
        taken = self.mail.get(uuid)
        if code == "" and taken is not None:
            taken.nrcpt += 1
            self._for(taken, bare(who[1]), said)
        elif code == "":
            listed = self._recipients.get(uuid, [])
            remember(self._recipients, uuid, [*listed[-999:], bare(who[1])])
        elif code:
            reply = f"{code} {text(_bare(fields.get('msg', b'')))}".strip()
            self.refused(said.at, bare(who[1]), self._client(uuid), None, reply)
        return True

    def _client(self, uuid: str) -> str | None:
        return address(self._clients.get(_connection(uuid), "").encode())

    def _queue(self, uuid: str, fields: dict[str, bytes], said: Said) -> None:
        code = _CODES.get(fields.get("code", b""))
        recipients, name = self._recipients.pop(uuid, []), self._names.pop(uuid, None)
        if code is None:
            return
        client = self._client(uuid)
        if code:
            reply = f"{code} {text(_bare(fields.get('msg', b'')))}"
            for one in recipients:
                self.refused(said.at, one, client, None, reply, self._refused(uuid, client, name, said), uuid)
            return
        message = self.arrived(uuid, self.from_client(client) if client else "internal", said, client)
        self.accept(message, said.at)
        if name:
            message = self.identified(message, name)
        message.nrcpt = len(recipients)
        for one in recipients:
            self._for(message, one, said)
        if _connection(uuid) in self._over:
            self.gone(uuid, said.since, settled=False)

    def _for(self, message: Message, recipient: str, said: Said) -> None:
        self.saw(message, recipient)
        self.tried(message, recipient, "", ("deferred", NOWHERE, ""), said.since, message.root)

    def _refused(self, uuid: str, client: str | None, name: str | None, said: Said) -> Message:
        canary = name is not None and self.desk.recognise(name) is not None
        kind = self.from_client(client) if client else "internal"
        return Message(uuid, kind, said.at, client=client, message_id=name, canary=canary)

    def _disconnect(self, uuid: str, fields: dict[str, bytes], said: Said) -> None:
        """The connection's last word knows its HELO, and whether it was let relay (by a login)."""
        remember(self._over, _connection(uuid), said.at)
        last = uuid.rpartition(".")[2]
        for number in range(1, min(int(last), 100) + 1 if last.isdigit() and len(last) < 6 else 1):
            one = f"{_connection(uuid)}.{number}"
            message = self.mail.get(one)
            if message is not None:
                message.helo = text(_bare(fields.get("helo", b""))) or None
                if fields.get("relay") == b"Y" and message.kind == "outside":
                    message.kind = "submission"
                self.gone(one, said.since, settled=message.message_id is not None)

    def _outbound(self, uuid: str, rest: bytes, said: Said) -> bool:
        """ "delivered file=… domain=… host=… ip=… response=…": under the transaction's id and a number."""
        if not rest.startswith((b"delivered ", b"bounced ")):
            return True
        message = self.mail.get(".".join(uuid.split(".")[:2]))
        fields = {text(m[1]): m[2] for m in reversed(list(_FIELD.finditer(rest)))}
        if message is None or not rest.startswith(b"delivered "):
            return True
        fate: Fate = (self.place(address(_bare(fields.get("ip", b"")))), "", "")
        domain = text(_bare(fields.get("domain", b""))).lower()
        for name in list(message.fates):
            if name.rpartition("@")[2] == domain:
                self.note(message, name, name, fate, said.since)
        return True

    # -- going on after a stop --------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        return {
            **super().state(), "clients": self._clients, "recipients": self._recipients,
            "names": self._names, "over": self._over,
        }  # fmt: skip

    def restore(self, state: dict[str, Any]) -> None:
        super().restore(state)
        self._clients = {str(k): str(v) for k, v in state["clients"].items()}
        self._recipients = {str(k): [str(one) for one in v] for k, v in state["recipients"].items()}
        self._names = {str(k): str(v) for k, v in state["names"].items()}
        self._over = {str(k): int(v) for k, v in state["over"].items()}


def _connection(uuid: str) -> str:
    return uuid.partition(".")[0]


def _bare(raw: bytes) -> bytes:
    return raw[1:-1] if len(raw) > 1 and raw.startswith(b'"') and raw.endswith(b'"') else raw
