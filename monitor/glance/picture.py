"""What ``mxcutover dns`` shows: the same for people and as JSON. Frozen; everything counted already."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from msgspec import Struct

from monitor.glance.known import Addresses, Resolver
from monitor.glance.said import Said
from probes.sight import Server

Result = Literal["holds", "differs", "unknown"]


class Reason(Struct, frozen=True):
    """A code of the wording's catalogue, and its figures."""

    code: str
    args: dict[str, Any] = {}


class AtServer(Struct, frozen=True):
    """One address of an authority and its latest word; None: it has no address to ask.

    ``excused``: it lies where nothing of its address family can be reached from here, and its name was
    heard at another address.
    """

    server: Server
    said: Said | None = None
    excused: bool = False


class AtResolver(Struct, frozen=True):
    """One resolver and its word. ``overstays``: it keeps an answer past the time at which a well-behaved
    cache must have dropped it."""

    resolver: Resolver
    said: Said
    overstays: bool = False


class Served(Struct, frozen=True, kw_only=True):
    """Authorities that say the same of ``name``. ``agrees`` None: there is nothing to agree with."""

    name: str
    outcome: str
    rrset: tuple[str, ...]
    alias: str
    agrees: bool | None
    ttls: tuple[int, int]
    serials: tuple[int, ...]
    servers: tuple[AtServer, ...]


class Held(Struct, frozen=True, kw_only=True):
    """Resolvers that say the same. ``ttls``: the least and the greatest that remain, in seconds;
    ``until``: when the last of them runs out."""

    outcome: str
    rrset: tuple[str, ...]
    agrees: bool | None
    platforms: int
    ttls: tuple[int, int]
    until: datetime
    who: tuple[AtResolver, ...]


class Silence(Struct, frozen=True, kw_only=True):
    """Resolvers that gave no answer, in the same way."""

    outcome: str
    platforms: int
    who: tuple[AtResolver, ...]


class Horizon(Struct, frozen=True, kw_only=True):
    """The time by which every well-behaved cache must have changed.

    ``state``: ``by`` (at ``by``; passed or not), ``open`` (an authority may still hand out the other
    answer), ``unknown`` (the other answer's TTL was never seen at an authority), ``none`` (no other answer
    was seen at all). ``seen_by``: when the other answers seen at resolvers run out.
    """

    state: Literal["by", "open", "unknown", "none"]
    reason: Reason
    by: datetime | None = None
    seen_by: datetime | None = None


class Counts(Struct, frozen=True, kw_only=True):
    """Addresses of authorities, then platforms (and addresses) of resolvers. ``settled``: those that have
    agreed several times in a row."""

    authorities: int
    authorities_heard: int
    authorities_agree: int
    addresses: int
    addresses_heard: int
    addresses_settled: int
    platforms: int
    platforms_heard: int
    platforms_agree: int
    needed: int


class Picture(Struct, frozen=True, kw_only=True):
    """``result``: ``holds`` (all that answered agree, and enough did), ``differs``, ``unknown``;
    ``reasons``: why, the weightiest first; ``over``: a watch has nothing more to wait for."""

    at: datetime
    name: str
    type: str
    expected: tuple[str, ...] | None
    result: Result
    reasons: tuple[Reason, ...]
    zones: tuple[str, ...]
    served: tuple[Served, ...]
    unheard: tuple[AtServer, ...]
    held: tuple[Held, ...]
    silences: tuple[Silence, ...]
    exchanges: tuple[Addresses, ...]
    horizon: Horizon
    counts: Counts
    remarks: tuple[Reason, ...]
    over: bool
