"""What the parent says against what the zone says, aliases, and the moment at which an answer is told."""

from __future__ import annotations

import asyncio

import dns.message
import dns.rrset
import pytest

from monitor.rehearsal.authority import Zone
from probes.dns.authority import Aliases, Walker, ask_authority, host_addresses, walk
from probes.dns.exchange import Exchange
from probes.observation import AuthorityAnswer, Observation
from probes.sight import Server
from tests.dns.internet import ROOT, internet, zone
from tests.dns.scripted import Send
from tests.dns.test_authority import DOMAIN, HOSTER, JP, NET_ZONE, NS1, NS2, NS3, ROOT_ZONE, SHOP, WORLD

DS = "12345 13 2 " + "AB" * 32


class Ear:
    """A ``Tell`` that remembers."""

    def __init__(self) -> None:
        self.heard: list[AuthorityAnswer] = []

    async def __call__(self, seen: Observation) -> None:
        assert isinstance(seen, AuthorityAnswer)
        self.heard.append(seen)

    def of(self, kind: str, outcome: str) -> set[tuple[str, str, tuple[str, ...]]]:
        return {(a.address, a.name, a.rrset) for a in self.heard if (a.type, a.outcome) == (kind, outcome)}


async def test_what_the_parents_servers_say_is_told() -> None:
    signed = zone(f"""
        jp. 3600 NS a.dns.jp.
        a.dns.jp. 3600 A {JP}
        shop.example.jp. 7200 NS ns1.shop.example.jp.
        shop.example.jp. 7200 NS ns.hoster.net.
        ns1.shop.example.jp. 3600 A {NS1}
        ns1.shop.example.jp. 3600 A 192.0.2.77
        shop.example.jp. 1800 DS {DS}
    """)
    root = zone(f"""
        . 3600 NS a.root.
        a.root. 3600 A {ROOT}
        jp. 3600 NS a.dns.jp.
        jp. 3600 DS {DS}
        a.dns.jp. 3600 A {JP}
        net. 3600 NS a.dns.jp.
    """)
    ear = Ear()
    async with internet(WORLD | {ROOT: [root], JP: [signed, NET_ZONE]}) as (_, walker):
        found = await walk(walker.exchange, DOMAIN, walker=walker, tell=ear)
    assert ear.of("NS", "referral") == {(JP, DOMAIN, ("ns.hoster.net.", "ns1.shop.example.jp."))}
    assert ear.of("DS", "answer") == {(JP, DOMAIN, (DS.lower(),))}
    assert ear.of("A", "referral") == {(JP, "ns1.shop.example.jp.", (NS1, "192.0.2.77"))}
    assert {name for _, name, _ in ear.of("A", "answer")} == {
        "ns1.shop.example.jp.", "ns2.shop.example.jp.", "ns.hoster.net.",
    }  # fmt: skip
    ttls = {(a.type, a.outcome): a.ttl for a in ear.heard if a.type in ("NS", "DS")}
    assert ttls == {("NS", "referral"): 7200, ("DS", "answer"): 1800}
    assert (found.ds, found.ds_ttl, found.signed_above) == (((DS.lower(),),), 1800, True)
    assert Server("ns1.shop.example.jp.", "192.0.2.77") in found.servers, (
        "stale glue leads somebody there, too"
    )
    assert {s.name for s in found.glue} == {"ns1.shop.example.jp."}


async def test_below_an_unsigned_zone_nothing_is_signed() -> None:
    async with internet(WORLD | {JP: [zone(f"jp. 60 NS a.dns.jp.\njp. 60 A {JP}"), NET_ZONE]}) as (_, walker):
        assert (await walk(walker.exchange, "nowhere.jp.", walker=walker)).ds == ((),)
    unsigned = zone(f". 3600 NS a.root.\na.root. 3600 A {ROOT}\nnet. 3600 NS ns.net.\nns.net. 3600 A {JP}")
    net = zone(f"net. 3600 NS ns.net.\nhoster.net. 60 NS ns.hoster.net.\nns.hoster.net. 60 A {HOSTER}\n"
               f"hoster.net. 60 DS {DS}")  # fmt: skip
    async with internet(WORLD | {ROOT: [unsigned], JP: [net]}) as (_, walker):
        found = await walk(walker.exchange, "hoster.net.", walker=walker)
    assert (found.ds, found.signed_above) == (((DS.lower(),),), False)


