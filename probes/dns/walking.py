"""From the root down to a name by NS and glue, without any recursive resolver (RFC 1034 section 5.3.3)."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, Sequence
from contextlib import aclosing
from functools import partial
from typing import TypeAlias, TypeVar

import msgspec
from msgspec import Struct

from probes.dns.exchange import Exchange, Question, Reply
from probes.dns.observed import observed
from probes.sight import Server, Tell, nobody

QUERY_TIMEOUT = 2.0
LAG_TIMEOUT = 1.0  # for one that was silent or slow of late
MOST_CUTS = 16  # on one way down
MOST_DEPTH = 5  # of ways within ways, to name servers that lie elsewhere
MOST_QUERIES = 400  # for one walk: a delegation may be made to cost (NXNSAttack)
MOST_NAMES = 20  # name servers of one delegation
MOST_ADDRESSES = 8  # of one name
TRIED = 8  # servers of a zone
# Two servers are asked at once, and another one each time that so long nobody has answered (as RFC 8305
# section 5 does with connections): who is silent costs a blink, not a timeout.
HEDGE = 0.25
DARK = 120.0  # for so long who was silent is asked last, and not at all where it is not needed
KEPT_DARK = 1024
KEPT_ZONES, KEPT_NAMES = 512, 512
KEPT_FOR = 3600.0

# https://www.iana.org/domains/root/files (root.hints)
ROOT = tuple(
    Server(f"{letter}.root-servers.net.", address)
    for letter, addresses in {
        "a": ("198.41.0.4", "2001:503:ba3e::2:30"),
        "b": ("170.247.170.2", "2801:1b8:10::b"),
        "c": ("192.33.4.12", "2001:500:2::c"),
        "d": ("199.7.91.13", "2001:500:2d::d"),
        "e": ("192.203.230.10", "2001:500:a8::e"),
        "f": ("192.5.5.241", "2001:500:2f::f"),
        "g": ("192.112.36.4", "2001:500:12::d0d"),
        "h": ("198.97.190.53", "2001:500:1::53"),
        "i": ("192.36.148.17", "2001:7fe::53"),
        "j": ("192.58.128.30", "2001:503:c27::2:30"),
        "k": ("193.0.14.129", "2001:7fd::1"),
        "l": ("199.7.83.42", "2001:500:9f::42"),
        "m": ("202.12.27.33", "2001:dc3::35"),
    }.items()
    for address in addresses
)


class Cut(Struct, frozen=True):
    """A zone as its parent delegates it: name servers' names, addresses from glue, TTL in seconds."""

    zone: str
    parent: str
    names: tuple[str, ...]
    servers: tuple[Server, ...]
    ttl: int
    until: float  # of the loop's clock


class Heard(Struct, frozen=True):
    """What one server said."""

    server: Server
    reply: Reply


Way: TypeAlias = Callable[[], Coroutine[None, None, Heard | None]]


class Reached(Struct, frozen=True):
    """The end of a way: the zone that has the name, and what one of its servers said with authority;
    None where all of them are silent or know nothing of it."""

    cut: Cut
    heard: Heard | None

    @property
    def reply(self) -> Reply | None:
        return None if self.heard is None else self.heard.reply


class Trip:
    """What one walk may cost, and whom it found silent."""

    def __init__(self, queries: int = MOST_QUERIES) -> None:
        self.left = queries
        self._silences: dict[str, int] = {}

    def may(self) -> bool:
        self.left -= 1
        return self.left >= 0

    def heard(self, server: Server, reply: Reply) -> None:
        if reply.outcome in ("timeout", "unreachable"):
            self._silences[server.address] = self._silences.get(server.address, 0) + 1

    def patient(self, servers: Sequence[Server]) -> list[Server]:
        """Those worth asking: who was silent once comes last, who was silent twice not at all."""
        order = sorted(servers, key=lambda s: self._silences.get(s.address, 0))
        return [s for s in order if self._silences.get(s.address, 0) < 2]


