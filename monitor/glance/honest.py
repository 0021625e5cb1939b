"""Whether what came by port 53 is to be believed here, and what becomes of it where it is not."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from monitor.glance.known import Known, Resolver
from monitor.glance.said import Said
from monitor.watch.honesty import Port53, said
from probes.dns.exchange import Exchange
from probes.endpoints import Endpoints
from probes.sight import Tell

_PLAIN = ("udp", "tcp")
_SILENT = ("timeout", "unreachable", "noroute")


class Honest:
    """Of one network, for whom ``known`` asks."""

    def __init__(self, known: Known, exchange: Exchange, endpoints: Endpoints, hints: Sequence[str]) -> None:
        platforms = {r.id: r.platform for r in known.resolvers.values()}
        self._port53 = Port53(exchange, endpoints, list(platforms), platforms, hints=hints)

    async def ready(self) -> None:
        """Return once it is known."""
        await self._port53.ready()

    async def follow(self, tell: Tell) -> None:
        """Tell when it changes, for ever."""
        await self._port53.follow(tell)

    @property
    def why(self) -> str:
        """What shows that port 53 is answered by somebody else; empty where nothing does."""
        return said(self._port53.found.signs) if self._port53.intercepted else ""

    def plain(self, resolver: Resolver) -> bool:
        return self._port53.plain(resolver.id)

    def authority(self, word: Said) -> Said:
        """The word itself, or that it was intercepted."""
        return _told(word, self._port53.found.affects(word.address, authority=True))

    def resolver(self, resolver: Resolver, word: Said) -> Said:
        return _told(word, not self._port53.plain(resolver.id))


def _told(word: Said, lied: bool) -> Said:
    if not lied or word.transport not in _PLAIN or word.outcome in (*_SILENT, "intercepted"):
        return word
    return replace(word, outcome="intercepted", rrset=(), alias="", ttl=0)
