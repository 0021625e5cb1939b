"""A watch in a network that intercepts port 53, on loopback; and the kernel's own DNAT in a namespace."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from monitor.chronicle import Chronicle
from monitor.watch import honesty as watch_honesty
from monitor.watch import ways
from monitor.watch.asking import Server
from monitor.watch.dns import DnsSchedule
from monitor.watch.known import Known
from monitor.watch.readiness import port53
from monitor.watch.vault import Vault
from monitor.watch.world import RealWorld
from probes.dns.examining import NOWHERE
from probes.dns.exchange import Exchange
from probes.dns.via import doh
from probes.dns.walking import Walker
from probes.endpoints import Endpoints
from probes.observation import AuthorityAnswer, Observation, ResolverAnswer, Skip, Watcher, WatcherEvent
from probes.service import Service
from tests.dns import lying
from tests.dns.lying import GOOGLE, NEW, OWN, ROOTS, STRANGER, Net, asking
from tests.servers.daemon import Daemon, needs, program, run
from tests.watch.fake import plan as usual_plan

IIJ = "https://public.dns.iij.jp/dns-query"
OWN_URL, GOOGLES_URL = "https://doh.example.jp/dns-query", "https://dns.google/dns-query"


@contextlib.asynccontextmanager
async def watching(net: Net, tmp_path: Path) -> AsyncIterator[Seen]:
    """The schedule of a real watch's DNS questions, with what it tells."""
    plan = usual_plan(
        resolvers=(GOOGLE, STRANGER, GOOGLES_URL, OWN_URL), authorities=(OWN,), accounts=(), hints=ROOTS[:1],
        platforms={GOOGLE: "google"}, endpoints=dict(net.endpoints),
    )  # fmt: skip
    world, seen = RealWorld(plan, Vault(plan), tmp_path / "journal"), Seen()
    schedule = DnsSchedule(plan, world, Known(plan), seen.put, [Server("ns1.example.jp.", OWN)])
    task = asyncio.create_task(schedule.run())
    try:
        yield seen
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await world.close()


class Seen:
    """Observations as they come; each wait forgets what came before it."""

    def __init__(self) -> None:
        self.all: list[Observation] = []
        self._new = asyncio.Event()

    async def put(self, *seen: Observation) -> None:
        self.all += seen
        self._new.set()

    async def until(self, *wanted: tuple[str, ...]) -> None:
        """Each of ``wanted``: words of (who, transport, outcome), or of a watcher's event."""
        missing = set(wanted)
        async with asyncio.timeout(30):
            while missing := missing - {_words(one) for one in self.all}:
                self._new.clear()
                await self._new.wait()


def _words(one: Observation) -> tuple[str, ...]:
    if isinstance(one, Watcher):
        return (one.event,)
    if isinstance(one, (AuthorityAnswer, ResolverAnswer)) and one.type == "MX":
        who = one.address if isinstance(one, AuthorityAnswer) else one.resolver
        return (who, one.transport, one.outcome)
    return ()


async def test_a_watch_moves_to_encrypted_transports_and_comes_back(
    behind: lying.Behind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(behind.ca))
    for name, seconds in (("AGAIN", 0.5), ("AGAIN_INTERCEPTED", 0.5), ("LEAST", 0.1), ("TICK", 0.1)):
        monkeypatch.setattr(watch_honesty, name, seconds)
    looked_up: list[str] = []

    async def by_the_machine(service: Service) -> list[str]:
        looked_up.append(service.host)
        return ["203.0.113.80"]

    monkeypatch.setattr(ways, "resolved", by_the_machine)
    lies = {"all": True}
    async with lying.net(behind, lambda _: lies["all"], NOWHERE[:2]) as net, watching(net, tmp_path) as seen:
        encrypted = [(who, "doh", "answer") for who in (GOOGLE, GOOGLES_URL, OWN_URL)]
        disbelieved = [(who, "udp", "intercepted") for who in (STRANGER, OWN)]
        await seen.until(("intercepted",), *encrypted, *disbelieved)
        assert looked_up == ["doh.example.jp"]
        answers = [o for o in seen.all if isinstance(o, (AuthorityAnswer, ResolverAnswer)) and o.rrset]
        assert {o.rrset for o in answers if o.type == "MX"} == {(NEW,)}, "no lie is on record"
        assert {o.transport for o in answers} == {"doh"}
        (event,) = (o for o in seen.all if isinstance(o, Watcher))
        assert "192.0.2.251, an address that nobody has, answered" in event.detail
        lies["all"] = False
        await seen.until(("online",), (GOOGLE, "udp", "answer"), (STRANGER, "udp", "answer"), *encrypted)
        await seen.until((OWN, "udp", "answer"))
        seen.all.clear()
        lies["all"] = True
        await seen.until(("intercepted",), *encrypted, *disbelieved)


@pytest.mark.parametrize(
    ("lies", "code", "said"), [(True, 69, "nobody has, answered"), (False, None, "no sign")]
)
async def test_the_check_before_a_watch_says_so(
    behind: lying.Behind, lies: bool, code: int | None, said: str
) -> None:
    async with lying.net(behind, lambda _: lies, NOWHERE[:2]) as net:
        plan = usual_plan(resolvers=(GOOGLE,), hints=ROOTS[:1], endpoints=dict(net.endpoints))
        (checked,) = await port53(plan)
    assert checked.code == code and said in checked.line


