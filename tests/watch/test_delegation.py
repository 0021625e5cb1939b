"""A delegation that moves while the watch runs, or between two of its runs."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from monitor.journal import Journal
from monitor.plan.observed import plan_observation
from monitor.watch.asking import Server
from probes.observation import AuthorityAnswer, Plan, now
from tests.watch.fake import OLD, World, plan
from tests.watch.test_watch import running

OLD_NS, NEW_NS = Server("ns1.example.", "203.0.113.1"), Server("ns2.example.", "203.0.113.2")
PARENT = Server("a.example.", "192.0.2.100")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cutover.journal"


async def test_old_name_servers_are_asked_until_no_cache_can_come_to_them(path: Path) -> None:
    world = World()
    world.ns_ttl = 4
    async with running(path, world) as run:
        await run.until(lambda: world.asked[OLD_NS.address] > 0)
        world.servers = [NEW_NS]
        await run.until(lambda: len([p for p in run.seen() if isinstance(p, Plan)]) == 3)
        asked = world.asked["discover"]
    seen = run.seen()
    lists = [p for p in seen if isinstance(p, Plan)]
    assert [p.authorities for p in lists] == [
        (OLD_NS.address,), (OLD_NS.address, NEW_NS.address), (NEW_NS.address,),
    ]  # fmt: skip
    assert asked >= 4, "it was missing several times"
    assert lists[2].at - lists[1].at > timedelta(seconds=2), "its last sight was a second before, at most"
    late = [a for a in seen if isinstance(a, AuthorityAnswer) and a.address == OLD_NS.address]
    assert any(a.at > lists[1].at + timedelta(seconds=2) for a in late), "it went on being asked"


def _named(server: Server, names: tuple[str, ...], ttl: int, outcome: str = "referral") -> AuthorityAnswer:
    return AuthorityAnswer(
        at=now(), server=server.name, address=server.address, transport="udp", name="example.jp.", type="NS",
        outcome=outcome, rrset=names, ttl=ttl, serial=None, aa=outcome == "answer", rtt_ms=1,
    )  # fmt: skip


@pytest.mark.parametrize(("ttl", "kept"), [(3600, True), (0, False)])
async def test_a_watch_that_is_begun_again_knows_whom_caches_may_still_ask(
    path: Path, ttl: int, kept: bool
) -> None:
    mx = AuthorityAnswer(
        at=now(), server=OLD_NS.name, address=OLD_NS.address, transport="udp", name="example.jp.", type="MX",
        outcome="answer", rrset=(OLD,), ttl=5, serial=1, aa=True, rtt_ms=1,
    )  # fmt: skip
    with Journal.create(path, plan_observation(plan(), [OLD_NS.address], now())) as journal:
        journal.keep([mx, _named(PARENT, (OLD_NS.name,), ttl), _named(PARENT, (NEW_NS.name,), ttl)])
    world = World()
    world.servers = [NEW_NS]
    async with running(path, world) as run:
        await run.until(lambda: world.asked[NEW_NS.address] > 2)
    last = [p.authorities for p in run.seen() if isinstance(p, Plan)][-1]
    assert last == ((OLD_NS.address, NEW_NS.address) if kept else (NEW_NS.address,))
    assert bool(world.asked[OLD_NS.address]) is kept


async def test_the_walk_is_on_record_for_a_plan_that_lists_its_authorities_too(path: Path) -> None:
    world = World()
    async with running(path, world, plan(authorities=(OLD_NS.address,))) as run:
        world.servers = [NEW_NS]
        await run.until(lambda: world.asked["discover"] > 4)
    assert {p.authorities for p in run.seen() if isinstance(p, Plan)} == {(OLD_NS.address,)}
