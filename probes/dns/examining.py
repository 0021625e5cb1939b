"""Asks what :mod:`probes.dns.honesty` judges: is port 53 intercepted here? A few dozen harmless questions."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence
from itertools import chain

from msgspec import Struct

from probes.dns import honesty
from probes.dns.exchange import Exchange, Question, Reply
from probes.dns.honesty import Honesty, Sign
from probes.dns.operators import OPERATORS, WHOAMI, Operator, belongs, egress, recognised
from probes.dns.via import UDP, Via

TIMEOUT = 3.0
RESOLVER_DEADLINE, DEADLINE = 9.0, 18.0
# Nobody has these addresses: RFC 5737, RFC 3849, RFC 9637.
NOWHERE = ("192.0.2.251", "198.51.100.251", "203.0.113.251", "2001:db8:251::53", "3fff:251::53")
MOST_RESOLVERS = 4
_ROOT = Question(".", "NS")
_STRANGER = Operator()


class Resolver(Struct, frozen=True):
    """A resolver that may be asked who it is; ``ways``: its encrypted transports, the likeliest first."""

    address: str
    platform: str = ""
    ways: tuple[Via, ...] = ()


class Subjects(Struct, frozen=True, kw_only=True):
    """Whom to ask. ``roots`` are asked for the root's own NS (``trusted``: they are the root servers and can
    be nobody else), ``authorities`` for the SOA of ``domain``. What is empty is left out."""

    domain: str = "."
    nowhere: tuple[str, ...] = ()
    roots: tuple[str, ...] = ()
    trusted: bool = True
    authorities: tuple[str, ...] = ()
    resolvers: tuple[Resolver, ...] = ()


async def examine(exchange: Exchange, subjects: Subjects, *, timeout: float = TIMEOUT) -> Honesty:
    """Never raises for what the network does; ``timeout`` in seconds for each question."""
    return await _Examination(exchange, subjects, timeout).run()


class _Heard(Struct, frozen=True, kw_only=True):
    """One resolver's answers by port 53: to who it is, from where it asks, and to a name that does not exist;
    to the last one also by an encrypted transport (``way``), where there is one."""

    who: Resolver
    named: Reply
    whoami: Reply
    missing: Reply
    way: Via | None = None
    encrypted: tuple[Reply, ...] = ()


class _Examination:
    def __init__(self, exchange: Exchange, subjects: Subjects, timeout: float) -> None:
        self._exchange, self._subjects, self._timeout = exchange, subjects, timeout
        self._missing = Question(f"{secrets.token_hex(6)}.invalid.", "A")  # RFC 6761 section 6.4
        self._clean = 0

    async def run(self) -> Honesty:
        try:
            async with asyncio.timeout(DEADLINE):
                signs = await self._signs()
        except TimeoutError:
            return Honesty(verdict="unknown")
        return honesty.judge(signs, self._clean)

    async def _signs(self) -> list[Sign]:
        of = self._subjects
        nowhere, roots, authorities, heard_of = await asyncio.gather(
            self._all(of.nowhere, Question(of.domain, "SOA"), rd=True),
            self._all(of.roots, _ROOT, rd=False),
            self._all(of.authorities, Question(of.domain, "SOA"), rd=False),
            asyncio.gather(*(self._resolver(who) for who in of.resolvers[:MOST_RESOLVERS])),
        )
        heard = [one for one in heard_of if one is not None]
        signs = honesty.nowhere(nowhere)
        signs += self._authority(roots, root=of.trusted) + self._authority(authorities, root=False)
        encrypted = [r.rtt_ms for one in heard for r in one.encrypted if r.rtt_ms is not None]
        signs += honesty.fast_authorities(roots | authorities, encrypted)
        signs += chain.from_iterable(await asyncio.gather(*(self._about(one) for one in heard)))
        return signs + honesty.shared(_sources(heard))

    async def _all(self, addresses: Sequence[str], question: Question, *, rd: bool) -> dict[str, Reply]:
        replies = await asyncio.gather(*(self._ask(a, question, rd=rd) for a in addresses))
        return dict(zip(addresses, replies, strict=True))

    def _authority(self, replies: dict[str, Reply], *, root: bool) -> list[Sign]:
        found = [honesty.recursion(address, reply, root=root) for address, reply in replies.items()]
        self._clean += sum(reply.aa and not reply.content.ra for reply in replies.values())
        return [sign for sign in found if sign is not None]

    async def _ask(self, address: str, question: Question, *, rd: bool = True, via: Via = UDP) -> Reply:
        return await self._exchange.ask(address, question, rd=rd, timeout=self._timeout, via=via)

    # Resolvers

    async def _resolver(self, who: Resolver) -> _Heard | None:
        try:
            async with asyncio.timeout(RESOLVER_DEADLINE):
                return await self._asked(who)
        except TimeoutError:
            return None

    async def _asked(self, who: Resolver) -> _Heard | None:
        """One question after the other: this is somebody's public service. None where it is silent."""
        operator = OPERATORS.get(who.platform, _STRANGER)
        missing = await self._ask(who.address, self._missing)
        if not honesty.answered(missing):
            return None
        named = await self._ask(who.address, operator.asks) if operator.asks is not None else missing
        whoami = await self._whoami(who, UDP)
        way, encrypted = await self._encrypted(who)
        return _Heard(who=who, named=named, whoami=whoami, missing=missing, way=way, encrypted=encrypted)

    async def _whoami(self, who: Resolver, via: Via) -> Reply:
        for question in WHOAMI:
            reply = await self._ask(who.address, question, via=via)
            if egress(reply.rrset):
                break
        return reply

    async def _encrypted(self, who: Resolver) -> tuple[Via | None, tuple[Reply, ...]]:
        """The missing name twice by the first encrypted transport that answers: the second round trip is
        without what a new connection costs."""
        for way in who.ways:
            first = await self._ask(who.address, self._missing, via=way)
            if honesty.answered(first):
                return way, (first, await self._ask(who.address, self._missing, via=way))
        return None, ()

    async def _about(self, one: _Heard) -> list[Sign]:
        address, platform = one.who.address, one.who.platform
        operator = OPERATORS.get(platform, _STRANGER)
        self._clean += operator.asks is not None and recognised(operator.says, one.named.rrset)
        signs = [
            honesty.fast_resolver(address, platform, one.missing, one.encrypted),
            honesty.differs(address, platform, one.missing, one.encrypted[-1]) if one.encrypted else None,
        ]
        if sign := honesty.identity(address, platform, operator, one.named):
            signs.append(honesty.confirmed(sign, await self._named_fits(one, operator)))
        if sign := honesty.nsid(address, platform, operator, one.missing):
            signs.append(honesty.confirmed(sign, _nsid_fits(one, operator)))
        if sign := honesty.foreign(address, platform, operator, one.whoami):
            signs.append(honesty.confirmed(sign, await self._egress_fits(one, operator)))
        return [sign for sign in signs if sign is not None]

    async def _named_fits(self, one: _Heard, operator: Operator) -> bool | None:
        if one.way is None or operator.asks is None:
            return None
        reply = await self._ask(one.who.address, operator.asks, via=one.way)
        return recognised(operator.says, reply.rrset) if honesty.told(reply) else None

    async def _egress_fits(self, one: _Heard, operator: Operator) -> bool | None:
        found = egress((await self._whoami(one.who, one.way)).rrset) if one.way is not None else ()
        return all(belongs(operator, address) for address in found) if found else None


def _sources(heard: Sequence[_Heard]) -> dict[tuple[str, str], frozenset[str]]:
    """From where those ask that do so themselves, by (address, platform)."""
    own = [one for one in heard if OPERATORS.get(one.who.platform, _STRANGER).recurses]
    return {(one.who.address, one.who.platform): egress(one.whoami.rrset) for one in own}


def _nsid_fits(one: _Heard, operator: Operator) -> bool | None:
    said = [f'"{reply.nsid}"' for reply in one.encrypted if reply.nsid is not None]
    return recognised(operator.nsid, said) if said else None
