"""How strangers are asked: one question after the other, a gap apart, from ever new ports; by what name."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from itertools import pairwise

import dns.edns
import dns.message
import dns.rdataclass
import dns.rrset
import pytest

from probes.dns.exchange import Exchange, Question
from probes.dns.resolver import Identities, ask_resolver
from probes.endpoints import Endpoints
from probes.observation import ResolverAnswer, now
from tests.dns.scripted import ADDRESS, NAME, OnUdp, Scripted, Send

GAP = 0.05


def resolver(nsid: bytes | None = None, identity: Callable[[], str | None] = lambda: "one") -> OnUdp:
    """Answers every question for data; ``id.server.`` by what ``identity`` gives, None: refuses."""

    def on_udp(query: bytes, send: Send) -> None:
        asked = dns.message.from_wire(query)
        question = asked.question[0]
        message = dns.message.make_response(asked, recursion_available=True)
        kind = question.to_text().split()[-1]
        if question.rdclass == dns.rdataclass.CH:
            name = identity()
            if name is None:
                message.set_rcode(5)
            else:
                message.answer = [dns.rrset.from_text(question.name, 0, "CH", "TXT", f'"{name}"')]
        else:
            rdata = {"MX": "10 mail.example.jp.", "A": "192.0.2.10", "AAAA": "2001:db8::10"}[kind]
            message.answer = [dns.rrset.from_text(question.name, 60, "IN", kind, rdata)]
        if nsid is not None:
            message.use_edns(0, options=[dns.edns.GenericOption(dns.edns.NSID, nsid)])
        send(message.to_wire())

    return on_udp


def exchange(server: Scripted) -> Exchange:
    return Exchange(Endpoints({f"{ADDRESS}:53": f"127.0.0.1:{server.port}"}))


async def asked(server: Scripted, **more: object) -> list[ResolverAnswer]:
    asking = exchange(server)
    try:
        return await ask_resolver(asking, ADDRESS, NAME, ["mail.example.jp."], **more)  # type: ignore[arg-type]
    finally:
        await asking.close()


async def test_a_strangers_questions_follow_one_another_a_gap_apart() -> None:
    came: list[float] = []
    answer = resolver()

    def on_udp(query: bytes, send: Send) -> None:
        came.append(time.monotonic())
        answer(query, send)

    async with Scripted(on_udp) as server:
        seen = await asked(server, gap=GAP, identify=True)
    assert [o.type for o in seen] == ["MX", "A", "AAAA", "TXT"]
    assert min(b - a for a, b in pairwise(came)) >= GAP * 0.9


@pytest.mark.parametrize(
    ("nsid", "name", "types", "caches"),
    [
        (b"gpdns-nrt", "one", ["MX", "A", "AAAA"], {"gpdns-nrt"}),
        (None, "one", ["MX", "A", "AAAA", "TXT"], {None, "one"}),
        (None, None, ["MX", "A", "AAAA", "TXT"], {None}),
        (None, "x" * 200, ["MX", "A", "AAAA", "TXT"], {None, "x" * 128}),
    ],
)
async def test_who_gives_no_nsid_is_asked_by_id_server(
    nsid: bytes | None, name: str | None, types: list[str], caches: set[str | None]
) -> None:
    async with Scripted(resolver(nsid, lambda: name)) as server:
        seen = await asked(server, identify=True)
    assert [o.type for o in seen] == types and {o.cache for o in seen} == caches
    assert {o.cache for o in seen if o.type == "MX"} <= {"gpdns-nrt", None}, "by its own answer alone"


def test_identity_is_asked_ever_more_rarely() -> None:
    def told(outcome: str) -> ResolverAnswer:
        rrset = ('"one"',) if outcome == "answer" else ()
        return ResolverAnswer(
            at=now(), resolver=ADDRESS, transport="udp", name="id.server.", type="TXT", outcome=outcome,  # type: ignore[arg-type]
            cache=None, ede=(), rrset=rrset, ttl=0, rtt_ms=1,
        )  # fmt: skip

    identities, asked_at = Identities(), list[int]()
    for at in range(0, 48 * 3600, 60):
        if identities.due(ADDRESS, at):
            asked_at.append(at)
            identities.note(ADDRESS, at, [told("answer")])
    assert asked_at[:4] == [0, 600, 1800, 4200] and len(asked_at) < 16
    identities.note("192.0.2.54", 0, [told("refused")])
    assert not identities.due("192.0.2.54", 6 * 3600 - 1) and identities.due("192.0.2.54", 6 * 3600)


async def test_draws_are_made_from_ever_new_ports() -> None:
    """A path or a farm that chooses by the source port (RFC 2992) must not choose from sixteen for ever."""
    ports: set[int] = set()
    answer = resolver()
    async with Scripted(answer) as server:
        asking, loop = exchange(server), asyncio.get_running_loop()

        def receive() -> None:
            data, sender = server.sock.recvfrom(4096)
            ports.add(sender[1])
            answer(data, lambda wire: server.sock.sendto(wire, sender))

        loop.remove_reader(server.sock)
        loop.add_reader(server.sock, receive)
        for _ in range(6):
            for _ in range(40):
                await asking.ask(ADDRESS, Question(NAME, "MX"), rd=True)
            asking.renew_ports()
        await asking.close()
    assert len(ports) > 60
