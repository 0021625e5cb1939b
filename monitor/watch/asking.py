"""What a watch asks of the world, as the schedules see it; ``monitor.watch.world`` is the real one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any, Protocol, TypeAlias

from msgspec import Struct

from monitor.plan.model import Account
from probes.observation import Observation, Side

# What was seen, and where to go on after it (a key and its JSON value), kept in one transaction.
Sight: TypeAlias = "tuple[Sequence[Observation], tuple[str, Any] | None]"


class Server(Struct, frozen=True):
    """One address of one authoritative server."""

    name: str
    address: str


class Target(Struct, frozen=True):
    """The host and address that a canary is handed to, as an MX answer named them."""

    host: str
    address: str


class Asking(Protocol):
    """No method raises for anything that the world does; what it does is an observation."""

    async def discover(self) -> Sequence[Server]:
        """Every address of every authoritative server now; empty when the delegation can't be walked."""
        ...

    async def authority(self, server: Server, hosts: Sequence[str]) -> Sequence[Observation]: ...

    async def resolver(self, resolver: str, hosts: Sequence[str]) -> Sequence[Observation]: ...

    async def canary(self, route: str, account: Account, target: Target | None) -> Sequence[Observation]: ...

    def mailbox(self, side: Side, account: Account, position: Any) -> AsyncIterator[Sight]:
        """Follow one mailbox from ``position`` (None: from its beginning); ends when it is disconnected."""
        ...

    def log(self, position: Any) -> AsyncIterator[Sight]: ...

    async def close(self) -> None: ...
