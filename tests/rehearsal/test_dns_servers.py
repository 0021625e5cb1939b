from __future__ import annotations

import asyncio

import dns.asyncquery
import dns.edns
import dns.flags
import dns.message
import dns.rcode
import pytest

from monitor.rehearsal import zones
from monitor.rehearsal.resolver import Habit, Resolver
from monitor.rehearsal.scenarios import ANYCAST, CAPPER, DOMAIN, PLAIN, STALE, STRETCHER, TTL, Act
from monitor.rehearsal.world import World


async def ask(
    world: World, address: str, name: str, rtype: str = "MX", tcp: bool = False, rd: bool = False
) -> dns.message.Message:
    query = dns.message.make_query(
        name, rtype, use_edns=0, options=[dns.edns.GenericOption(dns.edns.NSID, b"")]
    )
    if not rd:
        query.flags &= ~dns.flags.RD
    where, port = world.net.real(address, 53)
    send = dns.asyncquery.tcp if tcp else dns.asyncquery.udp
    return await send(query, where, 5, port)


def rdata(response: dns.message.Message) -> set[str]:
    return {rdata.to_text() for rrset in response.answer for rdata in rrset}


def ttl(response: dns.message.Message) -> int:
    return min(rrset.ttl for rrset in response.answer)


def nsid(response: dns.message.Message) -> str | None:
    return next((o.nsid.decode() for o in response.options if isinstance(o, dns.edns.NSIDOption)), None)


@pytest.mark.parametrize("tcp", [False, True])
async def test_the_parent_refers_with_glue_and_the_child_answers(world: World, tcp: bool) -> None:
    referral = await ask(world, zones.ROOT[1], DOMAIN, tcp=tcp)
    assert not referral.answer and not referral.flags & dns.flags.AA
    assert {r.to_text() for r in referral.authority[0]} == {zones.PRIMARY[0], zones.SECONDARY[0]}
    assert {r.name.to_text() for r in referral.additional} == {zones.PRIMARY[0], zones.SECONDARY[0]}
    answer = await ask(world, zones.PRIMARY[1], DOMAIN, tcp=tcp)
    assert answer.flags & dns.flags.AA and rdata(answer) == set(zones.OLD_SET) and ttl(answer) == TTL


async def test_what_does_not_exist_what_is_empty_and_what_is_not_theirs(world: World) -> None:
    missing = await ask(world, zones.PRIMARY[1], "nobody." + DOMAIN)
    assert missing.rcode() == dns.rcode.NXDOMAIN and missing.authority[0].to_text().split()[3] == "SOA"
    empty = await ask(world, zones.PRIMARY[1], DOMAIN, "AAAA")
    assert empty.rcode() == dns.rcode.NOERROR and not empty.answer and empty.authority
    assert (await ask(world, zones.PRIMARY[1], "elsewhere.test.")).rcode() == dns.rcode.REFUSED


async def test_the_change_reaches_the_secondary_only_when_it_catches_up(world: World) -> None:
    async def served() -> list[set[str]]:
        return [rdata(await ask(world, a, DOMAIN)) for a in (zones.PRIMARY[1], zones.SECONDARY[1])]

    old, new = set(zones.OLD_SET), set(zones.NEW_SET)
    assert await served() == [old, old]
    world.perform(Act(at=0, do="change-mx"))
    assert await served() == [new, old]
    world.perform(Act(at=0, do="secondary-catches-up"))
    assert await served() == [new, new]
    assert "2026112002" in rdata(await ask(world, zones.SECONDARY[1], DOMAIN, "SOA")).pop()


async def test_caches_keep_what_they_got_each_in_its_way(world: World) -> None:
    first = {h.address: ttl(await ask(world, h.address, DOMAIN, rd=True)) for h in (PLAIN, STRETCHER, CAPPER)}
    assert first[PLAIN.address] <= TTL < first[STRETCHER.address] and first[CAPPER.address] <= CAPPER.cap
    world.perform(Act(at=0, do="change-mx"))
    world.perform(Act(at=0, do="secondary-catches-up"))
    answer = await ask(world, PLAIN.address, DOMAIN, rd=True)
    assert rdata(answer) == set(zones.OLD_SET) and answer.flags & dns.flags.RA
    assert not answer.flags & dns.flags.AA
    seen = {nsid(await ask(world, ANYCAST.address, DOMAIN, rd=True)) for _ in range(4)}
    assert seen == set(ANYCAST.caches)


async def test_an_expired_entry_is_replaced_or_served_stale_with_its_error_code(world: World) -> None:
    resolver = Resolver(
        Habit(name="short", address="203.0.113.9", cap=1, stale=True),
        (zones.PRIMARY[1], zones.SECONDARY[1]),
        world.net,
        world.pace,
    )
    world.net.announce("203.0.113.9", 53, await resolver.start())
    try:
        assert rdata(await ask(world, "203.0.113.9", DOMAIN, rd=True)) == set(zones.OLD_SET)
        world.perform(Act(at=0, do="change-mx"))
        resolver.cut_off = True
        async with asyncio.timeout(10):
            while not (stale := await ask(world, "203.0.113.9", DOMAIN, rd=True)).extended_errors():
                await asyncio.sleep(0.05)
        assert rdata(stale) == set(zones.OLD_SET)
        assert [e.code for e in stale.extended_errors()] == [dns.edns.EDECode.STALE_ANSWER]
        unknown = await ask(world, "203.0.113.9", "mail.old.example.", "A", rd=True)
        assert unknown.rcode() == dns.rcode.SERVFAIL
        resolver.cut_off = False
        assert rdata(await ask(world, "203.0.113.9", DOMAIN, rd=True)) == set(zones.NEW_SET)
    finally:
        await resolver.close()


async def test_garbage_gets_no_answer_and_does_no_harm(world: World) -> None:
    where, port = world.net.real(STALE.address, 53)
    reader, writer = await asyncio.open_connection(where, port)
    writer.write(b"\x00\x03abc")
    async with asyncio.timeout(5):
        assert await reader.read() == b""
    writer.close()
    assert rdata(await ask(world, STALE.address, DOMAIN, rd=True)) == set(zones.OLD_SET)
