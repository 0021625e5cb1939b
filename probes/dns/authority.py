"""What each authoritative server of a domain serves when it is asked itself."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

from probes.dns.aliases import Aliases, Followed, named
from probes.dns.delegation import WALK_TIMEOUT, Delegation, walk
from probes.dns.dnssec import BOGUS, Trust, Validator
from probes.dns.exchange import Content, Exchange, Question, Reply
from probes.dns.observed import observed
from probes.dns.walking import Trip, Walker, within
from probes.observation import AuthorityAnswer, DnsOutcome, now
from probes.sight import Server, Tell, nobody

__all__ = ["Aliases", "Delegation", "Server", "Walker", "ask_authority", "host_addresses", "walk"]

HOST_SERVERS = 6
LINKS = 4  # of a chain of aliases, whose TTLs are asked for
TIMEOUT = 5.0
KEYS_TIMEOUT = 2.0  # for so long an answer waits for the keys that it is checked by
BLINK = 0.01  # for so long the MX answer waits for the serial, which was asked for with it
_SAID = ("answer", "nodata", "nxdomain")
_NO_KEYS = Reply(Content(outcome="timeout"), "udp")


async def ask_authority(
    exchange: Exchange, server: Server, domain: str, hosts: Iterable[str], *, timeout: float = TIMEOUT,
    tell: Tell = nobody, trust: Trust | None = None, aliases: Aliases | None = None, alias: str = "",
) -> list[AuthorityAnswer]:  # fmt: skip
    """MX and NS of the domain, and A and AAAA of those ``hosts`` that this server is authoritative for.

    Where there is no MX RRset, the domain's own A and AAAA, too (RFC 5321 section 5.1). The MX answer
    bears the zone's serial; where that comes later, an SOA answer does. A server that gives the MX no answer
    is asked for nothing else. ``tell`` hears each answer at once.

    With ``trust``, what no validator would take is ``bogus``. An alias is an answer of its own (CNAME) and is
    followed by ``aliases``; ``alias``: the server has the zone that the domain's own alias leads into, and is
    asked for that name.
    """
    asking = Asking(exchange, server, timeout, tell, trust, aliases)
    try:
        return await _ask_authority(asking, domain, hosts, alias)
    finally:
        asking.close()


async def _ask_authority(
    asking: Asking, domain: str, hosts: Iterable[str], alias: str
) -> list[AuthorityAnswer]:
    name = alias or domain
    soa, mx_ = asking.begin(name, "SOA"), asking.begin(name, "MX")
    mx = await mx_
    if mx.outcome not in _SAID and not mx.content.chain:
        return [await asking.told(domain, "MX", mx)]
    await asyncio.wait([soa], timeout=BLINK)
    serial = _serial(mx) or (_serial(soa.result()) if soa.done() else None)
    own = [await asking.served(domain, "MX", mx, name, serial)]
    if mx.content.chain:
        own.append(await asking.linked(domain, name))
    implicit = {domain: name} if mx.outcome == "nodata" and mx.aa else {}
    wanted = implicit | {host: host for host in hosts}
    late, ns, addresses = await asyncio.gather(
        asking.serial(domain, soa, serial),
        asking.asked(domain, "NS") if not alias else _none(),
        asyncio.gather(*(asking.host(host, domain, wanted[host]) for host in wanted)),
    )
    found = [*own, late, ns, *(answer for answers in addresses for answer in answers)]
    return [answer for answer in found if answer is not None]


async def _none() -> None:
    return None


def _serial(reply: Reply) -> int | None:
    return reply.soa.serial if reply.soa is not None and reply.aa else None


class Asking:
    """One server, asked itself, without recursion."""

    def __init__(
        self, exchange: Exchange, server: Server, timeout: float, tell: Tell = nobody,
        trust: Trust | None = None, aliases: Aliases | None = None,
    ) -> None:  # fmt: skip
        self._exchange, self._server, self._timeout, self._tell = exchange, server, timeout, tell
        self._trust, self._aliases = trust, aliases
        self._validator: Validator | None = None
        self._begun: list[asyncio.Task[Reply]] = []
        self._signed = trust is not None and bool(trust.anchors)
        self._keys = self.begin(trust.zone, "DNSKEY") if trust is not None and self._signed else None

    def close(self) -> None:
        for task in self._begun:
            task.cancel()

    def begin(self, name: str, kind: str) -> asyncio.Task[Reply]:
        """A question whose answer is wanted later. ``close`` ends it."""
        task = asyncio.ensure_future(self.ask(name, kind))
        self._begun.append(task)
        return task

    async def ask(self, name: str, kind: str) -> Reply:
        return await self._exchange.ask(
            self._server.address, Question(name, kind), rd=False, timeout=self._timeout, dnssec=self._signed
        )

    # Each answer is told

    async def asked(self, name: str, kind: str) -> AuthorityAnswer:
        return await self.told(name, kind, await self.ask(name, kind))

    async def told(
        self, name: str, kind: str, reply: Reply, serial: int | None = None, found: Followed | None = None,
        sealed: str | None = None,
    ) -> AuthorityAnswer:  # fmt: skip
        """``found``: what an alias in ``reply`` leads to; ``sealed``: what a validator makes of it."""
        outcome: DnsOutcome = "lame" if _lame(reply) else reply.outcome
        end = {} if found is None else {"outcome": found.outcome, "rrset": found.rrset, "ttl": found.ttl}
        said = {"outcome": outcome, "serial": serial, "dnssec": sealed} | end
        if sealed in BOGUS:
            said["outcome"] = "bogus"
        answer = observed(self._server, name, kind, reply, **said)
        await self._tell(answer)
        return answer

    async def served(
        self, name: str, kind: str, reply: Reply, asked: str, serial: int | None = None
    ) -> AuthorityAnswer:
        """What was asked for as ``asked``, checked, and followed where it is an alias."""
        sealed = await self._sealed(Question(asked, kind), reply)
        found = await self._end(asked, kind, reply) if reply.content.chain and reply.aa else None
        return await self.told(name, kind, reply, serial, found, sealed)

    async def linked(self, name: str, asked: str) -> AuthorityAnswer:
        """The alias itself (no exchange may be one: RFC 2181 section 10.3)."""
        return await self.told(name, "CNAME", await self.ask(asked, "CNAME"))

    async def serial(
        self, domain: str, soa: asyncio.Task[Reply], known: int | None
    ) -> AuthorityAnswer | None:
        if known is not None:
            return None
        late = _serial(reply := await soa)
        return None if late is None else await self.told(domain, "SOA", reply, late)

    async def host(self, host: str, domain: str, asked: str = "") -> list[AuthorityAnswer]:
        """A and AAAA of a host, unless it lies in a zone that this server has no authority over."""
        asked = asked or host
        if self._exchange.elsewhere(self._server.address, asked):
            return []
        replies = await asyncio.gather(self.ask(asked, "A"), self.ask(asked, "AAAA"))
        if any(r.outcome == "refused" or _lame(r) for r in replies):
            self._exchange.note_elsewhere(self._server.address, asked)
            return []
        if not within(host, domain) and not all(r.aa for r in replies):
            return []  # silence about another zone is no fault of the domain's server
        return await self._addresses(host, asked, replies)

    async def addresses(self, host: str) -> list[AuthorityAnswer]:
        """A and AAAA of a host from a server of its own zone."""
        return await self._addresses(
            host, host, await asyncio.gather(self.ask(host, "A"), self.ask(host, "AAAA"))
        )

    async def _addresses(self, host: str, asked: str, replies: Sequence[Reply]) -> list[AuthorityAnswer]:
        pairs = zip(("A", "AAAA"), replies, strict=True)
        found = [await self.served(host, kind, reply, asked) for kind, reply in pairs]
        if any(reply.content.chain for reply in replies):
            found.append(await self.linked(host, asked))
        return found

    # Aliases and signatures

    async def _end(self, name: str, kind: str, reply: Reply) -> Followed | None:
        """What the alias leads to, here or elsewhere, for as long as any record on the way may be cached."""
        chain = reply.content.chain
        links = await asyncio.gather(*(self.ask(link, "CNAME") for link in (name, *chain[:-1])[:LINKS]))
        if reply.outcome == "referral":
            end = None if self._aliases is None else await self._aliases.follow(chain[-1], kind)
        else:
            last = await self.ask(chain[-1], kind)
            end = Followed(reply.outcome, reply.rrset, max(reply.ttl, last.ttl))
        return end and Followed(end.outcome, end.rrset, max([end.ttl, *(link.ttl for link in links)]))

    async def _sealed(self, question: Question, reply: Reply) -> str | None:
        if self._trust is None or not within(question.name, self._trust.zone):
            return None
        if not reply.aa or not (reply.outcome in _SAID or reply.content.chain):
            return None
        if self._keys is None:
            return "insecure"
        await asyncio.wait([self._keys], timeout=KEYS_TIMEOUT)
        keys = self._keys.result() if self._keys.done() else _NO_KEYS
        if keys.outcome not in _SAID or not keys.wire or not reply.wire:
            return "unchecked"
        self._validator = self._validator or Validator(keys.wire, self._trust)
        word = self._validator.check(reply.wire, question, now())
        if word == "unsigned" and question.name != self._trust.zone and await self._another(question.name):
            return "unchecked"
        return word

    async def _another(self, name: str) -> bool:
        """Whether a name is in a zone of its own, which may be unsigned, on this same server."""
        soa = (await self.ask(name, "SOA")).soa
        return soa is not None and self._trust is not None and soa.zone != self._trust.zone


def _lame(reply: Reply) -> bool:
    """It answers, but not with authority (RFC 1034 section 4.3.1: AA)."""
    return not reply.aa and reply.outcome in (*_SAID, "referral")


async def host_addresses(
    exchange: Exchange, host: str, hints: Sequence[str] = (), *, walker: Walker | None = None,
    aliases: Aliases | None = None, timeout: float = WALK_TIMEOUT, tell: Tell = nobody,
) -> tuple[AuthorityAnswer, ...]:  # fmt: skip
    """A and AAAA of an exchange as several servers of its own zone have them; empty where none is found.
    ``tell`` hears each answer at once.

    An alias is an answer of its own, and is followed; the addresses bear the exchange's name all the same.
    """
    walker = walker or Walker(exchange, hints)
    try:
        async with asyncio.timeout(timeout):
            return await _host_addresses(walker, host, aliases or Aliases(walker), tell)
    except TimeoutError:
        return ()


async def _host_addresses(
    walker: Walker, host: str, aliases: Aliases, tell: Tell
) -> tuple[AuthorityAnswer, ...]:
    reached = await walker.descend(Question(host, "A"), trip := Trip())
    if reached.reply is None:
        return ()
    servers = await named(walker, reached.cut, trip)
    askings = [Asking(walker.exchange, s, TIMEOUT, tell, aliases=aliases) for s in servers[:HOST_SERVERS]]
    found = await asyncio.gather(*(asking.addresses(host) for asking in askings))
    return tuple(answer for answers in found for answer in answers)
