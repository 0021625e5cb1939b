"""Asks: the delegation from the root, every authority without recursion, every resolver with it, politely."""

from __future__ import annotations

import asyncio
import random
import socket
import time
from collections.abc import Callable, Iterable, Sequence

from msgspec.structs import replace

from monitor.glance.honest import Honest
from monitor.glance.known import Addresses, Hop, Known, Resolver
from monitor.glance.said import FORGED, Change, Said, Track
from monitor.watch.pace import PLATFORM_GAP, Gates
from monitor.watch.ways import Ways
from probes.dns.authority import Asking, Delegation, host_addresses, walk
from probes.dns.dnssec import Anchors
from probes.dns.exchange import Exchange, Question, Reply
from probes.dns.walking import Walker, above
from probes.endpoints import Endpoints
from probes.observation import AuthorityAnswer, now
from probes.sight import Server

TIMEOUT = 5.0
AT_A_TIME = 48  # questions to resolvers under way
SPREAD = 0.5  # seconds over which a first round is strewn
MOST_HOPS = 5  # names that aliases lead through
MOST_SERVERS = 40  # addresses of one zone's authorities
MOST_EXCHANGES = 12
DNS = 53
WAYS = 3  # that one resolver is tried by
_SAID = ("answer", "nodata", "nxdomain")
_SILENT = ("timeout", "unreachable", "malformed")

# Whose word it is, what it was before, and the word itself.
Told = Callable[[Server | Resolver, Change | None], None]


def _quiet(who: Server | Resolver, change: Change | None) -> None:
    """For those who only look at what is known in the end."""


