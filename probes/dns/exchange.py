"""One question to one server, and what came of it. No exceptions: all that can go wrong is an outcome.

    exchange = Exchange(endpoints, ca_file=...)
    reply = await exchange.ask("192.0.2.53", Question("example.jp.", "MX"), rd=True)

By UDP, and by TCP where UDP's answer is cut short; or as ``via`` says: ``TCP``, ``dot("dns.example")``,
``doh("https://dns.example/dns-query")`` or ``doh(url, "GET")``, ``doq("dns.example")``. The address is always
the caller's; the name is what the server's certificate is held to, by the machine's own authorities and those
of ``ca_file``. The plan's endpoints apply to every port (53, 853, 443 or the URL's). Connections are shared
by all questions to one server and closed when idle.

An encrypted transport that gives no answer is ``unreachable``, ``timeout``, ``malformed`` (an answer that is
none) or ``refused`` (HTTP 4xx), and ``Reply.detail`` says why: it begins with ``certificate:`` where somebody
answered who is not whom the name says.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections import OrderedDict
from contextlib import AbstractAsyncContextManager, nullcontext
from pathlib import Path

from msgspec import Struct

from probes.dns.answers import RCODES, Answers, Content, Soa
from probes.dns.encrypted import Encrypted
from probes.dns.links import Failure
from probes.dns.tcp import ask_tcp
from probes.dns.udp import Arrival, Server, Silence, Udp, is_bare
from probes.dns.via import TCP, UDP, Via, doh, doq, dot
from probes.dns.wire import Query, Question
from probes.endpoints import Endpoints
from probes.observation import DnsOutcome

__all__ = [
    "TCP", "UDP", "Content", "Exchange", "Question", "Reply", "Soa", "Via", "doh", "doq", "dot",
]  # fmt: skip

TIMEOUT = 5.0
IN_FLIGHT = 2000
PER_SERVER = 32
PER_PLATFORM = 64
PLATFORMS = 1024  # whose questions are counted
PORTS = 16
SERVERS = 4096  # whose habits are remembered
QUERIES = 4096  # whose wire is kept
ELSEWHERE = 900.0  # seconds for which a server is not asked again for a name that is not its own
ELSEWHERE_NAMES = 64
_FORMERR, _NOTIMP = 1, 4
_TC = 0x02


class Reply(Struct, frozen=True, kw_only=True):
    """What came of one question.

    ``ttl`` in seconds: the least along the aliases and the RRset; for a negative answer the negative TTL.
    ``ns_ttl``: of the NS RRset in the authority section. ``transport``: the one it came by (``udp``, ``tcp``,
    ``dot``, ``doh``, ``doq``). ``detail``: why an encrypted transport brought no answer, for people.
    """

    content: Content
    transport: str
    detail: str = ""
    ttl: int = 0
    ns_ttl: int = 0
    rtt_ms: float | None = None
    wire: bytes = b""

    @property
    def outcome(self) -> DnsOutcome:
        return self.content.outcome

    @property
    def rrset(self) -> tuple[str, ...]:
        return self.content.rrset

    @property
    def aa(self) -> bool:
        return self.content.aa

    @property
    def ede(self) -> tuple[int, ...]:
        return self.content.ede

    @property
    def nsid(self) -> str | None:
        return self.content.nsid

    @property
    def soa(self) -> Soa | None:
        return self.content.soa


class Exchange:
    """Asks name servers. Made within a running loop; ``close`` also ends what is on its way.

    ``in_flight``, ``per_server`` and ``per_platform`` bound the questions under way; further ones wait their
    turn, and their time does not run yet.
    """

    def __init__(
        self, endpoints: Endpoints | None = None, *, ca_file: Path | None = None, in_flight: int = IN_FLIGHT,
        per_server: int = PER_SERVER, per_platform: int = PER_PLATFORM, ports: int = PORTS,
    ) -> None:  # fmt: skip
        self._endpoints = endpoints or Endpoints()
        self._clock = asyncio.get_running_loop().time
        self._all = asyncio.Semaphore(in_flight)
        self._per_server, self._per_platform = per_server, per_platform
        self._platforms: OrderedDict[str, asyncio.Semaphore] = OrderedDict()
        self._servers: OrderedDict[str, Server] = OrderedDict()
        self._queries: OrderedDict[tuple[Question, bool, bool, bool, bool, bool], Query] = OrderedDict()
        self._udp = Udp(ports)
        self._encrypted = Encrypted(self._endpoints, ca_file)
        self.answers = Answers()

    @property
    def dropped(self) -> int:
        """Datagrams that came and answered nothing that was asked."""
        return self._udp.dropped

    async def ask(
        self, address: str, question: Question, *, rd: bool, timeout: float = TIMEOUT,
        via: Via = UDP, edns: bool = True, nsid: bool = True, platform: str = "", dnssec: bool = False,
    ) -> Reply:  # fmt: skip
        """Ask ``address`` (a logical one) for at most ``timeout`` seconds; ``rd``: recursion is desired.

        ``platform``: whose server it is, if that is to bound what is under way. ``dnssec``: with the
        signatures (RFC 4035 section 3.2.1), and with the answer's ``wire``.
        """
        server = self._server(address)
        if server is None:
            return _silent("unreachable", via.transport)
        async with server.gate, self._platform(platform), self._all:
            deadline = self._clock() + timeout
            if edns and server.edns:
                query = self._query(question, rd, True, nsid, via.encrypted, dnssec)
                reply = await self._once(address, server, query, deadline, via)
                if reply.content.rcode not in (_FORMERR, _NOTIMP):
                    return reply
            # RFC 6891 section 7: FORMERR or NOTIMP may be all that an old server says to an OPT record
            query = self._query(question, rd, False, False, False, False)
            reply = await self._once(address, server, query, deadline, via)
            if edns and reply.content.outcome not in ("timeout", "unreachable", "malformed"):
                server.edns = False
            return reply

    async def _once(
        self, address: str, server: Server, query: Query | None, deadline: float, via: Via
    ) -> Reply:
        if query is None:
            return _silent("malformed", via.transport)
        event, by = await self._carried(address, server, query, deadline, via)
        if isinstance(event, Failure):
            return _silent(event.outcome, by, event.detail)
        return self._read(event, query, by)

    def _read(self, event: Arrival, query: Query, by: str) -> Reply:
        rtt = round((event.came - event.sent) * 1000, 3)
        if is_bare(event.wire):
            rcode = event.wire[3] & 0x0F
            content = Content(outcome=RCODES.get(rcode, "servfail"), rcode=rcode)
            return Reply(content=content, transport=by, rtt_ms=rtt)
        read = self.answers.read(event.wire, query)
        wire = event.wire if query.dnssec else b""
        return Reply(
            content=read.content, transport=by, ttl=read.ttl, ns_ttl=read.ns_ttl, rtt_ms=rtt, wire=wire
        )

    async def _carried(
        self, address: str, server: Server, query: Query, deadline: float, via: Via
    ) -> tuple[Arrival | Failure, str]:
        """What came, and by which transport."""
        if via.encrypted:
            return await self._encrypted.ask(address, via, query, deadline), via.transport
        if via.transport == "udp":
            event = await self._udp.ask(server, query, deadline)
            if isinstance(event, str) or not event.wire[2] & _TC:
                return _or_failure(event), "udp"
        return _or_failure(await ask_tcp(server.real, query, deadline)), "tcp"

    def _platform(self, name: str) -> AbstractAsyncContextManager[None]:
        if not name:
            return nullcontext()
        gate = self._platforms.get(name)
        if gate is None:
            gate = self._platforms[name] = asyncio.Semaphore(self._per_platform)
            if len(self._platforms) > PLATFORMS:
                self._platforms.popitem(last=False)
        return gate

    def _server(self, address: str) -> Server | None:
        """None where the address is none."""
        server = self._servers.get(address)
        if server is None:
            host, port = self._endpoints.real(address, UDP.port)
            try:
                server = Server((str(ipaddress.ip_address(host)), port), self._per_server)
            except ValueError:
                return None
            self._servers[address] = server
            if len(self._servers) > SERVERS:
                self._servers.popitem(last=False)
        return server

    def _query(
        self, question: Question, rd: bool, edns: bool, nsid: bool, padded: bool, dnssec: bool
    ) -> Query | None:
        key = (question, rd, edns, nsid, padded, dnssec)
        query = self._queries.get(key)
        if query is None:
            try:
                query = Query(question, rd=rd, edns=edns, nsid=nsid, padded=padded, dnssec=dnssec)
            except ValueError:
                return None
            self._queries[key] = query
            if len(self._queries) > QUERIES:
                self._queries.popitem(last=False)
        return query

    # What a server is not asked for, since it said that it does not know

    def elsewhere(self, address: str, name: str) -> bool:
        """Whether this server has lately said that a name is not its own."""
        server = self._server(address)
        return server is not None and server.elsewhere.get(name, 0.0) > self._clock()

    def note_elsewhere(self, address: str, name: str) -> None:
        server = self._server(address)
        if server is None:
            return
        server.elsewhere.pop(name, None)
        server.elsewhere[name] = self._clock() + ELSEWHERE
        if len(server.elsewhere) > ELSEWHERE_NAMES:
            del server.elsewhere[next(iter(server.elsewhere))]

    async def close(self) -> None:
        self._udp.close()
        await self._encrypted.close()


def _or_failure(event: Arrival | Silence) -> Arrival | Failure:
    return Failure(event) if isinstance(event, str) else event


def _silent(outcome: DnsOutcome, transport: str, detail: str = "") -> Reply:
    return Reply(content=Content(outcome=outcome), transport=transport, detail=detail)
