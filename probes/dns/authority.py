"""Who is authoritative for a domain, and what each of its servers serves when it is asked itself."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

from msgspec import Struct

from probes.dns.exchange import Exchange, Question, Reply
from probes.dns.walking import MOST_NAMES, Cut, Reached, Trip, Walker, above, glue, mixed, within
from probes.observation import AuthorityAnswer, DnsOutcome, now
from probes.sight import Server, Tell, nobody

__all__ = ["Delegation", "Server", "Walker", "ask_authority", "host_addresses", "walk"]

WALK_TIMEOUT = 25.0
PARENTS = 4  # addresses of the parent zone that are asked for the delegation
CHILDREN = 26  # addresses of the domain's own servers that are asked for their NS RRset
HOST_SERVERS = 6
ALIASES = 3
TIMEOUT = 5.0
_SAID = ("answer", "nodata", "nxdomain")


class Delegation(Struct, frozen=True, kw_only=True):
    """Who serves the zone that a domain is in.

    ``servers``: every address of every name server that the parent or the zone itself names;
    ``parent`` and ``child``: the NS RRsets of both, with TTLs in seconds (None: not seen);
    ``parents``: which of the parent's servers answered; ``complete``: False where time or the number of
    questions ran out. Without ``servers`` the delegation could not be walked.
    """

    domain: str
    zone: str = ""
    servers: tuple[Server, ...] = ()
    parent: tuple[str, ...] = ()
    child: tuple[str, ...] = ()
    parent_ttl: int | None = None
    child_ttl: int | None = None
    parents: tuple[Server, ...] = ()
    complete: bool = True


async def walk(
    exchange: Exchange, domain: str, hints: Sequence[str] = (), *, timeout: float = WALK_TIMEOUT,
    walker: Walker | None = None,
) -> Delegation:  # fmt: skip
    """Walk from the root (or ``hints``, addresses of servers to begin at) to the domain's zone.

    The delegation itself is asked for anew each time; a ``walker`` that is kept remembers the way there
    and the addresses of name servers. Never raises for what the network does.
    """
    finding = _Finding(walker or Walker(exchange, hints), domain)
    try:
        async with asyncio.timeout(timeout):
            await finding.run()
    except TimeoutError:
        finding.complete = False
    return finding.delegation()


class _Finding:
    """One walk and what it has found so far."""

    def __init__(self, walker: Walker, domain: str) -> None:
        self._walker, self._domain = walker, domain
        self._trip = Trip()
        self._zone = ""
        self._servers: dict[Server, None] = {}
        self._parents: dict[Server, Reply] = {}
        self._children: dict[Server, Reply] = {}
        self._parent_names: set[str] = set()
        self._parent_ttl: int | None = None
        self.complete = True

    async def run(self) -> None:
        reached = await self._walker.descend(Question(self._domain, "NS"), self._trip, anew=True)
        zone = _zone_of(self._domain, reached)
        if zone == ".":
            return  # no way down from the root
        self._zone = zone
        if reached.cut.zone == self._zone:
            self._delegated(reached.cut.names, reached.cut.ttl)
        await self._ask_parents(reached.cut)
        await self._ask_children(await self._walker.servers(reached.cut, self._trip))
        await self._addresses()
        await self._ask_children([s for s in self._servers if s not in self._children])
        await self._addresses()

    def _delegated(self, names: Iterable[str], ttl: int) -> None:
        self._parent_names |= set(names)
        self._parent_ttl = max(ttl, self._parent_ttl or 0)

    async def _ask_parents(self, cut: Cut) -> None:
        """Several servers of the parent: one of them may be behind the others."""
        parent = self._walker.cut_at(cut.parent) if cut.zone == self._zone else cut
        if parent is None:
            return
        servers = await self._walker.servers(parent, self._trip)
        for server, reply in await self._all(mixed(servers)[:PARENTS]):
            if reply.outcome == "referral" and reply.content.cut == self._zone:
                self._parents[server] = reply
                self._delegated(reply.content.ns, reply.ns_ttl)
                self._servers |= dict.fromkeys(glue(reply, reply.content.ns, parent.zone))

    async def _ask_children(self, servers: Sequence[Server]) -> None:
        """The zone's own NS RRset, from everyone who may have it."""
        asked = list(dict.fromkeys([*servers, *self._servers]))
        for server, reply in await self._all(asked[:CHILDREN]):
            if reply.aa and reply.outcome == "answer":
                self._children[server] = reply

    async def _all(self, servers: Sequence[Server]) -> list[tuple[Server, Reply]]:
        question = Question(self._zone, "NS")
        replies = await asyncio.gather(*(self._walker.ask(s, question, self._trip) for s in servers))
        return [(s, r) for s, r in zip(servers, replies, strict=True) if r is not None]

    async def _addresses(self) -> None:
        """Of every name server; those of one domain one after the other, since they share the way."""
        groups: dict[str, list[str]] = {}
        for name in self._names()[:MOST_NAMES]:
            groups.setdefault(above(name), []).append(name)
        await asyncio.gather(*(self._group(names) for names in groups.values()))
        self._walker.widen(self._zone, list(self._servers))

    async def _group(self, names: Iterable[str]) -> None:
        for name in names:
            found = await self._walker.addresses(name, self._trip)
            self._servers |= dict.fromkeys(Server(name, address) for address in found)

    def _child_names(self) -> set[str]:
        return {name for reply in self._children.values() for name in reply.rrset}

    def _names(self) -> list[str]:
        return sorted(self._parent_names | self._child_names())

    def delegation(self) -> Delegation:
        names = self._names()
        servers = [s for s in self._servers if s.name in names]
        return Delegation(
            domain=self._domain,
            zone=self._zone,
            servers=tuple(sorted(servers, key=lambda s: (s.name, ":" in s.address, s.address))),
            parent=tuple(sorted(self._parent_names)),
            child=tuple(sorted(self._child_names())),
            parent_ttl=self._parent_ttl,
            child_ttl=max((r.ttl for r in self._children.values()), default=None),
            parents=tuple(self._parents),
            complete=self.complete and self._trip.left >= 0,
        )


