"""What all log formats share: whose mail it is, when a line was written, and where what is proven goes."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

from probes.observation import Side, now
from probes.oldhost.deliveries import spelled
from probes.oldhost.inflight import GRACE, InFlight
from probes.oldhost.lines import Service, text
from probes.oldhost.message import SEEN_LIMIT, Fate, Kind, Message, State
from probes.oldhost.names import canonical, domain_forms, loopback
from probes.oldhost.stamps import Stamps
from probes.oldhost.telling import Teller

DAY = 86_400_000  # ms
MOST_WATCHERS = 64
MOST_REMEMBERED = 2_000  # sessions, processes and the like that a format keeps in mind
QUEUED = "still in the queue"


@dataclass(slots=True)
class Said:
    """One line: who wrote it (``tag``, ``pid``; b"" in a program's own file) and what it says.

    ``at``: its stamp in ms; ``since``: from when on what it says waits.
    """

    tag: bytes
    pid: bytes
    text: bytes
    at: int
    since: int


class Desk:
    """Everything as for :class:`probes.oldhost.reader.MailLog`."""

    def __init__(
        self, domain: str, recognise: Callable[[str], str | None] = lambda _: None, *, side: Side = "old",
        own: Collection[str] = (), others: Collection[str] = (), watcher: Collection[str] = (),
        zone: str | None = None, now: Callable[[], datetime] = now,
        queued: Callable[[str, int], str | None] = lambda _, __: None,
    ) -> None:  # fmt: skip
        self.queued = queued
        self.domains = domain_forms(domain)
        self._needles = tuple(d.encode() for d in self.domains)
        self.recognise = recognise
        self._own = frozenset(canonical(a) for a in own)
        self._others = frozenset(canonical(a) for a in others)
        self.watcher = {canonical(a) for a in watcher}
        self.stamps = Stamps(zone)
        self.tell = Teller(side, now)
        self.live = False
        self.clock = 0  # ms: the latest stamp read

    def is_own(self, address: str) -> bool:
        place = canonical(address)
        return place not in self._others and (place in self._own or loopback(place))

    def ours(self, mailbox: str) -> bool:
        return "@" in mailbox and mailbox.rpartition("@")[2].rstrip(".").lower() in self.domains

    def beneath(self, mailbox: str) -> bool:
        """Whether it is in a subdomain of the domain."""
        name = "." + mailbox.rpartition("@")[2].rstrip(".").lower()
        return any(name.endswith("." + d) for d in self.domains)

    def concerns(self, line: bytes) -> bool:
        lower = line.lower()
        return any(needle in lower for needle in self._needles)

    def addresses(self, line: bytes) -> bool:
        """Whether a line names a mailbox of the domain."""
        lower = line.lower()
        return any(b"@" + needle in lower for needle in self._needles)

    def moment(self, line: bytes, near: int) -> int:
        """The line's stamp, which moves the clock; where it has none, or one that is a day off, the last
        one stands in."""
        at = self.stamps.read(line, near, self.clock)
        if at is None or not self.clock - DAY <= at <= near + DAY:
            return self.clock or near
        self.clock = max(self.clock, at)
        return at

    def since(self, at: int, near: int) -> int:
        return near if self.live else min(at, near)

    def use(self, user: str, service: Service, client: str | None, at: int) -> None:
        """A login; one without a domain is taken for one of this domain."""
        account = (user if "@" in user else f"{user}@{self.domains[0]}").lower()
        if user and self.ours(account) and (client is None or canonical(client) not in self.watcher):
            self.tell.use(account, service, client, at)

    def state(self) -> dict[str, Any]:
        return {"clock": self.clock, "watcher": sorted(self.watcher)}

    def restore(self, state: dict[str, Any]) -> None:
        self.watcher |= set(state["watcher"])
        self.clock = int(state["clock"])


class Format:
    """One log format. ``read`` answers whether the line is understood; what it proves waits in ``mail``."""

    name: ClassVar[str]

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.mail = InFlight(desk.tell, desk.is_own)
        self._nameless: dict[str, str] = {}  # queue id -> the same as the reply to DATA named it

    def read(self, said: Said) -> bool:
        raise NotImplementedError

    def tick(self, moment: int) -> None:
        """All lines up to ``moment`` (ms) were read."""
        self._recognise()
        self.mail.tick(moment)

    def forget(self, moment: int) -> None:
        """What left the queue long enough before ``moment`` (ms)."""
        self._recognise()
        self.mail.forget(moment)

    def flush(self) -> None:
        """Nothing more will be read."""
        self._recognise()
        self.mail.flush()

    def state(self) -> dict[str, Any]:
        """What :meth:`restore` needs to go on with the next line, as JSON can hold it."""
        return {"mail": self.mail.state(), "nameless": self._nameless}

    def restore(self, state: dict[str, Any]) -> None:
        """Raises ``ValueError``, ``LookupError``, ``TypeError`` or ``AttributeError`` on no such state."""
        self.mail.restore(state["mail"])
        self._nameless = {str(q): str(name) for q, name in state["nameless"].items()}

    # -- what formats have in common -------------------------------------------------------------------

    def arrived(
        self, queue_id: str, kind: Kind, said: Said, client: str | None = None, helo: str | None = None
    ) -> Message:
        """A message begins; whether it is accepted is another question. A line of it that came before this
        one began it as nobody's."""
        known = self.mail.get(queue_id)
        if known is None or not self._nobodys(known, said.at):
            message = self.mail.open(queue_id, kind, said.at, said.since)
        else:
            message, message.kind = known, kind
        message.client, message.helo = client, helo
        return message

    def _nobodys(self, message: Message, at: int) -> bool:
        unnamed = message.message_id is None and message.client is None and not message.bounce
        return (
            unnamed and message.kind == "internal" and not message.told and abs(at - message.began) <= GRACE
        )

    def from_client(self, client: str | None, submission: bool = False) -> Kind:
        if submission:
            return "submission"
        return "own" if client is not None and self.desk.is_own(client) else "outside"

    def accept(self, message: Message, at: int) -> None:
        if message.accepted is None:
            message.accepted = at

    def identified(self, message: Message, message_id: str) -> Message:
        """Its Message-ID shows a canary, or the other half of a message that is already here."""
        parent = self.mail.named(message_id)
        if parent is not None and parent is not message and message.kind not in ("outside", "submission"):
            self.mail.merge(parent, message)
            return parent
        if message.message_id is None:
            self.mail.name(message, message_id)
            message.canary = self.desk.recognise(message_id) is not None
        return message

    def queued_as(self, message: Message, name: str) -> None:
        """For logs without Message-IDs: the queue id as the reply to DATA named it shows a canary. The reply
        may be heard of after the log's line, so it is asked for until the message is told of."""
        remember(self._nameless, message.root, name)

    def _recognise(self) -> None:
        for queue_id, name in list(self._nameless.items()):
            message = self.mail.get(queue_id)
            if message is None or message.told:
                del self._nameless[queue_id]
            elif self.desk.queued(name, message.began) is not None:
                message.canary = True
                del self._nameless[queue_id]

    def logged_in(self, message: Message, user: str, at: int) -> None:
        """Who submitted it; a canary's submission is the watcher's own."""
        if not message.canary:
            self.desk.use(user, "submission", message.client, at)
        elif message.client is not None and len(self.desk.watcher) < MOST_WATCHERS:
            self.desk.watcher.add(canonical(message.client))

    def expect(self, message: Message, recipient: str, since: int) -> None:
        """A recipient that the message was accepted for, of whom nothing else is known yet."""
        self.saw(message, recipient)
        name = spelled(recipient)
        if self.desk.ours(recipient) and name not in message.fates:
            message.note(name, "", ("deferred", QUEUED, ""), since)

    def gone(self, queue_id: str, since: int, settled: bool = True) -> None:
        """It left the queue; where a recipient's delivery was not heard of, its line may still come."""
        message = self.mail.get(queue_id)
        if message is not None:
            known = all(set(targets) != {""} for targets in message.fates.values())
            known = known and queue_id not in self._nameless
            self.mail.removed(queue_id, since, settled=settled and known)

    def saw(self, message: Message, recipient: str) -> None:
        """One of the recipients that ``message.nrcpt`` counts."""
        if len(message.seen) < SEEN_LIMIT:
            message.seen.add(zlib.crc32(spelled(recipient).encode("utf-8", "replace")))

    def tried(self, message: Message, to: str, orig: str, fate: Fate, since: int, queue_id: str = "") -> None:
        """One attempt for one recipient: the mailbox where that is in the domain, else the address that was
        written to. ``queue_id``: the message's id here, where it may go on under others."""
        ours = [spelled(one) for one in (to, orig) if self.desk.ours(one)]
        for name in ours[:1] or message.passed_to(queue_id):
            self.note(message, name, spelled(to), fate, since)
        if len(ours) == 2 and ours[0] != ours[1] and fate[0] != "passed":
            self._led_on(message, ours[1])

    def note(self, message: Message, name: str, target: str, fate: Fate, since: int) -> None:
        targets = message.fates.get(name)
        if targets is not None:
            targets.pop("", None)
        message.note(name, target, fate, since)
        if message.told:
            self.mail.later(message)

    def _led_on(self, message: Message, alias: str) -> None:
        """A recipient that only led to others in the domain is none of its own."""
        targets = message.fates.get(alias)
        if targets is not None and set(targets) <= {""}:
            del message.fates[alias]

    def onward(self, message: Message, queue_id: str, address: str | None) -> Message | None:
        """The message that a delivery to this very host went on as, if it is in this log."""
        child = self.mail.get(queue_id)
        if child is None or child.kind in ("outside", "submission") or child is message:
            return None
        same = child.message_id is not None and child.message_id == message.message_id
        return child if same or (address is not None and self.desk.is_own(address)) else None

    def refused(
        self, at: int, recipient: str, client: str | None, helo: str | None, reply: str,
        message: Message | None = None, queue_id: str | None = None,
    ) -> None:  # fmt: skip
        if self.desk.ours(recipient):
            self.desk.tell.mail(
                at, spelled(recipient), message.message_id if message else None, client, helo,
                self.mail.origin(message) if message else "outside", "rejected", queue_id, reply,
            )  # fmt: skip

    def place(self, address: str | None) -> State:
        """Where a delivery over the network went."""
        return "delivered" if address is None or self.desk.is_own(address) else "relayed"


def bare(raw: bytes) -> str:
    """An address without its angle brackets."""
    raw = raw.strip()
    return text(raw[1:-1] if raw.startswith(b"<") and raw.endswith(b">") else raw)


def remember(table: dict[Any, Any], key: Any, value: Any) -> None:
    """The newest stay."""
    table.pop(key, None)
    table[key] = value
    if len(table) > MOST_REMEMBERED:
        del table[next(iter(table))]
