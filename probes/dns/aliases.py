"""What is at the end of an alias, from the servers of the zone that it leads into."""

from __future__ import annotations

import asyncio

from msgspec import Struct

from probes.dns.exchange import Question, Reply
from probes.dns.walking import Cut, Trip, Walker
from probes.observation import DnsOutcome
from probes.sight import Server

SERVERS = 6  # of a zone that are asked
MOST = 3  # aliases, one after the other
TIMEOUT = 5.0
KEPT_FOR = 10.0  # seconds; several servers may lead to the same alias at nearly one time
KEPT = 64


class Followed(Struct, frozen=True):
    """All that any of those servers has: where they differ, old and new data stand together.

    ``ttl`` in seconds: the greatest along the way, for a cache may go by any of the records.
    """

    outcome: DnsOutcome
    rrset: tuple[str, ...]
    ttl: int


class Aliases:
    """Follows aliases; remembers for a few seconds what it found."""

    def __init__(self, walker: Walker) -> None:
        self._walker = walker
        self._clock = asyncio.get_running_loop().time
        self._found: dict[tuple[str, str], tuple[Followed | None, float]] = {}

    async def follow(self, name: str, kind: str, most: int = MOST) -> Followed | None:
        """What ``name`` has; None where nobody could say. Never raises for what the network does."""
        known = self._found.get((name, kind))
        if known is not None and known[1] > self._clock():
            return known[0]
        found = await self._follow(name, kind, most)
        self._found.pop((name, kind), None)
        self._found[name, kind] = found, self._clock() + KEPT_FOR
        if len(self._found) > KEPT:
            del self._found[next(iter(self._found))]
        return found

    async def _follow(self, name: str, kind: str, most: int) -> Followed | None:
        reached = await self._walker.descend(Question(name, kind), trip := Trip())
        reply = reached.reply
        if reply is None:
            return None
        if reply.content.chain and not reply.rrset:
            if not most:
                return None
            further = await self.follow(reply.content.chain[-1], kind, most - 1)
            return further and Followed(further.outcome, further.rrset, max(further.ttl, reply.ttl))
        servers = (await named(self._walker, reached.cut, trip))[:SERVERS]
        ask = self._walker.exchange.ask
        asked = (ask(s.address, Question(name, kind), rd=False, timeout=TIMEOUT) for s in servers)
        return together(await asyncio.gather(*asked))


def together(replies: list[Reply]) -> Followed | None:
    said = [r for r in replies if r.aa and r.outcome in ("answer", "nodata", "nxdomain")]
    if not said:
        return None
    rrset = tuple(sorted({rdata for r in said for rdata in r.rrset}))
    outcome: DnsOutcome = "answer" if rrset else said[0].outcome
    return Followed(outcome, rrset, max(r.ttl for r in said))


async def named(walker: Walker, cut: Cut, trip: Trip) -> list[Server]:
    """Servers of a zone, one address of each name first."""
    servers = [*await walker.servers(cut, trip)]
    firsts = {s.name: s for s in reversed(servers)}
    return [*firsts.values(), *(s for s in servers if firsts.get(s.name) is not s)]