async def test_the_way_to_a_resolver(behind: lying.Behind) -> None:
    async with lying.net(behind, lambda _: False, ()) as net:
        shut = {key: real for key, real in net.endpoints.items() if key != f"{GOOGLE}:443"}
        async with asking(msgspec.structs.replace(net, endpoints=shut)) as exchange:
            found = ways.Ways(exchange, Walker(exchange, ROOTS[:1]))
            assert await found.of(OWN_URL, plain=True) == ways.Way("203.0.113.80", doh(OWN_URL)), "walked to"
            assert await found.of(GOOGLE, plain=True) == ways.Way(GOOGLE)
            assert await found.of("192.0.2.77", plain=False) is None
            assert (await found.of("103.2.57.5", plain=True)) == ways.Way("103.2.57.5", doh(IIJ)), (
                "never plain"
            )
            said = [(await found.ask(GOOGLE, "example.jp.", (), plain=False))[0] for _ in range(2)]
            assert [(o.transport, o.outcome) for o in said] == [("doh", "unreachable"), ("dot", "answer")]


async def test_a_resolver_that_only_forwards_is_said_once(behind: lying.Behind) -> None:
    """The other resolver answers the asker itself, from its own address."""
    at = behind.resolvers[GOOGLE]
    loop = asyncio.get_running_loop()
    with socket.socket(type=socket.SOCK_DGRAM) as sock, socket.socket(type=socket.SOCK_DGRAM) as other:
        sock.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.9", 0))
        peers: list[Any] = []

        def read() -> None:
            wire, peer = sock.recvfrom(4096)
            peers.append(loop.create_task(lying.relayed(wire, (at.address, at.dns), lambda a: send(a, peer))))

        def send(answer: bytes, peer: Any) -> None:
            other.sendto(answer, peer)

        loop.add_reader(sock, read)
        exchange = Exchange(Endpoints({f"{STRANGER}:53": f"127.0.0.1:{sock.getsockname()[1]}"}))
        told: list[Observation] = []

        async def tell(seen: Observation) -> None:
            told.append(seen)

        found = ways.Ways(exchange, Walker(exchange, ROOTS[:1]))
        asking_twice = (found.ask(STRANGER, "example.jp.", (), plain=True, tell=tell) for _ in "12")
        await asyncio.gather(*asking_twice)
        loop.remove_reader(sock)
        await exchange.close()
        await asyncio.gather(*peers)
    (skip,) = (one for one in told if isinstance(one, Skip))
    assert skip.subject == f"resolver:{STRANGER}" and "they come from 127.0.0.9" in skip.reason
    assert {one.outcome for one in told if isinstance(one, ResolverAnswer)} == {"timeout"}


def test_what_the_record_says_of_port_53() -> None:
    begin = datetime(2026, 11, 20, tzinfo=UTC)

    def after(*events: WatcherEvent) -> datetime | None:
        chronicle = Chronicle()
        for n, event in enumerate(events):
            chronicle.add(Watcher(at=begin + timedelta(seconds=n), event=event, detail=""))
        return chronicle.intercepted

    assert after("started") is None
    assert after("started", "intercepted", "intercepted") == begin + timedelta(seconds=1)
    assert after("intercepted", "online") is None
    assert after("intercepted", "offline", "online") == begin, "only being offline is over"
    assert after("intercepted", "offline", "online", "online") is None
    assert after("intercepted", "stopped", "started") is None, "who begins anew looks anew"


# The kernel's own DNAT, as an access provider's router does it

ASKS = """
import asyncio, sys
from probes.dns.examining import NOWHERE, Subjects, examine
from probes.dns.exchange import Exchange
from tests.dns.lying import ROOTS

async def main():
    exchange = Exchange()
    found = await examine(exchange, Subjects(domain="example.jp.", nowhere=NOWHERE, roots=ROOTS), timeout=1)
    await exchange.close()
    print(found.verdict, *sorted({sign.kind for sign in found.signs if sign.proof}))

asyncio.run(main())
"""


@pytest.fixture
def namespace() -> Iterator[str]:
    """A network namespace from which every packet is sent somewhere, and comes from nowhere back."""
    needs("ip", "nft", "dnsmasq")
    name = f"mxcutover-{os.getpid()}"
    run("ip", "netns", "add", name)
    try:
        for command in (
            "ip link set lo up",
            "ip address add 10.9.0.1/32 dev lo",
            "ip route add default dev lo src 10.9.0.1",
        ):
            run("ip", "netns", "exec", name, *command.split())
        yield name
    finally:
        run("ip", "netns", "delete", name)


@pytest.mark.servers
def test_dnat_of_port_53_to_a_providers_resolver(namespace: str, tmp_path: Path) -> None:
    inside = ("ip", "netns", "exec", namespace)
    asks = (*inside, sys.executable, "-c", ASKS)
    assert run(*asks) == "unknown\n", "nobody answers here"
    for rule in ("table ip nat", "chain ip nat output { type nat hook output priority -100 ; }",
                 "rule ip nat output udp dport 53 dnat to 127.0.0.1:5353"):  # fmt: skip
        run(*inside, "nft", "add", *rule.split())
    command = [*inside, program("dnsmasq"), "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv",
               "--no-hosts", "--port=5353", "--listen-address=127.0.0.1", "--bind-interfaces", "--user=root",
               "--pid-file", "--address=/#/198.18.0.80"]  # fmt: skip
    with Daemon("dnsmasq", command, tmp_path, lambda: "nowhere" in run(*asks)):
        assert run(*asks) == "intercepted nowhere recursion\n"
