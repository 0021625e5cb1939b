"""What real resolvers do to TTLs and to records past their end is recognised, by the probe's own answers."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from msgspec import Struct

from monitor.evidence.caches import Caches
from monitor.evidence.dns import Dns, Resolver
from monitor.evidence.habits import habits
from probes.dns.authority import ask_authority
from probes.dns.exchange import Exchange
from probes.dns.resolver import ask_resolver
from probes.endpoints import Endpoints
from probes.observation import AuthorityAnswer, Hosts, Observation, Plan, Policy, ResolverAnswer, now
from probes.sight import Server
from tests.servers import zones
from tests.servers.addresses import DNS, Addresses, draw
from tests.servers.daemon import Daemon, needs
from tests.servers.habits import PROGRAMS, Farm
from tests.servers.nsd import Nsd, asked

pytestmark = pytest.mark.servers
APEX = f"{zones.DOMAIN}."
Deeds = dict[float, Callable[[], None]]


class Net:
    """A root and the domain's two authorities; a farm of resolvers."""

    def __init__(self, directory: Path, ttl: int) -> None:
        self.addresses: Addresses = draw()
        directory.chmod(0o711)
        self.ttl = ttl
        self.root = Nsd("root", self.addresses.root, directory, zones.PARENTS)
        pair = (("primary", self.addresses.primary), ("secondary", self.addresses.secondary))
        self.authorities = [Nsd(name, address, directory, zones.CHILDREN) for name, address in pair]
        zones.write_parents(self.root.directory, self.addresses)
        for apex in zones.PARENTS:
            self.root.serve(apex)
        for nsd in self.authorities:
            zones.write_hosts(nsd.directory, self.addresses, 600)
            zones.write_domain(nsd.directory, self.addresses, 1, ttl, zones.OLD_MX)
            for apex in zones.CHILDREN:
                nsd.serve(apex)
        self.farm = Farm(self.addresses.block, self.addresses.root, directory)
        self.daemons = [self.root.daemon, *(nsd.daemon for nsd in self.authorities)]

    def change(self) -> None:
        for nsd in self.authorities:
            zones.write_domain(nsd.directory, self.addresses, 2, self.ttl, zones.NEW_MX)
            nsd.reload(APEX)

    def prime(self, last: int) -> None:
        """Have a resolver fetch the MX now."""
        asked(self.farm.address(last), DNS, APEX, "MX", timeout=5)


class Told(Struct):
    """What a watch of some seconds saw."""

    dns: Dns
    plan: Plan
    farm: Farm

    def resolver(self, last: int) -> Resolver:
        return self.dns.resolvers[self.farm.address(last)]

    def caches(self, last: int) -> Caches:
        return self.resolver(last).caches

    def habits(self, last: int) -> dict[str, float | None]:
        known = self.resolver(last)
        return {
            h.word: h.seconds
            for h in habits(known.signs, known.caches, self.dns.given, self.plan.authorities)
        }


async def watch(net: Net, lasts: range, seconds: float, deeds: Deeds) -> Told:
    """Ask everybody each second, and do the deeds at their times (s)."""
    farm, addresses = net.farm, net.addresses
    watched = [farm.address(last) for last in lasts]
    plan = Plan(
        at=now(), version=1, domain=APEX, old=Hosts(mx=(f"{zones.OLD_HOST}.",), addresses=(addresses.old,)),
        new=Hosts(mx=tuple(f"{n}." for n in zones.NEW_HOSTS), addresses=addresses.new),
        expected_mx=zones.NEW_MX, authorities=(addresses.primary, addresses.secondary),
        resolvers=tuple(watched), routes=(), accounts=(), policy=Policy(),
    )  # fmt: skip
    told = Told(Dns(), plan, farm)
    places = {farm.address(last): farm.real(last) for last in lasts}
    exchange = Exchange(Endpoints({f"{a}:53": f"{real}:{port}" for a, (real, port) in places.items()}))
    try:
        await _rounds(exchange, told, seconds, deeds)
    finally:
        await exchange.close()
    return told


async def _rounds(
    exchange: Exchange, told: Told, seconds: float, deeds: dict[float, Callable[[], None]]
) -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    due = sorted(deeds.items())

    async def hear(seen: Observation) -> None:
        if isinstance(seen, AuthorityAnswer):
            told.dns.authority(seen, told.plan)
        elif isinstance(seen, ResolverAnswer):
            told.dns.resolver(seen, told.plan)

    async def authority(address: str) -> None:
        while loop.time() - began < seconds:
            await ask_authority(exchange, Server("", address), APEX, (), tell=hear)
            await asyncio.sleep(0.5)

    async def resolver(address: str, turn: int) -> None:
        while loop.time() - began < seconds:
            turn += 1
            await ask_resolver(exchange, address, APEX, (), tell=hear, identify=turn % 7 == 0)
            await asyncio.sleep(1)

    async with asyncio.TaskGroup() as group:
        for address in told.plan.authorities:
            group.create_task(authority(address))
        for turn, address in enumerate(told.plan.resolvers):
            group.create_task(resolver(address, turn))
        for at, deed in due:
            await asyncio.sleep(max(0.0, began + at - loop.time()))
            await asyncio.to_thread(deed)


@contextlib.contextmanager
def running(ttl: int) -> Iterator[tuple[Net, Callable[..., None]]]:
    needs("nsd", "nsd-control", *PROGRAMS)
    with tempfile.TemporaryDirectory(prefix="mx-") as name, contextlib.ExitStack() as stack:
        net = Net(Path(name), ttl)
        for daemon in net.daemons:
            stack.enter_context(daemon)

        def start(*daemons: Daemon) -> None:
            with ThreadPoolExecutor() as pool:
                for daemon in pool.map(Daemon.__enter__, daemons):
                    stack.push(daemon)

        yield net, start


