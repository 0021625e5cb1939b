"""The walk from the root, and what each authority is asked, on a small Internet of its own."""

from __future__ import annotations

import asyncio

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest

from probes.dns.authority import ask_authority, host_addresses, walk
from probes.dns.resolver import ask_resolver
from probes.dns.walking import ROOT as ROOT_SERVERS
from probes.dns.walking import ancestors
from probes.observation import decode, encode
from probes.sight import Server
from tests.dns.internet import ROOT, internet, zone
from tests.dns.scripted import Send

NS1, NS2, NS3, HOSTER, JP = "192.0.2.1", "192.0.2.2", "192.0.2.3", "203.0.113.7", "192.0.2.100"
DOMAIN = "shop.example.jp."

ROOT_ZONE = zone(f"""
    . 3600 NS a.root.
    a.root. 3600 A {ROOT}
    jp. 3600 NS a.dns.jp.
    a.dns.jp. 3600 A {JP}
    net. 3600 NS a.dns.jp.
""")
JP_ZONE = zone(f"""
    jp. 3600 NS a.dns.jp.
    a.dns.jp. 3600 A {JP}
    shop.example.jp. 7200 NS ns1.shop.example.jp.
    shop.example.jp. 7200 NS ns.hoster.net.
    ns1.shop.example.jp. 3600 A {NS1}
    lost.jp. 3600 NS ns.found.jp.
    found.jp. 3600 NS ns.lost.jp.
    dark.jp. 3600 NS ns.dark.jp.
    ns.dark.jp. 3600 A 192.0.2.99
""")
NET_ZONE = zone(f"""
    net. 3600 NS a.dns.jp.
    hoster.net. 3600 NS ns.hoster.net.
    ns.hoster.net. 3600 A {HOSTER}
""")
HOSTER_ZONE = zone(f"""
    hoster.net. 600 NS ns.hoster.net.
    ns.hoster.net. 600 A {HOSTER}
    ns.hoster.net. 600 AAAA 2001:db8::7
    mx.hoster.net. 600 A 203.0.113.25
""")
SHOP = zone(f"""
    shop.example.jp. 300 NS ns1.shop.example.jp.
    shop.example.jp. 300 NS ns2.shop.example.jp.
    shop.example.jp. 300 MX 10 mail.shop.example.jp.
    shop.example.jp. 300 MX 20 mx.hoster.net.
    shop.example.jp. 300 A 192.0.2.80
    ns1.shop.example.jp. 300 A {NS1}
    ns2.shop.example.jp. 300 A {NS2}
    ns2.shop.example.jp. 300 A {NS3}
    mail.shop.example.jp. 300 A 192.0.2.25
    www.shop.example.jp. 300 A 192.0.2.80
""", serial=2026112001)  # fmt: skip
WORLD = {
    ROOT: [ROOT_ZONE],
    JP: [JP_ZONE, NET_ZONE],
    NS1: [SHOP],
    NS2: [SHOP],
    NS3: [SHOP],
    HOSTER: [HOSTER_ZONE, SHOP],
}
EVERYBODY = {
    Server("ns1.shop.example.jp.", NS1), Server("ns2.shop.example.jp.", NS2),
    Server("ns2.shop.example.jp.", NS3), Server("ns.hoster.net.", HOSTER),
    Server("ns.hoster.net.", "2001:db8::7"),
}  # fmt: skip


async def test_every_address_that_parent_or_child_names_is_found() -> None:
    async with internet(WORLD) as (exchange, walker):
        found = await walk(exchange, DOMAIN, walker=walker)
        assert set(found.servers) == EVERYBODY
        assert found.zone == DOMAIN and found.complete
        assert found.parent == ("ns.hoster.net.", "ns1.shop.example.jp.")
        assert found.child == ("ns1.shop.example.jp.", "ns2.shop.example.jp.")
        assert (found.parent_ttl, found.child_ttl) == (7200, 300)
        assert [s.address for s in found.parents] == [JP]
        assert await walk(exchange, DOMAIN, walker=walker) == found, "and by what is known of the way"


async def test_a_name_within_a_zone_has_that_zones_servers() -> None:
    async with internet(WORLD) as (exchange, walker):
        found = await walk(exchange, "www.shop.example.jp.", walker=walker)
        assert found.zone == DOMAIN and set(found.servers) == EVERYBODY
        missing = await walk(exchange, "a.b.no.shop.example.jp.", walker=walker)
        assert missing.zone == DOMAIN and set(missing.servers) == EVERYBODY


@pytest.mark.parametrize("gone", [NS1, NS2, HOSTER])
async def test_silent_servers_are_found_all_the_same(gone: str) -> None:
    world = {address: zones for address, zones in WORLD.items() if address != gone}
    silent = {gone: lambda q, send: None}
    async with internet(world, silent if gone == NS1 else {}) as (exchange, walker):
        found = await walk(exchange, DOMAIN, walker=walker)
    assert {s for s in EVERYBODY if gone != HOSTER or "hoster" not in s.name} <= set(found.servers)


