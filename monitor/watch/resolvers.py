"""Recursive resolvers: each is asked when its answer tells something; what is left out is said."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence

from monitor.evidence.dns import Dns, Resolver
from monitor.plan.model import CutoverPlan
from monitor.verdict.answers import exchanges, named
from monitor.watch.asking import Asking, Tell
from monitor.watch.expiry import Stage, hosts_due, hosts_new, next_question, rhythm, stage
from monitor.watch.known import SILENT
from monitor.watch.pace import Backoff, Gates, Skipped, again_and_again, gap, heed, jittered, rest
from probes.observation import AuthorityAnswer, Observation, Plan, ResolverAnswer, Skip, now, to_ms

ASK_DEADLINE = 90.0
# Such an answer is worth no question soon: a cache of failures, or nobody (RFC 2308 section 7).
NO_ANSWER = SILENT | {"refused", "servfail", "bogus", "malformed"}

Put = Callable[..., Awaitable[None]]


class Resolvers:
    """The plan's resolvers. ``dns`` is what is known of DNS when the watch begins or goes on; it is kept up
    to date by :meth:`hear`, and belongs to this object. ``offline``: whether silence is our own."""

    def __init__(
        self, plan: CutoverPlan, asking: Asking, put: Put, tell: Tell, dns: Dns, observed: Plan,
        offline: Callable[[], bool],
    ) -> None:  # fmt: skip
        self._plan, self._asking, self._put, self._tell = plan, asking, put, tell
        self._dns, self._observed, self._offline = dns, observed, offline
        cadence = plan.cadence.resolver
        self._gates = Gates(gap(cadence))
        self._rhythm = rhythm(cadence, plan.policy.freshness, plan.policy.settle_samples, gap(cadence))
        self._kept = frozenset(n for _, n in exchanges(plan.expected_mx) if named(n, observed.old))
        self._stage = stage(dns, observed)
        self._turn = asyncio.Event()

    def start(self, group: asyncio.TaskGroup) -> None:
        """One task for each resolver, for ever."""
        for index, resolver in enumerate(self._plan.resolvers):
            asker = _Asker(self, resolver, index / len(self._plan.resolvers))
            group.create_task(again_and_again(f"resolver:{resolver}", asker.run, self._put))

    # What is known

    def replan(self, observed: Plan) -> None:
        """The authorities are others."""
        self._observed = observed
        self._look()

    def hear(self, seen: Observation) -> None:
        """Take what was just seen; where the authorities have got further, everybody looks again when to
        ask."""
        if isinstance(seen, AuthorityAnswer):
            self._dns.authority(seen, self._observed)
            self._look()
        elif isinstance(seen, ResolverAnswer):
            self._dns.resolver(seen, self._observed)

    def _look(self) -> None:
        found = stage(self._dns, self._observed)
        if found != self._stage:
            self._stage = found
            self._turn.set()
            self._turn = asyncio.Event()

    def known(self, resolver: str) -> Resolver | None:
        return self._dns.resolvers.get(resolver)

    # Asking

    @property
    def stage(self) -> Stage:
        return self._stage

    def hosts(self, resolver: str, asked: dict[str, int]) -> tuple[str, ...]:
        return hosts_due(self.known(resolver), self._kept, asked, to_ms(now()))

    async def ask(self, resolver: str, hosts: Sequence[str], tell: Tell) -> None:
        """One question, or a few a gap apart, in this platform's turn."""
        platform = self._plan.platforms.get(resolver, resolver)
        reserved = 1 + 2 * len(hosts)
        await self._gates.enter(platform, reserved)
        async with asyncio.timeout(ASK_DEADLINE):
            seen = await self._asking.resolver(resolver, hosts, tell)
        self._gates.used(platform, len(seen) - reserved)

    def due(self, resolver: str, phase: float, chance: float, asked: dict[str, int]) -> float:
        """Seconds from now until this resolver's next question."""
        known = self.known(resolver)
        new = hosts_new(known, asked)
        found = next_question(known, self._stage, self._rhythm, phase, hosts=new)
        pause = found.at + chance * found.spread - to_ms(now())
        # the wall clock may have been set back
        return min(max(pause, 0.0), self._rhythm.fresh) / 1000

    async def turned(self, seconds: float) -> None:
        """Wait so long, or until the authorities get further."""
        heed()
        try:
            async with asyncio.timeout(seconds):
                await self._turn.wait()
        except TimeoutError:
            return

    async def tell(self, seen: Observation) -> None:
        await self._tell(seen)

    @property
    def cadence(self) -> float:
        return self._plan.cadence.resolver

    @property
    def cut_off(self) -> bool:
        return self._offline()

    async def skipped(self, resolver: str, reason: str) -> None:
        await self._put(Skip(at=now(), subject=f"resolver:{resolver}", reason=reason))


class _Asker:
    """One resolver's turn after turn. What it remembers survives a fault in one of them."""

    def __init__(self, all_: Resolvers, resolver: str, phase: float) -> None:
        self._all, self._resolver, self._phase = all_, resolver, phase
        self._backoff, self._skipped = Backoff(all_.cadence), Skipped()
        self._hosts: dict[str, int] = {}
        self._outcome = ""
        self._begun = False

    async def run(self) -> None:
        if not self._begun:
            self._begun = True
            await self._begin()
        while True:
            self._outcome = ""
            hosts = self._all.hosts(self._resolver, self._hosts)
            self._hosts.update(dict.fromkeys(hosts, to_ms(now())))
            await self._all.ask(self._resolver, hosts, self._hear)
            await self._pause()

    async def _begin(self) -> None:
        """Not all at once; one that was asked before this process began, when it is due."""
        await asyncio.sleep(self._all.cadence * self._phase)
        if self._all.known(self._resolver) is not None:
            await self._until_due()

    async def _hear(self, seen: Observation) -> None:
        if not self._outcome and isinstance(seen, ResolverAnswer):
            self._outcome = seen.outcome  # the MX comes first
        await self._all.tell(seen)

    async def _pause(self) -> None:
        """Until the next question; a longer pause than an answer would have had goes on record."""
        failed = self._outcome in NO_ANSWER
        if not self._all.cut_off:  # then the silence is ours
            self._backoff.note(failed)
            reason = self._skipped.reason(self._backoff, self._outcome)
            if reason is not None:
                await self._all.skipped(self._resolver, reason)
        if failed or not self._outcome:
            await rest(jittered(self._all.cadence if self._all.cut_off else self._backoff.pause))
        else:
            await self._until_due()

    async def _until_due(self) -> None:
        chance = random.random()
        while seconds := self._all.due(self._resolver, self._phase, chance, self._hosts):
            await self._all.turned(seconds)
