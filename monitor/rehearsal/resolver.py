"""Caching resolvers of the rehearsal: each asks the authorities over real sockets and keeps what it got
according to its own habits."""

from __future__ import annotations

import asyncio
import math

import dns.asyncquery
import dns.edns
import dns.exception
import dns.flags
import dns.message
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset
from msgspec import Struct

from monitor.rehearsal.authority import parse, to_wire
from monitor.rehearsal.dnsserver import DnsServer
from monitor.rehearsal.loopback import Loopback, Pace

UPSTREAM_TIMEOUT = 2.0
CACHE_SIZE = 1000
STALE_TTL = 6.0  # RFC 8767 section 4 recommends 30 s; in the rehearsal's compressed seconds
EDE_STALE = dns.edns.EDECode.STALE_ANSWER  # RFC 8914 section 4.4
EDE_NO_AUTHORITY = dns.edns.EDECode.NO_REACHABLE_AUTHORITY  # RFC 8914 section 4.23


class Habit(Struct, frozen=True, kw_only=True):
    """How one resolver caches. Durations in the scenario's seconds.

    ``caches``: the NSID of each cache behind the address, asked in turn; ``floor`` and ``cap`` bound the
    TTLs it keeps; ``stale``: answer from an expired entry when no authority can be asked (RFC 8767).
    ``prefers``: index of the authority it asks first.
    """

    name: str
    address: str
    caches: tuple[str, ...] = ("",)
    floor: float = 0
    cap: float = 86400
    stale: bool = False
    prefers: int = 0


class _Entry(Struct, frozen=True, kw_only=True):
    expires: float  # of the loop's clock
    rcode: dns.rcode.Rcode
    answer: tuple[dns.rrset.RRset, ...]
    authority: tuple[dns.rrset.RRset, ...]


class _Unreachable(OSError):
    """No authority gave an answer worth keeping."""


