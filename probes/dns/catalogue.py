"""Public recursive resolvers that a watch may ask: ``resolvers.csv`` beside this module.

Many addresses are one operator's, and one address is often many caches: what counts is ``platform``.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from functools import cache
from importlib import resources
from typing import Literal, cast

from msgspec import Struct

Filtering = Literal["none", "malware", "ads", "family", "unknown"]


class Entry(Struct, frozen=True, kw_only=True):
    """One address of one resolver.

    ``platform`` is whose caches they are; ``country`` an ISO 3166 code, EU, or empty for anycast;
    ``filtering`` what the operator says to block; ``transports`` of ``udp``, ``tcp``, ``dot``, ``doh``;
    ``kind``: ``public`` is offered to everybody, ``operator`` answers everybody but serves its own
    customers: one address of each at most is asked by default. ``default``: asked unless told otherwise.
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
    kind: Literal["public", "operator"]
    default: bool


@cache
def entries() -> tuple[Entry, ...]:
    """The whole list, in its own order."""
    return tuple(_read())


def public() -> tuple[Entry, ...]:
    """Those that are asked by default, by plain DNS: two addresses of a platform at most."""
    return tuple(entry for entry in entries() if entry.default)


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
                kind=cast(Literal["public", "operator"], row["kind"]),
                default=row["default"] == "yes",
            )
