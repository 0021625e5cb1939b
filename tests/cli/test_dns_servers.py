"""``mxcutover dns`` against NSD, Unbound and Knot Resolver, and in a network that answers for others."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from probes.dns.examining import NOWHERE
from tests.cli.dnslab import EXPECT_NEW, Done, ended, start
from tests.dns import lying
from tests.servers import resolvers, zones
from tests.servers.addresses import DNS, Addresses, draw
from tests.servers.daemon import needs, wait_until
from tests.servers.nsd import Nsd

pytestmark = pytest.mark.servers
TTL = 4
APEX = f"{zones.DOMAIN}."


class Net:
    """A primary and a secondary that lags, and two resolvers of different make, all real."""

    def __init__(self, directory: Path, addresses: Addresses) -> None:
        self.addresses = addresses
        self.root = Nsd("root", addresses.root, directory, zones.PARENTS)
        self.primary = Nsd("primary", addresses.primary, directory, zones.CHILDREN)
        self.secondary = Nsd("secondary", addresses.secondary, directory, zones.CHILDREN)
        self._serial = 0
        zones.write_parents(self.root.directory, addresses)
        zones.write_hosts(self.primary.directory, addresses, 60)
        self._write(zones.OLD_MX)
        for apex in zones.PARENTS:
            self.root.serve(apex)
        for apex in zones.CHILDREN:
            self.primary.serve(apex, addresses.secondary, notify=False)
            self.secondary.copy(apex, addresses.primary)
        servers = [server.daemon for server in (self.root, self.primary, self.secondary)]
        self.daemons = [
            *servers,
            *(make(addresses, directory) for make in (resolvers.unbound, resolvers.knot)),
        ]

    def _write(self, mx: tuple[str, ...]) -> None:
        self._serial += 1
        zones.write_domain(self.primary.directory, self.addresses, self._serial, TTL, mx)

    def change(self, mx: tuple[str, ...]) -> None:
        """At the primary alone."""
        self._write(mx)
        self.primary.reload(APEX)
        wait_until(lambda: self.primary.serial(APEX) == self._serial, "the primary serves the change")

    def catch_up(self) -> None:
        self.secondary.transfer(APEX)
        wait_until(lambda: self.secondary.serial(APEX) == self._serial, "the secondary serves the change")

    def arguments(self) -> list[str]:
        both = (self.addresses.unbound, self.addresses.knot)
        only = [word for a in both for word in ("--only-resolver", a, "--endpoint", f"{a}:53={a}:{DNS}")]
        return ["--hints", self.addresses.root, *only]

    async def dns(self, *arguments: str) -> Done:
        return await ended(await start(*arguments, *self.arguments()))


@pytest.fixture(scope="module")
def net() -> Iterator[Net]:
    needs("nsd", "nsd-control", "unbound", "kresd")
    with tempfile.TemporaryDirectory(prefix="mx-") as name, contextlib.ExitStack() as stack:
        directory = Path(name)
        directory.chmod(0o711)
        built = Net(directory, draw())
        for daemon in built.daemons:
            stack.enter_context(daemon)
        yield built


async def test_before_a_change_all_agree_on_the_old(net: Net) -> None:
    done = await net.dns(zones.DOMAIN, "--expect", zones.OLD_MX[0], "--json")
    assert done.code == 0, done.output
    servers = {s["address"] for g in done.document["authorities"] for s in g["servers"]}
    assert servers == {net.addresses.primary, net.addresses.secondary}
    caches = {who["said"]["cache"] for g in done.document["resolvers"] for who in g["who"]}
    assert caches == {"unbound-1", "knot-1"}
    assert (await net.dns(zones.DOMAIN, *EXPECT_NEW)).code == 10


async def test_through_a_real_change_to_its_end(net: Net) -> None:
    child = await start(zones.DOMAIN, *EXPECT_NEW, "--watch", "--floor", "0.5", *net.arguments())
    assert child.stdout is not None
    lines: list[str] = []

    async def until(what: str) -> None:
        async with asyncio.timeout(60):
            while what not in (lines or [""])[-1]:
                lines.append((await child.stdout.readline()).decode())  # type: ignore[union-attr]
                assert lines[-1], lines

    await until("NOT AS EXPECTED")
    await asyncio.to_thread(net.change, zones.NEW_MX)
    await until(f"{net.addresses.primary}: {zones.OLD_MX[0]} (TTL {TTL}) -> {zones.NEW_MX[0]}")
    glance = await net.dns(zones.DOMAIN, *EXPECT_NEW, "--json")
    assert glance.code == 10 and glance.document["horizon"]["state"] == "open"  # the secondary lags
    await asyncio.to_thread(net.catch_up)
    done = await ended(child)
    said = "".join(lines) + done.output
    assert done.code == 0 and " AS EXPECTED: " in said and "ALL CACHES CHANGED  since" in said
    for address, cache in ((net.addresses.unbound, "unbound-1"), (net.addresses.knot, "knot-1")):
        assert f"{address} ({cache}): {zones.OLD_MX[0]} " in said
    assert (await net.dns(zones.DOMAIN, *EXPECT_NEW)).code == 0


async def test_types_of_all_kinds(net: Net) -> None:
    for kind, expected in (("TXT", "v=spf1 mx -all"), ("NS", "ns1.move.example"), ("DS", "none")):
        more = ("--expect", "ns2.move.example") if kind == "NS" else ()
        done = await net.dns(zones.DOMAIN, kind, "--expect", expected, *more, "--json")
        assert done.code == 0, done.output
        assert done.document["zones"] == ["example." if kind == "DS" else APEX]  # a DS is its parent's


# Where port 53 is answered by somebody else


@pytest.fixture(scope="module")
def behind() -> Iterator[lying.Behind]:
    needs("unbound")
    with tempfile.TemporaryDirectory(prefix="mx-") as name, lying.resolvers(Path(name)) as servers:
        yield servers


async def asked(behind: lying.Behind, lies: Any, *arguments: str) -> Done:
    who = [word for address in (lying.GOOGLE, lying.QUAD9) for word in ("--only-resolver", address)]
    roots = [word for address in lying.ROOTS for word in ("--hints", address)]
    async with lying.net(behind, lies, NOWHERE[:2]) as net:
        endpoints = [word for pair in net.endpoints.items() for word in ("--endpoint", "=".join(pair))]
        command = ("example.jp", "--expect", lying.NEW, "--json", "--ca-file", str(net.ca), "--timeout", "1")
        return await ended(await start(*command, *who, *roots, *endpoints, *arguments))


async def test_an_honest_network(behind: lying.Behind) -> None:
    done = await asked(behind, lambda address: False)
    assert done.code == 0, done.output
    assert {w["said"]["transport"] for g in done.document["resolvers"] for w in g["who"]} == {"udp"}


async def test_no_lie_is_believed(behind: lying.Behind) -> None:
    """The old answer of a middlebox counts for nothing; the resolvers are asked by encrypted transports."""
    done = await asked(behind, lambda address: True)
    assert done.code == 30, done.output
    assert "dns.remark.intercepted" in {r["code"] for r in done.document["remarks"]}
    assert lying.OLD not in done.output
    words = [w["said"] for g in done.document["resolvers"] for w in g["who"]]
    assert [w["rrset"] for w in words] == [[lying.NEW]] * 2
    assert {w["transport"] for w in words} <= {"doh", "dot"}


async def test_resolvers_lied_for_and_honest_authorities(behind: lying.Behind) -> None:
    fakes = (*NOWHERE, lying.GOOGLE, lying.QUAD9)
    done = await asked(behind, lambda address: address in fakes)
    assert (
        done.code == 30 and lying.OLD not in done.output
    )  # addresses that nobody has answered: no port 53 counts
    by_url = await asked(behind, lambda address: False, "--only-resolver", "https://dns.google/dns-query")
    assert by_url.code == 0, by_url.output
    assert {w["said"]["transport"] for g in by_url.document["resolvers"] for w in g["who"]} == {"udp", "doh"}