class Resolver:
    """One recursive resolver. ``cut_off`` takes it away from every authority, until set back."""

    def __init__(self, habit: Habit, authorities: tuple[str, ...], net: Loopback, pace: Pace) -> None:
        self.habit = habit
        self.cut_off = False
        self._authorities = authorities[habit.prefers :] + authorities[: habit.prefers]
        self._net = net
        self._pace = pace
        self._caches: list[dict[tuple[str, int], _Entry]] = [{} for _ in habit.caches]
        self._turn = 0
        self._server = DnsServer(self._answer)

    async def start(self) -> int:
        return await self._server.start()

    async def close(self) -> None:
        await self._server.close()

    async def warm(self, name: str, rtype: str) -> None:
        """Have the record in every cache, as a resolver with customers would."""
        for cache in self._caches:
            await self._fresh(cache, dns.message.make_query(name, rtype))

    async def _answer(self, wire: bytes, tcp: bool) -> bytes | None:
        query = parse(wire)
        if query is None:
            return None
        which = self._turn = (self._turn + 1) % len(self._caches)
        response = await self._respond(query, self._caches[which])
        self._nsid(response, query, self.habit.caches[which])
        return to_wire(response, query, tcp)

    async def _respond(
        self, query: dns.message.Message, cache: dict[tuple[str, int], _Entry]
    ) -> dns.message.Message:
        response = dns.message.make_response(query, recursion_available=True)
        question = query.question[0]
        if question.rdclass != dns.rdataclass.IN:
            response.set_rcode(dns.rcode.REFUSED)
            return response
        try:
            entry = await self._fresh(cache, query)
        except _Unreachable:
            self._without_authority(response, cache.get(_key(query)))
            return response
        _fill(response, entry, math.ceil(entry.expires - _clock()))
        return response

    async def _fresh(self, cache: dict[tuple[str, int], _Entry], query: dns.message.Message) -> _Entry:
        key = _key(query)
        entry = cache.get(key)
        if entry is not None and entry.expires > _clock():
            return entry
        entry = self._keep(await self._ask(query))
        if len(cache) >= CACHE_SIZE:
            cache.pop(next(iter(cache)))
        cache[key] = entry
        return entry

    async def _ask(self, query: dns.message.Message) -> dns.message.Message:
        """The first authoritative answer; only one with AA may refresh a cache (RFC 8767 section 4)."""
        question = query.question[0]
        for address in () if self.cut_off else self._authorities:
            upstream = dns.message.make_query(question.name, question.rdtype, flags=0, use_edns=0)
            try:
                where, port = self._net.real(address, 53)
                response, _ = await dns.asyncquery.udp_with_fallback(upstream, where, UPSTREAM_TIMEOUT, port)
            except (dns.exception.DNSException, OSError, EOFError):
                continue
            if response.flags & dns.flags.AA:
                return response
        raise _Unreachable

    def _keep(self, response: dns.message.Message) -> _Entry:
        """Kept for its TTL, or for a negative answer the SOA's (RFC 2308 section 5), within the habit."""
        sets = response.answer or response.authority
        ttl = min((r.ttl for r in sets), default=1)
        low, high = self._pace.ttl(self.habit.floor) if self.habit.floor else 0, self.habit.cap
        kept = min(max(ttl, low), self._pace.ttl(high))
        return _Entry(
            expires=_clock() + kept,
            rcode=response.rcode(),
            answer=tuple(response.answer),
            authority=() if response.answer else tuple(response.authority),
        )

    def _without_authority(self, response: dns.message.Message, entry: _Entry | None) -> None:
        if entry is not None and self.habit.stale:
            _fill(response, entry, self._pace.ttl(STALE_TTL))
            _ede(response, EDE_STALE, "stale answer")
            return
        response.set_rcode(dns.rcode.SERVFAIL)
        _ede(response, EDE_NO_AUTHORITY, "no reachable authority")

    @staticmethod
    def _nsid(response: dns.message.Message, query: dns.message.Message, nsid: str) -> None:
        """The cache's own name, to who asks for it (RFC 5001 section 2.2)."""
        wanted = any(option.otype == dns.edns.NSID for option in query.options)
        if wanted and nsid:
            _option(response, dns.edns.GenericOption(dns.edns.NSID, nsid.encode()))


def _key(query: dns.message.Message) -> tuple[str, int]:
    return query.question[0].name.to_text().lower(), query.question[0].rdtype


def _clock() -> float:
    return asyncio.get_running_loop().time()


def _fill(response: dns.message.Message, entry: _Entry, ttl: int) -> None:
    response.set_rcode(entry.rcode)
    response.answer = [_aged(r, ttl) for r in entry.answer]
    response.authority = [_aged(r, ttl) for r in entry.authority]


def _aged(kept: dns.rrset.RRset, ttl: int) -> dns.rrset.RRset:
    return dns.rrset.from_rdata_list(kept.name, ttl, list(kept))


def _ede(response: dns.message.Message, code: dns.edns.EDECode, text: str) -> None:
    if response.edns >= 0:
        _option(response, dns.edns.EDEOption(code, text))


def _option(response: dns.message.Message, option: dns.edns.Option) -> None:
    response.use_edns(0, 0, response.payload, options=[*response.options, option])


async def lookup(net: Loopback, resolver: str, name: str, rtype: str) -> tuple[str, ...]:
    """What ``resolver`` answers, as presentation-format rdata; empty for nothing and for every failure."""
    query = dns.message.make_query(name, rtype, use_edns=0)
    try:
        where, port = net.real(resolver, 53)
        response, _ = await dns.asyncquery.udp_with_fallback(query, where, UPSTREAM_TIMEOUT * 2, port)
    except (dns.exception.DNSException, OSError, EOFError):
        return ()
    wanted = dns.rdatatype.from_text(rtype)
    return tuple(rdata.to_text() for r in response.answer if r.rdtype == wanted for rdata in r)
