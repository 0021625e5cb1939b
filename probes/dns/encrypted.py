"""Questions by encrypted transports: DNS over TLS, over HTTPS and over QUIC, by one pool of connections."""

from __future__ import annotations

import asyncio
from pathlib import Path

from probes.dns.links import End, Failure, Link, Links
from probes.dns.tls import Trust, open_dot
from probes.dns.udp import Arrival
from probes.dns.via import Via, is_address
from probes.dns.wire import Query
from probes.endpoints import Endpoints


class Encrypted:
    """``ca_file``: certificate authorities (PEM) that are trusted beside the machine's own."""

    def __init__(self, endpoints: Endpoints, ca_file: Path | None) -> None:
        self._endpoints = endpoints
        self._trust = Trust(ca_file)
        self._links = Links(self._open)

    async def ask(self, address: str, via: Via, query: Query, deadline: float) -> Arrival | Failure:
        """``deadline`` is of the loop's clock; it holds for connecting and asking together."""
        try:
            end = self._end(address, via)
        except ValueError as error:
            return Failure("unreachable", str(error))
        return await self._links.ask(end, query, deadline)

    def _end(self, address: str, via: Via) -> End:
        host, port = self._endpoints.real(address, via.port)
        if not is_address(host):
            raise ValueError(f"{host!r} is not an address")
        name = via.place.host if via.transport == "doh" else via.name
        return End((host, port), via, name or address)

    async def _open(self, end: End) -> Link:
        # Each of these brings a library along: for who needs it.
        if end.via.transport == "dot":
            return await open_dot(end, self._trust)
        if end.via.transport == "doh":
            from probes.dns.https import open_doh

            return await open_doh(end, self._trust)
        try:
            from probes.dns.quic import open_doq
        except ImportError:
            raise OSError("DNS over QUIC is not available here: install mxcutover[doq]") from None
        return await open_doq(end, self._trust)

    async def close(self) -> None:
        self._links.close()
        await asyncio.sleep(0)  # the loop closes what was aborted
