"""What one recursive resolver answers its users: the domain's MX and where that leads."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from probes.dns.exchange import UDP, Exchange, Question, Reply, Via
from probes.observation import ResolverAnswer, now
from probes.sight import Tell, nobody

TIMEOUT = 5.0
AT_A_TIME = 4  # questions under way at one resolver
_ANSWERED = ("answer", "nodata", "nxdomain", "servfail", "bogus", "malformed")


async def ask_resolver(
    exchange: Exchange, resolver: str, domain: str, hosts: Iterable[str], *, timeout: float = TIMEOUT,
    tell: Tell = nobody, address: str = "", via: Via = UDP,
) -> list[ResolverAnswer]:  # fmt: skip
    """MX of the domain, then A and AAAA of each of ``hosts``; TTLs are what remains of a record's life.

    Where there is no MX RRset (and only then: RFC 5321 section 5.1), the domain's own A and AAAA, too.
    ``cache`` is the NSID (RFC 5001) of whoever answered. A resolver that gives the MX no answer is asked
    no more. ``tell`` hears each answer at once. Asked is ``address`` where ``resolver`` is a URL, and by
    ``via``. Never raises for what the network does.
    """

    gate = asyncio.Semaphore(AT_A_TIME)

    async def ask(name: str, kind: str) -> ResolverAnswer:
        async with gate:
            question = Question(name, kind)
            reply = await exchange.ask(address or resolver, question, rd=True, timeout=timeout, via=via)
        answer = observed(resolver, name, kind, reply)
        await tell(answer)
        return answer

    mx = await ask(domain, "MX")
    if mx.outcome not in _ANSWERED:
        return [mx]
    names = dict.fromkeys([*([domain] if mx.outcome == "nodata" else []), *hosts])
    return [mx, *await asyncio.gather(*(ask(name, kind) for name in names for kind in ("A", "AAAA")))]


def observed(resolver: str, name: str, kind: str, reply: Reply) -> ResolverAnswer:
    return ResolverAnswer(
        at=now(), resolver=resolver, transport=reply.transport, name=name, type=kind,
        outcome=reply.outcome, cache=reply.nsid, ede=reply.ede, rrset=reply.rrset, ttl=reply.ttl,
        rtt_ms=reply.rtt_ms,
    )  # fmt: skip
