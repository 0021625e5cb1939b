"""Where a message came from, as the trace fields tell that the hosts on its way wrote (RFC 5321 section 4.4).

Only what a side's own host wrote is believed. Everything below the hop at which that side took the message
is the sender's word.
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from fnmatch import fnmatchcase
from typing import TypeAlias

from msgspec import Struct, structs

from probes.mail.header import Field, first, squeezed
from probes.mail.received import Hop, ip, parse
from probes.observation import Origin

MOST_HOPS = 50
MOST_MET = 20  # unknown names that are looked up for one side
Lookup: TypeAlias = "Callable[[str], Iterable[str]]"
_STABLE = ("date", "from", "to", "cc", "subject")
_METHODS = ("spf", "dkim", "dmarc")
# Providers whose hosts carry more than one name in the same chain.
_ONE = {
    "office365.com": "outlook.com",
    "exchangelabs.com": "outlook.com",
    "googlemail.com": "google.com",
    "gmail.com": "google.com",
}


class Place:
    """One side of the move as its mail's trace fields name it.

    ``names``: its hosts' names, patterns with ``*.`` allowed; ``addresses``: theirs, empty for hosted mail
    whose addresses vary. ``other_names`` and ``other_addresses``: the other side's. A host name of the same
    organisation counts as this side's, unless the other side is of that organisation, too: a provider's
    exchange is seldom called in trace fields what the MX calls it. ``lookup`` (blocking) gives the addresses
    of a name.
    """

    def __init__(
        self, names: Iterable[str], addresses: Iterable[str] = (),
        other_names: Iterable[str] = (), other_addresses: Iterable[str] = (), lookup: Lookup | None = None,
    ) -> None:  # fmt: skip
        self._names = {_bare(n) for n in names}
        self._others = {_bare(n) for n in other_names}
        self.addresses = frozenset(filter(None, map(ip, addresses)))
        self.other_addresses = frozenset(filter(None, map(ip, other_addresses)))
        theirs = {_organisation(n) for n in self._others}
        self._organisations = {_organisation(n) for n in self._names} - theirs - {None}
        self._lookup = lookup
        self._met: set[str] = set()

    def learn(self, name: str) -> None:
        """A host of this side is known to call itself so: it took a canary that was handed to this side."""
        bare = _bare(name)
        # "localhost" and qmail's "0" are the name of every host.
        if "." in bare and ip(bare) is None and not self.others(bare) and len(self._names) < 1000:
            self._names.add(bare)

    def meet(self, those: Sequence[Field]) -> None:
        """Learn the name by which the host on top of a message calls itself, where DNS says that it has one
        of this side's addresses: an exchange under the domain's own name seldom knows of it."""
        if self._lookup is None or not self.addresses:
            return
        bare = _bare(parse(first(those, "received") or "").by)
        if bare in self._met or self.mine(bare):
            return
        if "." not in bare or ip(bare) is not None or self.others(bare) or len(self._met) >= MOST_MET:
            return
        self._met.add(bare)
        if self.addresses & frozenset(filter(None, map(ip, self._lookup(bare)))):
            self.learn(bare)

    def mine(self, name: str) -> bool:
        bare = _bare(name)
        if _listed(bare, self._names):
            return True
        return not _listed(bare, self._others) and _organisation(bare) in self._organisations

    def others(self, name: str) -> bool:
        """Whether it is a name of the other side."""
        return _listed(_bare(name), self._others)

    def inside(self, hop: Hop) -> bool:
        """Whether this hop is one of the side's own to itself: from a filter, a gateway, a mailbox store."""
        if hop.client is None:
            lmtp = (hop.protocol or "").upper().startswith("LMTP")  # RFC 2033
            return hop.helo is not None and (lmtp or self.mine(hop.helo))
        if hop.client in self.addresses:
            return True
        if hop.client in self.other_addresses:
            return False
        if not ipaddress.ip_address(hop.client).is_global and not _documentation(hop.client):
            return True
        # A provider's own hosts talk over global addresses that no plan lists.
        return not self.addresses and hop.helo is not None and self.mine(hop.helo)


class Arrival(Struct, frozen=True, kw_only=True):
    """How one side took a message. ``at`` is None where no hop of that side is to be seen."""

    origin: Origin
    at: datetime | None
    client: str | None
    helo: str | None
    queue_id: str | None


def hops(those: Sequence[Field]) -> tuple[Hop, ...]:
    """The Received chain, the last hop (the topmost field) first."""
    values = [f.value for f in those if f.name == "received"]
    return tuple(parse(value) for value in values[:MOST_HOPS])


def arrival(those: Sequence[Field], place: Place) -> Arrival:
    """How ``place`` took a message that lies in one of its mailboxes."""
    chain = hops(those)
    index = _taken_at(chain, place)
    if index is None:
        # Copied from the other side, or taken by a host whose name nobody gave.
        copied = not chain or place.others(chain[0].by)
        return _arrival("unknown", None, None if copied else chain[0])
    hop = chain[index]
    if hop.queue_id is None and index and not chain[index - 1].by:  # qmail names it in the field above
        hop = structs.replace(hop, queue_id=chain[index - 1].queue_id)
    if _null_sender(those, index):
        return _arrival("bounce", hop.at, hop)
    return _arrival(_origin(hop, chain[index + 1 :], place), hop.at, hop)