def _zone_of(domain: str, reached: Reached) -> str:
    """The apex of the zone: the domain where it has NS of its own, else whose SOA the answer bears."""
    reply = reached.reply
    if reply is None:
        return reached.cut.zone
    if reply.outcome == "answer" and not reply.content.chain:
        return domain
    if reply.soa is not None and within(domain, reply.soa.zone):
        return reply.soa.zone
    return reached.cut.zone


# What one server serves


async def ask_authority(
    exchange: Exchange, server: Server, domain: str, hosts: Iterable[str], *, timeout: float = TIMEOUT,
    tell: Tell = nobody,
) -> list[AuthorityAnswer]:  # fmt: skip
    """MX and NS of the domain, and A and AAAA of those ``hosts`` that this server is authoritative for.

    Where there is no MX RRset, the domain's own A and AAAA, too (RFC 5321 section 5.1). The MX answer
    bears the zone's serial. A server that gives the MX no answer is asked for nothing else.
    ``tell`` hears each answer at once.
    """
    asking = _Asking(exchange, server, timeout, tell)
    mx, soa = await asyncio.gather(asking.ask(domain, "MX"), asking.ask(domain, "SOA"))
    serial = next((r.soa.serial for r in (mx, soa) if r.soa is not None and r.aa), None)
    first = await asking.told(domain, "MX", mx, serial)
    if mx.outcome not in _SAID:
        return [first]
    own = [domain] if mx.outcome == "nodata" and mx.aa else []
    ns, addresses = await asyncio.gather(
        asking.asked(domain, "NS"),
        asyncio.gather(*(asking.host(host, domain) for host in dict.fromkeys([*own, *hosts]))),
    )
    return [first, ns, *(answer for answers in addresses for answer in answers)]