class Survey:
    """Asks for ``known`` and puts what is said into it. ``told`` hears of each word at once.

    ``gap``: seconds between two questions to one platform; ``timeout``: seconds for one question.
    """

    def __init__(
        self, known: Known, exchange: Exchange, endpoints: Endpoints, hints: Sequence[str] = (),
        *, gap: float = PLATFORM_GAP, timeout: float = TIMEOUT, told: Told = _quiet,
    ) -> None:  # fmt: skip
        self.known = known
        self.told = told
        self.honest = Honest(known, exchange, endpoints, hints)
        self._exchange, self._endpoints = exchange, endpoints
        self._walker = Walker(exchange, hints)
        self._ways = Ways(exchange, self._walker)
        self._anchors: dict[str, Anchors] = {}
        self._gates = Gates(gap)
        self._gap, self._timeout = gap, timeout
        self._free = asyncio.Semaphore(AT_A_TIME)

    async def once(self) -> None:
        """Everybody once, and where the exchanges that they name lead; whether port 53 is to be believed is
        found out meanwhile, and who is not, is asked again by another way."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.honest.ready())
            group.create_task(self.resolvers(list(self.known.resolvers.values())))
            await self.walk()
            await self.authorities()
            await self.exchanges()
        await self.resolvers(self.disbelieve())
        await self.exchanges()  # of those whom only a resolver named

    def disbelieve(self) -> list[Resolver]:
        """Take back what somebody else may have said. The resolvers that must be asked again."""
        self.known.intercepted = self.honest.why
        for hop in self.known.hops:
            for server in hop.servers:
                said = self.known.track(hop, server).last
                if said is not None and self.honest.authority(said) is not said:
                    del self.known.of_authorities[hop.name, server.address]
                    self.known.authority(hop, self.honest.authority(said))
        lied = []
        for resolver in self.known.resolvers.values():
            said = self.known.of_resolvers[resolver.id].last
            if said is not None and self.honest.resolver(resolver, said) is not said:
                self.known.of_resolvers[resolver.id] = Track()
                self.known.resolver(resolver, self.honest.resolver(resolver, said))
                lied.append(resolver)
        return lied

    # Authorities

    async def walk(self) -> None:
        """The delegation anew; what is known of aliases stays until the authorities say otherwise."""
        before = {hop.name: hop for hop in self.known.hops}
        hops = await asyncio.gather(*(self._hop(name) for name in before or [self.known.asked.name]))
        # Where nobody tells the way today, the servers of yesterday are still whom to ask.
        self.known.hops = tuple(hop if hop.servers else before.get(hop.name, hop) for hop in hops)

    async def _hop(self, name: str) -> Hop:
        # RFC 4035 section 3.1.4.1: a DS RRset is its parent's
        domain = above(name) if self.known.asked.type == "DS" else name
        found = await walk(self._exchange, domain, walker=self._walker)
        anchors = self._anchors.setdefault(name, Anchors())
        if found.zone:
            anchors.learn(found.zone, found.ds, found.ds_ttl, found.signed_above, time.monotonic())
        return hop_of(name, found)

    async def authorities(self) -> None:
        """Every address of every authority; then those of the zones that aliases lead to."""
        first, done = self.known.asked.name, dict[str, Hop]()
        left = [first]
        while left and len(done) < MOST_HOPS:
            name = left.pop(0)
            hop = next((h for h in self.known.hops if h.name == name), None) or await self._hop(name)
            done[name] = hop
            self.known.hops = tuple({h.name: h for h in (*self.known.hops, hop)}.values())
            aliases = await self._ask_authorities(hop)
            left += [a for a in dict.fromkeys(aliases) if a not in done and a not in left]
        self.known.hops = tuple(
            replace(hop, complete=False) if left and hop.name == first else hop for hop in done.values()
        )

    async def _ask_authorities(self, hop: Hop) -> list[str]:
        """The names that they send on to."""
        servers = [server for server in hop.servers if server.address]
        said = await asyncio.gather(*(self._ask_authority(hop, server) for server in servers))
        return [one.alias for one in said if one.outcome == "alias"]

    async def _ask_authority(self, hop: Hop, server: Server) -> Said:
        """What it serves, its zone's SOA, and what a validator makes of that."""
        trust = self._anchors[hop.name].trust(time.monotonic())
        asking = Asking(self._exchange, server, self._timeout, trust=trust)
        try:
            soa_ = asking.begin(hop.zone, "SOA")
            reply = await asking.ask(hop.name, self.known.asked.type)
            sealed = await asking.served(hop.name, self.known.asked.type, reply, hop.name)
            soa = await soa_
        finally:
            asking.close()
        said = of_authority(server.address, reply, soa, sealed)
        if said.outcome == "unreachable" and not self._routed(server.address):
            said = replace(said, outcome="noroute")
        said = self.honest.authority(said)
        self.told(server, self.known.authority(hop, said))
        return said

    def _routed(self, address: str) -> bool:
        """Whether this machine has any way there: a UDP socket connects without sending anything."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.connect(self._endpoints.real(address, DNS))
        except OSError:
            return False
        return True

    # Resolvers

    async def resolvers(self, whom: list[Resolver]) -> None:
        """Each once, in random order, strewn over some time."""
        random.shuffle(whom)
        await asyncio.gather(*(self._strewn(resolver) for resolver in whom))

    async def _strewn(self, resolver: Resolver) -> None:
        await asyncio.sleep(random.uniform(0, min(SPREAD, self._gap)))
        await self.resolver(resolver)

    async def resolver(self, resolver: Resolver) -> Said:
        """One question, when its platform's turn has come; by the next way where an encrypted one fails."""
        for _ in range(WAYS):
            await self._gates.enter(resolver.platform)
            async with self._free:
                said, again = await self._by_some_way(resolver)
            if not again:
                break
        said = self.honest.resolver(resolver, said)
        self.told(resolver, self.known.resolver(resolver, said))
        return said

    async def _by_some_way(self, resolver: Resolver) -> tuple[Said, bool]:
        """Its word, and whether to try once more."""
        way = await self._ways.of(resolver.id, plain=self.honest.plain(resolver))
        if way is None:
            url = "://" in resolver.id
            outcome, transport = ("unreachable", "doh") if url else ("intercepted", "udp")
            return Said(at=now(), address=resolver.id, outcome=outcome, transport=transport), False
        question = Question(self.known.asked.name, self.known.asked.type)
        reply = await self._exchange.ask(
            way.address, question, rd=True, timeout=self._timeout, via=way.via, platform=resolver.platform
        )
        failed = way.via.encrypted and reply.outcome in _SILENT
        if failed:
            self._ways.failed(resolver.id)
        return of_resolver(resolver.id, reply), failed

    # Where mail goes

    async def exchanges(self, *, again: bool = False) -> None:
        """The addresses of the exchanges that anybody names; ``again``: also of those that are known."""
        if self.known.asked.type != "MX":
            return
        before = {} if again else {e.name: e for e in self.known.exchanges}
        names = self._exchange_names()
        missing = [name for name in names if name not in before]
        found = await asyncio.gather(*(self._leads(name) for name in missing))
        have = before | {e.name: e for e in found}
        self.known.exchanges = tuple(have[name] for name in names)

    def _exchange_names(self) -> list[str]:
        """As the authorities name them, then as expected, then as resolvers do."""
        asked = self.known.asked
        tracks = [*self.known.of_authorities.values(), *self.known.of_resolvers.values()]
        words = [said for track in tracks for said in track.words]
        served = [rdata for said in words for rdata in said.rrset]
        expected = asked.expected.rrset if asked.expected else ()
        none = any(said.outcome == "nodata" for said in words)
        names = [name for rdata in (*served, *expected) if (name := rdata.partition(" ")[2]) != "."]
        # RFC 5321 section 5.1: without an MX RRset the domain's own address is meant
        return list(dict.fromkeys([*names, *([asked.name] if none else [])]))[:MOST_EXCHANGES]

    async def _leads(self, name: str) -> Addresses:
        return leads(name, await host_addresses(self._exchange, name, walker=self._walker))