async def test_a_silent_server_delays_a_walk_once_and_little() -> None:
    world = {address: zones for address, zones in WORLD.items() if address != NS1}
    async with internet(world, {NS1: lambda q, send: None}) as (exchange, walker):
        clock = asyncio.get_running_loop().time
        spent = []
        for _ in range(2):
            began = clock()
            found = await walk(exchange, DOMAIN, walker=walker)
            spent.append(clock() - began)
            assert {s.address for s in found.servers} == {NS1, NS2, NS3, HOSTER, "2001:db8::7"}
    assert spent[0] < 2.5, "was 6 s"
    assert spent[1] < 0.5


async def test_when_all_but_one_of_many_servers_are_silent() -> None:
    silent = [f"192.0.2.{n}" for n in range(201, 208)]
    glue = "\n".join(f"n{n}.shop.example.jp. 60 A {address}" for n, address in enumerate([*silent, NS1]))
    names = "\n".join(f"shop.example.jp. 60 NS n{n}.shop.example.jp." for n in range(8))
    jp = zone(f"jp. 3600 NS a.dns.jp.\na.dns.jp. 3600 A {JP}\n{names}\n{glue}")
    own = zone(f"{names}\nshop.example.jp. 60 MX 10 mail.shop.example.jp.\n{glue}")
    odd = {address: (lambda q, send: None) for address in silent}
    async with internet({ROOT: [ROOT_ZONE], JP: [jp, NET_ZONE], NS1: [own]}, odd) as (exchange, walker):
        async with asyncio.timeout(8):
            found = await walk(exchange, DOMAIN, walker=walker)
    assert len(found.servers) == 8 and found.child == tuple(f"n{n}.shop.example.jp." for n in range(8))


async def test_the_mx_is_told_when_it_is_there_and_not_when_all_is_asked() -> None:
    """Everything but the MX stays without an answer until the MX was heard."""
    held: list[tuple[bytes, Send]] = []
    told = asyncio.Event()

    def on_udp(query: bytes, send: Send) -> None:
        asked = dns.message.from_wire(query)
        if asked.question[0].rdtype != 15 and not told.is_set():
            held.append((query, send))
            return
        message = dns.message.make_response(asked)
        message.flags |= 0x0400
        soa = "ns. root. 5 1 1 1 900"
        kind = {15: ("MX", "10 mail.example.jp."), 6: ("SOA", soa)}.get(int(asked.question[0].rdtype))
        if kind:
            message.answer = [dns.rrset.from_text("bare.jp.", 60, "IN", *kind)]
        else:
            message.authority = [dns.rrset.from_text("bare.jp.", 60, "IN", "SOA", soa)]
        send(message.to_wire())

    class Answering(Ear):
        async def __call__(self, seen: Observation) -> None:
            await super().__call__(seen)
            told.set()
            for query, send in held[:]:
                held.remove((query, send))
                on_udp(query, send)

    ear = Answering()
    async with internet({}, {NS1: on_udp}) as (exchange, _), asyncio.timeout(2):
        seen = await ask_authority(exchange, Server("ns.bare.jp.", NS1), "bare.jp.", ["x.bare.jp."], tell=ear)
    assert [(a.type, a.serial) for a in ear.heard[:1]] == [("MX", None)]
    assert ("SOA", 5) in [(a.type, a.serial) for a in ear.heard], "the serial follows"
    assert sorted(a.type for a in seen) == sorted(a.type for a in ear.heard)


# Aliases

CLOUD, CLOUD2 = "198.51.100.53", "198.51.100.54"


def cloud(mx: str, address: str) -> Zone:
    return zone(f"""
        hoster.net. 60 NS ns.hoster.net.
        ns.hoster.net. 60 A {CLOUD}
        ns.hoster.net. 60 A {CLOUD2}
        lists.hoster.net. 600 MX 10 {mx}
        lists.hoster.net. 600 A {address}
    """)


ALIASED = zone(f"""
    shop.example.jp. 300 NS ns1.shop.example.jp.
    ns1.shop.example.jp. 300 A {NS1}
    lists.shop.example.jp. 7200 CNAME lists.hoster.net.
    mx.shop.example.jp. 900 CNAME lists.hoster.net.
    near.shop.example.jp. 30 CNAME far.shop.example.jp.
    far.shop.example.jp. 3600 A 192.0.2.25
    shop.example.jp. 300 MX 10 mx.shop.example.jp.
""")
NET = zone(f"net. 3600 NS a.dns.jp.\nhoster.net. 60 NS ns.hoster.net.\nns.hoster.net. 60 A {CLOUD}\n"
           f"ns.hoster.net. 60 A {CLOUD2}")  # fmt: skip


