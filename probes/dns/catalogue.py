"""Public recursive resolvers that a watch may ask: ``resolvers.csv`` beside this module.

Many addresses are one operator's, and one address is often many caches: what counts is ``platform``.

Two kinds stand in the list. ``public`` ones offer themselves to everybody: the plan's word ``public`` asks
the unfiltered flavour of those that are known to answer reliably, a little under forty platforms.
``operator`` ones (access providers mostly) answer strangers without offering it: none of them is asked by
default, since nobody invited us and one that stops answering would cost the watch its quorum; the plan's word
``all`` adds one address of each platform that ``public`` leaves out. Some speak DoT or DoH alone.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from functools import cache
from importlib import resources
from typing import Literal, cast

from msgspec import Struct

from probes.dns.via import Via, doh, dot

Filtering = Literal["none", "malware", "ads", "family", "legal", "unknown"]
Kind = Literal["public", "operator"]


class Entry(Struct, frozen=True, kw_only=True):
    """One address of one resolver.

    ``platform`` is whose caches they are; ``country`` an ISO 3166 code, EU, or empty for anycast;
    ``filtering`` what the operator says to block (``legal``: what a law or a court names);
    ``transports`` of ``udp``, ``tcp``, ``dot``, ``doh``; ``default``: asked unless told otherwise.
    """

    operator: str
    platform: str
    address: str
    country: str
    region: str
    filtering: Filtering
    transports: tuple[str, ...]
    dot_name: str
    doh_url: str
    kind: Kind
    default: bool

    @property
    def plain(self) -> bool:
        """Whether it answers on port 53."""
        return "udp" in self.transports

    @property
    def id(self) -> str:
        """What observations call it: its address, or its URL where it is not to be had by plain DNS."""
        return self.doh_url if self.doh_url and not self.plain else self.address

    @property
    def encrypted(self) -> tuple[Via, ...]:
        """Its encrypted transports; DoH first, since port 443 is open where 853 is not."""
        https = (doh(self.doh_url),) if "doh" in self.transports else ()
        return (*https, dot(self.dot_name)) if "dot" in self.transports else https


@cache
def entries() -> tuple[Entry, ...]:
    """The whole list, in its own order."""
    return tuple(_read())


def public() -> tuple[Entry, ...]:
    """Those that are asked by default: two addresses of a platform at most, each id once."""
    return _once(entry for entry in entries() if entry.default)


def everyone() -> tuple[Entry, ...]:
    """Those of ``public``, and the first address of every other platform."""
    chosen = public()
    asked = {entry.platform for entry in chosen}
    others = {e.platform: e for e in reversed(entries()) if e.platform not in asked}
    return (*chosen, *(e for e in entries() if others.get(e.platform) is e))


def entries_of(resolver: str) -> tuple[Entry, ...]:
    """What is known of a resolver by its address or its URL; empty for a stranger."""
    return _by_name().get(resolver, ())


@cache
def _by_name() -> dict[str, tuple[Entry, ...]]:
    found: dict[str, tuple[Entry, ...]] = {}
    for entry in entries():
        for name in filter(None, (entry.address, entry.doh_url)):
            found[name] = (*found.get(name, ()), entry)
    return found


def _once(chosen: Iterable[Entry]) -> tuple[Entry, ...]:
    return tuple({entry.id: entry for entry in chosen}.values())


def _read() -> Iterator[Entry]:
    with resources.files("probes.dns").joinpath("resolvers.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            yield Entry(
                operator=row["operator"],
                platform=row["platform"],
                address=row["address"],
                country=row["country"],
                region=row["region"],
                filtering=cast(Filtering, row["filtering"]),
                transports=tuple(row["transports"].split("+")),
                dot_name=row["dot_name"],
                doh_url=row["doh_url"],
                kind=cast(Kind, row["kind"]),
                default=row["default"] == "yes",
            )