class Walker:
    """Walks with what it has already learnt: zone cuts and addresses, each for its TTL and no longer
    than an hour."""

    def __init__(self, exchange: Exchange, hints: Sequence[str] = ()) -> None:
        self.exchange = exchange
        self._clock = asyncio.get_running_loop().time
        servers = tuple(Server("", hint) for hint in hints) or ROOT
        self._root = Cut(".", ".", (), servers, 0, float("inf"))
        self._cuts: dict[str, Cut] = {}
        self._names: dict[str, tuple[tuple[str, ...], float]] = {}
        self._dark: dict[str, float] = {}
        self._slow: dict[str, float] = {}
        self._signed: dict[str, tuple[bool, float]] = {}

    # Down to a name

    async def descend(
        self, question: Question, trip: Trip, *, anew: bool = False, stack: frozenset[str] = frozenset()
    ) -> Reached:
        """``anew``: have the name's own delegation told again, even where it is known."""
        start = self._closest(question.name, anew)
        reached = await self._down(start, question, trip, stack)
        if reached.reply is None and reached.cut is start and start is not self._root:
            self._forget(question.name)  # what was known may have moved
            reached = await self._down(self._root, question, trip, stack)
        return reached

    async def _down(self, cut: Cut, question: Question, trip: Trip, stack: frozenset[str]) -> Reached:
        for _ in range(MOST_CUTS):
            heard = await self._from(cut, question, trip, stack)
            if heard is None or not descends(heard.reply, cut.zone, question.name):
                return Reached(cut, heard)
            cut = self._keep(heard.reply, cut.zone)
        return Reached(cut, None)

    async def _from(self, cut: Cut, question: Question, trip: Trip, stack: frozenset[str]) -> Heard | None:
        """From the servers with glue and, where those are silent, from those without."""
        named = {server.name for server in cut.servers}

        async def by_glue() -> Heard | None:
            return await self.first(await self.servers(cut, trip, stack), question, cut.zone, trip)

        async def by_name(name: str) -> Heard | None:
            servers = [Server(name, address) for address in await self.addresses(name, trip, stack)]
            return await self.first(servers, question, cut.zone, trip)

        names = [name for name in cut.names if name not in named] if named else []
        ways: list[Way] = [by_glue, *(partial(by_name, name) for name in names)]
        at_once = 2 if named and all(map(self._lags, cut.servers)) else 1
        async with aclosing(staggered(ways, 2 * HEDGE, at_once)) as answers:
            async for heard in answers:
                if heard is not None:
                    if named and heard.server not in cut.servers:
                        self._note(self._slow, [server.address for server in cut.servers])
                    return heard
        return None

    def cut_at(self, zone: str) -> Cut | None:
        return self._root if zone == "." else self._cuts.get(zone)

    def widen(self, zone: str, servers: Sequence[Server]) -> None:
        """More servers of a zone are known than its parent's glue names."""
        cut = self._cuts.get(zone)
        if cut is not None and servers:
            self._cuts[zone] = msgspec.structs.replace(cut, servers=tuple(servers)[: MOST_NAMES * 2])

    def _closest(self, name: str, anew: bool) -> Cut:
        for zone in ancestors(name)[1 if anew else 0 :]:
            cut = self._cuts.get(zone)
            if cut is not None and cut.until > self._clock():
                return cut
        return self._root

    def _forget(self, name: str) -> None:
        for zone in ancestors(name):
            self._cuts.pop(zone, None)

    def _keep(self, reply: Reply, parent: str) -> Cut:
        content = reply.content
        names = content.ns[:MOST_NAMES]
        ttl = reply.ns_ttl
        cut = Cut(content.cut, parent, names, glue(reply, names, parent), ttl, self._until(ttl))
        self._cuts.pop(cut.zone, None)
        self._cuts[cut.zone] = cut
        if len(self._cuts) > KEPT_ZONES:
            del self._cuts[next(iter(self._cuts))]
        return cut

    def _until(self, ttl: float) -> float:
        return self._clock() + min(ttl, KEPT_FOR)

    # Whom to ask

    async def servers(self, cut: Cut, trip: Trip, stack: frozenset[str] = frozenset()) -> list[Server]:
        """Servers of a zone with their addresses; where there is no glue, some of them looked up."""
        found = list(cut.servers)
        if found:
            return found

        async def look(name: str) -> list[Server]:
            return [Server(name, address) for address in await self.addresses(name, trip, stack)]

        names = random.sample(cut.names, len(cut.names))
        async with aclosing(staggered([partial(look, name) for name in names], 2 * HEDGE, 1)) as looks:
            async for servers in looks:
                found += servers
                if len(found) >= 2:
                    break
        return found

    async def addresses(
        self, name: str, trip: Trip, stack: frozenset[str] = frozenset(), tell: Tell = nobody
    ) -> tuple[str, ...]:
        """A and AAAA of a host from its own zone; empty where it has none or they can't be had. ``tell``
        hears them where they are new."""
        known = self._names.get(name)
        if known is not None and known[1] > self._clock():
            return known[0]
        if name in stack or len(stack) >= MOST_DEPTH:
            return ()
        reached = await self.descend(Question(name, "A"), trip, stack=stack | {name})
        if reached.heard is None:
            return ()
        six = await self._from(reached.cut, Question(name, "AAAA"), trip, stack | {name})
        heard = [(h, kind) for h, kind in ((reached.heard, "A"), (six, "AAAA")) if h is not None]
        for h, kind in heard:
            if h.reply.aa:
                await tell(observed(h.server, name, kind, h.reply))
        replies = [h.reply for h, _ in heard if h.reply.outcome == "answer"]
        found = tuple(a for r in replies for a in r.rrset[:MOST_ADDRESSES])
        if found:
            self._names[name] = found, self._until(min(r.ttl for r in replies))
            if len(self._names) > KEPT_NAMES:
                del self._names[next(iter(self._names))]
        return found

    async def first(
        self, servers: Sequence[Server], question: Question, zone: str, trip: Trip
    ) -> Heard | None:
        """The first useful word of a zone's servers, both address families early."""
        several = {server.address: server for server in self._ordered(trip.patient(mixed(servers)))}
        order = list(several.values())[:TRIED]
        began: dict[str, float] = {}

        async def ask(server: Server) -> tuple[Server, Reply | None]:
            began[server.address] = self._clock()
            return server, await self.ask(server, question, trip)

        async with aclosing(staggered([partial(ask, server) for server in order], HEDGE, 2)) as answers:
            async for server, reply in answers:
                began.pop(server.address, None)
                if reply is not None and useful(reply, zone, question.name):
                    late = self._clock() - HEDGE
                    self._note(self._slow, [address for address, at in began.items() if at < late])
                    return Heard(server, reply)
        return None

    def _ordered(self, servers: Sequence[Server]) -> list[Server]:
        """Who was silent or slow of late comes last."""
        return sorted(servers, key=lambda server: (self.is_dark(server), self._lags(server)))

    def _lags(self, server: Server) -> bool:
        """Whether others were faster by far, or it was silent, not long ago."""
        return self._slow.get(server.address, 0.0) > self._clock() or self.is_dark(server)

    # Signed or not

    async def signed(self, name: str, trip: Trip) -> bool | None:
        """False where there is a zone cut at ``name`` and its parent has no DS for it; None: not known."""
        known = self._signed.get(name)
        if known is not None and known[1] > self._clock():
            return known[0]
        found = await self._asked_signed(name, trip)
        if found is not None:
            self._signed.pop(name, None)
            self._signed[name] = found, self._until(KEPT_FOR)
            if len(self._signed) > KEPT_ZONES:
                del self._signed[next(iter(self._signed))]
        return found

    async def _asked_signed(self, name: str, trip: Trip) -> bool | None:
        ds = (await self.descend(Question(name, "DS"), trip, anew=True)).reply
        if ds is None or ds.outcome not in ("answer", "nodata"):
            return None
        if ds.outcome == "answer" or self.cut_at(name) is not None:
            return ds.outcome == "answer"
        # The parent's servers may have the zone below as well, and never refer to it.
        apex = (await self.descend(Question(name, "SOA"), trip)).reply
        return None if apex is None or apex.outcome not in ("answer", "nodata") else apex.outcome == "nodata"

    def _note(self, book: dict[str, float], addresses: Iterable[str]) -> None:
        for address in addresses:
            book.pop(address, None)
            book[address] = self._clock() + DARK
            if len(book) > KEPT_DARK:
                del book[next(iter(book))]

    def is_dark(self, server: Server) -> bool:
        """Whether it was silent when it was last asked, not long ago."""
        return self._dark.get(server.address, 0.0) > self._clock()

    async def ask(self, server: Server, question: Question, trip: Trip) -> Reply | None:
        if not trip.may():
            return None
        timeout = LAG_TIMEOUT if self._lags(server) else QUERY_TIMEOUT
        reply = await self.exchange.ask(server.address, question, rd=False, timeout=timeout, nsid=False)
        trip.heard(server, reply)
        if reply.outcome in ("timeout", "unreachable"):
            self._note(self._dark, [server.address])
        else:
            self._dark.pop(server.address, None)
        return reply


