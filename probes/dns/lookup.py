"""What the DNS says of a domain's mail today, for whoever begins a plan."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from msgspec import Struct

from probes.dns.authority import Delegation, Walker, ask_authority, host_addresses, walk
from probes.dns.exchange import Exchange
from probes.endpoints import Endpoints
from probes.observation import AuthorityAnswer
from probes.sight import Server

WALKING, ASKING, HOSTS = 8.0, 2.0, 5.0  # seconds at most: for the way, for one question, for the exchanges
ASKED = 8  # addresses of authorities that are asked, at most
MOST_HOSTS = 12


class Found(Struct, frozen=True, kw_only=True):
    """Today's mail exchanges, from the domain's own servers.

    ``mx``: "preference name", lowest preference first; empty where mail goes to the domain's own address
    (RFC 5321 section 5.1) or nowhere. ``ttl`` in seconds, the greatest that any server gives.
    ``addresses`` are the exchanges', or of the implicit MX.
    """

    mx: tuple[str, ...]
    ttl: int
    authorities: tuple[Server, ...]
    addresses: tuple[str, ...]


async def look_up(
    domain: str, hints: Sequence[str] = (), endpoints: Mapping[str, str] | None = None
) -> Found | None:
    """``domain`` absolute, as A-labels. None where the domain's servers could not be asked in some seconds.

    ``hints`` and ``endpoints``: as in a plan. Never raises for what the network does.
    """
    exchange = Exchange(Endpoints(endpoints))
    try:
        return await _look_up(exchange, domain, Walker(exchange, hints))
    finally:
        await exchange.close()


async def _look_up(exchange: Exchange, domain: str, walker: Walker) -> Found | None:
    delegation = await walk(exchange, domain, walker=walker, timeout=WALKING)
    seen = await _served(exchange, delegation)
    told = [a for a in seen if a.type == "MX" and a.outcome in ("answer", "nodata")]
    if not told:
        return None
    mx = tuple(sorted({rdata for a in told for rdata in a.rrset}, key=_preference))
    names = [name for rdata in mx if (name := rdata.partition(" ")[2]) != "."][:MOST_HOSTS]
    hosts = names or ([domain] if not mx else [])
    looked = await asyncio.gather(
        *(host_addresses(exchange, host, walker=walker, timeout=HOSTS) for host in hosts)
    )
    answered = [answer for answers in looked for answer in answers if answer.type in ("A", "AAAA")]
    addresses = [address for answer in answered for address in answer.rrset]
    return Found(
        mx=mx,
        ttl=max(a.ttl for a in told),
        authorities=delegation.servers,
        addresses=tuple(dict.fromkeys(addresses)),
    )


async def _served(exchange: Exchange, delegation: Delegation) -> list[AuthorityAnswer]:
    servers, domain = delegation.servers[:ASKED], delegation.domain
    answers = await asyncio.gather(
        *(ask_authority(exchange, server, domain, (), timeout=ASKING) for server in servers)
    )
    return [answer for one in answers for answer in one]


def _preference(rdata: str) -> tuple[int, str]:
    preference, _, exchange = rdata.partition(" ")
    return int(preference), exchange
