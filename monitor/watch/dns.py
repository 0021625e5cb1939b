"""When which name server is asked: spread over time, gently, and everything that is left out is said."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from itertools import count

from monitor.evidence.dns import Dns
from monitor.plan.model import CutoverPlan
from monitor.plan.observed import plan_observation
from monitor.watch.asking import Asking, Delegated, Server
from monitor.watch.known import SILENT, Known, Reachability
from monitor.watch.pace import again_and_again, jittered, rest
from monitor.watch.resolvers import Resolvers
from probes.observation import AuthorityAnswer, Observation, ResolverAnswer, Watcher, now

REDISCOVER = 300.0
# In rounds of an authority: the exchanges' own zones, and the records beside the MX.
HOSTS_ROUNDS, RECORDS_ROUNDS = 4, 20
ASK_DEADLINE = 60.0
MISSED_BEFORE_GONE = 3

Put = Callable[..., Awaitable[None]]


class DnsSchedule:
    """Authorities and resolvers. ``servers``: the authorities known at the start; ``dns``: what is known by
    then, to be kept up to date here."""

    def __init__(
        self, plan: CutoverPlan, asking: Asking, known: Known, put: Put, servers: Sequence[Server],
        dns: Dns | None = None,
    ) -> None:  # fmt: skip
        self._plan, self._asking, self._known, self._put = plan, asking, known, put
        self._servers = {server.address: server for server in servers}
        self._missed: dict[str, int] = {}
        self._usable = {s.address: time.monotonic() + known.usable(s, now()) for s in servers}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._reach = Reachability(len(plan.resolvers) + len(servers))
        self._intercepted = False
        observed = plan_observation(plan, self._servers, now())
        self._resolvers = Resolvers(
            plan, asking, put, self._hear, dns or Dns(), observed, lambda: self._reach.offline
        )

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            self._attend(group)
            group.create_task(self._delegation(group))
            group.create_task(self._port53())
            group.create_task(self._hosts())
            group.create_task(self._records())
            self._resolvers.start(group)

    # The delegation

    async def _delegation(self, group: asyncio.TaskGroup) -> None:
        """Walk the delegation again every few minutes: a new authority counts from its first sight."""
        often = min(REDISCOVER, self._plan.cadence.authority * 10)
        await rest(often / 100)  # the walk before the watch was not on record

        async def ask() -> None:
            while True:
                async with asyncio.timeout(ASK_DEADLINE):
                    found = await self._asking.discover(self._put)
                if self._plan.authorities is None and self._merge(found):
                    self._attend(group)
                    observed = plan_observation(self._plan, self._servers, now())
                    self._resolvers.replan(observed)
                    await self._put(observed)
                await rest(jittered(often if self._servers else often / 10))

        await again_and_again("delegation", ask, self._put)

    def _merge(self, found: Delegated) -> bool:
        """Add at once; drop an address only when it was missing several times in a row, and no cache may go
        by the delegation as it was: for the longer of the parent's TTL and the zone's (RFC 9199 section 3.6).
        """
        before, clock = dict(self._servers), time.monotonic()
        for server in found.servers:
            self._servers[server.address] = server
            self._usable[server.address] = clock + found.ttl
            self._missed.pop(server.address, None)
        there = {server.address for server in found.servers}
        for address in [a for a in self._servers if there and a not in there]:
            self._missed[address] = self._missed.get(address, 0) + 1
            usable = self._usable.get(address, 0.0) > clock
            if self._missed[address] >= MISSED_BEFORE_GONE and not usable:
                del self._servers[address], self._missed[address]
        return before.keys() != self._servers.keys()

    def _attend(self, group: asyncio.TaskGroup) -> None:
        """One task for each authority of the list."""
        for address in [a for a in self._tasks if a not in self._servers]:
            self._tasks.pop(address).cancel()
        for index, (address, server) in enumerate(self._servers.items()):
            if address not in self._tasks:
                self._tasks[address] = group.create_task(self._authority(server, index))

    # Asking

    async def _authority(self, server: Server, index: int) -> None:
        """An authority is never backed off from: its freshness is a requirement of its own."""
        every = self._plan.cadence.authority
        await asyncio.sleep(min(1.0, every) * index / 10)

        async def ask() -> None:
            while True:
                await self._asked(self._asking.authority(server, self._known.hosts(), self._hear))
                await rest(jittered(every))

        await again_and_again(f"authority:{server.address}", ask, self._put)

    async def _hosts(self) -> None:
        """An exchange's addresses as its own zone has them now, whoever serves the domain."""
        every = self._plan.cadence.authority * HOSTS_ROUNDS

        async def ask() -> None:
            while True:
                await self._asked(self._asking.hosts(self._known.hosts(), self._learn))
                await rest(jittered(every))

        await again_and_again("authority:hosts", ask, self._put)

    async def _records(self) -> None:
        """From one authority after the other: what one of them does not tell, the next may."""
        every = self._plan.cadence.authority * RECORDS_ROUNDS

        async def ask() -> None:
            for turn in count():
                servers = list(self._servers.values())
                if servers:
                    server = servers[turn % len(servers)]
                    await self._asked(self._asking.records(server, self._put))
                await rest(jittered(every if servers else self._plan.cadence.authority))

        await again_and_again("authority:records", ask, self._put)

    async def _port53(self) -> None:
        await again_and_again("port 53", lambda: self._asking.port53(self._hear), self._put)

    async def _asked(self, question: Awaitable[Sequence[Observation]]) -> Sequence[Observation]:
        async with asyncio.timeout(ASK_DEADLINE):
            return await question

    # The observer itself

    async def _learn(self, seen: Observation) -> None:
        self._resolvers.hear(seen)
        await self._put(seen)

    async def _hear(self, seen: Observation) -> None:
        await self._learn(seen)
        if isinstance(seen, Watcher):
            self._intercepted = seen.event == "intercepted"
        if not isinstance(seen, (AuthorityAnswer, ResolverAnswer)):
            return
        source = seen.address if isinstance(seen, AuthorityAnswer) else seen.resolver
        event = self._reach.hear(source, seen.outcome in SILENT)
        if event is not None:
            detail = "no name server answers here" if event == "offline" else f"{source} answers again"
            await self._put(Watcher(at=now(), event=event, detail=detail))
        if seen.outcome == "intercepted" and not self._intercepted:
            self._intercepted = True
            detail = f"port 53 is answered by somebody else here (seen asking {source})"
            await self._put(Watcher(at=now(), event="intercepted", detail=detail))
