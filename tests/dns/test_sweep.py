"""Sweeps: each pair is told once, whatever its server does; bounds hold; nobody's trouble is another's."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator

import dns.message
import dns.rcode
import pytest

from probes.dns import sweep as sweeping
from probes.dns.exchange import Exchange, Question, Reply
from probes.endpoints import Endpoints
from tests.dns.scripted import MX, NAME, OnTcp, OnUdp, Scripted, Send, framed, mx_of, response, tcp_query

QUESTION = Question(NAME, "MX")
Told = list[tuple[str, Question, Reply]]


@contextlib.asynccontextmanager
async def servers(
    *behaviours: tuple[OnUdp, OnTcp | None], **options: int
) -> AsyncIterator[tuple[list[Scripted], list[str], Exchange]]:
    """One server for each, at addresses of its own, and an exchange that finds them."""
    async with contextlib.AsyncExitStack() as stack:
        made = [await stack.enter_async_context(Scripted(*one)) for one in behaviours]
        addresses = [f"192.0.2.{n}" for n in range(1, len(made) + 1)]
        table = {f"{a}:53": f"127.0.0.1:{s.port}" for a, s in zip(addresses, made, strict=True)}
        exchange = Exchange(Endpoints(table), **options)
        stack.push_async_callback(exchange.close)
        yield made, addresses, exchange


def answers(query: bytes, send: Send) -> None:
    send(mx_of(query))


def silent(query: bytes, send: Send) -> None:
    pass


def before_edns(query: bytes, send: Send) -> None:
    if dns.message.from_wire(query).edns < 0:
        send(mx_of(query))
    else:
        send(query[:2] + bytes([0x80, dns.rcode.FORMERR]) + b"\0" * 8)


def cut_short(query: bytes, send: Send) -> None:
    send(response(query, tc=True))


async def whole(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(framed(mx_of(await tcp_query(reader))))


async def swept(exchange: Exchange, pairs: list[tuple[str, Question]], **options: float) -> Told:
    told: Told = []
    await exchange.sweep(pairs, lambda *one: told.append(one), rd=False, **options)  # type: ignore[arg-type]
    return told


async def test_every_pair_is_told_once_and_says_what_asking_says() -> None:
    behaviours: list[tuple[OnUdp, OnTcp | None]] = [
        (answers, None), (before_edns, None), (cut_short, whole), (silent, None), (cut_short, None),
    ]  # fmt: skip
    async with servers(*behaviours) as (_, addresses, exchange):
        bad = Question("a" * 64 + ".example.", "MX")
        pairs = [(a, QUESTION) for a in (*addresses, "no address") for _ in range(40)] + [(addresses[0], bad)]
        told = await swept(exchange, pairs, timeout=0.6)
        assert Counter((a, q) for a, q, _ in told) == Counter(pairs)
        seen = {(a, q): set[tuple[str, tuple[str, ...], str]]() for a, q in pairs}
        for address, question, reply in told:
            seen[address, question].add((reply.outcome, reply.rrset, reply.transport))
        for (address, question), outcomes in seen.items():
            reply = await exchange.ask(address, question, rd=False, timeout=0.6)
            assert outcomes == {(reply.outcome, reply.rrset, reply.transport)}
    assert [outcome for one in seen.values() for outcome, _, _ in one] == [
        "answer", "answer", "answer", "timeout", "unreachable", "unreachable", "malformed",
    ]  # fmt: skip


async def test_no_more_are_under_way_at_a_server_or_platform_and_nobody_waits_for_another() -> None:
    held: dict[int, list[tuple[bytes, Send]]] = {0: [], 1: []}
    most = [0, 0]

    def holding(n: int) -> OnUdp:
        def on_udp(query: bytes, send: Send) -> None:
            held[n].append((query, send))
            most[n] = max(most[n], len(held[n]))

        return on_udp

    def release() -> None:
        for some in held.values():
            for query, send in some:
                send(mx_of(query))
            some.clear()

    async with servers((holding(0), None), (holding(1), None), (answers, None), per_server=3) as (
        _,
        addresses,
        exchange,
    ):
        free = asyncio.Event()
        told = Counter[str]()

        def tell(address: str, question: Question, reply: Reply) -> None:
            assert reply.rrset == MX
            told[address] += 1
            if told[addresses[2]] == 50:
                free.set()

        pairs = [(address, QUESTION) for address in addresses for _ in range(50)]
        task = asyncio.ensure_future(exchange.sweep(pairs, tell, rd=False, timeout=60))
        async with asyncio.timeout(30):
            await free.wait()  # the third has been asked all while the others say nothing
            assert told == {addresses[2]: 50}
            while not task.done():
                release()
                await asyncio.sleep(0)
            await task
    assert told == dict.fromkeys(addresses, 50) and most == [3, 3]


async def test_a_platform_is_asked_so_much_at_a_time() -> None:
    most = 0
    held: list[tuple[bytes, Send]] = []

    def on_udp(query: bytes, send: Send) -> None:
        nonlocal most
        held.append((query, send))
        most = max(most, len(held))
        if len(held) == 1:
            asyncio.get_running_loop().call_later(0.01, release)

    def release() -> None:
        for query, send in held:
            send(mx_of(query))
        held.clear()

    async with servers(*[(on_udp, None)] * 4, per_platform=5) as (_, addresses, exchange):
        pairs = [(address, QUESTION) for address in addresses for _ in range(20)]
        sweep = exchange.sweep(
            pairs, lambda a, q, r: None, rd=False, timeout=60, platforms=dict.fromkeys(addresses, "one")
        )
        alone = [exchange.ask(a, QUESTION, rd=False, timeout=60, platform="one") for a in addresses * 5]
        await asyncio.gather(sweep, *alone)
    assert 1 < most <= 5


def _fails(address: str, question: Question, reply: Reply) -> None:
    raise RuntimeError("no more")


def _endless(address: str) -> Iterator[tuple[str, Question]]:
    while True:
        yield address, QUESTION


def _failing(address: str) -> Iterator[tuple[str, Question]]:
    yield address, QUESTION
    raise RuntimeError("no more")


@pytest.mark.parametrize("pairs", [_endless, _failing])
async def test_what_the_caller_raises_ends_the_sweep(
    pairs: Callable[[str], Iterator[tuple[str, Question]]],
) -> None:
    told = _fails if pairs is _endless else lambda address, question, reply: None
    async with servers((answers, None)) as (_, addresses, exchange):
        with pytest.raises(RuntimeError, match="no more"):
            await exchange.sweep(pairs(addresses[0]), told, rd=False)
        # The places are given back when the rest has been answered.
        async with asyncio.timeout(20):
            replies = await asyncio.gather(
                *(exchange.ask(addresses[0], QUESTION, rd=False) for _ in range(64))
            )
    assert {reply.outcome for reply in replies} == {"answer"}


async def test_a_sweep_that_is_cancelled_tells_no_more_and_gives_its_places_back() -> None:
    asked = asyncio.Event()
    held: list[tuple[bytes, Send]] = []

    def on_udp(query: bytes, send: Send) -> None:
        held.append((query, send))
        asked.set()

    told: Told = []
    async with servers((on_udp, None), in_flight=10) as (_, addresses, exchange):
        sweep = exchange.sweep(_endless(addresses[0]), lambda *one: told.append(one), rd=False, timeout=60)
        task = asyncio.ensure_future(sweep)
        await asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        asking = asyncio.ensure_future(exchange.ask(addresses[0], QUESTION, rd=False, timeout=60))
        async with asyncio.timeout(20):
            while not asking.done():
                for query, send in held:
                    send(mx_of(query))
                held.clear()
                await asyncio.sleep(0)
        assert (await asking).rrset == MX and told == []


async def test_closing_the_exchange_ends_it_and_many_failures_do_not_pile_up() -> None:
    async with servers((silent, None)) as (_, addresses, exchange):
        pairs = [(addresses[0], QUESTION)] * (4 * sweeping.HELD)
        told: Told = []
        task = asyncio.ensure_future(
            exchange.sweep(pairs, lambda *one: told.append(one), rd=False, timeout=60)
        )
        while not exchange._udp._ports[socket.AF_INET].all():
            await asyncio.sleep(0)
        await exchange.close()
        async with asyncio.timeout(30):
            await task
    assert len(told) == len(pairs) and {reply.outcome for _, _, reply in told} == {"unreachable"}


async def test_pairs_are_taken_as_they_can_be_asked() -> None:
    taken = 0

    def counted(address: str) -> Iterator[tuple[str, Question]]:
        nonlocal taken
        for _ in range(10 * sweeping.HELD):
            taken += 1
            yield address, QUESTION

    async with servers((silent, None)) as (made, addresses, exchange):
        task = asyncio.ensure_future(
            exchange.sweep(counted(addresses[0]), lambda *one: None, rd=False, timeout=60)
        )
        while not made[0].queries:
            await asyncio.sleep(0)
        for _ in range(100):
            await asyncio.sleep(0)
        assert taken <= sweeping.HELD + sweeping.WINDOW + 1
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


# What came and was not taken


async def test_who_only_forwards_is_noted_and_not_believed() -> None:
    """A transparent forwarder passes the question on with the asker's own address as the source, so the
    resolver behind it answers the asker directly."""
    with socket.socket(type=socket.SOCK_DGRAM) as behind:
        behind.bind(("127.0.0.2", 0))

        def forwards(query: bytes, send: Send) -> None:
            asker = send.__defaults__[0]  # type: ignore[attr-defined]
            behind.sendto(mx_of(query), asker)
            behind.sendto(mx_of(query).replace(b"\7", b"\6", 1), asker)

        async with servers((forwards, None), (answers, None)) as (_, addresses, exchange):
            reply = await exchange.ask(addresses[0], QUESTION, rd=True, timeout=0.4)
            assert reply.outcome == "timeout" and reply.rrset == ()
            noted = exchange.noted(addresses[0])
            assert noted.sources == {"127.0.0.2": 2} and noted.unmatched == 2 and exchange.dropped == 4
            await exchange.ask(addresses[1], QUESTION, rd=True)
            clean = exchange.noted(addresses[1])
            assert clean.sources == {} and clean.unmatched == 0 and exchange.noted("none").unmatched == 0


async def test_what_a_server_says_unasked_is_counted_as_its_own() -> None:
    def twice(query: bytes, send: Send) -> None:
        send(bytes([query[0] ^ 1]) + mx_of(query)[1:])
        send(mx_of(query))

    async with servers((twice, None)) as (_, addresses, exchange):
        assert (await exchange.ask(addresses[0], QUESTION, rd=True)).rrset == MX
        assert exchange.noted(addresses[0]).unmatched == 1
