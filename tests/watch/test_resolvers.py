"""The schedule of resolvers against a world in memory: one platform's turn, who is asleep, who is known."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import pairwise

from monitor.evidence.dns import Dns
from monitor.plan.model import Cadence, CutoverPlan
from monitor.plan.observed import plan_observation
from monitor.watch.asking import Tell
from monitor.watch.known import Reachability
from monitor.watch.resolvers import Resolvers
from probes.observation import AuthorityAnswer, Observation, Policy, ResolverAnswer, now, to_ms
from tests.watch.fake import NEW, OLD, World, plan, told

GAP = 0.05
SLOW = Policy(freshness=3000)  # so that without a reason nobody is asked again in a test's time
ADDRESSES = ("192.0.2.1", "192.0.2.2", "192.0.2.3")


class Timed(World):
    """Remembers when it was asked how many questions; its records live for ten minutes."""

    def __init__(self) -> None:
        super().__init__()
        self.times: list[tuple[float, int]] = []
        self.ends = to_ms(now()) + 600_000

    async def resolver(self, resolver: str, hosts: Sequence[str], tell: Tell) -> Sequence[Observation]:
        self.times.append((time.monotonic(), 1 + 2 * len(hosts)))
        self.asked[resolver] += 1
        left = (self.ends - to_ms(now())) // 1000
        answer = ResolverAnswer(
            at=now(), resolver=resolver, transport="udp", name="example.jp.", type="MX", outcome="answer",
            cache="one", ede=(), rrset=(self.mx,), ttl=left, rtt_ms=0.2,
        )  # fmt: skip
        return await told(tell, [answer])


def authority(rrset: str) -> AuthorityAnswer:
    return AuthorityAnswer(
        at=now(), server="ns1.example.", address="203.0.113.1", transport="udp", name="example.jp.",
        type="MX", outcome="answer", rrset=(rrset,), ttl=600, serial=1, aa=True, rtt_ms=1.5,
    )  # fmt: skip


def made(**more: object) -> CutoverPlan:
    usual: dict[str, object] = {"resolvers": ADDRESSES, "policy": SLOW, "cadence": Cadence(resolver=GAP * 4)}
    return plan(**usual | more)


@asynccontextmanager
async def asking(world: World, with_: CutoverPlan, dns: Dns | None = None) -> AsyncIterator[Resolvers]:
    said: list[Observation] = []

    async def put(*seen: Observation) -> None:
        said.extend(seen)

    async def hear(seen: Observation) -> None:
        resolvers.hear(seen)

    observed = plan_observation(with_, ["203.0.113.1"], now())
    resolvers = Resolvers(with_, world, put, hear, dns or Dns(), observed, lambda: False)
    resolvers.hear(authority(OLD))
    async with asyncio.TaskGroup() as group:
        task = group.create_task(_run(resolvers))
        yield resolvers
        task.cancel()


async def _run(resolvers: Resolvers) -> None:
    async with asyncio.TaskGroup() as group:
        resolvers.start(group)


async def until(holds: object, seconds: float = 20) -> None:
    assert callable(holds)
    async with asyncio.timeout(seconds):
        while not holds():
            await asyncio.sleep(0.02)


async def test_all_addresses_of_a_platform_share_its_turn() -> None:
    world = Timed()
    async with asking(world, made(platforms=dict.fromkeys(ADDRESSES, "one"))):
        await until(lambda: len(world.times) > 12)
    pauses = [(b - a, questions) for (a, questions), (b, _) in pairwise(world.times)]
    assert all(pause >= 0.9 * GAP * questions for pause, questions in pauses)
    assert any(questions > 1 for _, questions in pauses)


async def test_who_counts_down_is_left_alone_until_the_authorities_turn() -> None:
    world = Timed()
    async with asking(world, made()) as resolvers:
        await until(lambda: min(world.asked[a] for a in ADDRESSES) >= 12)
        await asyncio.sleep(GAP * 10)
        before = world.asked.total()
        assert before <= 3 * 14, "the census, and the addresses of what was named"
        world.ends = to_ms(now())  # what they hold is no reason to wait
        world.mx = NEW
        for address in ADDRESSES:
            await world.resolver(address, (), lambda seen: _heard(resolvers, seen))
        resolvers.hear(authority(NEW))
        await until(lambda: world.asked.total() >= before + 3 + 6)


async def _heard(resolvers: Resolvers, seen: Observation) -> None:
    resolvers.hear(seen)


async def test_a_watch_that_goes_on_asks_nobody_before_it_is_due() -> None:
    first, again = Timed(), Timed()
    async with asking(first, made()) as resolvers:
        await until(lambda: min(first.asked[a] for a in ADDRESSES) >= 12)
        dns = resolvers._dns
    async with asking(again, made(), dns):
        await asyncio.sleep(GAP * 12)
    # the addresses of hosts are asked anew: what was asked for is not on record
    assert again.asked.total() <= 3


def test_several_who_answered_before_make_an_offline_and_the_dead_do_not() -> None:
    reach = Reachability(60)
    heard = [reach.hear(f"dead-{n}", True) for n in range(2)]
    heard += [reach.hear(f"alive-{n}", False) for n in range(5)]
    heard += [reach.hear(f"dead-{n}", True) for n in range(20)]
    assert heard == [None] * 27
    assert [reach.hear(f"alive-{n}", True) for n in range(4)] == [None, None, "offline", None]
    assert reach.hear("alive-4", False) == "online"
