"""Sendmail's log: ``ID: from=``, ``ID: to=`` and what was refused (Sendmail Installation and Operation
Guide, section 2.1; "op" of the distribution).

``from=`` is logged for RSET and for what was refused at DATA as well, so it proves nothing: the first attempt
to deliver does. An address in angle brackets is the one that was written to; one without is what an alias or
a .forward led to, and then the log names no one of the domain: from outside, that is a hit with recipient "".
"""

from __future__ import annotations

import re
from typing import Any, ClassVar, Final

from probes.oldhost.formats.desk import Desk, Format, Said, bare, remember
from probes.oldhost.inflight import GRACE
from probes.oldhost.lines import address, text
from probes.oldhost.message import Fate, Kind, Message

_ID: Final = re.compile(rb"([0-9A-Za-z]{12,16}): ")
_FIELD: Final = re.compile(rb", (\w+)=")
_IP: Final = re.compile(rb"\[(?:IPv6:)?([0-9A-Fa-f.:]{2,45})\][^\[\]]*$")
_ACCEPTED: Final = re.compile(rb"^Sent \([^()]{0,80}?([0-9A-Za-z]{14}) Message accepted for delivery\)")
_NO_SUCH: Final = re.compile(rb"(<[^<>]*>)\.\.\. (.*)$")
_NOTICE: Final = re.compile(
    rb"([0-9A-Za-z]{12,16}): (?:DSN|sender notify|return to sender|postmaster notify|warning|clone)\b"
)
_LOCAL: Final = (
    b"local",
    b"prog",
    b"*file*",
    b"*include*",
    b"lmtp",
    b"cyrus",
    b"procmail",
    b"virtual",
    b"maildrop",
)


