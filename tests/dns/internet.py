"""A small Internet on loopback: each name server at the logical address that its A record has."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterable, Mapping

from monitor.rehearsal.authority import Authority, Records, Zone
from monitor.rehearsal.loopback import Loopback
from probes.dns.authority import Walker
from probes.dns.exchange import Exchange
from probes.endpoints import Endpoints
from tests.dns.scripted import OnUdp, Scripted

ROOT = "198.41.0.4"


def zone(text: str, serial: int = 1) -> Zone:
    """A zone from lines of "owner TTL type rdata"; the first owner is the apex."""
    records: dict[tuple[str, str], Records] = {}
    for line in filter(str.strip, text.splitlines()):
        owner, ttl, kind, rdata = line.split(maxsplit=3)
        known = records.get((owner, kind))
        records[owner, kind] = Records(ttl=int(ttl), rdata=((*known.rdata, rdata) if known else (rdata,)))
    return Zone(apex=next(iter(records))[0], serial=serial, records=records, negative_ttl=30)


@contextlib.asynccontextmanager
async def internet(
    servers: Mapping[str, Iterable[Zone]], odd: Mapping[str, OnUdp] | None = None
) -> AsyncIterator[tuple[Exchange, Walker]]:
    """``servers``: which zones are served at which address; ``odd``: servers with a will of their own."""
    net = Loopback()
    async with contextlib.AsyncExitStack() as stack:
        for address, zones in servers.items():
            authority = Authority("", address, zones)
            net.announce(address, 53, await authority.start())
            stack.push_async_callback(authority.close)
        for address, on_udp in (odd or {}).items():
            server = await stack.enter_async_context(Scripted(on_udp))
            net.announce(address, 53, server.port)
        # Whom nobody plays is nowhere: a closed port of an address that is nobody's.
        exchange = Exchange(_Closed(net.endpoints()))
        stack.push_async_callback(exchange.close)
        yield exchange, Walker(exchange, [ROOT])


class _Closed(Endpoints):
    def real(self, address: str, port: int) -> tuple[str, int]:
        real = super().real(address, port)
        return ("127.0.0.153", 5399) if real == (address, port) else real
