"""What a delivery agent's line says of a message: who got it where, or under which id it goes on."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Collection

from probes.oldhost.inflight import InFlight
from probes.oldhost.lines import Delivery
from probes.oldhost.message import SEEN_LIMIT, Fate, Message, State


class Deliveries:
    """``domains``: the domain's spellings; ``is_own``: whether an address is the host's own."""

    def __init__(self, mail: InFlight, domains: Collection[str], is_own: Callable[[str], bool]) -> None:
        self._mail = mail
        self._domains = domains
        self._is_own = is_own

    def take(self, message: Message, daemon: str, queue_id: str, found: Delivery, since: int) -> None:
        """One attempt of ``daemon`` for one recipient of ``message``, which is ``queue_id`` here."""
        if message.root == queue_id and len(message.seen) < SEEN_LIMIT:
            message.seen.add(zlib.crc32(f"{found.to} {found.orig_to}".encode("utf-8", "replace")))
        goes_on = onward(found.text) if found.status == "sent" else ""
        child = self._mail.get(goes_on) if goes_on else None
        fate: Fate
        if child is not None and self._continues(message, child, found):
            fate = ("passed", "", goes_on)
            if child is not message:
                self._mail.merge(message, child)
        elif goes_on and found.text.startswith("forwarded as "):
            self._mail.continue_as(message, goes_on)
            fate = ("passed", "", goes_on)
        else:
            fate = (self.state(daemon, found), found.text if found.status != "sent" else "", "")
        target = spelled(found.to)
        for recipient in self._recipients(message, queue_id, found, fate):
            message.note(recipient, target, fate, since)
        orig = spelled(found.orig_to)
        if self.ours(orig) and orig != target and self.ours(target) and fate[0] != "passed":
            message.aliases.add(orig)
            message.resolve(orig)
        if message.told:
            self._mail.later(message)

    def _continues(self, message: Message, child: Message, found: Delivery) -> bool:
        """Whether "queued as X" means a queue id of this log, not another host's of the same name."""
        if child is message or found.text.startswith("forwarded as "):
            return True
        if child.kind in ("outside", "submission"):
            return False
        same = child.message_id is not None and child.message_id == message.message_id
        return same or (child.kind == "own" and self._relay_own(found.relay))

    def _relay_own(self, relay: str) -> bool:
        return self._is_own(relay.partition("[")[2].partition("]")[0])

    def state(self, daemon: str, found: Delivery) -> State:
        if found.status == "deferred" or found.status == "bounced":
            return found.status
        if daemon not in ("smtp", "lmtp") or found.relay == "none":
            return "delivered"
        place = found.relay.partition("[")[2].partition("]")[0]
        return "delivered" if "/" in place or not place or self._is_own(place) else "relayed"

    def concerns(self, found: Delivery) -> bool:
        return self.ours(found.to) or self.ours(found.orig_to)

    def ours(self, mailbox: str) -> bool:
        return mailbox.rpartition("@")[2].rstrip(".").lower() in self._domains and "@" in mailbox

    def _recipients(self, message: Message, queue_id: str, found: Delivery, fate: Fate) -> list[str]:
        """Whose delivery this was, in the domain's terms."""
        name = self.name(found)
        if not name:
            return message.passed_to(queue_id)
        return [] if fate[0] == "passed" and name in message.aliases else [name]

    def name(self, found: Delivery) -> str:
        """The recipient of the domain, or ""."""
        return next((spelled(one) for one in (found.to, found.orig_to) if self.ours(one)), "")


def spelled(mailbox: str) -> str:
    """One spelling for comparing: users write the local part in any case, a final dot says nothing."""
    return mailbox.lower().rstrip(".")


def onward(text: str) -> str:
    """The queue id under which a delivered message goes on, by the delivery's text, or ""."""
    for phrase in ("forwarded as ", "queued as "):
        _, told, after = text.rpartition(phrase)
        if told:
            return after.split(" ")[0].strip("<>().,;")[:64]
    return ""
