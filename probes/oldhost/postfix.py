"""Postfix's log, line by line, to the mail that the server took for one domain. No I/O.

What is reported, and when:

- One ``mail`` for each (message, recipient of the domain), all with the message's first queue id, so
  messages are counted by ``queue_id``. A recipient is the mailbox (``to``) where that is in the
  domain, else the address that was written to (``orig_to``): an alias that leads away.
- A message counts once it is proven to be accepted: qmgr made it active, or a delivery was tried.
  ``client=`` alone proves nothing: RSET, rejected recipients and milters leave it behind.
- It is reported when it left the queue (within moments), a recipient whose delivery is put off after
  ``DEFERRED`` seconds as ``delivered`` with the reason as ``reply`` (old has it, new does not). If it
  is passed on after all, ``relayed`` follows, with the same queue id and ``accepted_at``.
- ``bounced``: the server took it and nobody got it, so it is ``delivered`` with the reason as ``reply``.
- A content filter's second half, a forward and its alias are one message, with the first one's client.
- Mail from outside whose log shows fewer recipients than qmgr counted has one with recipient "".
- ``accepted_at`` is qmgr's first word of it: the reply to DATA (RFC 5321 section 4.1.1.4) is that moment.
"""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Callable, Collection, Iterable
from datetime import datetime
from typing import Any

from probes.observation import Coverage, Mail, Observation, Origin, Side, Use, from_ms, now
from probes.oldhost import lines
from probes.oldhost.lines import NOQUEUE, Delivery, Refusal, Source
from probes.oldhost.message import SEEN_LIMIT, Fate, Kind, Message, State, unpacked
from probes.oldhost.names import canonical, domain_forms, loopback
from probes.oldhost.stamps import Stamps

GRACE = 10_000  # ms: lines of one message may be this far apart or out of order
DEFERRED = 45_000  # ms until a delivery that is put off is reported
SILENT = 600_000  # ms after which an accepted message without any recipient is reported
ABANDONED = 3_600_000  # ms after which one that was never accepted is forgotten
MOST_MESSAGES = 20_000  # in flight
LOSS_SPAN = 30_000  # ms before a logger's word of left-out lines that it may speak of
USE_EVERY = 3_600_000  # ms: the same login is reported once in it
MOST_LOGINS = 5_000
LINE_LIMIT = 8_192  # bytes of a line that are read: Postfix writes less (RFC 5424: 2048 and more)


