"""A plan in memory as the observation that opens every record."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from monitor.plan.model import CutoverPlan
from probes.observation import FORMAT_VERSION, Hosts, Plan


def plan_observation(plan: CutoverPlan, authorities: Iterable[str], at: datetime) -> Plan:
    """``authorities``: the addresses that must be watched, as found by walking the delegation."""
    return Plan(
        at=at,
        version=FORMAT_VERSION,
        domain=plan.domain,
        old=Hosts(mx=plan.old.mx, addresses=plan.old.addresses),
        new=Hosts(mx=plan.new.mx, addresses=plan.new.addresses),
        expected_mx=plan.expected_mx,
        authorities=tuple(sorted(set(authorities))),
        resolvers=plan.resolvers,
        routes=plan.routes,
        accounts=tuple(account.address for account in plan.accounts),
        policy=plan.policy,
        platforms=plan.platforms,
    )
