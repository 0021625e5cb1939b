"""A model of the world's caches, without sockets: who holds which record until when."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Literal

from probes.dns.catalogue import Entry

Kind = Literal["plain", "caps", "constant", "stale", "flagged", "dead"]
KINDS: tuple[Kind, ...] = ("plain", "caps", "constant", "stale", "flagged", "dead")
STALE_TTL = 30.0  # RFC 8767 section 4
LOSS = 0.01  # of questions or answers
OVERSTAY = 2400.0  # for which a stale cache serves old past its end
# How many caches each of the large operators shows to one client; a guess on the high side.
LARGE = {
    "google": 20,
    "cloudflare": 20,
    "quad9": 12,
    "opendns": 16,
    "adguard": 8,
    "controld": 8,
    "nextdns": 8,
}

NAMED = ("cloudflare", "quad9", "opendns")  # of the large ones, those whose caches say who they are


@dataclass(slots=True)
class Held:
    """A record in a cache: old or new, from when to when (s)."""

    old: bool
    ends: float
    ttl: float


@dataclass(slots=True)
class ModelCache:
    """One cache. ``busy``: it has other users, so that it fetches as soon as a record runs out; else it
    fetches when we ask. ``turned``: when it could first answer new, having held old at the change."""

    name: str | None
    busy: bool
    kind: Kind
    held: Held | None = None
    turned: float | None = None
    seen_new: float | None = None


class Truth:
    """When the two authorities turn, and the TTL that they give; all in seconds."""

    def __init__(self, chance: random.Random, length: float, ttl: float) -> None:
        self.ttl, self.length = ttl, length
        self.first = chance.uniform(0.2, 0.6) * length
        self.second = self.first + chance.uniform(1, 15)
        self._chance = chance

    def old(self, at: float, which: int | None = None) -> bool:
        server = self._chance.randrange(2) if which is None else which
        return at < (self.first, self.second)[server]


@dataclass(slots=True)
class Answer:
    old: bool
    ttl: int
    name: str | None
    ede: tuple[int, ...] = ()


@dataclass
class Platform:
    """One operator's caches; whichever address is asked, any of them may answer."""

    kind: Kind
    caches: list[ModelCache] = field(default_factory=list)

    def ask(self, at: float, truth: Truth, chance: random.Random) -> Answer | None:
        if self.kind == "dead" or chance.random() < LOSS:
            return None
        cache = chance.choice(self.caches)
        answer = _answer(cache, at, truth)
        if not answer.old and cache.seen_new is None and cache.turned is not None:
            cache.seen_new = at
        return answer

    def finish(self, truth: Truth) -> None:
        """Bring every cache to the end of the watch."""
        for cache in self.caches:
            if cache.held is not None:
                _until(cache, truth.length, truth)


def _answer(cache: ModelCache, at: float, truth: Truth) -> Answer:
    _until(cache, at, truth)
    held = cache.held
    assert held is not None
    left = held.ends - at
    if left < 0:  # served past its end
        return Answer(held.old, int(STALE_TTL), cache.name, (3,) if cache.kind == "flagged" else ())
    shown = held.ttl if cache.kind == "constant" else left
    return Answer(held.old, int(shown), cache.name)


def _until(cache: ModelCache, at: float, truth: Truth) -> None:
    """Bring a cache's record forward to ``at``."""
    while cache.held is None or cache.held.ends + _over(cache, truth) <= at:
        ended = cache.held.ends + _over(cache, truth) if cache.held is not None else at
        when = ended if cache.busy and cache.held is not None else at
        held_old = cache.held is not None and cache.held.old and ended > truth.first
        cache.held = _fetch(cache, when, truth)
        if held_old and not cache.held.old and cache.turned is None:
            cache.turned = ended


def _over(cache: ModelCache, truth: Truth) -> float:
    held = cache.held
    stays = held is not None and held.old and held.ends > truth.second
    return OVERSTAY if stays and cache.kind in ("stale", "flagged") else 0.0


def _fetch(cache: ModelCache, at: float, truth: Truth) -> Held:
    ttl = truth.ttl / 2 if cache.kind == "caps" else truth.ttl
    return Held(truth.old(at), at + ttl, ttl)


def world(entries: list[Entry], chance: random.Random, truth: Truth) -> dict[str, Platform]:
    """By platform: how many caches it has, of which kind, half of them with other users."""
    platforms: dict[str, Platform] = {}
    for entry in entries:
        if entry.platform in platforms:
            continue
        platforms[entry.platform] = _platform(entry.platform, chance, truth)
    return platforms


def _platform(name: str, chance: random.Random, truth: Truth) -> Platform:
    kind: Kind = chance.choices(KINDS, (80, 6, 4, 3, 3, 4))[0] if name not in LARGE else "plain"
    size = LARGE.get(name) or chance.choices((1, 2, 3, 4), (45, 30, 15, 10))[0]
    named = name in NAMED or (name not in LARGE and chance.random() < 0.3)
    busy = chance.random() < 0.5
    caches = [ModelCache(f"{name}-{n}" if named else None, busy, kind) for n in range(size)]
    for cache in caches if busy and kind != "dead" else ():
        cache.held = Held(True, chance.uniform(0, truth.ttl), truth.ttl)
    return Platform(kind, caches)
