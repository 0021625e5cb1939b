"""What one recursive resolver answers its users: the domain's MX and where that leads."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from probes.dns.exchange import UDP, Exchange, Question, Reply, Via
from probes.observation import ResolverAnswer, now
from probes.sight import Tell, nobody

TIMEOUT = 5.0
ID_SERVER = Question("id.server.", "TXT", "CH")  # RFC 4892
_ANSWERED = ("answer", "nodata", "nxdomain", "servfail", "bogus", "malformed")


async def ask_resolver(
    exchange: Exchange, resolver: str, domain: str, hosts: Iterable[str], *, timeout: float = TIMEOUT,
    tell: Tell = nobody, address: str = "", via: Via = UDP, gap: float = 0.0, identify: bool = False,
) -> list[ResolverAnswer]:  # fmt: skip
    """MX of the domain, then A and AAAA of each of ``hosts``; TTLs are what remains of a record's life.

    Where there is no MX RRset (and only then: RFC 5321 section 5.1), the domain's own A and AAAA, too.
    ``cache`` is the NSID (RFC 5001) of whoever answered; ``identify``: one that gives none is asked who it is
    (``id.server.``), which may be answered by another cache than the MX was. A resolver that gives the MX no
    answer is asked no more. Questions follow one another, ``gap`` seconds apart: never a burst at a stranger.
    ``tell`` hears each answer at once. Asked is ``address`` where ``resolver`` is a URL, and by ``via``.
    Never raises for what the network does.
    """

    async def ask(question: Question) -> ResolverAnswer:
        reply = await exchange.ask(address or resolver, question, rd=True, timeout=timeout, via=via)
        answer = observed(resolver, question.name, question.type, reply)
        await tell(answer)
        return answer

    seen = [await ask(Question(domain, "MX"))]
    if seen[0].outcome not in _ANSWERED:
        return seen
    names = dict.fromkeys([*([domain] if seen[0].outcome == "nodata" else []), *hosts])
    rest = [Question(name, kind) for name in names for kind in ("A", "AAAA")]
    for question in [*rest, *([ID_SERVER] if identify and seen[0].cache is None else [])]:
        await asyncio.sleep(gap)
        seen.append(await ask(question))
    return seen


def observed(resolver: str, name: str, kind: str, reply: Reply) -> ResolverAnswer:
    """``cache`` of an answer to ``id.server.`` is what it says."""
    named = reply.nsid
    if name == ID_SERVER.name and reply.outcome == "answer":
        named = named or reply.rrset[0].strip('"')[:128] or None
    return ResolverAnswer(
        at=now(), resolver=resolver, transport=reply.transport, name=name, type=kind,
        outcome=reply.outcome, cache=named, ede=reply.ede, rrset=reply.rrset, ttl=reply.ttl,
        rtt_ms=reply.rtt_ms,
    )  # fmt: skip


class Identities:
    """When a resolver that gives no NSID is to be asked who it is: rarely, and ever more so."""

    def __init__(self, first: float = 600.0, longest: float = 6 * 3600.0) -> None:
        self._first, self._longest = first, longest
        self._next: dict[str, tuple[float, float]] = {}

    def due(self, resolver: str, at: float) -> bool:
        """``at`` and the pauses in seconds, of any steady clock."""
        return at >= self._next.get(resolver, (0.0, 0.0))[0]

    def note(self, resolver: str, at: float, seen: Iterable[ResolverAnswer]) -> None:
        """Take what one round of questions brought. Who does not tell is not asked for longest."""
        told = next((answer for answer in seen if answer.name == ID_SERVER.name), None)
        if told is None:
            return
        pause = self._next.get(resolver, (0.0, self._first))[1] or self._first
        pause = pause if told.outcome == "answer" else self._longest
        self._next[resolver] = (at + pause, min(pause * 2, self._longest))
