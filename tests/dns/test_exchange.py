"""The exchange against servers that are old, broken or hostile."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

import dns.edns
import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest

from probes.dns import sockets
from probes.dns.exchange import PORTS, Exchange, Question, Reply
from probes.endpoints import Endpoints
from tests.dns.scripted import ADDRESS, MX, NAME, Send, framed, mx_of, response, scripted, tcp_query

QUESTION = Question(NAME, "MX")


async def ask(exchange: Exchange, timeout: float = 5.0, kind: str = "MX", **options: object) -> Reply:
    return await exchange.ask(ADDRESS, Question(NAME, kind), rd=False, timeout=timeout, **options)  # type: ignore[arg-type]


def name_in(query: bytes) -> bytes:
    return query[12 : query.index(b"\0", 12) + 1]


async def test_an_answer_as_it_is_known_again_with_other_ids_and_ttls() -> None:
    ttls = iter((300, 299, 0x80000001, 7, 6, 5))
    async with scripted(lambda q, send: send(mx_of(q, next(ttls)))) as (server, exchange):
        replies = [await ask(exchange) for _ in range(6)]
    assert [r.rrset for r in replies] == [MX] * 6 and {r.outcome for r in replies} == {"answer"}
    # RFC 2181 section 8: the most significant bit set is a TTL of 0
    assert [r.ttl for r in replies] == [300, 299, 0, 7, 6, 5]
    # dnspython's server puts two records in either order
    assert exchange.answers.decoded <= 2 and exchange.dropped == 0
    assert replies[0].aa and replies[0].transport == "udp" and (replies[0].rtt_ms or 0) > 0
    assert len({q[:2] for q in server.queries}) > 1 and len({name_in(q) for q in server.queries}) > 1
    assert {name_in(q).lower() for q in server.queries} == {b"\7example\2jp\0"}
    query = dns.message.from_wire(server.queries[0])
    assert query.payload == 1232 and [o.otype for o in query.options] == [dns.edns.NSID]
    assert not query.flags & dns.flags.RD


def _other_id(query: bytes) -> bytes:
    return bytes([query[0] ^ 1]) + mx_of(query)[1:]


def _other_question(query: bytes) -> bytes:
    return mx_of(query).replace(name_in(query), b"\7exbmple\2jp\0")


def _other_type(query: bytes) -> bytes:
    end = 12 + len(name_in(query))
    wire = bytearray(mx_of(query))
    wire[end + 1] = 1
    return bytes(wire)


def _a_query(query: bytes) -> bytes:
    return query


FORGED: list[Callable[[bytes], bytes]] = [
    _other_id, _other_question, _other_type, _a_query,
    lambda q: b"", lambda q: b"\0" * 11, lambda q: q[:2] + b"\x85", lambda q: b"\xff" * 600,
    lambda q: q[:2] + b"\x84\0" + b"\0" * 8,
]  # fmt: skip


@pytest.mark.parametrize("forge", FORGED)
async def test_what_answers_something_else_is_dropped_and_counted(forge: Callable[[bytes], bytes]) -> None:
    def on_udp(query: bytes, send: Send) -> None:
        send(forge(query))
        send(mx_of(query))

    async with scripted(on_udp) as (_, exchange):
        assert (await ask(exchange)).rrset == MX
        assert exchange.dropped == 1


async def test_the_right_answer_from_somebody_else_is_dropped() -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as stranger:
        stranger.bind(("127.0.0.2", 0))

        def on_udp(query: bytes, send: Send) -> None:
            wire = response(query, (NAME, 60, "MX", ("5 evil.example.",)))
            for port in ports_of(exchange):
                stranger.sendto(wire, ("127.0.0.1", port))
            send(mx_of(query))

        async with scripted(on_udp) as (_, exchange):
            assert (await ask(exchange)).rrset == MX
            # which port asked is not known here: each of the open ones was tried
            assert exchange.dropped == len(ports_of(exchange)) > 0


def under_way(exchange: Exchange) -> int:
    return sum(len(port.waiting) for ports in exchange._udp._ports.values() for port in ports.all())


def ports_of(exchange: Exchange) -> list[int]:
    return [port.sock.getsockname()[1] for port in exchange._udp._ports[socket.AF_INET]._ports]


async def test_a_server_that_changes_the_case_of_names_is_asked_with_plain_ones() -> None:
    def lowered(query: bytes, send: Send) -> None:
        wire = mx_of(query)
        send(wire.replace(name_in(query), name_in(query).lower()))

    async with scripted(lowered) as (server, exchange):
        assert [(await ask(exchange)).rrset for _ in range(8)] == [MX] * 8
        plain = [name_in(q) for q in server.queries if name_in(q) == b"\7example\2jp\0"]
        assert len(plain) >= 8 and len(server.queries) <= 9


async def test_one_that_takes_no_mixed_case_is_asked_a_second_time() -> None:
    def picky(query: bytes, send: Send) -> None:
        if name_in(query) == b"\7example\2jp\0":
            send(response(query, ("EXAMPLE.JP.", 60, "MX", ("10 MAIL.Example.JP.",))))

    async with scripted(picky) as (_, exchange):
        assert (await ask(exchange, 2.0)).rrset == ("10 mail.example.jp.",)


@pytest.mark.parametrize("bare", [False, True])
@pytest.mark.parametrize("rcode", [dns.rcode.FORMERR, dns.rcode.NOTIMP])
async def test_one_from_before_edns_is_asked_without_it(bare: bool, rcode: dns.rcode.Rcode) -> None:
    def old(query: bytes, send: Send) -> None:
        if dns.message.from_wire(query).edns < 0:
            send(mx_of(query))
        elif bare:
            send(query[:2] + bytes([0x80, rcode]) + b"\0" * 8)
        else:
            message = dns.message.make_response(dns.message.from_wire(query))
            message.use_edns(-1)
            message.set_rcode(rcode)
            send(message.to_wire())

    async with scripted(old) as (server, exchange):
        assert [(await ask(exchange)).rrset for _ in range(2)] == [MX] * 2
        assert len(server.queries) == 3, "it is remembered"


RCODES = [("SERVFAIL", (), "servfail"), ("SERVFAIL", (6,), "bogus"), ("SERVFAIL", (22,), "servfail"),
          ("REFUSED", (18,), "refused"), ("NXDOMAIN", (), "nxdomain"), ("NOTAUTH", (), "refused"),
          ("YXDOMAIN", (), "servfail")]  # fmt: skip


@pytest.mark.parametrize(("rcode", "codes", "outcome"), RCODES)
async def test_errors_are_told_apart(rcode: str, codes: tuple[int, ...], outcome: str) -> None:
    def on_udp(query: bytes, send: Send) -> None:
        message = dns.message.make_response(dns.message.from_wire(query))
        message.set_rcode(dns.rcode.from_text(rcode))
        options = [dns.edns.EDEOption(code, "why") for code in codes]
        message.use_edns(0, options=[*options, dns.edns.GenericOption(dns.edns.NSID, b"tyo-1")])
        send(message.to_wire())

    async with scripted(on_udp) as (_, exchange):
        reply = await ask(exchange)
    assert (reply.outcome, reply.ede, reply.nsid) == (outcome, codes, "tyo-1")


async def test_silence_is_a_timeout_after_two_questions_and_a_closed_port_unreachable() -> None:
    async with scripted(lambda q, send: None) as (server, exchange):
        assert (await ask(exchange, 0.3)).outcome == "timeout"
        assert len(server.queries) == 2
    exchange = Exchange(server.endpoints)
    try:
        async with asyncio.timeout(5):
            assert (await ask(exchange, 60)).outcome == "unreachable"
        for address in ("no address", "999.1.1.1", ""):
            assert (await exchange.ask(address, QUESTION, rd=False)).outcome == "unreachable"
        long = Question("a" * 64 + ".example.", "MX")
        assert (await exchange.ask(ADDRESS, long, rd=False)).outcome == "malformed"
    finally:
        await exchange.close()


async def test_a_late_answer_to_the_first_question_counts() -> None:
    def late(query: bytes, send: Send) -> None:
        came.append((query, send))
        if len(came) == 2:
            first, answer = came[0]
            answer(mx_of(first))

    came: list[tuple[bytes, Send]] = []
    async with scripted(late) as (_, exchange):
        reply = await ask(exchange, 2.0)
    assert reply.rrset == MX and (reply.rtt_ms or 0) > 500


# TCP


def cut_short(query: bytes, send: Send) -> None:
    send(response(query, tc=True))


async def test_what_udp_cuts_short_comes_by_tcp() -> None:
    exchanges = tuple(sorted(f"{n} mx{n}.example.jp." for n in range(100)))

    async def whole(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answer = framed(response(await tcp_query(reader), (NAME, 60, "MX", exchanges)))
        for part in (answer[:1], answer[1:900], answer[900:]):
            writer.write(part)
            await writer.drain()

    async with scripted(cut_short, whole) as (_, exchange):
        reply = await ask(exchange)
    assert (reply.outcome, reply.transport, reply.rrset) == ("answer", "tcp", exchanges)


async def _garbage(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await tcp_query(reader)
    writer.write(framed(b"\xde\xad\xbe\xef" * 20))


async def _other_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(framed(_other_question(await tcp_query(reader))))


async def _cut_again(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(framed(response(await tcp_query(reader), tc=True)))


async def _half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(framed(mx_of(await tcp_query(reader)))[:-5])


async def _hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await tcp_query(reader)


async def _drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    for octet in framed(mx_of(await tcp_query(reader))):
        writer.write(bytes([octet]))
        await writer.drain()
        await asyncio.sleep(0.05)


STREAMS = [
    (_garbage, "malformed"), (_other_answer, "malformed"), (_cut_again, "malformed"), (_half, "malformed"),
    (_hang_up, "unreachable"), (_drip, "timeout"), (None, "unreachable"),
]  # fmt: skip


@pytest.mark.parametrize(("on_tcp", "outcome"), STREAMS)
async def test_what_tcp_may_do_instead(on_tcp: object, outcome: str) -> None:
    async with scripted(cut_short, on_tcp) as (_, exchange):  # type: ignore[arg-type]
        reply = await ask(exchange, 0.8 if outcome == "timeout" else 5.0)
    assert (reply.outcome, reply.transport, reply.rrset) == (outcome, "tcp", ())


# Content


ALIASED = [
    (("a.example.", "CNAME", 50, "b.example."), ("b.example.", "CNAME", 40, "C.example."),
     ("c.example.", "A", 60, "192.0.2.9"), "answer", ("192.0.2.9",), 40),
    (("a.example.", "CNAME", 50, "b.example."), ("b.example.", "CNAME", 40, "a.example."),
     ("z.example.", "A", 60, "192.0.2.9"), "malformed", (), 0),
    (("a.example.", "CNAME", 50, "a.example."), ("a.example.", "TXT", 40, '"x"'),
     ("z.example.", "A", 60, "192.0.2.9"), "malformed", (), 0),
    (("a.example.", "CNAME", 50, "else.where."), ("b.example.", "A", 60, "192.0.2.8"),
     ("z.example.", "A", 60, "192.0.2.9"), "referral", (), 0),
    (("x.example.", "A", 50, "192.0.2.7"), ("y.example.", "A", 60, "192.0.2.8"),
     ("z.example.", "A", 60, "192.0.2.9"), "malformed", (), 0),
]  # fmt: skip


@pytest.mark.parametrize(("one", "two", "three", "outcome", "rrset", "ttl"), ALIASED)
async def test_aliases_are_followed_within_the_answer(
    one: tuple[str, str, int, str], two: tuple[str, str, int, str], three: tuple[str, str, int, str],
    outcome: str, rrset: tuple[str, ...], ttl: int,
) -> None:  # fmt: skip
    records = [(o, t, k, (r,)) for o, k, t, r in (one, two, three)]
    async with scripted(lambda q, send: send(response(q, *records))) as (_, exchange):
        reply = await exchange.ask(ADDRESS, Question("a.example.", "A"), rd=False)
    assert (reply.outcome, reply.rrset, reply.ttl) == (outcome, rrset, ttl)


async def test_the_negative_ttl_is_the_lesser_of_the_soas_two() -> None:
    soas = iter(((900, 300), (120, 300)))

    def on_udp(query: bytes, send: Send) -> None:
        message = dns.message.make_response(dns.message.from_wire(query))
        ttl, minimum = next(soas)
        soa = f"ns.example.jp. root.example.jp. 7 1 1 1 {minimum}"
        message.flags |= dns.flags.AA
        message.authority = [dns.rrset.from_text(NAME, ttl, "IN", "SOA", soa)]
        send(message.to_wire())

    async with scripted(on_udp) as (_, exchange):
        replies = [await ask(exchange), await ask(exchange)]
    assert [(r.outcome, r.ttl, r.soa and r.soa.serial) for r in replies] == [
        ("nodata", 300, 7),
        ("nodata", 120, 7),
    ]


async def test_a_name_that_points_at_itself_or_ahead_is_malformed() -> None:
    def on_udp(query: bytes, send: Send) -> None:
        question = query[12 : 12 + len(name_in(query)) + 4]
        loop = (0xC000 | 12 + len(question)).to_bytes(2, "big")
        send(
            query[:2]
            + b"\x84\0\0\1\0\1\0\0\0\0"
            + question
            + loop
            + b"\0\x0f\0\1\0\0\0\x3c\0\4\0\x0a\xc0\x0c"
        )

    async with scripted(on_udp) as (_, exchange):
        assert (await ask(exchange)).outcome == "malformed"


# Bounds


async def test_no_more_than_so_many_are_under_way_at_one_server() -> None:
    held: list[tuple[bytes, Send]] = []

    def on_udp(query: bytes, send: Send) -> None:
        held.append((query, send))
        if len(held) == 3:
            asyncio.get_running_loop().call_later(0.05, release)

    def release() -> None:
        nonlocal most
        most = max(most, len(held))
        for query, send in held:
            send(mx_of(query))
        held.clear()

    most = 0
    async with scripted(on_udp, per_server=3) as (_, exchange):
        replies = await asyncio.gather(*(ask(exchange, 30) for _ in range(12)))
    assert [r.rrset for r in replies] == [MX] * 12 and most == 3


async def test_who_stops_waiting_leaves_nothing_behind_and_close_ends_the_rest() -> None:
    async with scripted(lambda q, send: None) as (_, exchange):
        task = asyncio.ensure_future(ask(exchange, 60))
        await asyncio.sleep(0)
        while not under_way(exchange):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not under_way(exchange)
        waiting = asyncio.ensure_future(ask(exchange, 60))
        while not under_way(exchange):
            await asyncio.sleep(0)
        await exchange.close()
        assert (await waiting).outcome == "unreachable"
        assert (await ask(exchange, 60)).outcome == "unreachable" and not ports_of(exchange)


async def test_ports_are_changed_for_others_when_they_have_served(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "USES", 3)
    held: list[tuple[bytes, Send]] = []

    def on_udp(query: bytes, send: Send) -> None:
        if held or name_in(query).lower() != b"\4slow\0":
            send(mx_of(query))
        else:
            held.append((query, send))

    async with scripted(on_udp) as (_, exchange):
        slow = asyncio.ensure_future(exchange.ask(ADDRESS, Question("slow.", "MX"), rd=False, timeout=60))
        seen = set[int]()
        for _ in range(200):
            assert (await ask(exchange)).rrset == MX
            seen |= set(ports_of(exchange))
        assert len(seen) > PORTS and len(ports_of(exchange)) == PORTS
        leaving = exchange._udp._ports[socket.AF_INET]._leaving
        assert sum(p.open for p in leaving) == 1, "the port that still waits for its answer"
        query, send = held[0]
        send(response(query, ("slow.", 5, "MX", ("1 a.example.",))))
        assert (await slow).rrset == ("1 a.example.",) and not any(p.open for p in leaving)


async def test_without_a_route_it_is_said_at_once() -> None:
    """An address of the family that a socket can't have a route for: IPv4's class E stands in for it."""
    exchange = Exchange(Endpoints())
    try:
        async with asyncio.timeout(5):
            reply = await exchange.ask("255.255.255.255", QUESTION, rd=False, timeout=60)
        assert reply.outcome == "unreachable"
    finally:
        await exchange.close()
