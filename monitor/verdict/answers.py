"""What an MX answer says: judged by where it leads, not by its name (verdict.md, "What an answer says")."""

from __future__ import annotations

from collections.abc import Callable
from fnmatch import fnmatchcase
from functools import lru_cache

from monitor.snapshot import Leads
from probes.observation import Hosts, Plan

Lookup = Callable[[str], frozenset[str] | None]
"""An absolute host name to its addresses; None where they are not known."""


@lru_cache(maxsize=8192)
def host_name(name: str) -> str:
    """Absolute and lower case: names compare without regard to case (RFC 1035 section 2.3.3)."""
    name = name.strip().lower()
    return name if name.endswith(".") else name + "."


@lru_cache(maxsize=8192)
def exchanges(rrset: tuple[str, ...]) -> frozenset[tuple[int, str]]:
    """The (preference, exchange) pairs of an MX RRset in presentation form."""
    parts = (rdata.split(None, 1) for rdata in rrset)
    return frozenset((int(preference), host_name(exchange)) for preference, exchange in parts)


def named(name: str, hosts: Hosts) -> bool:
    """Whether one of the side's names or patterns is this host."""
    return any(fnmatchcase(name, host_name(pattern)) for pattern in hosts.mx)


def leads_to(name: str, addresses: frozenset[str] | None, plan: Plan) -> frozenset[str]:
    """The sides that one exchange leads to: any of ``old``, ``new``, ``other``.

    Addresses decide over names. Where the plan gives a side no addresses, its names decide. A name
    that both sides bear and whose addresses are unknown leads, for all that is known, to old.
    """
    if addresses:
        return frozenset(_side_of(address, name, plan) for address in addresses)
    if named(name, plan.old):
        return frozenset({"old"})
    return frozenset({"new" if named(name, plan.new) else "other"})


def _side_of(address: str, name: str, plan: Plan) -> str:
    if address in plan.old.addresses:
        return "old"
    if address in plan.new.addresses:
        return "new"
    if not plan.new.addresses and named(name, plan.new):
        return "new"
    return "old" if not plan.old.addresses and named(name, plan.old) else "other"


def judge_mx(rrset: tuple[str, ...], plan: Plan, lookup: Lookup) -> Leads:
    """Where a present MX RRset leads."""
    pairs = exchanges(rrset)
    # RFC 7505 section 3: a single "0 ." says that the domain takes no mail.
    if not pairs or pairs == {(0, ".")}:
        return "none"
    sides = [leads_to(name, lookup(name), plan) for _, name in pairs]
    verdict = _together(sides)
    if verdict == "new" and pairs != exchanges(plan.expected_mx):
        return "differs"
    return verdict


def judge_implicit(plan: Plan, addresses: frozenset[str] | None) -> Leads:
    """After a NODATA for MX the domain's own addresses are the exchange (RFC 5321 section 5.1)."""
    if not addresses:
        return "none"
    verdict = _together([leads_to(host_name(plan.domain), addresses, plan)])
    return "differs" if verdict == "new" else verdict


def _together(sides: list[frozenset[str]]) -> Leads:
    if any("other" in side for side in sides):
        return "other"
    if all(side == {"old"} for side in sides):
        return "old"
    return "mixed" if any("old" in side for side in sides) else "new"
