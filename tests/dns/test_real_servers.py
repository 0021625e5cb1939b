"""Walk, authorities and resolvers against NSD, Unbound and Knot Resolver."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from probes.dns.authority import ask_authority, host_addresses, walk
from probes.dns.exchange import Exchange, Question
from probes.dns.lookup import look_up
from probes.dns.resolver import ask_resolver
from probes.endpoints import Endpoints
from probes.sight import Server
from tests.servers import resolvers, zones
from tests.servers.addresses import DNS, Addresses, draw
from tests.servers.daemon import needs
from tests.servers.nsd import Nsd

pytestmark = pytest.mark.servers
APEX = f"{zones.DOMAIN}."
OLD, NEW = f"{zones.OLD_HOST}.", f"{zones.NEW_HOSTS[0]}."
MANY = tuple(f"{n} mx{n}.a-rather-long-name-of-an-exchange.example." for n in range(60))


@pytest.fixture(scope="module")
def net() -> Iterator[Addresses]:
    """The root, one authority of the domain (the second of the delegation is silent), two resolvers."""
    needs("nsd", "nsd-control", "unbound", "kresd")
    addresses = draw()
    with tempfile.TemporaryDirectory(prefix="mx-") as name, contextlib.ExitStack() as stack:
        directory = Path(name)
        directory.chmod(0o711)
        root = Nsd("root", addresses.root, directory, zones.PARENTS)
        primary = Nsd("primary", addresses.primary, directory, zones.CHILDREN)
        zones.write_parents(root.directory, addresses)
        zones.write_hosts(primary.directory, addresses, 60)
        zones.write_domain(primary.directory, addresses, 7, 30, (*zones.OLD_MX, *MANY))
        with (primary.directory / "old.example.zone").open("a") as file:
            file.write(f"alias.old.example. 9 IN CNAME {NEW}\nin.old.example. 9 IN CNAME {OLD}\n")
        for apex in zones.PARENTS:
            root.serve(apex)
        for apex in zones.CHILDREN:
            primary.serve(apex)
        for daemon in (root.daemon, primary.daemon):
            stack.enter_context(daemon)
        for make in (resolvers.unbound, resolvers.knot):
            stack.enter_context(make(addresses, directory))
        yield addresses


@contextlib.asynccontextmanager
async def asking(net: Addresses) -> AsyncIterator[Exchange]:
    exchange = Exchange(endpoints(net))
    try:
        yield exchange
    finally:
        await exchange.close()


def endpoints(net: Addresses) -> Endpoints:
    return Endpoints({f"{a}:53": f"{a}:{DNS}" for a in (net.unbound, net.knot)})


async def test_the_delegation_and_what_its_server_says(net: Addresses) -> None:
    async with asking(net) as exchange:
        found = await walk(exchange, APEX, [net.root])
        ours = Server("ns1.move.example.", net.primary)
        assert found.servers == (ours, Server("ns2.move.example.", net.secondary))
        seen = await ask_authority(exchange, ours, APEX, [OLD, NEW, "mx.elsewhere.test."])
        silent = await ask_authority(exchange, found.servers[1], APEX, [OLD])
        lame = await ask_authority(exchange, Server("", net.root), APEX, [OLD])
        refused = await ask_authority(exchange, ours, "none.test.", [OLD])
    mx, ns = seen[:2]
    assert (mx.outcome, mx.transport, mx.serial, mx.ttl) == ("answer", "tcp", 7, 30)
    assert set(mx.rrset) == {*zones.OLD_MX, *MANY}
    assert (ns.outcome, ns.rrset) == ("answer", ("ns1.move.example.", "ns2.move.example."))
    hosts = {(o.name, o.type): (o.outcome, o.rrset, o.aa) for o in seen[2:]}
    assert hosts == {
        (OLD, "A"): ("answer", (net.old,), True), (OLD, "AAAA"): ("nodata", (), True),
        (NEW, "A"): ("answer", (net.new[0],), True), (NEW, "AAAA"): ("nodata", (), True),
    }  # fmt: skip
    said = [[o.outcome for o in seen] for seen in (silent, lame, refused)]
    assert said == [["unreachable"], ["lame"], ["refused"]]


async def test_aliases_within_a_server_and_out_of_its_zone(net: Addresses) -> None:
    async with asking(net) as exchange:
        within = await host_addresses(exchange, "in.old.example.", [net.root])
        out = await host_addresses(exchange, "alias.old.example.", [net.root])
    # the host's own record may be cached for 60 s, the alias for 9
    assert ("A", "answer", (net.old,), 60) in [(o.type, o.outcome, o.rrset, o.ttl) for o in within]
    assert ("CNAME", "answer", (OLD,), 9) in [(o.type, o.outcome, o.rrset, o.ttl) for o in within]
    said = {(o.type, o.outcome, o.rrset) for o in out}
    assert {("A", "answer", (net.new[0],)), ("CNAME", "answer", (NEW,))} <= said


async def test_what_their_caches_say(net: Addresses) -> None:
    async with asking(net) as exchange:
        for resolver, name in ((net.unbound, "unbound-1"), (net.knot, "knot-1")):
            for _ in range(2):
                seen = await ask_resolver(exchange, resolver, APEX, [OLD, "no.old.example."])
                assert {o.cache for o in seen} == {name}
                said = {(o.name, o.type): (o.outcome, o.rrset) for o in seen}
                assert set(said.pop((APEX, "MX"))[1]) == {*zones.OLD_MX, *MANY}
                assert said == {
                    (OLD, "A"): ("answer", (net.old,)), (OLD, "AAAA"): ("nodata", ()),
                    ("no.old.example.", "A"): ("nxdomain", ()), ("no.old.example.", "AAAA"): ("nxdomain", ()),
                }  # fmt: skip
                assert all(0 <= o.ttl <= 60 for o in seen)
        assert exchange.dropped == 0


async def test_servers_name_themselves_in_the_chaos_class(net: Addresses) -> None:
    async with asking(net) as exchange:
        reply = await exchange.ask(net.primary, Question("version.server.", "TXT", "CH"), rd=False)
    assert reply.outcome == "answer" and "NSD" in reply.rrset[0]


async def test_the_look_up_for_a_new_plan(net: Addresses) -> None:
    found = await look_up(APEX, [net.root])
    assert found is not None and found.mx[0] == "0 mx0.a-rather-long-name-of-an-exchange.example."
    assert found.ttl == 30 and [s.address for s in found.authorities] == [net.primary, net.secondary]
    assert found.addresses == (net.old,)
