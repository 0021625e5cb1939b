"""Who is a name server of the domain's zone: by its parent's referrals and glue, by its own NS RRset, and for
how long a cache may still go by what they said (RFC 9199 section 3.6)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, TypeVar

from monitor.evidence.names import canonical
from monitor.verdict.answers import host_name
from probes.observation import AuthorityAnswer

TOGETHER = 60_000  # ms; the parent's servers that one walk asks answer within it
LATELY = 900_000  # ms; a server whose own NS RRset was heard longer ago has none that counts
MOST = 256  # server addresses and names remembered
_KINDS = ("A", "AAAA")


class Named(NamedTuple):
    """One NS RRset: when it was seen (ms), which server said it, names."""

    at: int
    server: str
    names: frozenset[str]


class Delegations:
    """Folds NS, glue and DS. Names are absolute and in lower case; times in ms."""

    def __init__(self) -> None:
        self._parents: dict[str, Named] = {}
        self._zone: dict[str, Named] = {}
        self._until: dict[str, int] = {}
        self._glue: dict[str, dict[tuple[str, str], tuple[int, frozenset[str]]]] = {}
        self._ds: dict[str, tuple[int, tuple[str, ...]]] = {}

    def hear(self, seen: AuthorityAnswer, at: int, domain: str) -> None:
        """Any answer of an authority or of a parent's server; what is of no concern is passed over."""
        name, kind = host_name(seen.name), seen.type
        if kind in _KINDS and seen.outcome == "referral":
            glue = _put(self._glue, name, self._glue.get(name, {}))
            glue[canonical(seen.address), kind] = at, frozenset(map(canonical, seen.rrset))
        elif not covers(name, host_name(domain)):
            return
        elif kind == "DS" and seen.outcome in ("answer", "nodata"):
            _put(self._ds, canonical(seen.address), (at, seen.rrset))
        elif kind == "NS" and seen.outcome in ("answer", "referral") and seen.rrset:
            self._named(seen, at)

    def _named(self, seen: AuthorityAnswer, at: int) -> None:
        names = frozenset(map(host_name, seen.rrset))
        book = self._parents if seen.outcome == "referral" else self._zone
        # What a server that is delegated no longer says of itself keeps no cache from leaving it.
        counts = book is self._parents or not self._parents or host_name(seen.server) in self.current()
        _put(book, canonical(seen.address), Named(at, host_name(seen.server), names))
        for name in names if counts else ():
            _put(self._until, name, max(self._until.get(name, 0), at + seen.ttl * 1000))

    # What is known

    def parent(self) -> frozenset[str]:
        """Names by the parent's servers, as they were asked last."""
        newest = max((n.at for n in self._parents.values()), default=0)
        return _union(n for n in self._parents.values() if n.at >= newest - TOGETHER)

    def zone(self) -> frozenset[str]:
        """Names by the zone itself: by the servers that the parent names, and by those that these name."""
        newest = max((n.at for n in self._zone.values()), default=0)
        lately = [n for n in self._zone.values() if n.at >= newest - LATELY]
        parent = self.parent()
        if not parent:
            return _union(lately)
        first = _union(n for n in lately if n.server in parent)
        return first | _union(n for n in lately if n.server in first)

    def current(self) -> frozenset[str]:
        return self.parent() | self.zone()

    def until(self, server: str) -> int | None:
        """Until when a cache may go by an NS RRset that names this server."""
        return self._until.get(host_name(server))

    def left(self, server: str) -> bool:
        """Whether it was named once, and is by nobody now."""
        name = host_name(server)
        return bool(self._parents) and name in self._until and name not in self.current()

    def glue(self, server: str) -> frozenset[str]:
        """Addresses of a name server as the parent gives them; empty where it gives none."""
        found = self._glue.get(host_name(server), {}).values()
        newest = max((at for at, _ in found), default=0)
        return frozenset(a for at, addresses in found if at >= newest - TOGETHER for a in addresses)

    def ds(self) -> tuple[str, ...] | None:
        """DS as the parent's servers had it last, all of them together; None: not known."""
        newest = max((at for at, _ in self._ds.values()), default=0)
        found = [rrset for at, rrset in self._ds.values() if at >= newest - TOGETHER]
        return tuple(sorted({ds for rrset in found for ds in rrset})) if found else None


def covers(zone: str, domain: str) -> bool:
    """Whether a name may be the apex of the zone that the domain is in."""
    return zone == domain or (zone != "." and domain.endswith(f".{zone}"))


def _union(named: Iterable[Named]) -> frozenset[str]:
    return frozenset(name for n in named for name in n.names)


V = TypeVar("V")


def _put(book: dict[str, V], key: str, value: V) -> V:
    if key not in book and len(book) >= MOST:
        del book[next(iter(book))]
    book[key] = value
    return value
