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

from collections.abc import Callable, Collection, Iterable
from datetime import datetime
from typing import Any

from probes.observation import Observation, Side, now
from probes.oldhost import lines
from probes.oldhost.deliveries import Deliveries, spelled
from probes.oldhost.inflight import GRACE, InFlight
from probes.oldhost.lines import CUT, NOQUEUE, Refusal, Service, Writer
from probes.oldhost.message import Fate, Kind, Message
from probes.oldhost.names import canonical, domain_forms, loopback
from probes.oldhost.sieve import LONGEST, sieve
from probes.oldhost.stamps import Stamps
from probes.oldhost.telling import Teller
from probes.oldhost.whole import Whole

LOSS_SPAN = 30_000  # ms before a logger's word of left-out lines that it may speak of
JOURNAL_SPAN = 600_000  # the same for rsyslog's imjournal
DAY = 86_400_000  # ms
MOST_SESSIONS = 5_000
MOST_WATCHERS = 64
MANY_LINES = 500  # of fewer, all are as cheap to read


class PostfixLog:
    """``recognise``: a Message-ID as logged to the canary it belongs to, or None. ``own``: addresses of
    the host itself, and ``others`` of the host that mail moves to (never its own, not even on loopback);
    ``watcher``: addresses whose logins are the watcher's own; ``zone`` as for :class:`Stamps`. Results
    come from :meth:`feed`, :meth:`tick` and :meth:`flush`."""

    def __init__(
        self, domain: str, recognise: Callable[[str], str | None] = lambda _: None, *, side: Side = "old",
        own: Collection[str] = (), others: Collection[str] = (), watcher: Collection[str] = (),
        zone: str | None = None, now: Callable[[], datetime] = now,
    ) -> None:  # fmt: skip
        self._domains = domain_forms(domain)
        self._needles = tuple(d.encode() for d in self._domains)
        self._recognise = recognise
        self._own = frozenset(canonical(a) for a in own)
        self._inner = tuple(f"[{a}]".encode() for a in {*own, *self._own})
        self._others = frozenset(canonical(a) for a in others)
        self._watcher = {canonical(a) for a in watcher}
        self._stamps = Stamps(zone)
        self._writers: dict[bytes, Writer | None] = {}
        self._sessions: dict[Writer, str] = {}  # smtpd process -> the queue id it last opened
        self._tell = Teller(side, now)
        self._mail = InFlight(self._tell, self._is_own)
        self._deliveries = Deliveries(self._mail, self._domains, self._is_own)
        self._whole = Whole(
            self._tell, self._deliveries, self._stamps, self._mail.get, recognise, self._is_own
        )
        self._live = False
        self.clock = 0  # ms: the latest stamp read

    @property
    def not_before(self) -> int:
        """ms: what was accepted earlier is not reported."""
        return self._tell.not_before

    @not_before.setter
    def not_before(self, moment: int) -> None:
        self._tell.not_before = moment

    @property
    def evicted(self) -> int:
        """How many messages were reported and forgotten for want of room."""
        return self._mail.evicted

    def knows(self, message_id: str) -> bool:
        """Whether a message of this Message-ID is under way."""
        return self._mail.named(message_id) is not None

    # -- reading ------------------------------------------------------------------------------------

    def feed(self, batch: Iterable[bytes], near: int, live: bool = False) -> list[Observation]:
        """Whole lines without their newline; ``near`` (ms): when they were written, or soon after.

        ``live``: they were written since the last look, so what waits does so by ``near``, not by the
        log host's clock, which may be another.
        """
        if isinstance(batch, list) and not live and len(batch) >= MANY_LINES:
            return self.feed_text(b"\n".join(batch) + b"\n", near)
        return self._read(batch, near, live)

    def feed_text(
        self, text: bytes, near: int, claim: Callable[[bytes], bool] = lambda _: False
    ) -> list[Observation]:
        """A large piece of history: whole lines, each with its newline. As :meth:`feed`, and much faster.

        ``claim``: whether a line that Postfix did not write is somebody else's to read.
        """
        last = self.stamp(text[text.rfind(b"\n", 0, -1) + 1 :][:64], near)
        self._whole.begin(near, self.clock, last)
        rest = sieve(text, self._needles, self._mail.ids, self._inner, claim, self._whole)
        seen = self._read(rest, near, live=False)
        self.clock = max(self.clock, self._whole.clock)
        return seen

    def _read(self, batch: Iterable[bytes], near: int, live: bool) -> list[Observation]:
        self._live = live
        for line in batch:
            if len(line) > LONGEST or b"\0" in line:
                self._odd(line, near)
            else:
                self._line(line, near)
        return self._tell.take()

    def tick(self, moment: int) -> list[Observation]:
        """The log is read to its end at ``moment`` (ms): what has waited long enough is reported."""
        self._mail.tick(moment)
        return self._tell.take()

    def flush(self) -> list[Observation]:
        """Nothing more will be read: all that is proven is reported."""
        self._mail.flush()
        return self._tell.take()

    def stamp(self, line: bytes, near: int) -> int | None:
        """When a line was written (ms), or None."""
        return self._stamps.read(line, near, self.clock)

    def _line(self, line: bytes, near: int) -> None:
        end = line.find(b"]: ")
        writer = self._writer(line[line.rfind(b" ", 0, end) + 1 : end]) if end > 0 else None
        if writer is None:
            self._foreign(line, near)
        elif writer.bearing and not self._postfix(writer, line, line[end + 3 :].rstrip(b"\r"), near):
            self._not_understood(line, near)

    def _writer(self, written: bytes) -> Writer | None:
        """``postfix/smtpd[311``; the same few processes write nearly all lines."""
        if written not in self._writers:
            if len(self._writers) > MOST_SESSIONS:
                self._writers.clear()
            self._writers[written] = lines.writer(written)
        return self._writers[written]

    def _odd(self, line: bytes, near: int) -> None:
        """Longer than a line can be, or with the NUL bytes that a crash leaves where lines were."""
        before = self.clock
        rest = line.replace(b"\0", b"")
        if len(rest) > LONGEST:
            if len(rest) >= CUT or self._concerns(rest):
                self._tell.unread(self._moment(rest, near))
        elif rest:
            self._line(rest, near)
            at = self._moment(rest, near)
            self._tell.lost(before or at, at)

    def _foreign(self, line: bytes, near: int) -> None:
        """A line of another program, or none of syslog's at all."""
        if b"-login: " in line:
            self._dovecot(line, near)
        elif b"messages" in line and lines.loss(line):
            at = self._moment(line, near)
            self._tell.lost(at - (JOURNAL_SPAN if b"imjournal" in line else LOSS_SPAN), at)
        elif b": Requeue: " in line:
            self._requeued(line)
        elif not lines.has_header(line):
            self._not_understood(line, near)

    def _requeued(self, line: bytes) -> None:
        """MailScanner takes held mail and puts it back under another id: "Requeue: Q1.A1B2C to Q2"."""
        found = lines.requeued(line)
        message = self._mail.get(found[0]) if found is not None else None
        if found is not None and message is not None:
            self._mail.continue_as(message, found[1])
            message.ids.discard(found[0])

    def _concerns(self, line: bytes) -> bool:
        lower = line.lower()
        return any(needle in lower for needle in self._needles)

    def _not_understood(self, line: bytes, near: int) -> None:
        if self._concerns(line):
            self._tell.unread(self._moment(line, near))

    def _moment(self, line: bytes, near: int) -> int:
        """The line's stamp, which moves the log's clock; where it has none, or one that is a day off,
        the last one stands in."""
        at = self._stamps.read(line, near, self.clock)
        if at is None or not self.clock - DAY <= at <= near + DAY:
            return self.clock or near
        if at > self.clock:
            self.clock = at
            self._mail.forget(self._since(at, near))
        return at

    def _since(self, at: int, near: int) -> int:
        """From when on what a line says waits: its own stamp, or when it was read."""
        return near if self._live else min(at, near)

    def _open(self, queue_id: str, kind: Kind, line: bytes, near: int) -> Message:
        at = self._moment(line, near)
        return self._mail.open(queue_id, kind, at, self._since(at, near))

    # -- Postfix ------------------------------------------------------------------------------------

    def _postfix(self, writer: Writer, line: bytes, said: bytes, near: int) -> bool:
        """Whether the line is understood."""
        head, colon, rest = said.partition(b": ")
        if head in (b"warning", b"error", b"fatal", b"panic"):
            return True
        if not colon or not (head.isalnum() and len(head) > 4):
            if said.startswith(b"disconnect from"):
                self._hang_up(writer)
                return True
            return not _bears(said)
        queue_id = head.decode("ascii")
        if rest.startswith(b"to="):
            return self._delivery(writer.daemon, queue_id, rest, line, near)
        return self._of_queue(writer, queue_id, rest, line, near)

    def _of_queue(self, writer: Writer, queue_id: str, rest: bytes, line: bytes, near: int) -> bool:
        daemon = writer.daemon
        if daemon == "smtpd":
            return self._smtpd(writer, queue_id, rest, line, near)
        if daemon == "cleanup":
            return self._cleanup(queue_id, rest, line, near)
        if daemon in ("qmgr", "oqmgr", "nqmgr"):
            return self._qmgr(queue_id, rest, line, near)
        if daemon in ("pickup", "postsuper"):
            self._from_disk(queue_id, rest, line, near)
            return True
        if daemon == "bounce":
            return self._bounce(rest, line, near)
        if daemon == "postscreen":
            return self._refusal(None, rest, line, near)
        return not _bears(rest)

    def _smtpd(self, writer: Writer, queue_id: str, rest: bytes, line: bytes, near: int) -> bool:
        if rest.startswith(b"client="):
            if queue_id != NOQUEUE:
                self._hang_up(writer)
                self._client(writer, queue_id, rest, line, near)
                self._sessions[writer] = queue_id
            return True
        if rest.startswith(b"proxy-accept:"):
            self._proxied(rest)
            return True
        self._hear_helo(queue_id, rest)
        return self._refusal(queue_id, rest, line, near)

    def _hear_helo(self, queue_id: str, rest: bytes) -> None:
        """smtpd writes it only beside what it refuses, rewrites or warns of."""
        message = self._mail.get(queue_id)
        if message is not None and message.helo is None:
            message.helo = lines.helo(rest)

    def _from_disk(self, queue_id: str, rest: bytes, line: bytes, near: int) -> None:
        """pickup takes what was posted on this host, or what postsuper -r put back under another id."""
        if rest == b"removed":
            self._removed(queue_id, line, near)
        if not rest.startswith(b"uid="):
            return
        _, again, before = rest.partition(b" orig_id=")
        message = self._mail.get(lines.text(before))
        if message is not None:
            self._mail.continue_as(message, queue_id)
            message.ids.discard(lines.text(before))
        else:
            self._open(queue_id, "internal" if again else "local", line, near)

    def _removed(self, queue_id: str, line: bytes, near: int) -> None:
        self._mail.removed(queue_id, self._since(self._moment(line, near), near))

    def _proxied(self, rest: bytes) -> None:
        """A filter before the queue took the message from this client and queued it as its own."""
        found = lines.proxied(rest)
        message = self._mail.get(found[0]) if found is not None else None
        if found is not None and message is not None and message.kind == "own":
            message.kind, message.client, message.helo = "outside", found[1], found[2]

    def _client(self, writer: Writer, queue_id: str, rest: bytes, line: bytes, near: int) -> None:
        found = lines.client(rest)
        submission = found.login is not None or writer.service in ("submission", "smtps", "submissions")
        own = found.address is not None and self._is_own(found.address)
        kind: Kind = "submission" if submission else "own" if own else "outside"
        message = self._begun(queue_id, line, near) or self._open(queue_id, kind, line, near)
        message.kind = kind
        message.client = found.orig or found.address
        message.login = found.login
        if message.login is not None and message.message_id is not None:
            self._submitted(message, self._moment(line, near))
        parent = self._mail.get(found.orig_queue or "")
        if parent is not None and parent is not message:
            self._mail.merge(parent, message)

    def _begun(self, queue_id: str, line: bytes, near: int) -> Message | None:
        """A message of which another process's line came before this one: until now it was nobody's."""
        known = self._mail.get(queue_id)
        if known is None or known.kind != "internal" or known.bounce or known.client is not None:
            return None
        alone = known.ids == {queue_id} == known.names and not known.told
        return known if alone and abs(self._moment(line, near) - known.began) <= GRACE else None

    def _is_own(self, address: str) -> bool:
        place = canonical(address)
        return place not in self._others and (place in self._own or loopback(place))

    def _hang_up(self, writer: Writer) -> None:
        """A session went on to another message or ended: what it did not hand over is nothing."""
        queue_id = self._sessions.pop(writer, None)
        if len(self._sessions) > MOST_SESSIONS:
            self._sessions.clear()
        message = self._mail.get(queue_id or "")
        if message is None or message.active or message.root != queue_id or message.fates:
            return
        if message.dead:
            self._mail.drop(message)
        message.dead = message.message_id is None  # but for qmgr's or cleanup's line, if that comes late

    def _cleanup(self, queue_id: str, rest: bytes, line: bytes, near: int) -> bool:
        if not rest.startswith(b"message-id="):
            self._hear_helo(queue_id, rest)
            return self._refusal(queue_id, rest, line, near)
        message = self._mail.get(queue_id) or self._open(queue_id, "internal", line, near)
        message_id = lines.text(rest[len(b"message-id=") :].strip())
        if message_id not in ("", "<>"):
            self._named(message, message_id)
        if message.login is not None:
            self._submitted(message, self._moment(line, near))
        return True

    def _named(self, message: Message, message_id: str) -> None:
        """Its Message-ID shows a canary, or the other half of a message that is already here."""
        parent = self._mail.named(message_id)
        if parent is not None and parent is not message and message.kind not in ("outside", "submission"):
            self._mail.merge(parent, message)
        elif message.message_id is None:
            self._mail.name(message, message_id)
            message.canary = self._recognise(message_id) is not None

    def _submitted(self, message: Message, at: int) -> None:
        """An authenticated user's message; a canary's submission is the watcher's own."""
        if message.canary:
            if message.client is not None and len(self._watcher) < MOST_WATCHERS:
                self._watcher.add(canonical(message.client))
        elif message.login is not None:
            self._use(message.login, "submission", message.client, at)
        message.login = None

    def _qmgr(self, queue_id: str, rest: bytes, line: bytes, near: int) -> bool:
        if rest == b"removed":
            self._removed(queue_id, line, near)
            return True
        if not rest.startswith(b"from=") or b" (queue " not in rest:
            return True
        at = self._moment(line, near)
        message = self._mail.get(queue_id) or self._open(queue_id, "internal", line, near)
        message.touched = self._since(at, near)
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
        message = self._mail.get(lines.text(queue_id)) or self._open(
            lines.text(queue_id), "internal", line, near
        )
        if message.kind == "internal":
            message.bounce = True
        return True

    # -- deliveries ---------------------------------------------------------------------------------

    def _delivery(self, daemon: str, queue_id: str, rest: bytes, line: bytes, near: int) -> bool:
        found = lines.delivery(rest)
        if isinstance(found, bool):
            return found
        message = self._mail.get(queue_id)
        if message is None and not self._deliveries.concerns(found):
            return True
        at = self._moment(line, near)
        if message is None:
            message = self._open(queue_id, "internal", line, near)
            message.began -= found.delay
        message.touched = self._since(at, near)
        if message.accepted is None:
            message.accepted = message.began
        self._deliveries.take(message, daemon, queue_id, found, message.touched)
        return True

    # -- refusals -----------------------------------------------------------------------------------

    def _refusal(self, queue_id: str | None, rest: bytes, line: bytes, near: int) -> bool:
        """A refused recipient of the domain; a message that was refused whole is nothing."""
        if not rest.startswith((b"reject:", b"milter-reject:", b"proxy-reject:", b"discard:", b"hold:")):
            return True  # "filter:", "prepend:", "warning:" and the like refuse nothing
        message = self._mail.get(queue_id or "")
        found = lines.refusal(rest)
        if rest.startswith(b"hold:"):
            if message is not None and found is not None and self._deliveries.ours(found.recipient):
                fate: Fate = ("deferred", f"held: {found.reply}", "")
                name = spelled(found.recipient)
                message.note(name, name, fate, self._since(self._moment(line, near), near))
            return True
        if message is not None and not message.active and (found is None or found.stage not in ("RCPT",)):
            message.dead = True
        if found is not None and self._deliveries.ours(found.recipient):
            self._rejected(message, queue_id, found, self._moment(line, near))
        return True

    def _rejected(self, message: Message | None, queue_id: str | None, found: Refusal, at: int) -> None:
        """What access(5) calls DISCARD was taken all the same: 250, and then it was thrown away."""
        discarded = found.reply.startswith("discarded: ")
        self._tell.mail(
            at, spelled(found.recipient), message.message_id if message else None, found.client, found.helo,
            self._mail.origin(message) if message else "outside", "delivered" if discarded else "rejected",
            queue_id if queue_id != NOQUEUE else None, found.reply,
        )  # fmt: skip

    # -- logins -------------------------------------------------------------------------------------

    def _dovecot(self, line: bytes, near: int) -> None:
        found = lines.login(line)
        if found is not None:
            service, user, client = found
            self._use(user, service, client, self._moment(line, near))

    def _use(self, user: str, service: Service, client: str | None, at: int) -> None:
        """A login without a domain is taken for one of this domain."""
        account = (user if "@" in user else f"{user}@{self._domains[0]}").lower()
        if self._deliveries.ours(account) and (client is None or canonical(client) not in self._watcher):
            self._tell.use(account, service, client, at)

    # -- going on after a stop ------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """What :meth:`restore` needs to go on with the next line, as JSON can hold it."""
        return {"clock": self.clock, "watcher": sorted(self._watcher), **self._mail.state()}

    def restore(self, state: dict[str, Any]) -> None:
        """Raises ``ValueError`` where this is nothing that :meth:`state` made."""
        try:
            self._mail.restore(state)
            self._watcher |= set(state["watcher"])
            self.clock = int(state["clock"])
        except (LookupError, TypeError, AttributeError) as error:
            raise ValueError(f"not a state of this log: {error}") from None


def _bears(said: bytes) -> bool:
    """Whether a line that nobody could read looks like one that proves something."""
    return b"to=<" in said or b"client=" in said or b" status=" in said or b"nrcpt=" in said
