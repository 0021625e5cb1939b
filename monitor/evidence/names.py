"""What the A and AAAA answers said of the hosts that an MX may name."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import ip_address

from monitor.verdict.answers import host_name
from probes.observation import AuthorityAnswer, ResolverAnswer

_KINDS = ("A", "AAAA")


@lru_cache(maxsize=8192)
def canonical(address: str) -> str:
    """An address in its one spelling (RFC 5952); what is none stays as it is."""
    try:
        return str(ip_address(address))
    except ValueError:
        return address


@lru_cache(maxsize=8192)
def _addresses(rrset: tuple[str, ...]) -> frozenset[str]:
    return frozenset(map(canonical, rrset))


class Names:
    """Addresses by who answered and by name: the latest word of each, and of authorities and of all.

    ``version`` moves whenever any of them becomes another one.
    """

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str, str], tuple[int, frozenset[str]]] = {}
        self.version = 0

    def learn(self, source: str, answer: AuthorityAnswer | ResolverAnswer, at: int) -> None:
        """Keep an A or AAAA answer; NODATA and NXDOMAIN are answers as well, of no address."""
        if answer.type not in _KINDS or answer.outcome not in ("answer", "nodata", "nxdomain"):
            return
        addresses = _addresses(answer.rrset)
        authority, name = isinstance(answer, AuthorityAnswer), host_name(answer.name)
        for who in (source, "any authority" if authority else "any resolver"):
            key = (who, name, answer.type)
            before = self._seen.get(key)
            known = addresses
            if before is not None and before[0] >= at:
                if before[0] > at:
                    continue
                known = before[1] | addresses  # two words at one instant: both are believed
            if before is None or before[1] != known:
                self.version += 1
            self._seen[key] = (at, known)

    def of_authorities(self, name: str) -> frozenset[str]:
        """As the authorities of its zone had it last; empty where none of them was heard."""
        found = (self._seen.get(("any authority", name, kind)) for kind in _KINDS)
        return frozenset(address for known in found if known is not None for address in known[1])

    def addresses(self, source: str, name: str) -> frozenset[str] | None:
        """As this source answered them, else as an authority did, else as any resolver; None: unknown."""
        for who in (source, "any authority", "any resolver"):
            found = [self._seen.get((who, name, kind)) for kind in _KINDS]
            known = [addresses for _, addresses in filter(None, found)]
            if any(known):
                return frozenset().union(*known)
        return None