async def test_where_all_are_silent_the_parent_still_names_them() -> None:
    async with internet({ROOT: [ROOT_ZONE], JP: [JP_ZONE]}) as (exchange, walker):
        found = await walk(exchange, "dark.jp.", walker=walker)
        assert found.servers == (Server("ns.dark.jp.", "192.0.2.99"),)
        assert (found.parent, found.child) == (("ns.dark.jp.",), ())


async def test_delegations_that_lead_in_a_circle_end() -> None:
    async with internet(WORLD) as (exchange, walker), asyncio.timeout(20):
        found = await walk(exchange, "lost.jp.", walker=walker)
        assert found.servers == () and found.parent == ("ns.found.jp.",)


async def test_without_a_root_there_is_nothing() -> None:
    async with internet({}) as (exchange, walker):
        found = await walk(exchange, DOMAIN, walker=walker)
        assert (found.servers, found.zone, found.parents) == ((), "", ())
        assert await host_addresses(exchange, "mail." + DOMAIN, walker=walker) == ()


async def test_time_is_bounded() -> None:
    async with internet({}, {ROOT: lambda q, send: None}) as (exchange, _):
        found = await walk(exchange, DOMAIN, [ROOT], timeout=0.2)
    assert not found.complete and found.servers == ()


def _upwards(query: bytes, send: Send) -> None:
    """A lame server that refers to the root."""
    message = dns.message.make_response(dns.message.from_wire(query))
    message.authority = [dns.rrset.from_text(".", 60, "IN", "NS", "a.root.")]
    send(message.to_wire())


def _forger(query: bytes, send: Send) -> None:
    """A TLD server that hands out addresses of names that are none of its business."""
    message = dns.message.make_response(dns.message.from_wire(query))
    message.authority = [dns.rrset.from_text(DOMAIN, 60, "IN", "NS", "ns.hoster.net.")]
    message.additional = [dns.rrset.from_text("ns.hoster.net.", 60, "IN", "A", "192.0.2.66")]
    send(message.to_wire())


async def test_a_lame_server_leads_nowhere_and_foreign_glue_is_not_believed() -> None:
    world = {address: zones for address, zones in WORLD.items() if address not in (NS1, JP)}
    root = zone(f"""
        . 3600 NS a.root.
        jp. 3600 NS a.dns.jp.
        a.dns.jp. 3600 A 192.0.2.101
        net. 3600 NS b.dns.jp.
        b.dns.jp. 3600 A {JP}
    """)
    odd = {NS1: _upwards, "192.0.2.101": _forger}
    async with internet(world | {ROOT: [root], JP: [NET_ZONE]}, odd) as (exchange, walker):
        found = await walk(exchange, DOMAIN, walker=walker)
        assert Server("ns.hoster.net.", HOSTER) in found.servers
        assert "192.0.2.66" not in {s.address for s in found.servers}
        lame = await ask_authority(exchange, Server("ns1.shop.example.jp.", NS1), DOMAIN, ())
    assert [(o.type, o.outcome, o.aa) for o in lame] == [("MX", "lame", False)]


async def test_parent_and_child_on_one_server() -> None:
    async with internet({ROOT: [ROOT_ZONE, JP_ZONE, NET_ZONE, HOSTER_ZONE, SHOP]}) as (exchange, walker):
        found = await walk(exchange, DOMAIN, walker=walker)
        assert found.zone == DOMAIN and found.child == SHOP.records[DOMAIN, "NS"].rdata
        assert {s.name for s in found.servers} == {"ns1.shop.example.jp.", "ns2.shop.example.jp."}


def test_the_root_is_complete_and_names_are_taken_apart() -> None:
    assert len(ROOT_SERVERS) == 26 and len({s.address for s in ROOT_SERVERS}) == 26
    assert ancestors("a\\.b.example.jp.") == ["a\\.b.example.jp.", "example.jp.", "jp."]


# What one server serves


