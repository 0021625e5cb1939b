"""The domain's authorities as a watch asks them: by what the walks of the delegation have shown so far."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from probes.dns.authority import Aliases, Walker, ask_authority, host_addresses, walk
from probes.dns.dnssec import Anchors
from probes.dns.exchange import Exchange
from probes.observation import AuthorityAnswer
from probes.sight import Delegated, Server, Tell, nobody


class Authorities:
    """Remembers the DS by which answers are checked, and what the domain is an alias of, between walks."""

    def __init__(self, exchange: Exchange, walker: Walker, domain: str) -> None:
        self._exchange, self._walker, self._domain = exchange, walker, domain
        self._aliases, self._anchors = Aliases(walker), Anchors()
        self._aliased: dict[str, str] = {}  # servers of the zone that the domain's alias leads into
        self._walked, self._lock = False, asyncio.Lock()

    async def discover(self, tell: Tell) -> Delegated:
        """One walk. Never raises for what the network does."""
        found = await walk(self._exchange, self._domain, walker=self._walker, tell=tell)
        self._walked = True
        self._anchors.learn(found.zone, found.ds, found.ds_ttl, found.signed_above, time.time())
        own = {server.address for server in found.servers}
        beyond = tuple(server for server in found.beyond if server.address not in own)
        if found.servers:
            self._aliased = {server.address: found.alias for server in beyond}
        return Delegated((*found.servers, *beyond), max(found.parent_ttl or 0, found.child_ttl or 0))

    async def ask(self, server: Server, hosts: Sequence[str], tell: Tell) -> Sequence[AuthorityAnswer]:
        """What one of them serves. No answer is told before it is known whether the zone is signed."""
        if not self._walked:
            async with self._lock:
                if not self._walked:
                    await self.discover(nobody)
        return await ask_authority(
            self._exchange, server, self._domain, hosts, tell=tell, aliases=self._aliases,
            trust=self._anchors.trust(time.time()), alias=self._aliased.get(server.address, ""),
        )  # fmt: skip

    async def hosts(self, hosts: Sequence[str], tell: Tell) -> Sequence[AuthorityAnswer]:
        """A and AAAA of exchanges as their own zones' servers have them."""
        asked = (
            host_addresses(self._exchange, host, walker=self._walker, aliases=self._aliases, tell=tell)
            for host in hosts
        )
        return [answer for answers in await asyncio.gather(*asked) for answer in answers]
