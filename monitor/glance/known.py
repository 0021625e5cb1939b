"""All that is known: who was asked, and what each said."""

from __future__ import annotations

from msgspec import Struct

from monitor.glance.question import Asked
from monitor.glance.said import Change, Said, Track
from probes.sight import Server


class Resolver(Struct, frozen=True, kw_only=True):
    """One resolver by its address, or by its URL (DNS over HTTPS), and whose caches answer there; what counts
    is ``platform``."""

    id: str
    platform: str
    operator: str
    country: str = ""
    filtering: str = "none"

    @property
    def filters(self) -> bool:
        return self.filtering not in ("none", "unknown")


class Hop(Struct, frozen=True, kw_only=True):
    """A name that must be looked up: the question's own, or what an alias leads to in another zone.

    ``servers``: of its zone, in order of name, the address empty where a name has none; ``parent_only``
    and ``zone_only``: name servers that only the delegation, or only the zone itself, names; ``complete``:
    the way there was walked to its end.
    """

    name: str
    zone: str
    servers: tuple[Server, ...] = ()
    parent_only: tuple[str, ...] = ()
    zone_only: tuple[str, ...] = ()
    complete: bool = True


class Addresses(Struct, frozen=True, kw_only=True):
    """Where an exchange leads, as its own zone's servers say. ``differ``: they do not say the same.

    ``alias``: what the exchange's name is an alias of, which it must not be (RFC 2181 section 10.3).
    """

    name: str
    addresses: tuple[str, ...] = ()
    ttl: int | None = None
    alias: str = ""
    differ: bool = False


class Known:
    """Grows with each word that comes in. ``quorum``: the share of platforms that must answer."""

    def __init__(self, asked: Asked, resolvers: tuple[Resolver, ...], quorum: float) -> None:
        self.asked = asked
        self.quorum = quorum
        self.resolvers = {r.id: r for r in resolvers}
        self.hops: tuple[Hop, ...] = ()
        self.exchanges: tuple[Addresses, ...] = ()
        self.intercepted = ""  # what shows that port 53 is answered by somebody else here
        self.of_authorities: dict[tuple[str, str], Track] = {}
        self.of_resolvers = {r.id: Track() for r in resolvers}

    def authority(self, hop: Hop, said: Said) -> Change | None:
        return self.of_authorities.setdefault((hop.name, said.address), Track()).note(said)

    def resolver(self, resolver: Resolver, said: Said) -> Change | None:
        return self.of_resolvers[resolver.id].note(said)

    def track(self, hop: Hop, server: Server) -> Track:
        return self.of_authorities.get((hop.name, server.address)) or Track()
