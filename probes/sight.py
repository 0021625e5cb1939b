"""The small shapes that probes share with whoever schedules them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeAlias

from msgspec import Struct

from probes.observation import Observation

# What was seen, and where to go on after it (a key and its JSON value), kept in one transaction.
Sight: TypeAlias = "tuple[Sequence[Observation], tuple[str, Any] | None]"


# Who is told of an observation the moment it is made, not when a whole round of questions is over.
Tell: TypeAlias = "Callable[[Observation], Awaitable[None]]"


async def nobody(_: Observation) -> None:
    """A :data:`Tell` for those who only want what is returned."""


class Server(Struct, frozen=True):
    """One address of one authoritative server."""

    name: str
    address: str


class Delegated(Struct, frozen=True):
    """Every address of every name server that a domain has now. ``ttl``: for so many seconds caches may go on
    to ask them when they are delegated no longer. No servers: the delegation could not be walked."""

    servers: tuple[Server, ...] = ()
    ttl: int = 0


class Target(Struct, frozen=True):
    """The host and address that a canary is handed to, as an MX answer named them."""

    host: str
    address: str