class _Asking:
    """One server, asked itself, without recursion."""

    def __init__(self, exchange: Exchange, server: Server, timeout: float, tell: Tell = nobody) -> None:
        self._exchange, self._server, self._timeout, self._tell = exchange, server, timeout, tell

    async def ask(self, name: str, kind: str) -> Reply:
        return await self._exchange.ask(
            self._server.address, Question(name, kind), rd=False, timeout=self._timeout
        )

    async def host(self, host: str, domain: str) -> list[AuthorityAnswer]:
        """A and AAAA of a host, unless it lies in a zone that this server has no authority over."""
        if self._exchange.elsewhere(self._server.address, host):
            return []
        replies = await asyncio.gather(self.ask(host, "A"), self.ask(host, "AAAA"))
        if any(r.outcome in ("refused", "referral") or _lame(r) for r in replies):
            self._exchange.note_elsewhere(self._server.address, host)
            return []
        if not within(host, domain) and not all(r.aa for r in replies):
            return []  # silence about another zone is no fault of the domain's server
        return [await self.told(host, kind, r) for kind, r in zip(("A", "AAAA"), replies, strict=True)]

    async def asked(self, name: str, kind: str) -> AuthorityAnswer:
        return await self.told(name, kind, await self.ask(name, kind))

    async def told(self, name: str, kind: str, reply: Reply, serial: int | None = None) -> AuthorityAnswer:
        answer = self.observed(name, kind, reply, serial)
        await self._tell(answer)
        return answer

    def observed(self, name: str, kind: str, reply: Reply, serial: int | None = None) -> AuthorityAnswer:
        outcome: DnsOutcome = "lame" if _lame(reply) else reply.outcome
        return AuthorityAnswer(
            at=now(), server=self._server.name, address=self._server.address, transport=reply.transport,
            name=name, type=kind, outcome=outcome, rrset=reply.rrset, ttl=reply.ttl, serial=serial,
            aa=reply.aa, rtt_ms=reply.rtt_ms,
        )  # fmt: skip


def _lame(reply: Reply) -> bool:
    """It answers, but not with authority (RFC 1034 section 4.3.1: AA)."""
    return not reply.aa and reply.outcome in (*_SAID, "referral")


async def host_addresses(
    exchange: Exchange, host: str, hints: Sequence[str] = (), *, walker: Walker | None = None,
    timeout: float = WALK_TIMEOUT, tell: Tell = nobody,
) -> tuple[AuthorityAnswer, ...]:  # fmt: skip
    """A and AAAA of an exchange as several servers of its own zone have them; empty where none is found.
    ``tell`` hears each answer at once.

    An alias (no exchange may be one: RFC 2181 section 10.3) is followed into its own zone; the answers
    bear the exchange's name all the same.
    """
    walker = walker or Walker(exchange, hints)
    try:
        async with asyncio.timeout(timeout):
            return await _host_addresses(walker, host, host, ALIASES, tell)
    except TimeoutError:
        return ()


async def _host_addresses(
    walker: Walker, host: str, name: str, aliases: int, tell: Tell
) -> tuple[AuthorityAnswer, ...]:
    trip = Trip()
    reached = await walker.descend(Question(name, "A"), trip)
    if reached.reply is None:
        return ()
    chain = reached.reply.content.chain
    if chain and not reached.reply.rrset:
        return await _host_addresses(walker, host, chain[-1], aliases - 1, tell) if aliases else ()
    servers = await _named(walker, reached.cut, trip)
    askings = [_Asking(walker.exchange, server, TIMEOUT, tell) for server in servers[:HOST_SERVERS]]

    async def ask(asking: _Asking, kind: str) -> AuthorityAnswer:
        return await asking.told(host, kind, await asking.ask(name, kind))

    return tuple(await asyncio.gather(*(ask(asking, kind) for asking in askings for kind in ("A", "AAAA"))))


async def _named(walker: Walker, cut: Cut, trip: Trip) -> list[Server]:
    """Servers of a zone, one address of each name first."""
    servers = [*await walker.servers(cut, trip)]
    firsts = {s.name: s for s in reversed(servers)}
    return [*firsts.values(), *(s for s in servers if firsts.get(s.name) is not s)]
