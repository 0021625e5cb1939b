"""The messages that are on their way through the server, by queue id, and when each is reported.

- A message is reported when it has left the queue (moments after it came), a recipient whose delivery
  is put off after ``DEFERRED`` as ``delivered``, with the reason as ``reply``: old has it, new does not.
  If it is passed on after all, ``relayed`` follows, with the same queue id and ``accepted_at``.
- What came over SMTP from this host itself, or from no client, may be a content filter's second half or
  a forward. It is joined to the message that it continues; ``GRACE`` after it left it stands alone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any

from probes.observation import Disposition, Origin
from probes.oldhost.message import SEEN_LIMIT, Kind, Message, unpacked
from probes.oldhost.telling import Teller

GRACE = 10_000  # ms: lines of one message may be this far apart or out of order
DEFERRED = 45_000  # ms until a delivery that is put off is reported
SILENT = 600_000  # ms after which an accepted message without any recipient is reported
ABANDONED = 3_600_000  # ms after which one that was never accepted is forgotten
OUTDATED = 8 * 86_400_000  # ms: longer than any queue keeps a message (Postfix 5 days, qmail 7)
MOST_MESSAGES = 20_000


class InFlight:
    """``is_own``: whether an address is the host's own. Times in ms.

    When a message was accepted is told by the log host's clock (``at``), how long it waits by whoever
    reads (``since``, ``moment``).
    """

    def __init__(self, teller: Teller, is_own: Callable[[str], bool]) -> None:
        self._tell = teller
        self._is_own = is_own
        self._queue: dict[str, Message] = {}
        self._by_id: dict[str, Message] = {}  # by Message-ID
        self._leaving: deque[tuple[int, str]] = deque()  # (when to forget it, queue id removed)
        self._swept = 0
        self.evicted = 0  # reported and forgotten for want of room

    def __len__(self) -> int:
        return len(self._queue)

    def ids(self) -> set[bytes]:
        """As they stand in lines."""
        return {queue_id.encode("utf-8", "replace") for queue_id in self._queue}

    def get(self, queue_id: str) -> Message | None:
        return self._queue.get(queue_id)

    def named(self, message_id: str) -> Message | None:
        return self._by_id.get(message_id)

    def _messages(self) -> Iterable[Message]:
        return list({id(m): m for m in self._queue.values()}.values())

    # -- coming and going -----------------------------------------------------------------------------

    def open(self, queue_id: str, kind: Kind, at: int, since: int) -> Message:
        """A queue id begins at ``at``; an earlier message of the same id is over."""
        before = self._queue.pop(queue_id, None)
        if before is not None:
            before.ids.discard(queue_id)
            before.names.discard(queue_id)
            if not before.ids:
                self._close(before)
                self.drop(before)
        message = Message(queue_id, kind, at, ids={queue_id}, names={queue_id}, touched=since)
        self._queue[queue_id] = message
        if len(self._queue) > MOST_MESSAGES:
            self._evict()
        self._sweep(since)
        return message

    def name(self, message: Message, message_id: str) -> None:
        """Its Message-ID, by which what it goes on as is found."""
        message.message_id = message_id
        self._by_id.setdefault(message_id, message)

    def continue_as(self, message: Message, queue_id: str) -> None:
        """The message goes on under another id, of which lines came already or are still to come."""
        child = self._queue.get(queue_id)
        if child is not None:
            self.merge(message, child)
        else:
            self._queue[queue_id] = message
            message.ids.add(queue_id)
            message.names.add(queue_id)

    def merge(self, parent: Message, child: Message) -> None:
        if parent is child:
            return
        parent.adopt(child)
        for queue_id in child.names:
            self._queue[queue_id] = parent
        if child.message_id is not None and self._by_id.get(child.message_id) is child:
            del self._by_id[child.message_id]
        if not parent.ids and parent.firm:
            self.report(parent, final=True)

    def removed(self, queue_id: str, since: int, settled: bool = True) -> None:
        """It left the queue. ``settled``: its deliveries were heard of, so there is nothing to wait for."""
        message = self._queue.get(queue_id)
        if message is None:
            return
        message.ids.discard(queue_id)
        message.touched = since
        self._leaving.append((since + GRACE, queue_id))
        if settled and not message.ids and message.firm and not message.open_ended:
            self.report(message, final=True)

    def drop(self, message: Message) -> None:
        for queue_id in message.names:
            if self._queue.get(queue_id) is message:
                del self._queue[queue_id]
        if message.message_id is not None and self._by_id.get(message.message_id) is message:
            del self._by_id[message.message_id]

    # -- reporting --------------------------------------------------------------------------------------

    def report(self, message: Message, final: bool) -> None:
        """Every recipient whose fate is known (``final``: or never will be) and was not told yet."""
        if not message.active:
            return
        for recipient in list(message.fates):
            fate = None if recipient in message.told else message.fate(recipient, final)
            if fate is not None:
                message.told[recipient] = fate[0]
                self._mail(message, recipient, *fate)

    def later(self, message: Message) -> None:
        """One who was reported as put off, and got passed on after all."""
        for recipient, before in message.told.items():
            if before != "deferred" or recipient not in message.fates:
                continue
            fate = message.fate(recipient, final=False)
            if fate is not None:
                message.told[recipient] = fate[0]
                if fate[0] == "relayed":
                    self._mail(message, recipient, *fate)

    def _unknown_recipient(self, message: Message) -> None:
        if message.kind == "outside" and not message.canary and "" not in message.told:
            message.told[""] = "delivered"
            self._mail(message, "", "delivered", "")

    def _mail(self, message: Message, recipient: str, state: str, reply: str) -> None:
        accepted = message.accepted if message.accepted is not None else message.began
        disposition: Disposition = "relayed" if state == "relayed" else "delivered"
        self._tell.mail(
            accepted, recipient, message.message_id, message.client, message.helo,
            self.origin(message), disposition, message.root, reply,
        )  # fmt: skip

    def origin(self, message: Message) -> Origin:
        if message.canary:
            return "canary"
        if message.kind == "internal":
            return "bounce" if message.bounce else "unknown"
        if message.kind != "own":
            return message.kind
        # A filter names the client that it speaks for (XFORWARD).
        return "local" if message.client is None or self._is_own(message.client) else "outside"

    # -- time passes ------------------------------------------------------------------------------------

    def tick(self, moment: int) -> None:
        """All lines up to ``moment`` were read: report what has waited long enough."""
        self.forget(moment)
        for message in self._messages():
            if message.first is None:
                if message.active and not message.seen and moment - message.touched >= SILENT:
                    self._unknown_recipient(message)
            elif not message.active:
                if moment - message.first >= DEFERRED:
                    self._held(message)
            elif moment - message.first >= DEFERRED:
                self.report(message, final=True)
            elif moment - message.first >= GRACE:
                self.report(message, final=False)

    def flush(self) -> None:
        """Nothing more will be read: report all that is proven."""
        for message in self._messages():
            self._close(message)
        self._queue.clear()
        self._by_id.clear()
        self._leaving.clear()

    def _held(self, message: Message) -> None:
        """Put on hold (access(5) HOLD): accepted as soon as it was received, though never active."""
        if not message.active and message.fates and message.message_id is not None and not message.dead:
            message.accepted = message.began
            self.report(message, final=True)

    def forget(self, moment: int) -> None:
        """Queue ids that were removed long enough ago."""
        while self._leaving and self._leaving[0][0] <= moment:
            queue_id = self._leaving.popleft()[1]
            message = self._queue.get(queue_id)
            if message is None or queue_id in message.ids:
                continue
            if message.ids:  # it goes on under another id
                if queue_id != message.root:
                    message.names.discard(queue_id)
                    del self._queue[queue_id]
            elif moment - message.touched < GRACE:
                self._leaving.append((message.touched + GRACE, queue_id))
            else:
                self._close(message)
                self.drop(message)

    def _close(self, message: Message) -> None:
        """Nothing more will be heard of it."""
        self._held(message)
        self.report(message, final=True)
        if message.active and len(message.seen) < min(message.nrcpt, SEEN_LIMIT):
            self._unknown_recipient(message)

    def _evict(self) -> None:
        """Of the oldest, rather one that was never accepted."""
        oldest = list(islice(self._queue.values(), 100))
        message = next((m for m in oldest if not m.active), oldest[0])
        self.evicted += 1
        self._close(message)
        self.drop(message)

    def _sweep(self, moment: int) -> None:
        """Every minute of the log: what was never accepted, and what is long over."""
        if 0 <= moment - self._swept < 60_000:
            return
        self._swept = moment
        for message in self._messages():
            idle = moment - message.touched
            if not message.active:
                if idle >= ABANDONED:
                    self._held(message)
                if idle >= ABANDONED and not message.active:
                    self.drop(message)
            elif idle >= OUTDATED:
                self._close(message)
                self.drop(message)
            elif message.outgoing:
                self.drop(message)

    # -- going on after a stop --------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        messages = list(self._messages())
        index = {id(m): i for i, m in enumerate(messages)}
        return {
            "messages": [m.packed() for m in messages],
            "queue": {q: index[id(m)] for q, m in self._queue.items()},
            "by_id": {k: index[id(m)] for k, m in self._by_id.items() if id(m) in index},
            "leaving": [list(one) for one in self._leaving],
            "swept": self._swept,
            "evicted": self.evicted,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Raises ``ValueError``, ``LookupError``, ``TypeError`` or ``AttributeError`` on no such state."""
        messages = [unpacked(one) for one in state["messages"]]
        queue = {q: messages[i] for q, i in state["queue"].items()}
        by_id = {k: messages[i] for k, i in state["by_id"].items()}
        leaving = deque((int(at), str(q)) for at, q in state["leaving"])
        self._swept, self.evicted = int(state["swept"]), int(state["evicted"])
        self._queue, self._by_id, self._leaving = queue, by_id, leaving
