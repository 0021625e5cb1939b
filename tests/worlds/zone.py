"""A zone and who serves it: what each authority address hands out at any moment. Seconds of world time."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Literal, NamedTuple

Leads = Literal["old", "mixed", "new"]
LONG_AGO = -400 * 86400.0


class Version(NamedTuple):
    """What the zone says from ``at`` on, where it is edited."""

    at: float
    leads: Leads
    ttl: int


@dataclass(slots=True)
class Authority:
    """One server address. ``serves``: the same versions, each from when this address has it (RFC 1034 section
    4.3.5: a secondary lags); ``ends``: when no well-behaved cache goes by a delegation to it any more; from
    ``dark_from`` on it is silent."""

    address: str
    serves: list[Version]
    ends: float = inf
    dark_from: float = inf
    _starts: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._starts = [version.at for version in self.serves]

    def at(self, t: float) -> Version:
        return self.serves[max(0, bisect_right(self._starts, t) - 1)]

    def old_until(self, t: float) -> float:
        """Until when a well-behaved cache may hold old data that was to be had here up to ``t``; for ever
        where it still is."""
        until = -inf
        for version, after in zip(self.serves, [*self._starts[1:], inf], strict=True):
            if version.leads != "new" and version.at <= t and after > version.at:
                until = max(until, min(after, self.ends) + version.ttl)
        return until


def secondary(address: str, zone: Sequence[Version], lags: Sequence[float]) -> Authority:
    """An authority that has each version so much later; never an older one after a newer."""
    serves: list[Version] = []
    for version, lag in zip(zone, lags, strict=True):
        at = version.at if version.at <= LONG_AGO else version.at + lag
        while serves and serves[-1].at >= at:
            serves.pop()  # overtaken: it goes straight to the newer one
        serves.append(version._replace(at=at))
    if serves[0].at > LONG_AGO:
        serves.insert(0, zone[0])
    return Authority(address, serves)