def hop_of(name: str, delegation: Delegation) -> Hop:
    """``name``'s zone and its servers; a name server without an address stays in the list."""
    names = sorted({*delegation.parent, *delegation.child})
    found = {server.name for server in delegation.servers}
    nowhere = [Server(name, "") for name in names if name not in found]
    unique = list({server.address: server for server in reversed(delegation.servers)}.values())[::-1]
    parent, child = set(delegation.parent), set(delegation.child)
    both = bool(parent and child)
    return Hop(
        name=name,
        zone=delegation.zone,
        servers=(*unique[:MOST_SERVERS], *nowhere),
        parent_only=tuple(sorted(parent - child)) if both else (),
        zone_only=tuple(sorted(child - parent)) if both else (),
        complete=delegation.complete and len(unique) <= MOST_SERVERS,
    )


def of_authority(address: str, reply: Reply, soa: Reply, sealed: AuthorityAnswer) -> Said:
    """An authority's word. ``soa``: what it said of its zone's SOA; ``sealed``: what a validator makes of
    the word."""
    has_soa = soa.aa and soa.outcome == "answer" and soa.soa is not None
    alias = reply.aa and reply.outcome == "referral" and bool(reply.content.chain)
    # RFC 1034 section 4.3.1: an answer without AA is not the zone's own
    lame = not reply.aa and reply.outcome in (*_SAID, "referral")
    outcome = "lame" if lame else "alias" if alias else reply.outcome
    if sealed.outcome == "bogus":
        outcome = "bogus"
    return Said(
        at=now(),
        address=address,
        outcome=outcome,
        transport=reply.transport,
        rrset=reply.rrset,
        alias=reply.content.chain[-1] if reply.content.chain else "",
        ttl=reply.ttl,
        serial=soa.soa.serial if has_soa and soa.soa else None,
        negative_ttl=min(soa.ttl, soa.soa.minimum) if has_soa and soa.soa else None,
        cache=reply.nsid,
        ede=reply.ede,
        rtt_ms=reply.rtt_ms,
        dnssec=sealed.dnssec,
    )


def of_resolver(address: str, reply: Reply) -> Said:
    """A resolver's word; where it says itself that it forges or blocks (RFC 8914), that is no answer."""
    blocked = bool(FORGED & set(reply.ede)) and reply.outcome != "bogus"
    return Said(
        at=now(),
        address=address,
        outcome="blocked" if blocked else reply.outcome,
        transport=reply.transport,
        rrset=reply.rrset,
        alias=reply.content.chain[-1] if reply.content.chain else "",
        ttl=reply.ttl,
        cache=reply.nsid,
        ede=reply.ede,
        rtt_ms=reply.rtt_ms,
    )


def leads(name: str, answers: Iterable[AuthorityAnswer]) -> Addresses:
    """What the servers of an exchange's own zone say of its addresses, together."""
    said = [a for a in answers if a.outcome in ("answer", "nodata") and a.aa]
    alias = next((rdata for a in said if a.type == "CNAME" for rdata in a.rrset), "")
    told = [a for a in said if a.type in ("A", "AAAA")]
    by_server: dict[str, dict[str, tuple[str, ...]]] = {}
    for answer in told:
        by_server.setdefault(answer.address, {})[answer.type] = answer.rrset
    whole = [tuple(sorted(kinds.items())) for kinds in by_server.values() if len(kinds) == 2]
    addresses = dict.fromkeys(a for answer in told for a in answer.rrset)
    return Addresses(
        name=name,
        addresses=tuple(sorted(addresses, key=lambda a: (":" in a, a))),
        ttl=min((a.ttl for a in told if a.outcome == "answer"), default=None),
        alias=alias,
        differ=len(set(whole)) > 1,
    )
