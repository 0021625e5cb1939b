"""One question to one server, and what came of it. No exceptions: all that can go wrong is an outcome.

    exchange = Exchange(endpoints, ca_file=...)
    reply = await exchange.ask("192.0.2.53", Question("example.jp.", "MX"), rd=True)

By UDP, and by TCP where UDP's answer is cut short; or as ``via`` says: ``TCP``, ``dot("dns.example")``,
``doh("https://dns.example/dns-query")`` or ``doh(url, "GET")``, ``doq("dns.example")``. The address is always
the caller's; the name is what the server's certificate is held to, by the machine's own authorities and those
of ``ca_file``. The plan's endpoints apply to every port (53, 853, 443 or the URL's). Connections are shared
by all questions to one server and closed when idle.

Very many questions go by ``sweep``, several times as cheap as asking for each; ``noted`` tells what came in a
server's name and was not believed, and from where somebody else answered in its place.

An encrypted transport that gives no answer is ``unreachable``, ``timeout``, ``malformed`` (an answer that is
none) or ``refused`` (HTTP 4xx), and ``Reply.detail`` says why: it begins with ``certificate:`` where somebody
answered who is not whom the name says.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from pathlib import Path

from msgspec import Struct

from probes.dns.answers import RCODES, Answers, Content, Soa
from probes.dns.encrypted import Encrypted
from probes.dns.gates import Gate, Gates, entered, leave
from probes.dns.links import Failure
from probes.dns.reply import Reply, silent
from probes.dns.sockets import Address
from probes.dns.sweep import Sweep, Told
from probes.dns.tcp import ask_tcp
from probes.dns.udp import Arrival, Server, Silence, Udp
from probes.dns.via import TCP, UDP, How, Via, doh, doq, dot
from probes.dns.wire import HEADER, TC, Query, Question
from probes.endpoints import Endpoints

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


class Noted(Struct, frozen=True):
    """Datagrams in the name of one server. ``unmatched``: how many answered nothing that was asked.

    ``sources``: other addresses, from which questions that were put to it were answered so often: then it
    only forwards them.
    """

    unmatched: int = 0
    sources: dict[str, int] = {}


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
        self._all = Gate(in_flight)
        self._per_server, self._per_platform = per_server, per_platform
        self._platforms: OrderedDict[str, Gate] = OrderedDict()
        self._servers: OrderedDict[str, Server] = OrderedDict()
        self._reals: dict[Address, Server] = {}
        self._queries: OrderedDict[tuple[Question, bool, bool, bool, bool, bool], Query] = OrderedDict()
        self._udp = Udp(ports, self._reals.get)
        self.start = self._udp.start
        self._encrypted = Encrypted(self._endpoints, ca_file)
        self.answers = Answers()

    @property
    def dropped(self) -> int:
        """Datagrams that came and answered nothing that was asked."""
        return self._udp.dropped

    def noted(self, address: str) -> Noted:
        """What came in the name of this server that was not taken for an answer."""
        server = self.server(address)
        return Noted() if server is None else Noted(server.unmatched, dict(server.sources))

    async def ask(
        self, address: str, question: Question, *, rd: bool, timeout: float = TIMEOUT,
        via: Via = UDP, edns: bool = True, nsid: bool = True, platform: str = "", dnssec: bool = False,
    ) -> Reply:  # fmt: skip
        """Ask ``address`` (a logical one) for at most ``timeout`` seconds; ``rd``: recursion is desired.

        ``platform``: whose server it is, if that is to bound what is under way. ``dnssec``: with the
        signatures (RFC 4035 section 3.2.1), and with the answer's ``wire``.
        """
        server = self.server(address)
        if server is None:
            return silent("unreachable", via.transport)
        gates = self.gates(server, platform)
        await entered(gates)
        try:
            how = How(rd=rd, edns=edns, nsid=nsid, dnssec=dnssec, via=via)
            return await self.talk(address, server, question, how, self._clock() + timeout)
        finally:
            leave(gates)

    def renew_ports(self) -> None:
        """Ask from other ports from now on: where the port decides on the way or the machine (RFC 2992),
        questions from ever the same ones would meet ever the same few."""
        self._udp.renew_ports()

    async def sweep(
        self, pairs: Iterable[tuple[str, Question]], told: Told, *, rd: bool, timeout: float = TIMEOUT,
        nsid: bool = True, platforms: Mapping[str, str] | None = None,
    ) -> None:  # fmt: skip
        """Ask many by UDP (TCP where an answer is cut short), and tell each reply as it comes.

        ``pairs`` of address and question are taken as they can be asked, within the same bounds as ``ask``;
        ``told(address, question, reply)`` is called for each of them, in the order of the replies.
        ``platforms``: by address. Raises what ``pairs`` or ``told`` raise, which ends the sweep.
        """
        await Sweep(self, pairs, told, How(rd=rd, nsid=nsid), timeout, platforms or {}).run()

    # What a sweep is made of, too

    async def talk(
        self, address: str, server: Server, question: Question, how: How, deadline: float,
        arrived: Arrival | None = None,
    ) -> Reply:  # fmt: skip
        """``arrived``: what has come by UDP already, to the question with EDNS if the server takes that."""
        encrypted = how.via.encrypted  # what a middlebox does to port 53 says nothing of the server there
        if how.edns and (server.edns or encrypted):
            query = self.query(question, how, True)
            reply = await self._once(address, server, query, how.via, deadline, arrived)
            if reply.content.rcode not in (_FORMERR, _NOTIMP):
                return reply
            arrived = None
        # RFC 6891 section 7: FORMERR or NOTIMP may be all that an old server says to an OPT record
        query = self.query(question, how, False)
        reply = await self._once(address, server, query, how.via, deadline, arrived)
        if (
            how.edns
            and not encrypted
            and reply.content.outcome not in ("timeout", "unreachable", "malformed")
        ):
            server.edns = False
        return reply

    async def _once(
        self, address: str, server: Server, query: Query | None, via: Via, deadline: float,
        arrived: Arrival | None,
    ) -> Reply:  # fmt: skip
        if query is None:
            return silent("malformed", via.transport)
        by: str = via.transport
        event: Arrival | Failure
        if via.encrypted:
            event = await self._encrypted.ask(address, via, query, deadline)
        else:
            event, by = await self._plain(server, query, via, deadline, arrived)
        if isinstance(event, Failure):
            return silent(event.outcome, by, event.detail)
        return self.read(event, query, by)

    async def _plain(
        self, server: Server, query: Query, via: Via, deadline: float, arrived: Arrival | None
    ) -> tuple[Arrival | Failure, str]:
        """What came, and by which transport."""
        if via.transport == "udp":
            event = arrived or await self._udp.ask(server, query, deadline)
            if isinstance(event, str) or not event.wire[2] & TC:
                return _or_failure(event), "udp"
        return _or_failure(await ask_tcp(server.real, query, deadline)), "tcp"

    def read(self, event: Arrival, query: Query, by: str) -> Reply:
        wire = event.wire
        rtt = int((event.came - event.sent) * 1e6) / 1000
        if len(wire) == HEADER:
            rcode = wire[3] & 0x0F
            content = Content(outcome=RCODES.get(rcode, "servfail"), rcode=rcode)
            return Reply(content, by, rtt_ms=rtt)
        read = self.answers.read(wire, query)
        return Reply(read.content, by, read.ttl, read.ns_ttl, rtt, "", wire if query.dnssec else b"")

    def gates(self, server: Server, platform: str) -> Gates:
        if not platform:
            return server.gates
        gate = self._platforms.get(platform)
        if gate is None:
            gate = self._platforms[platform] = Gate(self._per_platform)
            if len(self._platforms) > PLATFORMS:
                self._platforms.popitem(last=False)
        return (*server.gates, gate)

    def server(self, address: str) -> Server | None:
        """None where the address is none."""
        server = self._servers.get(address)
        if server is None:
            host, port = self._endpoints.real(address, UDP.port)
            try:
                real = str(ipaddress.ip_address(host)), port
            except ValueError:
                return None
            server = Server(real, (Gate(self._per_server), self._all))
            self._servers[address] = self._reals[real] = server
            if len(self._servers) > SERVERS:
                self._reals.pop(self._servers.popitem(last=False)[1].real, None)
        return server

    def query(self, question: Question, how: How, edns: bool) -> Query | None:
        """None where there is no such question. Without EDNS, nothing else of it can be wished for."""
        nsid, padded, dnssec = edns and how.nsid, edns and how.via.encrypted, edns and how.dnssec
        key = (question, how.rd, edns, nsid, padded, dnssec)
        query = self._queries.get(key)
        if query is None:
            try:
                query = Query(question, rd=how.rd, edns=edns, nsid=nsid, padded=padded, dnssec=dnssec)
            except ValueError:
                return None
            self._queries[key] = query
            if len(self._queries) > QUERIES:
                self._queries.popitem(last=False)
        return query

    # What a server is not asked for, since it said that it does not know

    def elsewhere(self, address: str, name: str) -> bool:
        """Whether this server has lately said that a name is not its own."""
        server = self.server(address)
        return server is not None and server.elsewhere.get(name, 0.0) > self._clock()

    def note_elsewhere(self, address: str, name: str) -> None:
        server = self.server(address)
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
