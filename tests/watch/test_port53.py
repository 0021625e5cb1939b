"""What a watch makes of each examination of port 53: whom it asks, what it tells, what it believes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable
from typing import Any

import pytest

from monitor.plan.resolvers import public
from monitor.watch import honesty
from monitor.watch.honesty import Port53
from probes.dns.examining import NOWHERE, Subjects
from probes.dns.exchange import Exchange
from probes.dns.honesty import Honesty, Sign
from probes.dns.operators import OPERATORS
from probes.dns.walking import ROOT
from probes.endpoints import Endpoints
from probes.observation import AuthorityAnswer, DnsOutcome, Observation, ResolverAnswer, Skip, Watcher, now

LIED = Honesty(verdict="intercepted", signs=(Sign("nowhere", "192.0.2.251", "3 ms", True),))
GOOGLE = Honesty(
    verdict="intercepted", signs=(Sign("egress", "8.8.8.8", "198.18.0.7", True, "google"),), clean=3
)
HONEST = Honesty(verdict="honest", clean=3)
NOTHING, LONE = Honesty(verdict="unknown"), Honesty(verdict="unknown", clean=2)


@contextlib.asynccontextmanager
async def port53(endpoints: dict[str, str] | None = None, **plan: Any) -> AsyncIterator[Port53]:
    where = Endpoints(endpoints)
    exchange = Exchange(where)
    usual = {"resolvers": tuple(public()), "platforms": public()}
    try:
        yield Port53(exchange, where, **(usual | plan))
    finally:
        await exchange.close()


# Whom it asks


async def test_it_asks_those_that_the_plan_talks_to_and_addresses_that_nobody_has() -> None:
    async with port53(domain="example.jp.") as here:
        asked = here.subjects()
    assert asked.nowhere == NOWHERE and asked.trusted and asked.domain == "example.jp."
    assert set(asked.roots) <= {server.address for server in ROOT} and len(set(asked.roots)) == 4
    platforms = [who.platform for who in asked.resolvers]
    assert len(set(platforms)) == len(platforms) == 4 and set(platforms) <= set(OPERATORS)
    assert all(who.ways for who in asked.resolvers)


async def test_a_rehearsal_asks_nobody_outside() -> None:
    """Not even addresses that nobody has: a question to them would leave the machine."""
    mapped = dict.fromkeys(("8.8.8.8", "198.41.0.4"), "127.0.0.1")
    async with port53(mapped, resolvers=("8.8.8.8",), hints=("198.41.0.4",)) as here:
        assert here.subjects() == Subjects(roots=("198.41.0.4",), trusted=False)
    async with port53(resolvers=("127.0.0.153",), hints=("127.0.0.154",)) as here:
        assert here.subjects() == Subjects(roots=("127.0.0.154",), trusted=False)


# What it tells


@pytest.mark.parametrize(
    ("found", "told"),
    [
        ([HONEST, NOTHING, LONE], []),
        ([LIED, LIED], ["intercepted"]),
        ([LIED, HONEST, LIED], ["intercepted", "online", "intercepted"]),
        ([LIED, NOTHING, NOTHING, NOTHING, NOTHING], ["intercepted"]),
        ([LIED, LONE, LONE, GOOGLE], ["intercepted"]),
        ([LIED, LONE, LONE, LONE], ["intercepted", "online"]),
    ],
)
async def test_each_change_is_told_once_and_silence_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, found: list[Honesty], told: list[str]
) -> None:
    events, over = list[str](), asyncio.Event()
    left = iter(found)

    async def examine(*_: object) -> Honesty:
        answer = next(left, None)
        if answer is None:
            over.set()
            await asyncio.Event().wait()
        assert answer is not None
        return answer

    async def tell(seen: Observation) -> None:
        assert isinstance(seen, Watcher)
        events.append(seen.event)

    monkeypatch.setattr(honesty, "examine", examine)
    for name in ("AGAIN", "AGAIN_INTERCEPTED"):
        monkeypatch.setattr(honesty, name, 0.0)
    async with port53() as here:
        task = asyncio.create_task(here.follow(tell))
        await over.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert events == told


async def test_an_authority_that_has_lost_its_authority_is_looked_into(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    examined = asyncio.Queue[None]()

    async def examine(*_: object) -> Honesty:
        examined.put_nowait(None)
        return HONEST

    monkeypatch.setattr(honesty, "examine", examine)
    monkeypatch.setattr(honesty, "LEAST", 0.0)
    monkeypatch.setattr(honesty, "TICK", 0.01)
    async with port53() as here, asyncio.timeout(10):
        task = asyncio.create_task(here.follow(forget))
        await examined.get()
        for outcome in ("answer", "lame", "lame"):
            here.believed(authority(outcome))
        await examined.get()
        here.believed(authority("lame"))
        await asyncio.sleep(0.1)
        assert examined.empty(), "once for each time that it is lost"
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def forget(_: Observation) -> None: ...


# What it believes


def authority(outcome: DnsOutcome = "answer", address: str = "203.0.113.1") -> AuthorityAnswer:
    return AuthorityAnswer(
        at=now(), server="ns1.example.jp.", address=address, transport="udp", name="example.jp.", type="MX",
        outcome=outcome, rrset=("10 mx.example.",) if outcome == "answer" else (), ttl=60, serial=1, aa=True,
        rtt_ms=1,
    )  # fmt: skip


def resolver(who: str, transport: str = "udp", outcome: DnsOutcome = "answer") -> ResolverAnswer:
    return ResolverAnswer(
        at=now(), resolver=who, transport=transport, name="example.jp.", type="MX", outcome=outcome,
        cache=None, ede=(), rrset=("10 mx.example.",) if outcome == "answer" else (), ttl=60, rtt_ms=1,
    )  # fmt: skip


URL = "https://dns.google/dns-query"


@pytest.mark.parametrize(
    ("found", "lies", "truths"),
    [
        (HONEST, [], [authority(), resolver("8.8.8.8")]),
        (LONE, [], [authority(), resolver("8.8.8.8")]),
        (
            LIED,
            [authority(), authority("lame"), resolver("8.8.8.8"), resolver("1.1.1.1", "tcp", "nxdomain")],
            [authority("timeout"), resolver("8.8.8.8", "doh"), resolver(URL, "dot"),
             authority(address="2001:db8::1"), Skip(at=now(), subject="resolver:8.8.8.8", reason="x")],
        ),
        (
            GOOGLE,
            [resolver("8.8.8.8"), resolver("8.8.4.4")],
            [authority(), resolver("1.1.1.1"), resolver(URL, "doh")],
        ),
    ],
)  # fmt: skip
async def test_what_is_believed(
    found: Honesty, lies: Iterable[AuthorityAnswer | ResolverAnswer], truths: Iterable[Observation]
) -> None:
    async with port53() as here:
        here.found = found
        assert [here.believed(one) for one in truths] == list(truths)
        for lie in lies:
            seen = here.believed(lie)
            assert isinstance(seen, type(lie)) and (seen.outcome, seen.rrset, seen.ttl) == (
                "intercepted",
                (),
                0,
            )
            assert (seen.at, seen.transport, seen.rtt_ms) == (lie.at, lie.transport, lie.rtt_ms)