class PostfixLog:
    """``recognise``: a Message-ID as logged to the canary it belongs to, or None. ``own``: addresses of
    the host itself; ``watcher``: addresses whose logins are the watcher's own; ``zone`` as for
    :class:`Stamps`. Results come from :meth:`feed` and :meth:`tick`."""

    def __init__(
        self, domain: str, recognise: Callable[[str], str | None] = lambda _: None, *, side: Side = "old",
        own: Collection[str] = (), watcher: Collection[str] = (), zone: str | None = None,
        now: Callable[[], datetime] = now,
    ) -> None:  # fmt: skip
        self._domains = domain_forms(domain)
        self._needles = tuple(d.encode() for d in self._domains)
        self._recognise = recognise
        self._side: Side = side
        self._own = frozenset(canonical(a) for a in own)
        self._watcher = {canonical(a) for a in watcher}
        self._now = now
        self._stamps = Stamps(zone)
        self._programs: dict[bytes, Source | None] = {}
        self._queue: dict[str, Message] = {}
        self._by_id: dict[str, Message] = {}  # by Message-ID, those in the queue
        self._sessions: dict[tuple[str, bytes], str] = {}  # smtpd process -> the queue id it last opened
        self._leaving: deque[tuple[int, str]] = deque()  # (when to forget it, queue id removed)
        self._logins: dict[tuple[str, str, str | None], int] = {}
        self._out: list[Observation] = []
        self._unread: dict[int, int] = {}
        self._swept = 0
        self.clock = 0  # ms: the latest stamp read
        self.not_before = 0  # ms: what was accepted earlier is not reported
        self.evicted = 0

    # -- reading ------------------------------------------------------------------------------------

    def feed(self, batch: Iterable[bytes], near: int) -> list[Observation]:
        """Whole lines without their newline; ``near`` (ms): when they were written, or soon after."""
        for line in batch:
            if len(line) > LINE_LIMIT or b"\0" in line:
                self._odd(line, near)
            else:
                self._line(line, near)
        return self._taken()

    def tick(self, moment: int) -> list[Observation]:
        """The log is read to its end at ``moment`` (ms): report what has waited long enough."""
        self.clock = max(self.clock, moment)
        self._forget(moment)
        for message in list(self._messages()):
            if message.first is None:
                self._silent(message, moment)
            elif not message.active and moment - message.first >= DEFERRED:
                self._held(message)
            elif moment - message.first >= DEFERRED:
                self._report(message, final=True)
            elif moment - message.first >= GRACE:
                self._report(message, final=False)
        return self._taken()

    def flush(self) -> list[Observation]:
        """Nothing more will be read: report all that is proven."""
        for message in list(self._messages()):
            self._close(message)
        self._queue.clear()
        self._by_id.clear()
        self._leaving.clear()
        return self._taken()

    def _messages(self) -> Iterable[Message]:
        return {id(m): m for m in self._queue.values()}.values()

    def stamp(self, line: bytes, near: int) -> int | None:
        """When a line was written (ms), or None."""
        return self._stamps.read(line, near, self.clock)

    def _taken(self) -> list[Observation]:
        for second, count in self._unread.items():
            self._out.append(
                Coverage(
                    at=self._now(), source=f"log:{self._side}", from_=from_ms(second),
                    to=from_ms(second + 1000), not_understood=count,
                )
            )  # fmt: skip
        self._unread.clear()
        out, self._out = self._out, []
        return out

    def _line(self, line: bytes, near: int) -> None:
        end = line.find(b"]: ")
        program, _, pid = line[: max(end, 0)].rpartition(b" ")[2].partition(b"[")
        source = self._source(program) if end > 0 else None
        if source is None:
            self._foreign(line, near)
        elif source.bearing and not self._postfix(source, pid, line, line[end + 3 :].rstrip(b"\r"), near):
            self._not_understood(line, near)

    def _source(self, program: bytes) -> Source | None:
        if program not in self._programs:
            if len(self._programs) > 1000:
                self._programs.clear()
            self._programs[program] = lines.source(program)
        return self._programs[program]

    def _odd(self, line: bytes, near: int) -> None:
        """Longer than a line can be, or with the NUL bytes that a crash leaves where lines were."""
        before = self.clock
        rest = line.replace(b"\0", b"")
        if len(rest) > LINE_LIMIT:
            self._count_unread(self._moment(rest, near))
        elif rest:
            self._line(rest, near)
            at = self._moment(rest, near)
            self._count_span(before or at, at)

    def _foreign(self, line: bytes, near: int) -> None:
        """A line of another program, or none of syslog's at all."""
        if b"-login: " in line:
            self._dovecot(line, near)
        elif b"messages" in line and lines.loss(line):
            at = self._moment(line, near)
            self._count_span(at - (600_000 if b"imjournal" in line else LOSS_SPAN), at)
        elif b": Requeue: " in line:
            self._requeued(line)
        elif not lines.has_header(line):
            self._not_understood(line, near)

    def _requeued(self, line: bytes) -> None:
        """MailScanner takes held mail and puts it back under another id: "Requeue: Q1.A1B2C to Q2"."""
        found = lines.requeued(line)
        message = self._queue.get(found[0]) if found is not None else None
        if found is None or message is None:
            return
        child = self._queue.get(found[1])
        if child is not None:
            self._merge(message, child)
        else:
            self._queue[found[1]] = message
            message.ids.add(found[1])
            message.names.add(found[1])
        message.ids.discard(found[0])

    def _concerns(self, line: bytes) -> bool:
        lower = line.lower()
        return any(needle in lower for needle in self._needles)

    def _not_understood(self, line: bytes, near: int) -> None:
        if self._concerns(line):
            self._count_unread(self._moment(line, near))

    def _count_unread(self, at: int) -> None:
        second = at // 1000 * 1000
        self._unread[second] = self._unread.get(second, 0) + 1

    def _count_span(self, begin: int, end: int) -> None:
        """Lines are missing from this time, nobody knows how many: every part of it counts as unread."""
        begin = max(begin, end - 3_600_000) // 1000 * 1000
        while True:
            upto = min(begin + 300_000, end // 1000 * 1000 + 1000)
            self._out.append(
                Coverage(
                    at=self._now(), source=f"log:{self._side}", from_=from_ms(begin), to=from_ms(upto),
                    not_understood=1,
                )
            )  # fmt: skip
            begin = upto
            if begin > end:
                return

    def _moment(self, line: bytes, near: int) -> int:
        """The line's stamp, which moves the log's clock; without one the last stamp stands in."""
        at = self._stamps.read(line, near, self.clock)
        if at is None or at > near + 86_400_000:
            return self.clock or near
        if at > self.clock:
            self.clock = at
            if self._leaving and self._leaving[0][0] <= at:
                self._forget(at)
        return at

    # -- Postfix ------------------------------------------------------------------------------------

    def _postfix(self, source: Source, pid: bytes, line: bytes, said: bytes, near: int) -> bool:
        """Whether the line is understood."""
        head, colon, rest = said.partition(b": ")
        if head in (b"warning", b"error", b"fatal", b"panic"):
            return True
        if not colon or not (head.isalnum() and len(head) > 4):
            if said.startswith(b"disconnect from"):
                self._hang_up(source, pid)
                return True
            return not _bears(said)
        daemon = source.daemon
        if daemon == "smtpd":
            return self._smtpd(source, pid, head, rest, line, near)
        if daemon == "cleanup":
            return self._cleanup(head, rest, line, near)
        if daemon in ("qmgr", "oqmgr", "nqmgr"):
            return self._qmgr(head, rest, line, near)
        if daemon == "pickup":
            if rest.startswith(b"uid="):
                self._open(lines.text(head), "local", self._moment(line, near))
            return True
        if daemon == "bounce":
            return self._bounce(rest, line, near)
        if rest.startswith(b"to="):
            return self._delivery(daemon, lines.text(head), rest, line, near)
        if daemon == "postscreen":
            return self._refusal(None, rest, line, near)
        return not _bears(rest)

    def _smtpd(self, source: Source, pid: bytes, head: bytes, rest: bytes, line: bytes, near: int) -> bool:
        queue_id = lines.text(head)
        if rest.startswith(b"client="):
            if queue_id != NOQUEUE:
                self._hang_up(source, pid)
                self._client(source, queue_id, rest, self._moment(line, near))
                self._sessions[(source.service, pid)] = queue_id
            return True
        if rest.startswith(b"proxy-accept:"):
            self._proxied(rest)
            return True
        message = self._queue.get(queue_id)
        if message is not None and message.helo is None:
            message.helo = lines.helo(rest)
        return self._refusal(queue_id, rest, line, near)

    def _proxied(self, rest: bytes) -> None:
        """A filter before the queue took the message from this client and queued it as its own."""
        found = lines.proxied(rest)
        message = self._queue.get(found[0]) if found is not None else None
        if found is not None and message is not None and message.kind == "own":
            message.kind, message.client, message.helo = "outside", found[1], found[2]

    def _client(self, source: Source, queue_id: str, rest: bytes, at: int) -> None:
        found = lines.client(rest)
        submission = found.login is not None or source.service in ("submission", "smtps", "submissions")
        own = found.address is not None and self._is_own(found.address)
        kind: Kind = "submission" if submission else "own" if own else "outside"
        message = self._open(queue_id, kind, at)
        message.client = found.orig or found.address
        message.login = found.login
        parent = self._queue.get(found.orig_queue or "")
        if parent is not None and parent is not message:
            self._merge(parent, message)

    def _is_own(self, address: str) -> bool:
        return canonical(address) in self._own or loopback(address)

    def _open(self, queue_id: str, kind: Kind, at: int) -> Message:
        """A queue id begins; one of the same name before it is over."""
        before = self._queue.get(queue_id)
        if before is not None:
            before.ids.discard(queue_id)
            before.names.discard(queue_id)
            if not before.ids:
                self._close(before)
                self._drop(before)
        message = Message(queue_id, kind, at, ids={queue_id}, names={queue_id}, touched=at)
        self._queue[queue_id] = message
        if len(self._queue) > MOST_MESSAGES:
            self._evict()
        self._sweep(at)
        return message

    def _hang_up(self, source: Source, pid: bytes) -> None:
        """A session went on to another message or ended: what it did not hand over is nothing."""
        queue_id = self._sessions.pop((source.service, pid), None)
        if len(self._sessions) > MOST_LOGINS:
            self._sessions.clear()
        message = self._queue.get(queue_id or "")
        if message is None or message.active or message.root != queue_id or message.fates:
            return
        if message.dead or message.message_id is None:
            self._drop(message)

    def _cleanup(self, head: bytes, rest: bytes, line: bytes, near: int) -> bool:
        queue_id = lines.text(head)
        message = self._queue.get(queue_id)
        if not rest.startswith(b"message-id="):
            if message is not None and message.helo is None:
                message.helo = lines.helo(rest)
            return self._refusal(queue_id, rest, line, near)
        at = self._moment(line, near)
        if message is None:
            message = self._open(queue_id, "internal", at)
        message_id = lines.text(rest[len(b"message-id=") :].strip())
        if message_id not in ("", "<>"):
            self._named(message, queue_id, message_id)
        self._submitted(self._queue[queue_id], at)
        return True

    def _named(self, message: Message, queue_id: str, message_id: str) -> None:
        """Its Message-ID shows a canary, or the other half of a message that is already here."""
        parent = self._by_id.get(message_id)
        if parent is not None and parent is not message and message.kind not in ("outside", "submission"):
            self._merge(parent, message)
            return
        if message.message_id is None:
            message.message_id = message_id
            message.canary = self._recognise(message_id) is not None
        if parent is None or parent.root == queue_id:
            self._by_id[message_id] = message

    def _submitted(self, message: Message, at: int) -> None:
        """An authenticated user's message; a canary's submission is the watcher's own."""
        if message.login is None:
            return
        if message.canary:
            if message.client is not None and len(self._watcher) < 64:
                self._watcher.add(canonical(message.client))
        else:
            self._use(message.login, "submission", message.client, at)
        message.login = None

    def _qmgr(self, head: bytes, rest: bytes, line: bytes, near: int) -> bool:
        queue_id = lines.text(head)
        if rest == b"removed":
            self._removed(queue_id, self._moment(line, near))
            return True
        if not rest.startswith(b"from=") or b" (queue " not in rest:
            return True
        at = self._moment(line, near)
        message = self._queue.get(queue_id) or self._open(queue_id, "internal", at)
        message.touched = at
        if message.root == queue_id and not message.nrcpt:
            count = rest.rpartition(b"nrcpt=")[2].partition(b" ")[0]
            message.nrcpt = int(count) if count.isdigit() and len(count) < 8 else 0
        if message.accepted is None:
            message.accepted = at
            message.dead = False
        return True

    def _bounce(self, rest: bytes, line: bytes, near: int) -> bool:
        """ "sender non-delivery notification: QUEUEID": a message that this host made itself."""
        what, _, queue_id = rest.rpartition(b": ")
        if not what.endswith(b"notification"):
            return not _bears(rest)
        message = self._queue.get(lines.text(queue_id)) or self._open(
            lines.text(queue_id), "internal", self._moment(line, near)
        )
        if message.kind == "internal":
            message.bounce = True
        return True

    # -- deliveries ---------------------------------------------------------------------------------

    def _delivery(self, daemon: str, queue_id: str, rest: bytes, line: bytes, near: int) -> bool:
        found = lines.delivery(rest)
        if isinstance(found, bool):
            return found
        at = self._moment(line, near)
        message = self._queue.get(queue_id)
        if message is None:
            if not self._domain_of(found):
                return True
            message = self._open(queue_id, "internal", at - found.delay)
        message.touched = at
        if message.accepted is None:
            message.accepted = message.began
        if message.root == queue_id and len(message.seen) < SEEN_LIMIT:
            message.seen.add(zlib.crc32(f"{found.to} {found.orig_to}".encode("utf-8", "replace")))
        self._attempt(message, daemon, queue_id, found, at)
        return True

    def _attempt(self, message: Message, daemon: str, queue_id: str, found: Delivery, at: int) -> None:
        onward = _onward(found)
        child = self._queue.get(onward) if onward else None
        fate: Fate
        if child is not None and self._continues(message, child, found):
            fate = ("passed", "", onward)
            if child is not message:
                self._merge(message, child)
        elif onward and found.text.startswith("forwarded as "):
            fate = ("passed", "", onward)
        else:
            fate = (self._state(daemon, found), found.text if found.status != "sent" else "", "")
        target = found.to.lower()
        for recipient in self._recipients(message, queue_id, found, fate):
            message.note(recipient, target, fate, at)
        orig = found.orig_to.lower()
        if self._ours(orig) and orig != target and self._ours(target) and fate[0] != "passed":
            message.aliases.add(orig)
            message.resolve(orig)
        if message.told:
            self._later(message)

    def _continues(self, message: Message, child: Message, found: Delivery) -> bool:
        """Whether "queued as X" means a queue id of this log, not another host's of the same name."""
        if child is message or found.text.startswith("forwarded as "):
            return True
        if child.message_id is not None and child.message_id == message.message_id:
            return True
        return child.kind == "own" and self._relay_own(found.relay)

    def _relay_own(self, relay: str) -> bool:
        return self._is_own(relay.partition("[")[2].partition("]")[0])

    def _state(self, daemon: str, found: Delivery) -> State:
        if found.status == "deferred" or found.status == "bounced":
            return found.status
        if daemon not in ("smtp", "lmtp") or found.relay == "none":
            return "delivered"
        place = found.relay.partition("[")[2].partition("]")[0]
        return "delivered" if "/" in place or not place or self._is_own(place) else "relayed"

    def _domain_of(self, found: Delivery) -> bool:
        return self._ours(found.to) or self._ours(found.orig_to)

    def _ours(self, mailbox: str) -> bool:
        return mailbox.rpartition("@")[2].rstrip(".").lower() in self._domains and "@" in mailbox

    def _recipients(self, message: Message, queue_id: str, found: Delivery, fate: Fate) -> list[str]:
        """Whose delivery this was, in the domain's terms."""
        if self._ours(found.to):
            name = found.to.lower()
        elif self._ours(found.orig_to):
            name = found.orig_to.lower()
        else:
            return message.passed_to(queue_id)
        return [] if fate[0] == "passed" and name in message.aliases else [name]

    def _removed(self, queue_id: str, at: int) -> None:
        message = self._queue.get(queue_id)
        if message is None:
            return
        message.ids.discard(queue_id)
        message.touched = at
        self._leaving.append((at + GRACE, queue_id))
        if not message.ids and message.firm:
            self._report(message, final=True)

    def _merge(self, parent: Message, child: Message) -> None:
        if parent is child:
            return
        parent.adopt(child)
        for queue_id in child.names:
            self._queue[queue_id] = parent
        if child.message_id is not None and self._by_id.get(child.message_id) is child:
            self._by_id[child.message_id] = parent
        if not parent.ids and parent.firm:
            self._report(parent, final=True)

    # -- reporting ----------------------------------------------------------------------------------

    def _report(self, message: Message, final: bool) -> None:
        """Every recipient whose fate is known (``final``: or never will be) and was not told yet."""
        if not message.active:
            return
        for recipient in list(message.fates):
            if recipient in message.told:
                continue
            fate = message.fate(recipient, final)
            if fate is not None:
                message.told[recipient] = fate[0]
                self._mail(message, recipient, *fate)

    def _origin(self, message: Message) -> Origin:
        if message.canary:
            return "canary"
        if message.kind == "internal":
            return "bounce" if message.bounce else "unknown"
        if message.kind != "own":
            return message.kind
        # A filter before the queue names the client that it speaks for (XFORWARD).
        return "local" if message.client is None or self._is_own(message.client) else "outside"

    def _later(self, message: Message) -> None:
        """One who was reported as put off, and got passed on after all."""
        for recipient, before in message.told.items():
            if before != "deferred" or recipient not in message.fates:
                continue
            fate = message.fate(recipient, final=False)
            if fate is not None:
                message.told[recipient] = fate[0]
                if fate[0] == "relayed":
                    self._mail(message, recipient, *fate)

    def _held(self, message: Message) -> None:
        """Put on hold (access(5) HOLD): accepted as soon as it was received, though never active."""
        if message.message_id is not None and not message.dead:
            message.accepted = message.began
            self._report(message, final=True)

    def _silent(self, message: Message, moment: int) -> None:
        if message.active and not message.seen and moment - message.touched >= SILENT:
            self._unknown_recipient(message)

    def _unknown_recipient(self, message: Message) -> None:
        if message.kind == "outside" and not message.canary and "" not in message.told:
            message.told[""] = "delivered"
            self._mail(message, "", "delivered", "")

    def _mail(self, message: Message, recipient: str, state: str, reply: str) -> None:
        accepted = message.accepted if message.accepted is not None else message.began
        if accepted < self.not_before:
            return
        self._out.append(
            Mail(
                at=self._now(), side=self._side, accepted_at=from_ms(accepted), source="log",
                recipient=recipient, message_id=message.message_id, client=message.client,
                helo=message.helo, origin=self._origin(message),
                disposition="relayed" if state == "relayed" else "delivered",
                queue_id=message.root, reply=reply or None,
            )
        )  # fmt: skip

    def _refusal(self, queue_id: str | None, rest: bytes, line: bytes, near: int) -> bool:
        """A refused recipient of the domain; a message that was refused whole is nothing."""
        if not rest.startswith((b"reject:", b"milter-reject:", b"proxy-reject:", b"discard:", b"hold:")):
            return True  # "filter:", "prepend:", "warning:" and the like refuse nothing
        message = self._queue.get(queue_id or "")
        found = lines.refusal(rest)
        if rest.startswith(b"hold:"):
            if message is not None and found is not None and self._ours(found.recipient):
                fate: Fate = ("deferred", f"held: {found.reply}", "")
                message.note(found.recipient.lower(), found.recipient.lower(), fate, self._moment(line, near))
            return True
        if message is not None and not message.active and (found is None or found.stage not in ("RCPT",)):
            message.dead = True
        if found is not None and self._ours(found.recipient):
            self._rejected(message, queue_id, found, self._moment(line, near))
        return True

    def _rejected(self, message: Message | None, queue_id: str | None, found: Refusal, at: int) -> None:
        if at < self.not_before:
            return
        discarded = found.reply.startswith("discarded: ")
        canary = message is not None and message.canary
        known = queue_id if queue_id and queue_id != NOQUEUE else None
        self._out.append(
            Mail(
                at=self._now(), side=self._side, accepted_at=from_ms(at), source="log",
                recipient=found.recipient.lower(), message_id=message.message_id if message else None,
                client=found.client, helo=found.helo, origin="canary" if canary else _by(message),
                disposition="delivered" if discarded else "rejected", queue_id=known, reply=found.reply,
            )
        )  # fmt: skip

    # -- logins -------------------------------------------------------------------------------------

    def _dovecot(self, line: bytes, near: int) -> None:
        found = lines.login(line)
        if found is not None:
            service, user, client = found
            self._use(user, service, client, self._moment(line, near))

    def _use(self, user: str, service: Any, client: str | None, at: int) -> None:
        """A login without a domain is taken for one of this domain."""
        account = (user if "@" in user else f"{user}@{self._domains[0]}").lower()
        if not self._ours(account) or at < self.not_before:
            return
        if client is not None and canonical(client) in self._watcher:
            return
        key = (account, service, client)
        if at - self._logins.get(key, at - USE_EVERY) < USE_EVERY:
            return
        if len(self._logins) >= MOST_LOGINS:
            self._logins.clear()
        self._logins[key] = at
        self._out.append(
            Use(
                at=self._now(), side=self._side, account=account, service=service, client=client,
                seen_at=from_ms(at),
            )
        )  # fmt: skip

    # -- bounds -------------------------------------------------------------------------------------

    def _forget(self, moment: int) -> None:
        """Queue ids that were removed long enough ago."""
        while self._leaving and self._leaving[0][0] <= moment:
            queue_id = self._leaving.popleft()[1]
            message = self._queue.get(queue_id)
            if message is None or queue_id in message.ids:
                continue
            if message.ids:  # goes on under another id
                if queue_id != message.root:
                    message.names.discard(queue_id)
                    del self._queue[queue_id]
            elif moment - message.touched < GRACE:
                self._leaving.append((message.touched + GRACE, queue_id))
            else:
                self._close(message)
                self._drop(message)

    def _close(self, message: Message) -> None:
        """Nothing more will be heard of it."""
        self._report(message, final=True)
        if message.active and len(message.seen) < min(message.nrcpt, SEEN_LIMIT):
            self._unknown_recipient(message)

    def _drop(self, message: Message) -> None:
        for queue_id in message.names:
            if self._queue.get(queue_id) is message:
                del self._queue[queue_id]
        if message.message_id is not None and self._by_id.get(message.message_id) is message:
            del self._by_id[message.message_id]

    def _evict(self) -> None:
        message = self._queue[next(iter(self._queue))]
        self.evicted += 1
        self._close(message)
        self._drop(message)

    def _sweep(self, moment: int) -> None:
        """Every minute of the log: what was never accepted, and what is long over."""
        if moment - self._swept < 60_000:
            return
        self._swept = moment
        for message in list(self._messages()):
            idle = moment - message.touched
            if not message.active and idle >= ABANDONED:
                self._held(message)
                if not message.active:
                    self._drop(message)
            elif message.active and idle >= 8 * 86_400_000:  # longer than any queue keeps one
                self._close(message)
                self._drop(message)
            elif message.outgoing:
                self._drop(message)

    # -- going on after a stop ------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """What :meth:`restore` needs to go on with the next line, as JSON can hold it."""
        messages = list(self._messages())
        place = {id(m): i for i, m in enumerate(messages)}
        return {
            "clock": self.clock,
            "swept": self._swept,
            "messages": [m.packed() for m in messages],
            "queue": {q: place[id(m)] for q, m in self._queue.items()},
            "by_id": {k: place[id(m)] for k, m in self._by_id.items() if id(m) in place},
            "leaving": [list(one) for one in self._leaving],
            "watcher": sorted(self._watcher),
            "evicted": self.evicted,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Raises ``ValueError`` where this is no state of :meth:`state`."""
        try:
            messages = [unpacked(one) for one in state["messages"]]
            self._queue = {q: messages[i] for q, i in state["queue"].items()}
            self._by_id = {k: messages[i] for k, i in state["by_id"].items()}
            self._leaving = deque((int(at), str(q)) for at, q in state["leaving"])
            self._watcher |= set(state["watcher"])
            self.clock, self._swept = int(state["clock"]), int(state["swept"])
            self.evicted = int(state["evicted"])
        except (KeyError, IndexError, TypeError, AttributeError) as error:
            raise ValueError(f"not a state of this log: {error}") from None


def _bears(said: bytes) -> bool:
    """Whether a line that nobody could read looks like one that proves something."""
    return b"to=<" in said or b"client=" in said or b" status=" in said or b"nrcpt=" in said


def _onward(found: Delivery) -> str:
    """The queue id under which a delivered message goes on, or ""."""
    if found.status != "sent":
        return ""
    for phrase in ("forwarded as ", "queued as "):
        _, told, after = found.text.rpartition(phrase)
        if told:
            return after.split(" ")[0].strip("<>().,;")[:64]
    return ""


def _by(message: Message | None) -> Origin:
    return "submission" if message is not None and message.kind == "submission" else "outside"