# While all name servers answer: a TTL of 20 s, the change after 22 s

PLAIN, MIN, MAX, KMIN, KMAX, PMIN, PMAX, MASQ, CAPPED, FARM, STEADY = range(30, 41)
BEHIND, AGED = (50, 51, 52), 53


@pytest.fixture(scope="module")
def ordinary() -> Iterator[Told]:
    with running(20) as (net, start):
        farm = net.farm
        start(
            farm.unbound(PLAIN),
            farm.unbound(MIN, "cache-min-ttl: 35"), farm.unbound(MAX, "cache-max-ttl: 4"),
            farm.kresd(KMIN, "cache.min_ttl(35)"), farm.kresd(KMAX, "cache.min_ttl(1)", "cache.max_ttl(4)"),
            farm.pdns(PMIN, "minimum-ttl-override=35"),
            farm.pdns(PMAX, "max-cache-ttl=4", "packetcache-ttl=4"),
            *(farm.unbound(last, f'identity: "behind-{last}"') for last in (*BEHIND, AGED)),
        )  # fmt: skip
        start(
            farm.dnsmasq(MASQ, PLAIN), farm.dnsmasq(CAPPED, AGED, "--max-ttl=8"),
            farm.dnsdist(FARM, BEHIND),
            farm.dnsdist(STEADY, [AGED], "getPool(''):setCache(newPacketCache(100, {dontAge=true}))"),
        )  # fmt: skip
        for last in (*BEHIND, AGED):  # so that their records run out at times of their own
            net.prime(last)
            time.sleep(4)
        yield asyncio.run(watch(net, range(PLAIN, STEADY + 1), 64, {22: net.change}))


@pytest.mark.parametrize("last", [PLAIN, MASQ])
def test_an_ordinary_one_has_no_habits_and_one_cache(ordinary: Told, last: int) -> None:
    assert ordinary.habits(last) == {}
    assert len(ordinary.caches(last)) == 1


@pytest.mark.parametrize("last", [MIN, KMIN, PMIN])
def test_a_least_ttl_is_recognised(ordinary: Told, last: int) -> None:
    found = ordinary.habits(last)
    assert found.keys() == {"raises"} and found["raises"] == pytest.approx(35, abs=2)


@pytest.mark.parametrize(("last", "seconds"), [(MAX, 4), (KMAX, 4), (PMAX, 15), (CAPPED, 8)])
def test_a_greatest_ttl_is_recognised(ordinary: Told, last: int, seconds: int) -> None:
    """PowerDNS Recursor takes none below 15 s; dnsmasq caps what it shows, not what it keeps."""
    found = ordinary.habits(last)
    assert found.keys() == {"caps"} and found["caps"] == pytest.approx(seconds, abs=2)


def test_a_ttl_that_does_not_count_down_is_recognised(ordinary: Told) -> None:
    assert ordinary.habits(STEADY).keys() == {"constant"}


def test_caches_behind_one_address_are_told_apart(ordinary: Told) -> None:
    caches = ordinary.caches(FARM)
    assert len(caches.all) == len(BEHIND) and {c.name for c in caches} == {None}
    assert caches.identities == {f'"behind-{last}"' for last in BEHIND}
    assert not any(cache.sample.old for cache in caches), "each was seen to turn"


# Where the name servers fall silent after the change: a TTL of 10 s, the change after 4 s, silence from 6 s

UFLAG, USILENT, BIND, KSTALE, PSTALE, QSTALE = range(30, 36)
BETWEEN = 50


@pytest.fixture(scope="module")
def cut_off() -> Iterator[Told]:
    with running(10) as (net, start):
        farm = net.farm
        expired = ("serve-expired: yes", "serve-expired-ttl: 3600")
        start(
            farm.unbound(UFLAG, *expired, "ede: yes", "ede-serve-expired: yes"),
            farm.unbound(USILENT, *expired), farm.unbound(BETWEEN),
            farm.named(BIND, "stale-answer-enable yes;", "stale-cache-enable yes;", "stale-answer-ttl 30;",
                       "stale-answer-client-timeout 0;"),
            farm.kresd(KSTALE, "modules.load('serve_stale < cache')"),
            farm.pdns(PSTALE, "serve-stale-extensions=20", "packetcache-ttl=0"),
        )  # fmt: skip
        start(farm.dnsmasq(QSTALE, BETWEEN, "--use-stale-cache=3600"))

        def silence() -> None:
            for daemon in net.daemons:
                daemon.stop()

        yield asyncio.run(watch(net, range(UFLAG, QSTALE + 1), 28, {4: net.change, 6: silence}))


@pytest.mark.parametrize("last", [UFLAG, BIND, KSTALE])
def test_a_stale_answer_that_says_so_is_recognised(cut_off: Told, last: int) -> None:
    assert cut_off.habits(last).keys() >= {"stale", "overstaying"}


@pytest.mark.parametrize("last", [USILENT, PSTALE, QSTALE])
def test_a_stale_answer_that_says_nothing_is_overstaying(cut_off: Told, last: int) -> None:
    """Unbound with a TTL of 30 s each time, PowerDNS with the old TTL counted down anew, dnsmasq with 0."""
    assert cut_off.habits(last).keys() - {"constant"} == {"overstaying"}