T = TypeVar("T")


async def staggered(
    makers: Sequence[Callable[[], Coroutine[None, None, T]]], delay: float, at_once: int
) -> AsyncGenerator[T, None]:
    """Results in the order in which they come. ``at_once`` are begun at once; another one whenever one has
    ended, or none has for ``delay`` seconds. Whoever does not read to the end closes it (``aclosing``)."""
    left, tasks = list(makers), set[asyncio.Task[T]]()
    try:
        while left or tasks:
            begun = at_once if not tasks else 1
            tasks |= {asyncio.ensure_future(make()) for make in left[:begun]}
            del left[:begun]
            done: set[asyncio.Task[T]] = set()
            done, tasks = await asyncio.wait(
                tasks, timeout=delay if left else None, return_when=asyncio.FIRST_COMPLETED
            )
            for task in done:
                yield task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def useful(reply: Reply, zone: str, name: str) -> bool:
    """An authoritative answer, or a referral that leads further down to the name."""
    return (reply.aa and reply.outcome in ("answer", "nodata", "nxdomain", "referral")) or descends(
        reply, zone, name
    )


def descends(reply: Reply, zone: str, name: str) -> bool:
    """Whether it is a referral to a zone below this one and at or above the name: no lame server's
    referral to the root, and no way back."""
    cut = reply.content.cut
    return (
        reply.outcome == "referral"
        and not reply.aa
        and cut != zone
        and within(cut, zone)
        and within(name, cut)
    )


