"""A message found in a mailbox, as an observation: a canary that landed, or real mail that a side took."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from probes.mail.canary import FIELD, Seen, Signer, read_canary
from probes.mail.header import Field, fields, first, squeezed
from probes.mail.received import Hop, moment
from probes.mail.trace import Place, arrival, authentication, digest, hops, message_id
from probes.observation import CanaryLanded, Mail, Side, now

_LIVE = timedelta(seconds=5)
_SKEW = timedelta(seconds=5)


def observe(
    header: bytes, internal_date: datetime | None, folder: str, side: Side, account: str, place: Place,
    signer: Signer, protocol: str = "imap",
) -> CanaryLanded | Mail:  # fmt: skip
    """Never raises for anything that a header may hold. ``place`` learns from canaries how its hosts call
    themselves. ``protocol``: by which it was seen, imap or pop3."""
    those = fields(header)
    place.meet(those)
    seen = read_canary(signer, those, account)
    if seen is not None:
        return _landed(seen, those, internal_date, folder, side, account, place, protocol)
    found = message_id(those)
    ours = signer.recognise(found) if found is not None else None
    if ours is not None and _stripped(those, account):
        sent = moment(first(those, "date") or "") or internal_date or now()
        return _landed(Seen(ours, "", sent), those, internal_date, folder, side, account, place, protocol)
    # The signed Message-ID in another's copy, or beside a signature that does not hold, is no evidence of a
    # landing, but no real mail either.
    taken = arrival(those, place)
    return Mail(
        at=now(), side=side, accepted_at=taken.at or internal_date or now(), source="mailbox",
        recipient=account, message_id=found, client=taken.client, helo=taken.helo,
        origin="canary" if ours is not None else taken.origin, disposition="delivered",
        queue_id=taken.queue_id, digest=digest(those) if found is None else None,
    )  # fmt: skip


def _stripped(those: Sequence[Field], account: str) -> bool:
    """Whether a gateway took our own field away from a canary to this very account, and no more."""
    to = squeezed(first(those, "to") or "").rpartition("<")[2].rstrip("> ")
    return first(those, FIELD.lower()) is None and to.lower() == account.lower()


def _landed(
    seen: Seen, those: Sequence[Field], internal_date: datetime | None, folder: str, side: Side,
    account: str, place: Place, protocol: str,
) -> CanaryLanded:  # fmt: skip
    chain = hops(those)
    if chain and seen.route in (f"to-{side}", f"via-{side}"):
        # The hop nearest to us was written by the host of this side that we handed the canary to.
        place.learn(chain[-1].by)
    at = now()
    return CanaryLanded(
        at=at, canary=seen.canary, side=side, account=account, folder=folder, protocol=protocol,
        latency_ms=latency(seen.sent_at, internal_date, at), hops=tuple(map(_name, reversed(chain))),
        auth=authentication(those, place),
    )  # fmt: skip


def latency(sent: datetime, internal_date: datetime | None, seen: datetime) -> float:
    """Milliseconds on the way. Our own clock tells where the message was seen at once; else INTERNALDATE
    does, in whole seconds and by the server's clock, unless that clock is plainly wrong."""
    own = max(timedelta(0), seen - sent)
    if internal_date is not None and sent - _SKEW <= internal_date <= seen - _LIVE:
        own = min(own, max(timedelta(0), internal_date - sent))
    return own / timedelta(milliseconds=1)


def _name(hop: Hop) -> str:
    """A host's name, absolute as everywhere in observations."""
    dotted = "." in hop.by and not hop.by.rpartition(".")[2].isdigit() and ":" not in hop.by
    return f"{hop.by}." if dotted else hop.by or "?"
