"""One question to one server, and what came of it: by UDP, by TCP where that is too small; no exceptions."""

from __future__ import annotations

import asyncio
import ipaddress
from collections import OrderedDict
from typing import Literal

from msgspec import Struct

from probes.dns.answers import RCODES, Answers, Content, Soa
from probes.dns.tcp import ask_tcp
from probes.dns.udp import Arrival, Server, Silence, Udp, is_bare
from probes.dns.wire import Query, Question
from probes.endpoints import Endpoints
from probes.observation import DnsOutcome

__all__ = ["Content", "Exchange", "Question", "Reply", "Soa"]

DNS = 53
TIMEOUT = 5.0
IN_FLIGHT = 2000
PER_SERVER = 32
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
    ``ns_ttl``: of the NS RRset in the authority section. ``transport``: ``udp`` or ``tcp``.
    """

    content: Content
    transport: str
    ttl: int = 0
    ns_ttl: int = 0
    rtt_ms: float | None = None

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

    ``in_flight`` and ``per_server`` bound the questions under way; further ones wait their turn, and their
    time does not run yet.
    """

    def __init__(
        self, endpoints: Endpoints | None = None, *, in_flight: int = IN_FLIGHT,
        per_server: int = PER_SERVER, ports: int = PORTS,
    ) -> None:  # fmt: skip
        self._endpoints = endpoints or Endpoints()
        self._clock = asyncio.get_running_loop().time
        self._all = asyncio.Semaphore(in_flight)
        self._per_server = per_server
        self._servers: OrderedDict[str, Server] = OrderedDict()
        self._queries: OrderedDict[tuple[Question, bool, bool, bool], Query] = OrderedDict()
        self._udp = Udp(ports)
        self.answers = Answers()

    @property
    def dropped(self) -> int:
        """Datagrams that came and answered nothing that was asked."""
        return self._udp.dropped

    async def ask(
        self, address: str, question: Question, *, rd: bool, timeout: float = TIMEOUT,
        transport: Literal["udp", "tcp"] = "udp", edns: bool = True, nsid: bool = True,
    ) -> Reply:  # fmt: skip
        """Ask ``address`` (a logical one) for at most ``timeout`` seconds; ``rd``: recursion is desired."""
        server = self._server(address)
        if server is None:
            return _silent("unreachable", transport)
        async with self._all, server.gate:
            deadline = self._clock() + timeout
            if edns and server.edns:
                reply = await self._once(server, self._query(question, rd, True, nsid), deadline, transport)
                if reply.content.rcode not in (_FORMERR, _NOTIMP):
                    return reply
            # RFC 6891 section 7: FORMERR or NOTIMP may be all that an old server says to an OPT record
            reply = await self._once(server, self._query(question, rd, False, False), deadline, transport)
            if edns and reply.content.outcome not in ("timeout", "unreachable", "malformed"):
                server.edns = False
            return reply

    async def _once(self, server: Server, query: Query | None, deadline: float, transport: str) -> Reply:
        if query is None:
            return _silent("malformed", transport)
        event, by = await self._either(server, query, deadline, transport)
        if isinstance(event, str):
            return _silent(event, by)
        rtt = round((event.came - event.sent) * 1000, 3)
        if is_bare(event.wire):
            rcode = event.wire[3] & 0x0F
            content = Content(outcome=RCODES.get(rcode, "servfail"), rcode=rcode)
            return Reply(content=content, transport=by, rtt_ms=rtt)
        read = self.answers.read(event.wire, query)
        return Reply(content=read.content, transport=by, ttl=read.ttl, ns_ttl=read.ns_ttl, rtt_ms=rtt)

    async def _either(
        self, server: Server, query: Query, deadline: float, transport: str
    ) -> tuple[Arrival | Silence, str]:
        if transport == "udp":
            event = await self._udp.ask(server, query, deadline)
            if isinstance(event, str) or not event.wire[2] & _TC:
                return event, "udp"
        return await ask_tcp(server.real, query, deadline), "tcp"

    def _server(self, address: str) -> Server | None:
        """None where the address is none."""
        server = self._servers.get(address)
        if server is None:
            host, port = self._endpoints.real(address, DNS)
            try:
                server = Server((str(ipaddress.ip_address(host)), port), self._per_server)
            except ValueError:
                return None
            self._servers[address] = server
            if len(self._servers) > SERVERS:
                self._servers.popitem(last=False)
        return server

    def _query(self, question: Question, rd: bool, edns: bool, nsid: bool) -> Query | None:
        key = (question, rd, edns, nsid)
        query = self._queries.get(key)
        if query is None:
            try:
                query = Query(question, rd=rd, edns=edns, nsid=nsid)
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


def _silent(outcome: Silence, transport: str) -> Reply:
    return Reply(content=Content(outcome=outcome), transport=transport)
