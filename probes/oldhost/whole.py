"""Messages whose every line is at hand at once: most of history. Told straight away, without keeping one.

Only the plain case is dealt with: one client from outside, one Message-ID, taken up by qmgr once, every
recipient's delivery done at the first attempt, and gone. All else is left to the reading line by line,
which tells of these what is told here, too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from typing import Final, NamedTuple, TypeAlias

from probes.oldhost import lines
from probes.oldhost.deliveries import Deliveries, onward, spelled
from probes.oldhost.inflight import GRACE
from probes.oldhost.message import State
from probes.oldhost.stamps import Stamps
from probes.oldhost.telling import Teller

DAY = 86_400_000  # ms
_STAMP: Final = rb"([A-Z].{14} |\d\S+ )"
_HEAD: Final = rb"(?:[A-Z].{14}|\d\S+) \S+ postfix[\w-]*/"
_QMGR: Final = _STAMP + rb"\S+ postfix[\w-]*/[on]?qmgr\[\d+\]: (?P=id): "
_AGENT: Final = rb"(local|virtual|lmtp|smtp|pipe)\[\d+\]: "
_BEGIN: Final = (
    _HEAD + rb"smtpd\[\d+\]: (?P<id>\w+): client=[^\[\]\n]*\[([^\[\]\n]*)\]\n"
    + _HEAD + rb"cleanup\[\d+\]: (?P=id): message-id=([^\n]*)\n"
    + _QMGR + rb"from=[^\n]*, nrcpt="
)  # fmt: skip
_END: Final = _QMGR + rb"removed\Z"
# The usual one has one recipient, whom nothing led to another.
_ONE: Final = re.compile(
    _BEGIN + rb"1 \(queue active\)\n" + _HEAD + _AGENT + rb"(?P=id): to=<([^<>\n]*)>, relay=([^,\n]*), "
    rb"(?:conn_use=\d+, )?delay=[\d.]{1,20}, (?:delays=[\d./]+, )?(?:dsn=[\d.]+, )?"
    rb"status=sent \(([^\n]*)\)\n" + _END
)
_SEVERAL: Final = re.compile(
    _BEGIN + rb"(\d{1,3}) \(queue active\)\n((?:" + _HEAD + rb"\w+\[\d+\]: (?P=id): to=[^\n]*\n)+)" + _END
)
_TO: Final = re.compile(_HEAD + _AGENT + rb"\w+: (to=[^\n]*)\n")
_KNOWN: Final = 4_096  # clients, relays and addresses' domains that are kept in mind

Recipients: TypeAlias = dict[str, State]


class Plain(NamedTuple):
    """A message that was understood, and the domain's recipients with how each one's delivery went."""

    queue_id: bytes
    client: str
    message_id: str
    accepted: int
    gone: int
    recipients: Recipients


class Whole:
    """``in_flight``: whether a queue id is known; ``recognise`` and ``is_own`` as the reading by lines has
    them. Times in ms. :meth:`begin` comes before each piece of the log, :meth:`read` before :meth:`tell`."""

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
        self._states: dict[tuple[bytes, bytes], State] = {}
        self._moments: dict[bytes, int | None] = {}
        self._known: Collection[bytes] = ()
        self._near = self._limit = self.clock = 0

    def begin(self, near: int, clock: int, last: int | None) -> None:
        """``last``: the piece's last stamp. What was gone just before it may have a part still to come."""
        self._near, self.clock, self._limit = near, clock, 0 if last is None else last - GRACE
        self._clients.clear()
        self._states.clear()
        self._moments.clear()

    def read(self, block: bytes, known: Collection[bytes]) -> Plain | None:
        """A message's lines, if they are plain. ``known``: the piece's queue ids, as "3F2A1C0D5E: "."""
        self._known = known
        found = _ONE.match(block)
        if found is not None:
            queue_id, client, name, active, daemon, to, relay, text, gone = found.groups()
            recipients = self._single(daemon, to, relay, text)
        else:
            found = _SEVERAL.match(block)
            if found is None or found[5] != b"%d" % found[6].count(b"\n"):
                return None
            queue_id, client, name, active, _, told, gone = found.groups()
            recipients = self._several(told)
        if recipients is None:
            return None
        return self._plain(queue_id, client, name, active, gone, recipients)

    def _plain(
        self, queue_id: bytes, raw: bytes, name: bytes, active: bytes, gone: bytes, recipients: Recipients
    ) -> Plain | None:
        client = self._clients[raw] if raw in self._clients else self._client(raw)
        accepted = self._moments[active] if active in self._moments else self._moment(active)
        over = self._moments[gone] if gone in self._moments else self._moment(gone)
        if not client or accepted is None or over is None or over > self._limit:
            return None
        message_id = lines.text(name.strip())
        if self._recognise(message_id) is not None:
            return None
        return Plain(queue_id, client, message_id, accepted, over, recipients)

    def tell(self, one: Plain) -> None:
        self.clock = max(self.clock, one.gone)
        named = one.message_id if one.message_id not in ("", "<>") else None
        for recipient, state in one.recipients.items():
            self._tell.mail(
                one.accepted, recipient, named, one.client, None, "outside",
                "relayed" if state == "relayed" else "delivered", one.queue_id.decode("ascii"), "",
            )  # fmt: skip

    def _client(self, raw: bytes) -> str | None:
        """Its address; None where that is unknown, or the host's own."""
        address = lines.address(raw)
        self._clients[raw] = None if address is None or self._is_own(address) else address
        return self._clients[raw]

    def _moment(self, stamp: bytes) -> int | None:
        at = self._stamps.read(stamp, self._near, self.clock)
        within = at is not None and self.clock - DAY <= at <= self._near + DAY
        self._moments[stamp] = at if within else None
        return self._moments[stamp]

    def _single(self, daemon: bytes, to: bytes, relay: bytes, text: bytes) -> Recipients | None:
        if b"ed as " in text and self._goes_on(lines.text(text)):
            return None
        recipient = lines.text(to)
        if not self._deliveries.ours(recipient):
            return {}
        key = daemon, relay
        state = self._states.get(key) or self._learn(key, lines.text(relay))
        return {spelled(recipient): state}

    def _several(self, block: bytes) -> Recipients | None:
        """Each of the domain's with how it went; None where that is not so plain."""
        found: Recipients = {}
        told = _TO.findall(block)
        targets: set[str] = set()
        for daemon, rest in told:
            one = lines.delivery(rest)
            if isinstance(one, bool) or one.status != "sent" or (one.orig_to and len(told) > 1):
                return None
            if self._goes_on(one.text):
                return None
            targets.add(one.to)
            name = self._deliveries.name(one)
            if name:
                found[name] = self._deliveries.state(daemon.decode(), one)
        return found if len(targets) == len(told) == block.count(b"\n") else None

    def _goes_on(self, text: str) -> bool:
        """Whether the message is, or may be, still there under another queue id."""
        if text.startswith("forwarded as "):
            return True
        queue_id = onward(text)
        return b"%b: " % queue_id.encode("utf-8", "replace") in self._known or bool(self._in_flight(queue_id))

    def _learn(self, key: tuple[bytes, bytes], relay: str) -> State:
        if len(self._states) > _KNOWN:
            self._states.clear()
        one = lines.Delivery("", "", relay, 0, "sent", "")
        self._states[key] = self._deliveries.state(key[0].decode(), one)
        return self._states[key]
