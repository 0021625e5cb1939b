"""One harmless question to each of some bundled resolvers: who answers from here, and by which transport?"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct

from monitor.watch.honesty import Port53
from monitor.watch.pace import PLATFORM_GAP, Gates
from probes.dns.catalogue import Entry
from probes.dns.exchange import TCP, UDP, Exchange, Question, Reply, Via
from probes.dns.honesty import Honesty
from probes.dns.reply import silent
from probes.endpoints import Endpoints

QUESTION = Question("example.com.", "MX")  # RFC 2606 section 3: nobody's mail
AT_A_TIME = 16
TIMEOUT = 5.0
ANSWERED = ("answer", "nodata", "nxdomain")


class Found(Struct, frozen=True, kw_only=True):
    """``outcome`` as in an observation; ``rrset`` and ``rtt_ms`` where there was an answer; ``detail``: why
    there was none, as far as known, for people (raw)."""

    entry: Entry
    outcome: str
    transport: str
    rtt_ms: float | None = None
    rrset: tuple[str, ...] = ()
    detail: str = ""

    @property
    def answered(self) -> bool:
        return self.outcome in ANSWERED


async def check(
    chosen: Sequence[Entry], *, transport: str | None = None, hints: Sequence[str] = (),
    endpoints: Mapping[str, str] | None = None, heard: Callable[[Found], None] = lambda found: None,
) -> tuple[Honesty, list[Found]]:  # fmt: skip
    """Ask all of ``chosen``, by ``transport`` if one is named, else by the one that can be believed here.

    At most one question each two seconds to a platform, sixteen at a time. ``heard`` is told of each at once.
    """
    where = Endpoints(endpoints)
    exchange = Exchange(where)
    try:
        addresses = [entry.address for entry in chosen if entry.plain]
        port53 = Port53(exchange, where, addresses, {e.address: e.platform for e in chosen}, hints=hints)
        if transport in (None, "udp", "tcp"):
            await port53.ready()
        asking = _Checkup(exchange, port53, transport, heard)
        return port53.found, list(await asyncio.gather(*map(asking.asked, chosen)))
    finally:
        await exchange.close()


class _Checkup:
    def __init__(
        self, exchange: Exchange, port53: Port53, transport: str | None, heard: Callable[[Found], None]
    ) -> None:
        self._exchange, self._port53, self._transport, self._heard = exchange, port53, transport, heard
        self._gates, self._room = Gates(PLATFORM_GAP), asyncio.Semaphore(AT_A_TIME)

    async def asked(self, entry: Entry) -> Found:
        await self._gates.enter(entry.platform)
        async with self._room:
            found = await self._asked(entry)
        self._heard(found)
        return found

    async def _asked(self, entry: Entry) -> Found:
        """By the first of its ways that brings anything."""
        reply = silent("unreachable")
        for via in self._ways(entry):
            reply = await self._exchange.ask(entry.address, QUESTION, rd=True, timeout=TIMEOUT, via=via)
            if reply.rtt_ms is not None:
                break
        return self._found(entry, reply)

    def _ways(self, entry: Entry) -> tuple[Via, ...]:
        if self._transport is not None:
            every = (UDP, TCP, *entry.encrypted)
            return tuple(via for via in every if via.transport == self._transport)
        believed = entry.plain and self._port53.plain(entry.address)
        return (UDP,) if believed or not entry.encrypted else entry.encrypted

    def _found(self, entry: Entry, reply: Reply) -> Found:
        lied = reply.transport in ("udp", "tcp") and not self._port53.plain(entry.address)
        sources = self._exchange.noted(entry.address).sources
        forwarded = f"answers come from {', '.join(sorted(sources))} instead" if sources else ""
        outcome = "intercepted" if lied and reply.rtt_ms is not None else reply.outcome
        return Found(
            entry=entry, outcome=outcome, transport=reply.transport, rtt_ms=reply.rtt_ms,
            rrset=() if lied else reply.rrset, detail=reply.detail or forwarded,
        )  # fmt: skip
