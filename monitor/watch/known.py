"""What the schedules need to know of what was seen: whom the answers name, where those are, who is silent."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Literal

from monitor.evidence.delegation import Delegations
from monitor.plan.model import CutoverPlan
from monitor.watch.asking import Server, Target
from probes.observation import AuthorityAnswer, Observation, Plan, ResolverAnswer, to_ms

MOST_HOSTS = 12
SILENT = frozenset({"timeout", "unreachable"})
_DAY = 86400  # no answer counts for longer


def exchanges(rrset: Iterable[str]) -> list[str]:
    """Exchanges of an MX RRset, lowest preference first (RFC 5321 section 5.1); the null MX names none."""
    pairs = sorted((int(p), host) for p, _, host in (rdata.partition(" ") for rdata in rrset))
    return [host.strip() for _, host in pairs if host.strip() != "."]


class Known:
    """Fed with every kept observation, in the order of the record."""

    def __init__(self, plan: CutoverPlan) -> None:
        planned = [*exchanges(plan.expected_mx), *(name for name in plan.old.mx if "*" not in name)]
        self._planned = list(dict.fromkeys(planned))
        self._domain = plan.domain
        self._mx: dict[str, tuple[datetime, list[str]]] = {}
        self._addresses: dict[tuple[str, str, str], tuple[str, ...]] = {}
        self._named: dict[str, list[str]] = {}
        self._servers: dict[str, str] = {}
        self._delegations = Delegations()
        self.plan: Plan | None = None

    def hear(self, seen: Observation) -> None:
        if isinstance(seen, Plan):
            self.plan = seen
        elif isinstance(seen, AuthorityAnswer):
            self._names(seen, f"authority:{seen.address}")
            self._delegations.hear(seen, to_ms(seen.at), self._domain)
            if seen.type == "MX" and seen.name == self._domain:
                self._servers[seen.address] = seen.server
        elif isinstance(seen, ResolverAnswer):
            self._names(seen, f"resolver:{seen.resolver}")
            self._resolver(seen)

    def _names(self, seen: AuthorityAnswer | ResolverAnswer, source: str) -> None:
        if seen.type == "MX" and seen.outcome == "answer" and seen.name == self._domain:
            self._named[source] = exchanges(seen.rrset)

    def _resolver(self, seen: ResolverAnswer) -> None:
        if seen.outcome in SILENT:
            return
        if seen.type == "MX" and seen.name == self._domain:
            self._mx[seen.resolver] = (
                seen.at + timedelta(seconds=min(seen.ttl, _DAY)),
                exchanges(seen.rrset),
            )
        elif seen.type in ("A", "AAAA"):
            self._addresses[seen.resolver, seen.name, seen.type] = seen.rrset

    def hosts(self) -> tuple[str, ...]:
        """Exchanges whose addresses are to be asked: the planned, the old, and what any answer names."""
        named = (host for hosts in self._named.values() for host in hosts)
        return tuple(dict.fromkeys([*self._planned, *named]))[:MOST_HOSTS]

    def usable(self, server: Server, at: datetime) -> float:
        """For how many seconds a cache may still go by an NS RRset that names this server, whoever is
        delegated now."""
        return max(0.0, ((self._delegations.until(server.name) or 0) - to_ms(at)) / 1000)

    def leaving(self, at: datetime) -> list[Server]:
        """Authorities of the record's last plan that a cache may still ask."""
        addresses = self.plan.authorities if self.plan is not None else ()
        servers = (Server(self._servers.get(address, ""), address) for address in addresses)
        return [server for server in servers if self.usable(server, at)]

    def target(self, resolver: str, after: datetime) -> Target | None:
        """Where an outside sender behind ``resolver`` would deliver, by an answer that did not run out before
        ``after``."""
        until, hosts = self._mx.get(resolver, (after - timedelta(days=1), []))
        if until < after:
            return None
        for host in hosts:
            for kind in ("A", "AAAA"):
                for address in self._addresses.get((resolver, host, kind), ()):
                    return Target(host, address)
        return None


class Reachability:
    """Whether the watcher itself is cut off: nobody has answered since several who had answered before fell
    silent, or nobody ever did."""

    def __init__(self, expected: int) -> None:
        self._enough = max(1, min(3, expected))
        self._silent: dict[str, bool] = {}
        self._fallen: set[str] = set()  # silent now, and nobody has answered since they did
        self.offline = False

    def hear(self, source: str, silent: bool) -> Literal["offline", "online"] | None:
        """``offline`` or ``online`` where that has just changed."""
        if not silent:
            self._fallen.clear()
        elif self._silent.get(source) is False:
            self._fallen.add(source)
        self._silent[source] = silent
        cut_off = silent and (self.offline or self._nobody() or len(self._fallen) >= self._enough)
        if cut_off == self.offline:
            return None
        self.offline = cut_off
        return "offline" if cut_off else "online"

    def _nobody(self) -> bool:
        return len(self._silent) >= self._enough and all(self._silent.values())
