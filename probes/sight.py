"""The small shapes that probes share with whoever schedules them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from msgspec import Struct

from probes.observation import Observation

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
