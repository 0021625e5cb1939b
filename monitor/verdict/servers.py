"""What is to be remarked of one name server, beside what it answers."""

from __future__ import annotations

from monitor.evidence.names import canonical
from monitor.snapshot import RemarkRow
from monitor.verdict.answers import host_name
from monitor.verdict.context import Context, when
from monitor.verdict.dns import BOGUS, behind, bogus, left


def remarks(c: Context, address: str) -> tuple[RemarkRow, ...]:
    """The gravest first: its signatures, its place in the delegation, its zone's age."""
    address = canonical(address)
    known = c.evidence.dns.authorities.get(address)
    if known is None:
        return ()
    found = []
    if (why := bogus(c, address)) is not None:
        found.append(RemarkRow(code=f"remark.{why if why in BOGUS else 'bogus'}"))
    found += _delegated(c, address, host_name(known.server))
    if serials := behind(c, address):
        found.append(RemarkRow(code="remark.behind", args=dict(serials)))
    if known.sealed == "secure" and why is None:
        found.append(RemarkRow(code="remark.secure"))
    return tuple(found)


def _delegated(c: Context, address: str, name: str) -> list[RemarkRow]:
    """The parent's NS set and glue against the zone's own."""
    delegations = c.evidence.dns.delegations
    if left(c, address):
        return [RemarkRow(code="remark.left", args={"until": when(delegations.until(name))})]
    found, parent, zone = [], delegations.parent(), delegations.zone()
    if parent and zone and name in parent ^ zone:
        found.append(RemarkRow(code="remark.parent_only" if name in parent else "remark.zone_only"))
    glue, own = delegations.glue(name), c.evidence.dns.names.of_authorities(name)
    if glue and own and address in glue ^ own:
        found.append(RemarkRow(code="remark.glue_only" if address in glue else "remark.no_glue"))
    return found
