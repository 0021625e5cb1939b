"""A small Internet on loopback for the command itself: a root, authorities that can be told, resolvers."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from asyncio.subprocess import PIPE
from collections.abc import Sequence
from typing import Any

import dns.edns
import dns.flags
import dns.message
import dns.rcode
from msgspec import Struct

from monitor.rehearsal.authority import Authority, Zone
from monitor.rehearsal.loopback import Loopback, Pace
from monitor.rehearsal.resolver import Habit, Resolver
from tests.dns.internet import zone
from tests.dns.scripted import OnUdp, Scripted, Send, response

NAME = "move.example."
ROOT, NS1, NS2, HOSTS = "192.0.2.1", "192.0.2.53", "203.0.113.53", "198.51.100.53"
OLD = ("10 mail.old.example.",)
NEW = ("10 mx1.new.example.", "20 mx2.new.example.")
EXPECT_NEW = ("--expect", "10 mx1.new.example", "--expect", "20 mx2.new.example")
ENTRY = (sys.executable, "-c", "from monitor.cli import run; run()")

_PARENTS = f"""
example. 3600 NS a.root.example.
a.root.example. 3600 A {ROOT}
move.example. 3600 NS ns1.move.example.
move.example. 3600 NS ns2.move.example.
old.example. 3600 NS ns.old.example.
new.example. 3600 NS ns.old.example.
ns.old.example. 3600 A {HOSTS}
ns1.move.example. 3600 A {NS1}
ns2.move.example. 3600 A {NS2}
"""
_OLD = f"""
old.example. 60 NS ns.old.example.
ns.old.example. 60 A {HOSTS}
mail.old.example. 60 A 192.0.2.10
www.old.example. 60 A 192.0.2.80
"""
_NEW = """
new.example. 60 NS ns.old.example.
mx1.new.example. 60 A 198.51.100.20
mx2.new.example. 60 A 198.51.100.21
"""


def moving(mx: Sequence[str], serial: int, ttl: int = 300, more: str = "") -> Zone:
    """The domain's zone. ``more``: further lines of it."""
    exchanges = "\n".join(f"{NAME} {ttl} MX {rdata}" for rdata in mx)
    return zone(
        f"""
{NAME} 60 NS ns1.move.example.
{NAME} 60 NS ns2.move.example.
ns1.move.example. 60 A {NS1}
ns2.move.example. 60 A {NS2}
{exchanges}
{more}""",
        serial,
    )


class Done(Struct, frozen=True):
    code: int
    output: str
    errors: str

    @property
    def document(self) -> dict[str, Any]:
        """The last line, as JSON."""
        found: dict[str, Any] = json.loads(self.output.splitlines()[-1])
        return found


class Lab:
    """``async with Lab() as lab``; both authorities serve the old MX, and there is no resolver yet."""

    def __init__(self, *, mx: Sequence[str] = OLD, ttl: int = 300, more: str = "") -> None:
        self._ttl, self._more = ttl, more
        self.net = Loopback()
        self.names: list[str] = []
        self.caches: dict[str, Resolver] = {}
        first = [moving(mx, 1, ttl, more)]
        self.root = Authority("a.root.example.", ROOT, [_root(), zone(_PARENTS)])
        self.ns1 = Authority("ns1.move.example.", NS1, first)
        self.ns2 = Authority("ns2.move.example.", NS2, first)
        self.hosts = Authority("ns.old.example.", HOSTS, [zone(_OLD), zone(_NEW)])

    async def __aenter__(self) -> Lab:
        self._stack = contextlib.AsyncExitStack()
        for server in (self.root, self.ns1, self.ns2, self.hosts):
            self._stack.push_async_callback(server.close)
            self.net.announce(server.address, 53, await server.start())
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    def change(self, *servers: Authority, mx: Sequence[str] = NEW, serial: int = 2, more: str = "") -> None:
        for server in servers or (self.ns1, self.ns2):
            server.load([moving(mx, serial, self._ttl, more or self._more)])

    async def resolver(
        self, address: str, *, warm: tuple[str, str] | None = (NAME, "MX"), caches: tuple[str, ...] = ("",),
        stale: bool = False, prefers: int = 0, floor: float = 0,
    ) -> Resolver:  # fmt: skip
        """A caching one, which has the record in every cache already, unless ``warm`` is None."""
        habit = Habit(name=address, address=address, caches=caches, stale=stale, prefers=prefers, floor=floor)
        resolver = self.caches[address] = Resolver(habit, (NS1, NS2), self.net, Pace())
        self._stack.push_async_callback(resolver.close)
        self.net.announce(address, 53, await resolver.start())
        self.names.append(address)
        if warm is not None:
            await resolver.warm(*warm)
        return resolver

    async def several(self, count: int, **habits: Any) -> list[Resolver]:
        return [await self.resolver(f"203.0.113.{100 + len(self.names)}", **habits) for _ in range(count)]

    async def odd(self, address: str, on_udp: OnUdp, *, resolver: bool = True) -> Scripted:
        """One with a will of its own; in place of whoever had that address."""
        scripted = await self._stack.enter_async_context(Scripted(on_udp))
        self.net.announce(address, 53, scripted.port)
        if resolver:
            self.names.append(address)
        return scripted

    def arguments(self) -> list[str]:
        endpoints = [f"{logical}={real}" for logical, real in self.net.endpoints().items()]
        only = [word for name in self.names for word in ("--only-resolver", name)]
        return ["--hints", ROOT, *only, *(word for e in endpoints for word in ("--endpoint", e))]

    async def start(self, *arguments: str, **environment: str) -> asyncio.subprocess.Process:
        return await start(*arguments, *self.arguments(), **environment)

    async def dns(self, *arguments: str, **environment: str) -> Done:
        """The command to its end."""
        return await ended(await self.start(*arguments, **environment))


async def start(*arguments: str, **environment: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *ENTRY, "dns", *arguments, stdout=PIPE, stderr=PIPE, env={**os.environ, **environment}
    )


async def ended(child: asyncio.subprocess.Process) -> Done:
    async with asyncio.timeout(90):
        output, errors = await child.communicate()
    assert b"Traceback" not in errors, errors.decode()
    return Done(child.returncode or 0, output.decode(), errors.decode())


def _root() -> Zone:
    return zone(f". 3600 NS a.root.example.\nexample. 3600 NS a.root.example.\na.root.example. 3600 A {ROOT}")


# Servers with a will of their own


def silent(wire: bytes, send: Send) -> None:
    """It says nothing."""


def refuses(wire: bytes, send: Send) -> None:
    answer = dns.message.make_response(dns.message.from_wire(wire))
    answer.set_rcode(dns.rcode.REFUSED)
    send(answer.to_wire())


def saying(
    *rdata: str, kind: str = "MX", ttl: int = 300, ede: int | None = None, flags: int = dns.flags.RA
) -> OnUdp:
    """Always this, whatever is asked for of that type; an empty answer to anything else."""

    def on_udp(wire: bytes, send: Send) -> None:
        query = dns.message.from_wire(wire)
        (question,) = query.question
        wanted = question.rdtype == dns.rdatatype.from_text(kind)
        records = ((question.name.to_text(), ttl, kind, rdata),) if wanted else ()
        answer = dns.message.from_wire(response(wire, *records, flags=flags))
        if ede is not None:
            answer.use_edns(0, 0, 1232, options=[dns.edns.EDEOption(dns.edns.EDECode(ede), None)])
        send(answer.to_wire())

    return on_udp