async def test_what_an_authority_says_of_the_domain_and_of_its_own_hosts() -> None:
    hosts = ("mail.shop.example.jp.", "mx.hoster.net.", "gone.shop.example.jp.")
    async with internet(WORLD) as (exchange, _):
        seen = await ask_authority(exchange, Server("ns1.shop.example.jp.", NS1), DOMAIN, hosts)
        asked = exchange.elsewhere(NS1, "mx.hoster.net.")
        both = await ask_authority(exchange, Server("ns.hoster.net.", HOSTER), DOMAIN, hosts)
    assert [(o.name, o.type, o.outcome, o.rrset, o.ttl, o.serial) for o in seen] == [
        (DOMAIN, "MX", "answer", ("10 mail.shop.example.jp.", "20 mx.hoster.net."), 300, 2026112001),
        (DOMAIN, "NS", "answer", ("ns1.shop.example.jp.", "ns2.shop.example.jp."), 300, None),
        (hosts[0], "A", "answer", ("192.0.2.25",), 300, None),
        (hosts[0], "AAAA", "nodata", (), 30, None),
        (hosts[2], "A", "nxdomain", (), 30, None),
        (hosts[2], "AAAA", "nxdomain", (), 30, None),
    ]
    assert all(o.server == "ns1.shop.example.jp." and o.address == NS1 and o.aa for o in seen)
    assert asked, "a name that is not its own is not asked for again soon"
    assert ("mx.hoster.net.", "A", ("203.0.113.25",)) in [(o.name, o.type, o.rrset) for o in both]
    assert all(decode(encode(o)) == o for o in [*seen, *both])


async def test_without_mx_the_domains_own_address_is_asked_for_but_only_then() -> None:
    bare = zone("bare.jp. 60 NS ns.bare.jp.\nbare.jp. 60 A 192.0.2.44")
    server = Server("ns.bare.jp.", NS1)
    async with internet({NS1: [bare]}, {NS2: lambda q, send: None}) as (exchange, _):
        seen = await ask_authority(exchange, server, "bare.jp.", ())
        silent = await ask_authority(exchange, Server("", NS2), "bare.jp.", ["x.bare.jp."], timeout=0.2)
        refused = await ask_authority(exchange, server, "other.jp.", ["x.other.jp."])
        closed = await ask_authority(exchange, Server("", "192.0.2.9"), "bare.jp.", ())
        missing = await ask_authority(exchange, server, "no.bare.jp.", ())
    assert [(o.type, o.outcome, o.rrset, o.ttl, o.serial) for o in seen] == [
        ("MX", "nodata", (), 30, 1), ("NS", "answer", ("ns.bare.jp.",), 60, None),
        ("A", "answer", ("192.0.2.44",), 60, None), ("AAAA", "nodata", (), 30, None),
    ]  # fmt: skip
    assert [[(o.type, o.outcome) for o in s] for s in (silent, refused, closed)] == [
        [("MX", "timeout")], [("MX", "refused")], [("MX", "unreachable")],
    ]  # fmt: skip
    first = missing[0]
    assert (first.type, first.outcome, first.ttl, first.serial) == ("MX", "nxdomain", 30, 1)


async def test_an_exchange_is_asked_of_its_own_zone() -> None:
    async with internet(WORLD) as (exchange, walker):
        seen = await host_addresses(exchange, "mx.hoster.net.", walker=walker)
    four = [o for o in seen if o.type == "A" and o.outcome == "answer"]
    assert [(o.server, o.address, o.rrset) for o in four] == [("ns.hoster.net.", HOSTER, ("203.0.113.25",))]


# Resolvers


async def test_what_a_resolver_says() -> None:
    def on_udp(query: bytes, send: Send) -> None:
        asked = dns.message.from_wire(query)
        message = dns.message.make_response(asked, recursion_available=True)
        question = asked.question[0]
        kind = question.to_text().split()[-1]
        name = question.name.to_text().lower()
        if (name, kind) == ("bare.jp.", "A"):
            message.answer = [dns.rrset.from_text(name, 17, "IN", "A", "192.0.2.44")]
        else:
            soa = "ns.bare.jp. root.bare.jp. 5 1 1 1 900"
            message.authority = [dns.rrset.from_text("bare.jp.", 12, "IN", "SOA", soa)]
        assert asked.flags & dns.flags.RD
        send(message.to_wire())

    async with internet({}, {NS1: on_udp, NS2: lambda q, send: None}) as (exchange, _):
        seen = await ask_resolver(exchange, NS1, "bare.jp.", ["mx.bare.jp."])
        silent = await ask_resolver(exchange, NS2, "bare.jp.", ["mx.bare.jp."], timeout=0.2)
        nobody = await ask_resolver(exchange, "https://dns.example/query", "bare.jp.", ())
    assert [(o.name, o.type, o.outcome, o.rrset, o.ttl) for o in seen] == [
        ("bare.jp.", "MX", "nodata", (), 12), ("bare.jp.", "A", "answer", ("192.0.2.44",), 17),
        ("bare.jp.", "AAAA", "nodata", (), 12), ("mx.bare.jp.", "A", "nodata", (), 12),
        ("mx.bare.jp.", "AAAA", "nodata", (), 12),
    ]  # fmt: skip
    assert [o.outcome for o in silent] == ["timeout"] and [o.outcome for o in nobody] == ["unreachable"]
    assert all(decode(encode(o)) == o and o.cache is None for o in [*seen, *silent, *nobody])