class Sendmail(Format):
    name: ClassVar[str] = "sendmail"

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk)
        self._logins: dict[str, tuple[str, str]] = {}  # process -> (relay, user)
        self._led: dict[str, tuple[int, str, Fate]] = {}  # queue id of a message whose from= is yet to come
        self._refused: dict[str, list[tuple[int, str, str]]] = {}  # queue id -> (at, recipient, reply)

    def read(self, said: Said) -> bool:
        found = _ID.match(said.text)
        if said.text.startswith(b"AUTH=server"):  # it bears no queue id
            self._authenticated(_fields(said.text), said)
            return True
        if found is None:
            return b"to=" not in said.text
        queue_id, rest = text(found[1]), said.text[found.end() :]
        if rest.startswith(b"from="):
            # It comes last; what stands before it may be the sender's text.
            self._arrival(queue_id, _fields(rest), rest.rpartition(b", relay=")[2], said)
        elif rest.startswith(b"to="):
            self._delivery(queue_id, _fields(rest), said)
        elif rest.startswith(b"AUTH=server"):
            self._authenticated(_fields(rest), said)
        elif rest.startswith((b"ruleset=", b"Milter: ")):
            self._ruleset(queue_id, _fields(rest), said)
        else:
            self._other(queue_id, rest, said)
        return True

    def _arrival(self, queue_id: str, fields: dict[bytes, bytes], relay: bytes, said: Said) -> None:
        ip = _IP.search(relay)
        client = address(ip[1]) if ip else None
        for at, recipient, reply in self._refused.pop(queue_id, ()):
            self.refused(at, recipient, client, None, reply, queue_id=queue_id)
        login = self._logins.get(text(said.pid))
        user = login[1] if login is not None and login[0] == text(relay) else None
        message = self.arrived(queue_id, self._kind(client, user, fields), said, client)
        message.bounce = message.bounce or (message.kind == "own" and fields.get(b"from") == b"<>")
        count = fields.get(b"nrcpts", b"")
        message.nrcpt = int(count) if count.isdigit() and len(count) < 8 else 0
        if b"msgid" in fields:
            message = self.identified(message, text(fields[b"msgid"]))
        message.login = user
        led = self._led.pop(queue_id, None)
        if led is not None and message.kind == "outside" and abs(said.at - led[0]) <= GRACE:
            self.note(message, "", led[1], led[2], said.since)
            self._finished(message, queue_id, said)

    def _kind(self, client: str | None, user: str | None, fields: dict[bytes, bytes]) -> Kind:
        if client is None:
            return "local"
        kind = self.from_client(client, user is not None)
        port = fields.get(b"daemon", b"").startswith((b"MSA", b"MSP", b"TLSMSA"))
        return "submission" if port and kind == "outside" else kind

    def _authenticated(self, fields: dict[bytes, bytes], said: Said) -> None:
        if fields.get(b"authid"):
            remember(self._logins, text(said.pid), (text(fields.get(b"relay", b"")), text(fields[b"authid"])))

    # -- deliveries -------------------------------------------------------------------------------------

    def _delivery(self, queue_id: str, fields: dict[bytes, bytes], said: Said) -> None:
        message = self.mail.get(queue_id)
        stat = fields.get(b"stat", b"")
        targets = _addresses(fields[b"to"])
        if b"mailer" not in fields and not stat.startswith((b"Sent", b"queued", b"Deferred")):
            client = message.client if message is not None else None
            for one in targets:
                self.refused(said.at, bare(one), client, None, text(stat), message, queue_id)
            if message is not None and not message.active and not message.fates:
                message.dead = True
            return
        message = message or self.arrived(queue_id, "internal", said)
        self.accept(message, message.began)
        message.touched = said.since
        if message.login is not None:
            self.logged_in(message, message.login, said.at)
            message.login = None
        fate = self._fate(message, stat, fields)
        for one in targets:
            if message.root == queue_id:
                self.saw(message, bare(one))
            self._one(message, queue_id, one, fields.get(b"ctladdr", b""), fate, said)
        self._finished(message, queue_id, said)

    def _one(
        self, message: Message, queue_id: str, target: bytes, ctladdr: bytes, fate: Fate, said: Said
    ) -> None:
        to = bare(target)
        orig = "" if target.startswith(b"<") else bare(ctladdr.partition(b" (")[0])
        if self.desk.ours(to) or self.desk.ours(orig) or message.passed_to(queue_id):
            self.tried(message, to, orig, fate, said.since, queue_id)
        elif not target.startswith(b"<"):
            if message.kind == "outside":
                self.note(message, "", to, fate, said.since)
            elif message.kind == "internal":
                remember(self._led, queue_id, (said.at, to, fate))

    def _fate(self, message: Message, stat: bytes, fields: dict[bytes, bytes]) -> Fate:
        reply = fields.get(b"reply") or stat
        if stat.startswith(b"Sent"):
            return self._sent(message, stat, fields)
        if stat.startswith((b"Deferred", b"queued")):
            return ("deferred", text(reply), "")
        return ("bounced", text(reply), "")

    def _sent(self, message: Message, stat: bytes, fields: dict[bytes, bytes]) -> Fate:
        if fields.get(b"mailer", b"").startswith(_LOCAL):
            return ("delivered", "", "")
        ip = _IP.search(fields.get(b"relay", b""))
        place = address(ip[1]) if ip else None
        goes_on = _ACCEPTED.match(stat)
        if goes_on is not None and place is not None and self.desk.is_own(place):
            onward = text(goes_on[1])
            child = self.onward(message, onward, place)
            if child is not None:
                self.mail.merge(message, child)
            else:
                self.mail.continue_as(message, onward)
            return ("passed", "", onward)
        return (self.place(place), "", "")

    def _finished(self, message: Message, queue_id: str, said: Said) -> None:
        """Below LogLevel 10 nothing tells that a message left the queue: all that it had did."""
        fates = [fate[0] for targets in message.fates.values() for fate in targets.values()]
        if "deferred" not in fates and 0 < message.nrcpt <= len(message.seen):
            self.gone(queue_id, said.since)

    # -- refusals ---------------------------------------------------------------------------------------

    def _ruleset(self, queue_id: str, fields: dict[bytes, bytes], said: Said) -> None:
        if b"reject" not in fields:
            return
        ip = _IP.search(fields.get(b"relay", b""))
        if fields.get(b"ruleset") == b"check_rcpt" and b"arg1" in fields:
            self.refused(
                said.at, bare(fields[b"arg1"]), address(ip[1]) if ip else None, None, text(fields[b"reject"]),
                queue_id=queue_id,
            )  # fmt: skip

    def _other(self, queue_id: str, rest: bytes, said: Said) -> None:
        refusal, notice = _NO_SUCH.match(rest), _NOTICE.match(rest)
        if refusal is not None and self.desk.ours(bare(refusal[1])):
            waiting = self._refused.get(queue_id, [])
            remember(self._refused, queue_id, [*waiting[-99:], (said.at, bare(refusal[1]), text(rest))])
        elif notice is not None:
            self._notice(queue_id, text(notice[1]), notice[0].endswith(b"clone"), said)
        elif rest.startswith(b"done;"):
            self.gone(queue_id, said.since)

    def _notice(self, queue_id: str, other: str, clone: bool, said: Said) -> None:
        """A message that this host made itself, or one that it took in two."""
        message = self.mail.get(queue_id)
        if clone and message is not None:
            self.mail.continue_as(message, other)
        elif not clone:
            made = self.mail.get(other) or self.arrived(other, "internal", said)
            made.bounce = True

    def _leave(self, before: int | None) -> None:
        """Refusals whose client never came."""
        for queue_id in list(self._refused):
            if before is None or self._refused[queue_id][-1][0] < before:
                for at, recipient, reply in self._refused.pop(queue_id):
                    self.refused(at, recipient, None, None, reply, queue_id=queue_id)

    def tick(self, moment: int) -> None:
        super().tick(moment)
        self._leave(moment - 600_000)

    def flush(self) -> None:
        super().flush()
        self._leave(None)

    # -- going on after a stop --------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        return {
            **super().state(),
            "logins": {pid: list(one) for pid, one in self._logins.items()},
            "led": {q: list(one) for q, one in self._led.items()},
            "refused": {q: [list(one) for one in waiting] for q, waiting in self._refused.items()},
        }

    def restore(self, state: dict[str, Any]) -> None:
        super().restore(state)
        self._logins = {str(pid): (str(one[0]), str(one[1])) for pid, one in state["logins"].items()}
        self._led = {
            str(q): (int(at), str(to), (fate[0], str(fate[1]), str(fate[2])))
            for q, (at, to, fate) in state["led"].items()
        }
        self._refused = {
            str(q): [(int(at), str(r), str(reply)) for at, r, reply in waiting]
            for q, waiting in state["refused"].items()
        }


def _fields(said: bytes) -> dict[bytes, bytes]:
    """``a=x, b=y``. The first of a name counts, and what others said (``stat``, ``reject``) ends them; an
    address or Message-ID may hold anything up to its bracket."""
    found: dict[bytes, bytes] = {}
    name, _, _ = said.partition(b"=")
    at = len(name) + 1
    name = name.rpartition(b" ")[2]
    while True:
        end = said.find(b">, ", at) if said.startswith(b"<", at) else at
        one = None if name in (b"stat", b"reject") else _FIELD.search(said, max(end, at))
        found.setdefault(name, said[at : one.start() if one else len(said)])
        if one is None:
            return found
        name, at = one[1], one.end()


def _addresses(listed: bytes) -> list[bytes]:
    """``<a@x>,<b@y>`` or ``bob``."""
    return [one for one in re.findall(rb"<[^<>]*>|[^,<>]+", listed)[:1000] if one.strip()]
