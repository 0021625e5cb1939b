"""DoT and DoH against real servers with a test CA, and against servers that speak them badly."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from msgspec import Struct

from monitor.rehearsal.certificates import CertificateAuthority
from probes.dns.exchange import Exchange, Question, Reply, Via, doh, dot
from probes.endpoints import Endpoints
from tests.dns import encrypting
from tests.dns.encrypting import MANY, NAME, PATH, ZONE
from tests.servers.daemon import needs

MX = ("10 mail.example.jp.", "20 backup.example.net.")
URL = f"https://{NAME}{PATH}"
WAYS = [dot(NAME), doh(URL), doh(URL, "GET"), doh(URL + "{?dns}", "GET")]


class Servers(Struct, frozen=True):
    """Logical addresses by server, where they are, and the CA's certificate."""

    at: dict[str, str]
    endpoints: Endpoints
    ca: Path


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    needs("unbound", "named", "dnsdist")
    at = {"unbound": "192.0.2.30", "bind": "192.0.2.31", "dnsdist": "192.0.2.32"}
    places = {name: encrypting.place(logical) for name, logical in at.items()}
    with tempfile.TemporaryDirectory(prefix="mx-") as name, contextlib.ExitStack() as stack:
        directory = Path(name)
        authority = CertificateAuthority(directory)
        pem = encrypting.certificate(authority, directory)
        stack.enter_context(encrypting.unbound(directory, places["unbound"], pem))
        stack.enter_context(encrypting.bind(directory, places["bind"], pem))
        stack.enter_context(encrypting.dnsdist(directory, places["dnsdist"], pem, places["bind"]))
        table = {k: v for place in places.values() for k, v in place.endpoints.items()}
        yield Servers(at, Endpoints(table), authority.path)


@contextlib.asynccontextmanager
async def asking(servers: Servers, ca: bool = True) -> AsyncIterator[Exchange]:
    exchange = Exchange(servers.endpoints, ca_file=servers.ca if ca else None)
    try:
        yield exchange
    finally:
        await exchange.close()


async def ask(exchange: Exchange, address: str, via: Via, name: str = ZONE) -> Reply:
    return await exchange.ask(address, Question(name, "MX"), rd=True, timeout=20, via=via)


@pytest.mark.servers
@pytest.mark.parametrize("server", ["unbound", "bind", "dnsdist"])
@pytest.mark.parametrize("via", WAYS)
async def test_real_servers_answer_by_each_way(servers: Servers, server: str, via: Via) -> None:
    async with asking(servers) as exchange:
        one = await ask(exchange, servers.at[server], via)
        many = await asyncio.gather(
            *(ask(exchange, servers.at[server], via, f"many.{ZONE}") for _ in range(40))
        )
    assert (one.outcome, one.rrset, one.ttl, one.transport) == ("answer", MX, 300, via.transport)
    assert one.nsid == ("unbound-1" if server == "unbound" else "bind-1")
    assert {(r.outcome, frozenset(r.rrset)) for r in many} == {("answer", frozenset(MANY))}


NAMED = "certificate:"
REFUSED = [
    (dot("other.test"), True, NAMED), (dot(), True, NAMED), (dot(NAME), False, NAMED),
    (doh(f"https://other.test{PATH}"), True, NAMED), (doh(f"https://{NAME}/other"), True, "HTTP 404"),
    (doh(f"http://{NAME}{PATH}"), True, "'http"), (doh("https://[::"), True, ""),
    (Via("dot", url="x"), True, NAMED),
]  # fmt: skip


@pytest.mark.servers
@pytest.mark.parametrize(("via", "ca", "detail"), REFUSED)
async def test_who_is_not_whom_the_name_says_is_not_asked(
    servers: Servers, via: Via, ca: bool, detail: str
) -> None:
    async with asking(servers, ca) as exchange:
        reply = await ask(exchange, servers.at["bind"], via)
    assert reply.outcome in ("unreachable", "refused") and reply.detail.startswith(detail), reply
    assert reply.rrset == () and reply.rtt_ms is None
