"""The caches behind one resolver's address, told apart by the names they give and by lineages of expiry.

While one cached record is seen again and again, the time of an answer plus its TTL is one instant, but for
the rounding of the TTL to whole seconds: a lineage. Another instant, while the first record still lives, is
another cache's record. It may also be a record that was flushed or fetched early, so the caches "seen" are
what is told apart, and no count of what is there; where it is in doubt, two are taken for one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import ceil, log
from typing import NamedTuple

from msgspec import Struct

from monitor.snapshot import Leads

# A server rounds the TTL to seconds, by truncation or not, of a clock that may stand still for a second.
TOLERANCE = 2_000
MOST = 64  # caches remembered behind one address
NEW_ENOUGH = ("new", "differs")


class Sample(Struct, gc=False):
    """One usable answer for the domain's MX; times in ms.

    ``expires``: ``at`` + TTL. ``ttl``: as it was shown. ``slack``: the round trip, within which the TTL was
    counted. ``stale``: flagged by an Extended DNS Error; ``over``: old past what was announced.
    """

    at: int
    rrset: tuple[str, ...]
    outcome: str
    leads: Leads
    expires: int
    cache: str | None = None
    stale: bool = False
    ttl: int = 0
    slack: int = 0
    over: bool = False

    def __deepcopy__(self, memo: object) -> Sample:
        """The same one: from when it is placed nothing changes it."""
        return self

    def same_data(self, other: Sample) -> bool:
        if self.outcome != other.outcome:
            return False
        return self.rrset == other.rrset or set(self.rrset) == set(other.rrset)

    @property
    def old(self) -> bool:
        return self.leads not in NEW_ENOUGH


def rank(sample: Sample) -> tuple[int, bool]:
    """Order of words: by time; at one instant the unsafe one counts as the later."""
    return sample.at, sample.old


@dataclass(slots=True)
class Cache:
    """One cache told apart; times in ms.

    ``expires``: of the record that it holds, by the first sight of that: ``seen`` then, with the TTL that was
    ``shown``. ``longest``: the most life it has shown. ``steady``: how many times in a row the TTL had not
    moved though a countdown would have.
    """

    name: str | None
    sample: Sample
    expires: int
    seen: int
    shown: int
    answers: int = 0
    longest: int = 0
    steady: int = 0

    def hold(self, sample: Sample) -> None:
        """It holds the record of this answer from now on."""
        self.expires, self.seen, self.shown = sample.expires, sample.at, sample.ttl

    def ran_out(self, at: int) -> bool:
        """Whether the record may have been replaced by ``at``.

        BIND fetches 2 s before expiry, Knot Resolver 5 s and a hundredth of the TTL before.
        """
        early = min(5_000 + self.longest // 100, self.longest // 10)
        return self.expires - max(TOLERANCE, early) <= at

    def pending(self, at: int) -> bool:
        """Old was its last word, that has run out, and nothing was heard of it since."""
        return self.sample.old and self.expires <= at


@dataclass(slots=True)
class Placed:
    """Where an answer belongs: ``fetched_after`` is the expiry of the record before it there, where this
    one took its place."""

    cache: Cache
    fetched_after: int | None = None


@dataclass(slots=True)
class Caches:
    """At most :data:`MOST` caches of one address. ``words``: the latest word of each name."""

    all: list[Cache] = field(default_factory=list)
    words: dict[str, Sample] = field(default_factory=dict)
    announced: dict[str | None, int] = field(default_factory=dict)  # by old answers; the latest, by name
    identities: set[str] = field(default_factory=set)  # heard by ``id.server``, tied to no answer
    groups: dict[str | None, list[Cache]] = field(default_factory=dict)  # all of them, by name

    def __iter__(self) -> Iterator[Cache]:
        return iter(self.all)

    def __len__(self) -> int:
        return max(len(self.all), min(len(self.identities), MOST))

    def named(self, name: str | None) -> list[Cache]:
        return self.groups.get(name, [])

    def alone(self, sample: Sample) -> bool:
        """Whether nothing speaks for a second cache of that name: one at most was told apart, and that does
        not hold other data for longer still."""
        group = self.named(sample.cache)
        if len(group) != 1:
            return not group
        return group[0].sample.same_data(sample) or group[0].ran_out(sample.at)

    def hides_its_end(self, sample: Sample) -> bool:
        """Whether a cache of that name holds this data and shows no countdown."""
        return any(c.steady and c.sample.same_data(sample) for c in self.named(sample.cache))

    def place(self, sample: Sample) -> Placed:
        """Give an answer to the cache that it most simply comes from, and remember it there."""
        group = self.named(sample.cache)
        placed = (
            _went_stale(group, sample) or _seen_again(group, sample) or _constant(group, sample)
            or _fetched(group, sample)
        )  # fmt: skip
        if placed is None:
            placed = Placed(Cache(sample.cache, sample, sample.expires, sample.at, sample.ttl))
            self.all.append(placed.cache)
            self.groups.setdefault(sample.cache, []).append(placed.cache)
        _note(placed.cache, sample)
        self._word(sample)
        self._bound(placed.cache)
        return placed

    def _word(self, sample: Sample) -> None:
        if sample.cache is not None:
            last = self.words.get(sample.cache)
            if last is None or last.at < sample.at or rank(last) <= rank(sample):
                self.words[sample.cache] = sample

    def announce(self, cache: Cache) -> None:
        """What an old record says of its own end; kept for its name, else for all that give none."""
        self.announced[cache.name] = max(self.announced.get(cache.name, 0), cache.expires)

    def _bound(self, keep: Cache) -> None:
        """Forget first who was on new and was not seen for longest; nobody's last old word while there is
        another to forget."""
        while len(self.all) > MOST:
            gone = min((c for c in self.all if c is not keep), key=lambda c: (c.sample.old, c.sample.at))
            _drop(self.all, gone)
            _drop(self.groups[gone.name], gone)
            if not self.groups[gone.name]:
                del self.groups[gone.name]
                if gone.name is not None:
                    self.words.pop(gone.name, None)
                    self.announced.pop(gone.name, None)


def _drop(caches: list[Cache], gone: Cache) -> None:
    """Remove this very one: two caches may be equal in all they show."""
    del caches[next(n for n, cache in enumerate(caches) if cache is gone)]


def _note(cache: Cache, sample: Sample) -> None:
    cache.answers += 1
    if sample.ttl > cache.longest:
        cache.longest = sample.ttl
    if cache.sample.at < sample.at or rank(cache.sample) <= rank(sample):
        cache.sample = sample


def _went_stale(group: list[Cache], sample: Sample) -> Placed | None:
    """A record that is served past its end keeps that end, whatever TTL comes with it."""
    if not (sample.stale or sample.over):
        return None
    held = [c for c in group if c.sample.same_data(sample) and c.expires <= sample.at]
    return Placed(max(held, key=lambda c: c.expires)) if held else None


def _seen_again(group: list[Cache], sample: Sample) -> Placed | None:
    """The same data with the same end."""
    if len(group) == 1 and not group[0].steady:
        only, tolerance = group[0], TOLERANCE + sample.slack
        same = -tolerance <= sample.expires - only.expires <= tolerance
        return Placed(only) if same and only.sample.same_data(sample) else None
    near = [
        c for c in group
        if c.sample.same_data(sample) and abs(sample.expires - c.expires) <= TOLERANCE + sample.slack
    ]  # fmt: skip
    if not near:
        return None
    cache = min(near, key=lambda c: abs(sample.expires - c.expires))
    if cache.shown - sample.ttl > TOLERANCE:
        cache.steady = 0  # it counts down
    return Placed(cache)


def _constant(group: list[Cache], sample: Sample) -> Placed | None:
    """The same data with the same TTL to the second, where a countdown would have shown another one."""
    for cache in group:
        moved = sample.at - cache.seen > TOLERANCE and cache.seen + cache.shown - sample.at > TOLERANCE
        if moved and cache.shown == sample.ttl and cache.sample.same_data(sample):
            cache.steady += 1
            cache.hold(sample)
            return Placed(cache)
    return None


def _fetched(group: list[Cache], sample: Sample) -> Placed | None:
    """Another record in the place of one that has run out; of several, of the one that did so first."""
    out = [c for c in group if c.ran_out(sample.at) or c.sample.stale or c.sample.over or c.steady > 1]
    if not out:
        return None
    cache = min(out, key=lambda c: c.expires)
    before = cache.expires
    cache.hold(sample)
    return Placed(cache, before)


def draws_to_miss(caches: int) -> int:
    """So many answers come from the others of these caches, nameless and equally likely, once in a thousand
    times; no more than it takes to miss one of 5 % once in a hundred times."""
    return min(90, ceil(log(0.001) / log(1 - 1 / caches))) if caches > 1 else 0


class Tally(NamedTuple):
    """Of the caches told apart: how many are on new, how many hold old, until when the last of these does
    (ms; 0: none). A nameless one whose old record has run out is neither: who answers next may be it."""

    new: int
    old: int
    until: int


def tally(caches: Caches, now: int) -> Tally:
    holding = [c for c in caches if c.sample.old and (c.expires > now or c.sample.over or _last(caches, c))]
    new = sum(not c.sample.old for c in caches)
    return Tally(new, len(holding), max((c.expires for c in holding), default=0))


def _last(caches: Caches, cache: Cache) -> bool:
    """Whether this is the latest that its name was heard to say."""
    return cache.name is not None and caches.words.get(cache.name) is cache.sample
