"""What is worth knowing beside the answer itself."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from monitor.glance.agreement import authorities
from monitor.glance.known import Known
from monitor.glance.picture import Held, Reason, Served
from monitor.glance.said import Said

NULL_MX = ("0 .",)


def remarks(known: Known, served: Sequence[Served], held: Sequence[Held]) -> tuple[Reason, ...]:
    lied = (Reason("dns.remark.intercepted", {"why": known.intercepted}),) if known.intercepted else ()
    return (
        *lied,
        *_delegation(known),
        *_serials(known, served),
        *_mail(known, served),
        *_longer(served, held),
    )


def _delegation(known: Known) -> Iterable[Reason]:
    for hop in known.hops:
        if hop.parent_only:
            yield Reason("dns.remark.parent", {"zone": hop.zone, "names": hop.parent_only})
        if hop.zone_only:
            yield Reason("dns.remark.zone", {"zone": hop.zone, "names": hop.zone_only})
    nowhere = sum(at.excused for _, at, _ in authorities(known))
    if nowhere:
        yield Reason("dns.remark.no_ipv6", {"n": nowhere})


def _serials(known: Known, served: Sequence[Served]) -> Iterable[Reason]:
    """A secondary that is behind, though the data asked for may be the same."""
    for hop in known.hops:
        serials = sorted({n for s in served if s.name == hop.name for n in s.serials})
        if len(serials) > 1:
            yield Reason("dns.remark.serials", {"zone": hop.zone, "serials": tuple(map(str, serials))})


def _mail(known: Known, served: Sequence[Served]) -> Iterable[Reason]:
    if known.asked.type != "MX":
        return
    if any(s.rrset == NULL_MX for s in served):
        yield Reason("dns.remark.null_mx")  # RFC 7505
    if any(s.outcome == "nodata" for s in served):
        yield Reason("dns.remark.implicit_mx")  # RFC 5321 section 5.1
    for exchange in known.exchanges:
        if exchange.alias:
            yield Reason("dns.remark.mx_alias", {"name": exchange.name, "target": exchange.alias})
        elif not exchange.addresses:
            yield Reason("dns.remark.no_address", {"name": exchange.name})
        elif exchange.differ:
            yield Reason("dns.remark.addresses_differ", {"name": exchange.name})


def _longer(served: Sequence[Served], held: Sequence[Held]) -> Iterable[Reason]:
    """More life left of the same answer than the authorities give it: a TTL that was lowered after it was
    cached, or a cache that stretches it. Either way it outlives what the authorities promise."""
    right = [s.ttls[1] for s in served if s.agrees and s.outcome != "alias"]
    if not right:
        return
    longer = [at.said for h in held if h.agrees for at in h.who if at.said.ttl > max(right)]
    if longer:
        yield Reason(
            "dns.remark.longer",
            {"n": len(longer), "ttl": float(max(right)), "most": float(_most(longer))},
        )


def _most(said: Sequence[Said]) -> int:
    return max(s.ttl for s in said)