def glue(reply: Reply, names: Iterable[str], zone: str) -> tuple[Server, ...]:
    """Addresses of these name servers that a server of ``zone`` may speak for: those below it."""
    wanted = {name for name in names if within(name, zone)}
    found = dict.fromkeys(Server(n, a) for n, a in reply.content.glue if n in wanted)
    return tuple(found)[: MOST_NAMES * 2]


def within(name: str, zone: str) -> bool:
    """Whether a name is at or below a zone's apex."""
    return zone == "." or name == zone or name.endswith("." + zone)


def ancestors(name: str) -> list[str]:
    """The name, and what is above it, without the root. (A dot within a label is escaped as ``\\.``.)"""
    found = [name]
    while (name := above(name)) != ".":
        found.append(name)
    return found


def above(name: str) -> str:
    at = 0
    while at < len(name):
        if name[at] == "\\":
            at += 2
        elif name[at] == ".":
            return name[at + 1 :] or "."
        else:
            at += 1
    return "."


def mixed(servers: Sequence[Server]) -> list[Server]:
    """In random order, IPv4 and IPv6 in turn: where one family goes nowhere, the other is soon asked."""
    shuffled = random.sample(servers, len(servers))
    four = [s for s in shuffled if ":" not in s.address]
    six = [s for s in shuffled if ":" in s.address]
    paired = [s for pair in zip(four, six, strict=False) for s in pair]
    return paired + four[len(six) :] + six[len(four) :]
