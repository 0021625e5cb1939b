"""Messages whose every line is at hand at once: most of history. Told straight away, without keeping one.

Only the plain case is dealt with: one client from outside, one Message-ID, taken up by qmgr once, every
recipient's delivery done at the first attempt, and gone. All else is left to the reading line by line,
which tells of these what is told here, too.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from probes.oldhost import lines
from probes.oldhost.deliveries import Deliveries, onward, spelled
from probes.oldhost.inflight import GRACE
from probes.oldhost.message import State
from probes.oldhost.stamps import Stamps
from probes.oldhost.telling import Teller

DAY = 86_400_000  # ms
_HEAD: Final = rb"(?:[A-Z].{14}|\d\S+) \S+ postfix[\w-]*/"
_WHOLE: Final = re.compile(
    _HEAD + rb"smtpd\[\d+\]: (?P<id>\w+): (client=[^\[\]\n]*\[[^\[\]\n]*\])\n"
    + _HEAD + rb"cleanup\[\d+\]: (?P=id): message-id=([^\n]*)\n"
    + rb"((?:[A-Z].{14}|\d\S+) )\S+ postfix[\w-]*/[on]?qmgr\[\d+\]: (?P=id): "
    + rb"from=[^\n]*, nrcpt=(\d{1,3}) \(queue active\)\n"
    + rb"((?:" + _HEAD + rb"\w+\[\d+\]: (?P=id): to=[^\n]*\n)+)"
    + rb"((?:[A-Z].{14}|\d\S+) )\S+ postfix[\w-]*/[on]?qmgr\[\d+\]: (?P=id): removed\Z"
)  # fmt: skip
_TO: Final = re.compile(_HEAD + rb"(local|virtual|lmtp|smtp|pipe)\[\d+\]: \w+: (to=[^\n]*)\n")
_RELAYS = 4_096


class Whole:
    """``in_flight``: whether a queue id is known; ``recognise`` and ``is_own`` as the reading by lines has
    them. Times in ms. :meth:`begin` comes before each piece of the log."""

    def __init__(
        self, tell: Teller, deliveries: Deliveries, stamps: Stamps, in_flight: Callable[[str], object],
        recognise: Callable[[str], str | None], is_own: Callable[[str], bool],
    ) -> None:  # fmt: skip
        self._tell = tell
        self._deliveries = deliveries
        self._stamps = stamps
        self._in_flight = in_flight
        self._recognise = recognise
        self._is_own = is_own
        self._clients: dict[bytes, str | None] = {}
        self._states: dict[tuple[bytes, str], State] = {}
        self._near = self._limit = self.clock = 0

    def begin(self, near: int, clock: int, last: int | None) -> None:
        """``last``: the piece's last stamp. What was gone just before it may have a part still to come."""
        self._near, self.clock, self._limit = near, clock, 0 if last is None else last - GRACE
        self._clients.clear()
        self._states.clear()

    def take(self, block: bytes) -> bool:
        """The message's lines; whether it was told, or is none of the domain's."""
        found = _WHOLE.match(block)
        if found is None or found[5] != b"%d" % found[6].count(b"\n"):
            return False
        client, message_id = self._client(found[2]), lines.text(found[3].strip())
        if not client or self._recognise(message_id) is not None:
            return False
        gone, accepted = self._moment(found[7]), self._moment(found[4])
        recipients = self._recipients(found[6])
        if recipients is None or accepted is None or gone is None or gone > self._limit:
            return False
        self.clock = max(self.clock, gone)
        queue_id = found["id"].decode("ascii")
        named = message_id if message_id not in ("", "<>") else None
        for recipient, state in recipients.items():
            disposition = "relayed" if state == "relayed" else "delivered"
            self._tell.mail(accepted, recipient, named, client, None, "outside", disposition, queue_id, "")
        return True

    def _client(self, raw: bytes) -> str | None:
        """Its address; None where that is unknown, or the host's own."""
        if raw not in self._clients:
            address = lines.client(raw).address
            self._clients[raw] = None if address is None or self._is_own(address) else address
        return self._clients[raw]

    def _moment(self, stamp: bytes) -> int | None:
        at = self._stamps.read(stamp, self._near, self.clock)
        return at if at is not None and self.clock - DAY <= at <= self._near + DAY else None

    def _recipients(self, block: bytes) -> dict[str, State] | None:
        """Each of the domain's with how it went; None where that is not so plain."""
        found: dict[str, State] = {}
        told = _TO.findall(block)
        targets: set[str] = set()
        for daemon, rest in told:
            one = lines.delivery(rest)
            if isinstance(one, bool) or one.status != "sent" or (one.orig_to and len(told) > 1):
                return None
            goes_on = onward(one)
            if goes_on and self._in_flight(goes_on):
                return None
            targets.add(one.to)
            name = self._deliveries.name(one)
            if name:
                found[name] = self._state(daemon, one)
        return found if len(targets) == len(told) == block.count(b"\n") else None

    def _state(self, daemon: bytes, one: lines.Delivery) -> State:
        key = (daemon, one.relay)
        if key not in self._states:
            if len(self._states) > _RELAYS:
                self._states.clear()
            self._states[key] = self._deliveries.state(daemon.decode(), one)
        return self._states[key]
