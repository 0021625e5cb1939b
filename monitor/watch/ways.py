"""By which address and transport a resolver is asked now: port 53, or encrypted where that is lied to."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress

from msgspec import Struct

from probes.dns.catalogue import entries_of
from probes.dns.exchange import Exchange
from probes.dns.resolver import Identities, ask_resolver
from probes.dns.via import UDP, Place, Via, doh, is_address
from probes.dns.walking import Trip, Walker
from probes.mail.connect import resolved
from probes.observation import ResolverAnswer, Skip, now
from probes.service import Service
from probes.sight import Tell, nobody

LOOKED_UP_FOR = 3600.0
SAME_PORTS_FOR = 15.0
QUERIES = 60  # to look up one name
MOST_ADDRESSES = 4
_SILENT = ("timeout", "unreachable", "malformed")


class Way(Struct, frozen=True):
    """The address to ask, and the transport."""

    address: str
    via: Via = UDP


class Ways:
    """Of every resolver. An encrypted way that brings no answer makes room for the next one. ``gap``: seconds
    between two questions to one resolver."""

    def __init__(self, exchange: Exchange, walker: Walker, gap: float = 0.0) -> None:
        self._exchange, self._walker, self._gap = exchange, walker, gap
        self._identities = Identities()
        self._renewed = time.monotonic()
        self._turn: Counter[str] = Counter()
        self._addresses: dict[str, tuple[tuple[str, ...], float]] = {}
        self._forwarders: set[str] = set()

    async def of(self, resolver: str, *, plain: bool) -> Way | None:
        """``plain``: its port 53 may be believed. None where there is no other way, or its name leads
        nowhere."""
        ways = await self._at(resolver, plain) if "://" in resolver else _by_address(resolver, plain)
        return ways[self._turn[resolver] % len(ways)] if ways else None

    async def ask(
        self, resolver: str, domain: str, hosts: Iterable[str], *, plain: bool, tell: Tell = nobody
    ) -> list[ResolverAnswer]:
        """As :func:`probes.dns.resolver.ask_resolver`. Where nothing but a port 53 that can't be believed is
        left, the MX alone is asked there, and who hears of it must not believe it."""
        way = await self.of(resolver, plain=plain)
        if way is None and "://" in resolver:
            await tell(lost := _nowhere(resolver, domain))
            return [lost]
        if way is None:
            return await ask_resolver(self._exchange, resolver, domain, (), tell=tell)
        clock = time.monotonic()
        if clock - self._renewed >= SAME_PORTS_FOR:
            self._renewed = clock
            self._exchange.renew_ports()
        seen = await ask_resolver(
            self._exchange, resolver, domain, hosts, address=way.address, via=way.via, tell=tell,
            gap=self._gap, identify=self._identities.due(resolver, clock),
        )  # fmt: skip
        self._identities.note(resolver, clock, seen)
        if not way.via.encrypted:
            await self._note_forwarding(resolver, tell)
        elif seen[0].outcome in _SILENT:
            self.failed(resolver)
        return seen

    async def _note_forwarding(self, resolver: str, tell: Tell) -> None:
        """Say once that a resolver passes questions on to others, who answer from their own addresses: such
        answers are not taken, since anybody could send them."""
        sources = self._exchange.noted(resolver).sources
        if sources and resolver not in self._forwarders:
            self._forwarders.add(resolver)
            reason = f"answers to it are not believed: they come from {', '.join(sorted(sources))}"
            await tell(Skip(at=now(), subject=f"resolver:{resolver}", reason=reason))

    def failed(self, resolver: str) -> None:
        """The encrypted way that ``of`` told brought no answer."""
        self._turn[resolver] += 1
        if self._turn[resolver] % MOST_ADDRESSES == 0:
            self._addresses.pop(resolver, None)

    async def _at(self, url: str, plain: bool) -> list[Way]:
        """The bundled list's addresses of a URL, else those that its host's name has."""
        known = [Way(entry.address, via) for entry in entries_of(url) for via in entry.encrypted]
        if known:
            return known
        addresses, until = self._addresses.get(url, ((), 0.0))
        if until < time.monotonic():
            addresses = await self._looked_up(Place.of(url).host, plain)
            if addresses:
                self._addresses[url] = addresses, time.monotonic() + LOOKED_UP_FOR
        return [Way(address, doh(url)) for address in addresses]

    async def _looked_up(self, host: str, plain: bool) -> tuple[str, ...]:
        """From the host's own authorities, or by the machine's resolver: whoever lies about it cannot show
        its certificate."""
        if is_address(host):
            return (host,)
        found = await self._walker.addresses(f"{host}.", Trip(QUERIES)) if plain else ()
        if not found:
            with suppress(OSError):
                found = tuple(await resolved(Service(host=host, port=443, tls="implicit")))
        return found[:MOST_ADDRESSES]


def _by_address(address: str, plain: bool) -> list[Way]:
    entries = entries_of(address)
    if plain and all(entry.plain for entry in entries):
        return [Way(address)]
    return [Way(address, via) for entry in entries for via in entry.encrypted]


def _nowhere(resolver: str, domain: str) -> ResolverAnswer:
    return ResolverAnswer(
        at=now(), resolver=resolver, transport="doh", name=domain, type="MX", outcome="unreachable",
        cache=None, ede=(),
    )  # fmt: skip