def _arrival(origin: Origin, at: datetime | None, hop: Hop | None) -> Arrival:
    if hop is None:
        return Arrival(origin=origin, at=at, client=None, helo=None, queue_id=None)
    return Arrival(origin=origin, at=at, client=hop.client, helo=hop.helo, queue_id=hop.queue_id)


def _taken_at(chain: Sequence[Hop], place: Place) -> int | None:
    """The hop at which this side took it: from the top down, as long as hops lead from inside to inside."""
    taken = None
    for index, hop in enumerate(chain):
        if place.mine(hop.by):
            taken = index
            if not place.inside(hop):
                break
        elif taken is not None or place.others(hop.by) or not (_mute(hop) or place.inside(hop)):
            break  # what is below is hearsay
    return taken


def _mute(hop: Hop) -> bool:
    """A hop that names nobody it came from: a store's own note (Gmail's ``by 2002:…``)."""
    return hop.client is None and hop.helo is None


def _origin(hop: Hop, below: Sequence[Hop], place: Place) -> Origin:
    protocol = (hop.protocol or "").upper()
    # RFC 3848: a final A is an authenticated session. Webmail submits with HTTP.
    if hop.authenticated or protocol.startswith("HTTP"):
        return "submission"
    if protocol.startswith(("POP", "IMAP")):
        return "unknown"  # fetched from another mailbox
    if not place.other_addresses and hop.helo is not None and place.others(hop.helo):
        return "unknown"  # passed on by the other side, whose addresses nobody knows: no sender's own choice
    if hop.client is None:
        return "unknown" if hop.helo and protocol != "LOCAL" else "local"
    if place.inside(hop):
        # From inside, yet not written first there: a gateway or proxy hides who brought it.
        return "unknown" if any(not place.mine(h.by) for h in below) else "local"
    return "outside"


def _null_sender(those: Sequence[Field], index: int) -> bool:
    """Whether the envelope sender was null (RFC 5321 section 4.5.5), by this side's own word: a Return-Path
    below the field of the hop at which it was taken is the sender's."""
    seen = -1
    for field in those:
        if field.name == "received":
            seen += 1
            if seen >= index:
                return False
        elif field.name == "return-path":
            return squeezed(field.value) == "<>"
    return False


def authentication(those: Sequence[Field], place: Place) -> dict[str, str] | None:
    """What this side's own host says in Authentication-Results (RFC 8601): {"spf": "pass", …}.

    A field of another authserv-id is not believed (section 5), nor one below the second foreign hop.
    """
    for field in those:
        if field.name == "received" and not place.mine(parse(field.value).by):
            return None
        if field.name != "authentication-results":
            continue
        server, _, rest = _uncommented(field.value[:4000]).partition(";")
        if not server.split() or not place.mine(server.split()[0]):
            continue
        return _results(rest) or None
    return None


def _uncommented(text: str) -> str:
    for _ in range(3):
        text = re.sub(r"\([^()]*\)", " ", text)
    return text


def _results(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for method, result in re.findall(r"(?:^|;)\s*([a-z]+)(?:/\d+)?\s*=\s*([a-z]{1,20})\b", text.lower()):
        # Of several DKIM signatures one that holds is enough.
        if method in _METHODS and (method not in found or result == "pass"):
            found[method] = result
    return found


def digest(those: Sequence[Field]) -> str | None:
    """SHA-256 in hex of the fields that no host rewrites, for mail without a Message-ID; None where it has
    neither Date nor From: then any two such messages would be the same."""
    if first(those, "date") is None and first(those, "from") is None:
        return None
    lines = (f"{name}:{squeezed(first(those, name) or '')}" for name in _STABLE)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def message_id(those: Sequence[Field]) -> str | None:
    """``<…>`` as it stands (RFC 5322 section 3.6.4); what is no msg-id, as it stands, cut at 500."""
    value = squeezed(first(those, "message-id") or "")
    found = re.search(r"<[^<>\s]{1,500}>", value)
    return found[0] if found else value[:500] or None


def _bare(name: str) -> str:
    return name.strip().rstrip(".").lower()[:255]


def _listed(name: str, names: set[str]) -> bool:
    return name in names or any("*" in n and fnmatchcase(name, n) for n in names)


def _organisation(name: str) -> str | None:
    """The part of a host's name that is an organisation's: its last two labels, or three below a registry's
    second level (``co.jp``, ``ne.jp``, ``com.au``); None for an address or a single label."""
    labels = name.removeprefix("*.").split(".")
    if len(labels) < 2 or labels[-1].isdigit():
        return None
    deep = len(labels) > 2 and len(labels[-1]) == 2 and len(labels[-2]) <= 3
    found = ".".join(labels[-3:] if deep else labels[-2:])
    return _ONE.get(found, found)


def _documentation(address: str) -> bool:
    """RFC 5737 and RFC 3849: examples and rehearsals play the Internet in these."""
    parsed = ipaddress.ip_address(address)
    return any(parsed in network for network in _EXAMPLES if network.version == parsed.version)


_EXAMPLES = tuple(
    map(ipaddress.ip_network, ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32"))
)