def aliases(*pair: Zone) -> dict[str, list[Zone]]:
    one, two = pair
    jp = zone(f"jp. 60 NS a.dns.jp.\na.dns.jp. 60 A {JP}\nshop.example.jp. 60 NS ns1.shop.example.jp.\n"
              f"ns1.shop.example.jp. 60 A {NS1}")  # fmt: skip
    return {ROOT: [ROOT_ZONE], JP: [jp, NET], NS1: [ALIASED], CLOUD: [one], CLOUD2: [two]}


SERVER = Server("ns1.shop.example.jp.", NS1)


async def asked(exchange: Exchange, walker: Walker, domain: str, *hosts: str) -> set[tuple[object, ...]]:
    seen = await ask_authority(exchange, SERVER, domain, hosts, aliases=Aliases(walker))
    return {(a.name, a.type, a.outcome, a.rrset, a.ttl) for a in seen}


async def test_an_alias_before_an_exchange_is_noticed_followed_and_as_old_as_any_of_its_servers() -> None:
    same = cloud("mx.hoster.net.", "203.0.113.25")
    host = "mx.shop.example.jp."
    async with internet(aliases(same, cloud("mx.hoster.net.", "203.0.113.99"))) as (exchange, walker):
        seen = await asked(exchange, walker, DOMAIN, host, "near.shop.example.jp.")
        by_name = await host_addresses(exchange, host, walker=walker)
    assert (host, "CNAME", "answer", ("lists.hoster.net.",), 900) in seen
    both = ("203.0.113.25", "203.0.113.99")
    assert (host, "A", "answer", both, 900) in seen, "one of the cloud's servers is behind"
    assert ("near.shop.example.jp.", "A", "answer", ("192.0.2.25",), 3600) in seen, "the longer TTL counts"
    assert {(a.type, a.rrset) for a in by_name if a.outcome == "answer"} == {
        ("A", both), ("CNAME", ("lists.hoster.net.",)),
    }  # fmt: skip


@pytest.mark.parametrize("dark", [False, True])
async def test_a_domain_that_is_an_alias_is_watched_where_it_leads(dark: bool) -> None:
    domain = "lists.shop.example.jp."
    world = aliases(cloud("old.hoster.net.", "203.0.113.25"), cloud("new.hoster.net.", "203.0.113.25"))
    if dark:
        del world[CLOUD], world[CLOUD2]
    async with internet(world) as (exchange, walker):
        found = await walk(exchange, domain, walker=walker)
        seen = await asked(exchange, walker, domain)
        beyond = await ask_authority(exchange, Server("ns.hoster.net.", CLOUD), domain, (), alias=found.alias)
    assert (found.zone, found.servers, found.alias) == (DOMAIN, (SERVER,), "lists.hoster.net.")
    assert {s.address for s in found.beyond} == {CLOUD, CLOUD2}
    assert (domain, "CNAME", "answer", ("lists.hoster.net.",), 7200) in seen
    mx = next(a for a in seen if a[1] == "MX")
    if dark:
        assert mx[2:4] == ("referral", ()), "no answer is no MX"
        return
    assert mx == (domain, "MX", "answer", ("10 new.hoster.net.", "10 old.hoster.net."), 7200)
    assert [(a.name, a.type, a.outcome, a.rrset) for a in beyond] == [
        (domain, "MX", "answer", ("10 old.hoster.net.",)),
    ]  # fmt: skip


async def test_each_address_behind_one_name_is_asked() -> None:
    behind = Zone(apex=SHOP.apex, serial=1, records=SHOP.records, negative_ttl=30)
    async with internet(WORLD | {NS3: [behind]}) as (exchange, walker):
        found = await walk(exchange, DOMAIN, walker=walker)
        answers = [await ask_authority(exchange, server, DOMAIN, ()) for server in found.servers]
    serials = {seen[0].address: seen[0].serial for seen in answers if seen[0].outcome == "answer"}
    assert (serials[NS2], serials[NS3]) == (2026112001, 1)
