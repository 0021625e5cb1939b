"""qmail's logs: qmail-send's (multilog or syslog), and tcpserver's, which alone knows the clients.

The two share no key. qmail-smtpd runs as the process that tcpserver names, and the ``qp`` of a message is its
child: the session is the one whose process came last before it, was open then, and had no closer child.
Message numbers are inodes and used again within seconds, so a message is named by its ``qp``, which its
``Received`` field shows as well. Where no
tcpserver line was ever seen, nothing tells a client's mail from the host's own: its origin is unknown.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from probes.oldhost.deliveries import spelled
from probes.oldhost.formats.desk import Desk, Format, Said, remember
from probes.oldhost.lines import address, text
from probes.oldhost.message import Fate, Kind, Message

GRACE = 1_000  # ms that qmail-send may be late to read what a session that is over has queued
MOST_SESSIONS = 500
_EPOCH: Final = re.compile(rb"\d{9,10}\.\d{6} ")
_QUEUE: Final = re.compile(rb" (queue\d+)$")
_INFO: Final = re.compile(rb"info msg (\d+): bytes \d+ from <(.*)> qp (\d+) uid (\d+)$")
_START: Final = re.compile(rb"starting delivery (\d+): msg (\d+) to (local|remote) (.*)$")
_END: Final = re.compile(rb"delivery (\d+): (success|failure|deferral): (.*)$")
_BOUNCE: Final = re.compile(rb"bounce msg (\d+) qp (\d+)$")
_NUMBER: Final = re.compile(rb"(?:new|end) msg (\d+)$")
_FORWARDED: Final = re.compile(r"(?:^|/)did_(\d+)\+(\d+)\+(\d+)/qp_(\d+)")
_ACCEPTED_BY: Final = re.compile(r"^([0-9A-Fa-f.:]{2,45})_accepted_message")
_PID: Final = re.compile(rb"tcpserver: (?:pid|ok|end) (\d+)")
_FROM: Final = re.compile(rb"tcpserver: pid \d+ from ([0-9A-Fa-f.:]+)")


@dataclass(slots=True)
class Session:
    """One connection: its process, its client, and until when it was open (ms; 0: still)."""

    pid: int
    client: str
    began: int
    ended: int = 0
    queued: bool = False


class Qmail(Format):
    name: ClassVar[str] = "qmail"

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk)
        self._numbers: dict[str, str] = {}  # message number -> its queue id here
        self._qps: dict[str, str] = {}  # qmail-queue's process -> queue id
        self._deliveries: dict[str, tuple[str, str, bool]] = {}  # number -> (queue id, recipient, remote)
        self._early: dict[str, tuple[int, str, str]] = {}  # delivery's end that came before its begin
        self._forwards: dict[
            str, tuple[int, str, str]
        ] = {}  # qp still to come -> (when, queue id, recipient)
        self._bounces: dict[str, int] = {}  # qp of a bounce -> when
        self._sessions: dict[int, Session] = {}
        self._uids: dict[str, int] = {}  # uid -> how many messages of it came with a session

    def read(self, said: Said) -> bool:
        line = said.text
        epoch = _EPOCH.match(line)
        line = line[epoch.end() :] if epoch else line
        if said.tag == b"tcpserver" and not line.startswith(b"tcpserver: "):
            line = b"tcpserver: " + line
        queue = _QUEUE.search(line)
        suffix = "." + text(queue[1]) if queue else ""
        line = line[: queue.start()] if queue else line
        if line.startswith(b"tcpserver: "):
            self._session(line, said)
        elif line.startswith(b"info msg "):
            return self._info(line, suffix, said)
        elif line.startswith(b"starting delivery "):
            return self._start(line, suffix, said)
        elif line.startswith(b"delivery "):
            return self._end(line, suffix, said)
        elif line.startswith((b"bounce msg ", b"end msg ", b"new msg ")):
            self._number(line, suffix, said)
        return True

    # -- messages ---------------------------------------------------------------------------------------

    def _info(self, line: bytes, suffix: str, said: Said) -> bool:
        found = _INFO.match(line)
        if found is None:
            return False
        number, qp, uid = (text(found[i]) for i in (1, 3, 4))
        queue_id = self._named(qp, number + suffix)
        session = self._session_of(int(qp[:9]), said.at) if self._smtp() in (uid, "") else None
        if session is not None:
            session.queued = True
            self._uids[uid] = self._uids.get(uid, 0) + 1
        kind = self._kind(session, uid)
        self._begun_without(number + suffix, queue_id)
        message = self.arrived(queue_id, kind, said, session.client if session else None)
        if qp in self._bounces and found[2] == b"":
            message.kind, message.bounce = "internal", True
        self.accept(message, said.at)
        self.queued_as(message, f"qp {qp}")
        remember(self._numbers, number + suffix, queue_id)
        remember(self._qps, qp, queue_id)
        self._forwarded(qp, queue_id, message, said)
        return True

    def _forwarded(self, qp: str, queue_id: str, child: Message, said: Said) -> None:
        """What went on as this message was told before it."""
        at, before, recipient = self._forwards.pop(qp, (0, "", ""))
        parent = self.mail.get(before)
        if parent is not None and parent is not child and abs(said.at - at) <= GRACE:
            self.mail.merge(parent, child)
            if recipient in parent.fates:
                self.note(parent, recipient, recipient, ("passed", "", queue_id), said.since)

    def _named(self, qp: str, number: str) -> str:
        """As ``Received: (qmail QP invoked …)`` has it; one that is still in the queue may have had it."""
        known = self.mail.get(qp)
        return qp if known is None or qp not in known.ids else f"{qp}.{number}"

    def _begun_without(self, number: str, queue_id: str) -> None:
        """Its delivery's line came before the one that tells its ``qp``."""
        known = self.mail.get(number)
        if known is not None and known.root == number and not known.told:
            self.mail.continue_as(known, queue_id)
            known.ids.discard(number)
            known.root = queue_id
            for key, (at, recipient, remote) in self._deliveries.items():
                if at == number:
                    self._deliveries[key] = (queue_id, recipient, remote)

    def _kind(self, session: Session | None, uid: str) -> Kind:
        if session is not None:
            return self.from_client(session.client)
        if uid == self._smtp():
            return "outside"
        if uid == "0":
            return "local"
        # A .qmail forward is queued by the alias's or the user's own uid, so it may yet be joined.
        return "internal"

    def _smtp(self) -> str:
        """The uid of qmail-smtpd, as far as it is known."""
        return max(self._uids, key=self._uids.__getitem__, default="")

    def _start(self, line: bytes, suffix: str, said: Said) -> bool:
        found = _START.match(line)
        if found is None:
            return False
        number = text(found[2]) + suffix
        queue_id = self._numbers.get(number, number)
        message = self.mail.get(queue_id)
        if message is None or (queue_id == number and message.root != number):  # the number's next message
            message = self.arrived(queue_id, "internal", said)
        self.accept(message, message.began)
        message.touched = said.since
        recipient, remote = self._mailbox(text(found[4])), found[3] == b"remote"
        if message.root == queue_id:
            self.expect(message, recipient, said.since)
        key = text(found[1]) + suffix
        remember(self._deliveries, key, (queue_id, recipient, remote))
        at, how, reply = self._early.pop(key, (0, "", ""))
        if how and abs(said.at - at) <= GRACE:
            self._ended(key, how, reply, said)
        return True

    def _mailbox(self, recipient: str) -> str:
        """Of a virtual domain, "to local example.com-info@example.com" (qmail-send(8), virtualdomains)."""
        domain = recipient.rpartition("@")[2]
        prefix = f"{domain}-"
        return recipient[len(prefix) :] if recipient.lower().startswith(prefix.lower()) else recipient

    def _end(self, line: bytes, suffix: str, said: Said) -> bool:
        found = _END.match(line)
        if found is None:
            return False
        key, how, reply = text(found[1]) + suffix, text(found[2]), text(found[3].rstrip(b"/"))
        if key in self._deliveries:
            self._ended(key, how, reply, said)
        else:
            remember(self._early, key, (said.at, how, reply))
        return True

    def _ended(self, key: str, how: str, reply: str, said: Said) -> None:
        queue_id, recipient, remote = self._deliveries.pop(key)
        message = self.mail.get(queue_id)
        if message is not None:
            message.touched = said.since
            self.tried(message, recipient, "", self._fate(message, how, reply, remote), said.since, queue_id)
            forwarded = _FORWARDED.search(reply) if how == "success" and not remote else None
            if forwarded is not None and forwarded[4] not in self._qps:
                only = spelled(recipient) if (forwarded[1], forwarded[3]) == ("0", "0") else ""
                remember(self._forwards, forwarded[4], (said.at, queue_id, only))

    def _fate(self, message: Message, how: str, reply: str, remote: bool) -> Fate:
        if how != "success":
            return ("deferred" if how == "deferral" else "bounced", reply.replace("_", " "), "")
        if remote:
            place = _ACCEPTED_BY.match(reply)
            return (self.place(address(place[1].encode()) if place else ""), "", "")
        forwarded = _FORWARDED.search(reply)
        if forwarded is None or int(forwarded[2][:9]) == 0:
            return ("delivered", "", "")
        onward = self._qps.get(forwarded[4], "")
        child = self.mail.get(onward)
        if child is not None and child is not message and not child.told:
            self.mail.merge(message, child)
            if forwarded[1] == "0" and forwarded[3] == "0":
                return ("passed", "", onward)
        return ("delivered", "", "")

    def _number(self, line: bytes, suffix: str, said: Said) -> None:
        bounce, number = _BOUNCE.match(line), _NUMBER.match(line)
        if bounce is not None:
            remember(self._bounces, text(bounce[2]), said.at)
            made = self.mail.get(self._qps.get(text(bounce[2]), ""))
            if made is not None and made.kind == "internal" and said.at - made.began < 60_000:
                made.bounce = True
        elif number is not None and line.startswith(b"end"):
            queue_id = self._numbers.pop(text(number[1]) + suffix, "")
            self.gone(queue_id, said.since)

    # -- sessions ---------------------------------------------------------------------------------------

    def _session(self, line: bytes, said: Said) -> None:
        found, came = _PID.match(line), _FROM.match(line)
        if found is None:
            return
        pid = int(found[1][:9])
        client = address(came[1]) if came else None
        if client is not None:
            self._sessions.pop(pid, None)
            self._sessions[pid] = Session(pid, client, said.at)
            self._came_late(pid, client, said)
            if len(self._sessions) > MOST_SESSIONS:
                self._drop_session()
        elif line.startswith(b"tcpserver: end ") and pid in self._sessions:
            self._sessions[pid].ended = said.at

    def _came_late(self, pid: int, client: str, said: Said) -> None:
        """Its message's line came before its own."""
        message = self.mail.get(self._qps.get(str(pid + 1), ""))
        if message is None or message.kind != "internal" or message.bounce or message.told:
            return
        if abs(said.at - message.began) <= GRACE and message.ids:
            message.kind, message.client = self.from_client(client), client
            self._sessions[pid].queued = True

    def _drop_session(self) -> None:
        oldest = next((pid for pid, one in self._sessions.items() if one.ended), next(iter(self._sessions)))
        del self._sessions[oldest]

    def _session_of(self, qp: int, at: int) -> Session | None:
        """The session that queued what ``qp`` wrote."""
        exact = self._sessions.get(qp - 1)
        if exact is not None and _open(exact, at, 60_000):
            return exact
        near = [one for one in self._sessions.values() if one.pid < qp and _open(one, at, GRACE)]
        # Process ids grow: what was over when the last of these began has no later child.
        latest = max((one.began for one in near), default=0)
        near = [
            one
            for one in near
            if not one.ended or (not one.queued and (one.ended > latest or one.began == latest))
        ]
        clients = {one.client for one in near}
        return max(near, key=lambda one: one.pid) if len(clients) == 1 else None

    # -- going on after a stop --------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        return {
            **super().state(),
            "numbers": self._numbers, "qps": self._qps, "bounces": self._bounces, "uids": self._uids,
            "deliveries": {n: list(one) for n, one in self._deliveries.items()},
            "forwards": {q: list(one) for q, one in self._forwards.items()},
            "early": {n: list(one) for n, one in self._early.items()},
            "sessions": [[s.pid, s.client, s.began, s.ended, s.queued] for s in self._sessions.values()],
        }  # fmt: skip

    def restore(self, state: dict[str, Any]) -> None:
        super().restore(state)
        self._numbers, self._qps = dict(state["numbers"]), dict(state["qps"])
        self._bounces, self._uids = dict(state["bounces"]), dict(state["uids"])
        self._deliveries = {n: (str(q), str(r), bool(o)) for n, (q, r, o) in state["deliveries"].items()}
        self._forwards = {q: (int(at), str(i), str(r)) for q, (at, i, r) in state["forwards"].items()}
        self._early = {n: (int(at), str(how), str(reply)) for n, (at, how, reply) in state["early"].items()}
        self._sessions = {int(one[0]): Session(*one) for one in state["sessions"]}


def _open(session: Session, at: int, grace: int) -> bool:
    return session.began <= at + grace and (not session.ended or at <= session.ended + grace)
