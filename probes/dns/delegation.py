"""Who is authoritative for a domain: the delegation by its parent, the zone's own word, and its DS."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

from msgspec import Struct

from probes.dns.exchange import Exchange, Question, Reply
from probes.dns.observed import observed
from probes.dns.walking import MOST_NAMES, Cut, Reached, Trip, Walker, above, ancestors, glue, mixed, within
from probes.sight import Server, Tell, nobody

WALK_TIMEOUT = 25.0
PARENTS = 4  # addresses of the parent zone that are asked for the delegation
CHILDREN = 26  # addresses of the domain's own servers that are asked for their NS RRset
ALIASES = 3


class Delegation(Struct, frozen=True, kw_only=True):
    """Who serves the zone that a domain is in.

    ``servers``: every address of every name server that the parent or the zone itself names;
    ``parent`` and ``child``: the NS RRsets of both, with TTLs in seconds (None: not seen);
    ``parents``: which of the parent's servers answered; ``glue``: addresses as the parent gives them.
    ``ds``: the different DS RRsets at the parent's servers, an empty one where there is none; None where none
    of them said. ``signed_above``: whether all zones above are signed (None: not known).
    ``alias``: what the domain is an alias of, if it is one (RFC 5321 section 5.1 follows it); ``beyond``: the
    servers of the zone that this is in. ``complete``: False where time or the number of questions ran out.
    Without ``servers`` the delegation could not be walked.
    """

    domain: str
    zone: str = ""
    servers: tuple[Server, ...] = ()
    parent: tuple[str, ...] = ()
    child: tuple[str, ...] = ()
    parent_ttl: int | None = None
    child_ttl: int | None = None
    parents: tuple[Server, ...] = ()
    glue: tuple[Server, ...] = ()
    ds: tuple[tuple[str, ...], ...] | None = None
    ds_ttl: int = 0
    signed_above: bool | None = None
    alias: str = ""
    beyond: tuple[Server, ...] = ()
    complete: bool = True


async def walk(
    exchange: Exchange, domain: str, hints: Sequence[str] = (), *, timeout: float = WALK_TIMEOUT,
    walker: Walker | None = None, tell: Tell = nobody,
) -> Delegation:  # fmt: skip
    """Walk from the root (or ``hints``, addresses of servers to begin at) to the domain's zone.

    The delegation itself is asked for anew each time; a ``walker`` that is kept remembers the way there
    and the addresses of name servers. ``tell`` hears what the parent's servers say (the NS RRset and glue, as
    ``referral``, and DS). Never raises for what the network does.
    """
    finding = _Finding(walker or Walker(exchange, hints), domain, tell)
    try:
        async with asyncio.timeout(timeout):
            await finding.run()
    except TimeoutError:
        finding.complete = False
    return finding.delegation()


class _Finding:
    """One walk and what it has found so far."""

    def __init__(
        self, walker: Walker, domain: str, tell: Tell, trip: Trip | None = None, aliases: int = ALIASES
    ) -> None:
        self._walker, self._domain, self._tell = walker, domain, tell
        self._trip, self._aliases = trip or Trip(), aliases
        self._zone = ""
        self._servers: dict[Server, None] = {}
        self._asked: set[Server] = set()
        self._parents: dict[Server, Reply] = {}
        self._children: dict[Server, Reply] = {}
        self._parent_names: set[str] = set()
        self._parent_ttl: int | None = None
        self._glue: dict[Server, None] = {}
        self._ds: dict[tuple[str, ...], int] = {}
        self._above: bool | None = None
        self._beyond: _Finding | None = None
        self.complete = True

    async def run(self) -> None:
        reached = await self._walker.descend(Question(self._domain, "NS"), self._trip, anew=True)
        zone = _zone_of(self._domain, reached)
        if zone == ".":
            return  # no way down from the root
        self._zone = zone
        if reached.cut.zone == self._zone:
            self._delegated(reached.cut.names, reached.cut.ttl)
            self._glued(reached.cut.servers)
        self._servers |= dict.fromkeys(await self._walker.servers(reached.cut, self._trip))
        await asyncio.gather(
            self._ask_parents(reached.cut), self._ask_above(), self._follow(reached), self._addresses()
        )
        await self._ask_children(list(self._servers))
        await self._addresses()
        await self._ask_children(list(self._servers))
        await self._addresses()

    def _delegated(self, names: Iterable[str], ttl: int) -> None:
        self._parent_names |= set(names)
        self._parent_ttl = max(ttl, self._parent_ttl or 0)

    def _glued(self, servers: Iterable[Server]) -> None:
        self._servers |= dict.fromkeys(servers)
        self._glue |= dict.fromkeys(servers)

    # The parent's word

    async def _ask_parents(self, cut: Cut) -> None:
        """Several servers of the parent: one of them may be behind the others."""
        parent = self._walker.cut_at(cut.parent) if cut.zone == self._zone else cut
        if parent is None:
            return
        servers = mixed(await self._walker.servers(parent, self._trip))
        asked = sorted(servers, key=self._walker.is_dark)[:PARENTS]
        ns, ds = await asyncio.gather(self._all(asked, "NS"), self._all(asked, "DS"))
        for server, reply in ns:
            if reply.outcome == "referral" and reply.content.cut == self._zone:
                await self._referred(server, reply, parent.zone)
        for server, reply in ds:
            await self._vouched(server, reply)

    async def _referred(self, server: Server, reply: Reply, parent: str) -> None:
        found = glue(reply, reply.content.ns, parent)
        self._parents[server] = reply
        self._delegated(reply.content.ns, reply.ns_ttl)
        self._glued(found)
        await self._tell(observed(server, self._zone, "NS", reply, rrset=reply.content.ns, ttl=reply.ns_ttl))
        for name in dict.fromkeys(s.name for s in found):
            for kind, colon in (("A", False), ("AAAA", True)):
                there = sorted(s.address for s in found if s.name == name and (":" in s.address) is colon)
                if there:
                    answer = observed(server, name, kind, reply, rrset=tuple(there), ttl=reply.ns_ttl)
                    await self._tell(answer)

    async def _vouched(self, server: Server, reply: Reply) -> None:
        """RFC 4035 section 3.1.4.1: DS is the parent's; what the zone itself says of it is worth nothing."""
        child = reply.soa is not None and reply.soa.zone == self._zone
        if reply.aa and reply.outcome in ("answer", "nodata") and not child:
            ds = tuple(sorted(reply.rrset))
            self._ds[ds] = max(reply.ttl, self._ds.get(ds, 0))
            await self._tell(observed(server, self._zone, "DS", reply))

    async def _ask_above(self) -> None:
        """A validator looks at no signature below a zone that is not signed (RFC 4035 section 5.2)."""
        states = [await self._walker.signed(name, self._trip) for name in reversed(ancestors(self._zone)[1:])]
        self._above = False if False in states else None if None in states else True

    # The zone's own word

    async def _ask_children(self, servers: Sequence[Server]) -> None:
        """The zone's own NS RRset, from everyone who may have it."""
        new = [s for s in dict.fromkeys(servers) if s not in self._asked][: CHILDREN - len(self._asked)]
        self._asked |= set(new)
        for server, reply in await self._all(new, "NS"):
            if reply.aa and reply.outcome == "answer" and not reply.content.chain:
                self._children[server] = reply

    async def _all(self, servers: Sequence[Server], kind: str) -> list[tuple[Server, Reply]]:
        """Those aside that were silent a moment ago, unless that is everybody."""
        light = [s for s in servers if not self._walker.is_dark(s)] or servers
        question = Question(self._zone, kind)
        replies = await asyncio.gather(*(self._walker.ask(s, question, self._trip) for s in light))
        return [(s, r) for s, r in zip(light, replies, strict=True) if r is not None]

    async def _addresses(self) -> None:
        """Of every name server; those of one domain one after the other, since they share the way."""
        groups: dict[str, list[str]] = {}
        for name in self._names()[:MOST_NAMES]:
            groups.setdefault(above(name), []).append(name)
        await asyncio.gather(*(self._group(names) for names in groups.values()))
        self._walker.widen(self._zone, list(self._servers))

    async def _group(self, names: Iterable[str]) -> None:
        for name in names:
            found = await self._walker.addresses(name, self._trip, tell=self._tell)
            self._servers |= dict.fromkeys(Server(name, address) for address in found)

    def _child_names(self) -> set[str]:
        return {name for reply in self._children.values() for name in reply.rrset}

    def _names(self) -> list[str]:
        return sorted(self._parent_names | self._child_names())

    # An alias leads into another zone

    async def _follow(self, reached: Reached) -> None:
        chain = reached.reply.content.chain if reached.reply is not None else ()
        if chain and self._aliases and not within(chain[-1], self._zone):
            self._beyond = _Finding(self._walker, chain[-1], nobody, self._trip, self._aliases - 1)
            await self._beyond.run()

    def delegation(self) -> Delegation:
        names = self._names()
        servers = [s for s in self._servers if s.name in names]
        beyond = self._beyond.delegation() if self._beyond is not None else None
        return Delegation(
            domain=self._domain,
            zone=self._zone,
            servers=_sorted(servers),
            parent=tuple(sorted(self._parent_names)),
            child=tuple(sorted(self._child_names())),
            parent_ttl=self._parent_ttl,
            child_ttl=max((r.ttl for r in self._children.values()), default=None),
            parents=tuple(self._parents),
            glue=_sorted(self._glue),
            ds=tuple(self._ds) if self._ds else None,
            ds_ttl=max(self._ds.values(), default=0),
            signed_above=self._above,
            alias="" if beyond is None else beyond.alias or beyond.domain,
            beyond=() if beyond is None else beyond.beyond or beyond.servers,
            complete=self.complete and self._trip.left >= 0,
        )


def _sorted(servers: Iterable[Server]) -> tuple[Server, ...]:
    return tuple(sorted(servers, key=lambda s: (s.name, ":" in s.address, s.address)))


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
