"""How a resolver treats TTLs and ends of life, as far as its answers prove it.

Each rule names a habit only where no well-behaved resolver, and no second cache behind the address, would
have answered so; a habit that is not named may be there all the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

from monitor.evidence.caches import TOLERANCE, Caches, Placed, Sample
from monitor.snapshot import HabitWord
from probes.observation import AuthorityAnswer, to_ms

Key = tuple[str, ...]  # an RRset, sorted
MOST_GIVEN = 64
STEADY = 4  # pairs of answers: five in a row with one TTL
RAISED = 2  # records with more life than any authority gives; MOST_CLAIMS are remembered
MOST_CLAIMS = 8
CAPPED = 3  # records whose whole life is known to be one and the same, too short


@lru_cache(maxsize=4096)
def key_of(rrset: tuple[str, ...]) -> Key:
    return tuple(sorted(rrset))


class Habit(NamedTuple):
    """``seconds``: the figure that goes with it, where there is one."""

    word: HabitWord
    seconds: float | None = None


@dataclass(slots=True)
class Terms:
    """The TTLs that authorities give one RRset, ms; ``first``: when it was first served."""

    least: int
    most: int
    first: int


@dataclass(slots=True)
class Given:
    """What authorities give, by RRset, over the whole watch."""

    terms: dict[Key, Terms] = field(default_factory=dict)
    began: int | None = None
    heard: dict[str, int] = field(default_factory=dict)  # by address: its latest answer

    def note(self, seen: AuthorityAnswer, address: str) -> None:
        """Take an authority's answer for the domain's MX."""
        at, ttl, key = to_ms(seen.at), seen.ttl * 1000, key_of(seen.rrset)
        self.began = at if self.began is None else self.began
        self.heard[address] = max(at, self.heard.get(address, 0))
        known = self.terms.setdefault(key, Terms(ttl, ttl, at))
        known.least, known.most = min(known.least, ttl), max(known.most, ttl)
        while len(self.terms) > MOST_GIVEN:
            del self.terms[next(iter(self.terms))]

    def of(self, sample: Sample) -> Terms | None:
        return self.terms.get(key_of(sample.rrset))

    def confirmed(self, at: int, addresses: Iterable[str]) -> bool:
        """Whether every authority was heard after ``at``: a TTL that was raised just then is known by now."""
        return all(self.heard.get(address, 0) > at for address in addresses)


@dataclass(slots=True)
class Signs:
    """What was seen of one resolver that may prove a habit; times in ms."""

    stale: int = 0  # answers flagged as stale
    overstayed: int | None = None  # when last
    longest: dict[Key, Sample] = field(default_factory=dict)
    raised: int = 0
    life: tuple[frozenset[Key], int, int, int] | None = None  # RRsets, least and most whole life, records
    flat: int = 0  # pairs of old answers with one TTL after no authority served old

    def note(self, sample: Sample, placed: Placed, caches: Caches, given: Given, turned: int | None) -> None:
        """Take one answer; ``turned``: since when no authority serves old (None: one does)."""
        if sample.stale:
            self.stale += 1
        if sample.over:
            self.overstayed = sample.at
        if sample.stale or sample.over or sample.outcome != "answer":
            return
        alone = len(caches.named(sample.cache)) == 1
        after = placed.fetched_after if alone else None
        self._raises(sample, given, after)
        self._caps(sample, after)
        if placed.cache.steady == 0:
            self.flat = 0
        elif sample.old and turned is not None and sample.at > turned:
            self.flat += 1

    def again(self, sample: Sample, given: Given, key: Key, after: int) -> None:
        """The same for a plain answer of the only cache of its name, which shows a countdown. ``after``: the
        end of the record that it took the place of; 0: it is the one that was seen before."""
        terms, enough = given.terms.get(key), sample.ttl - TOLERANCE
        if terms is not None and enough > terms.most:
            self._raises(sample, given, after or None)
        if after or (self.life is not None and enough > self.life[2]):
            self._caps(sample, after or None)
        self.flat = 0

    def _raises(self, sample: Sample, given: Given, after: int | None) -> None:
        """More life left than any authority gives. A record from before a TTL was lowered may have that,
        so it counts only where the record was fetched since the watch began: it came into service since,
        or it took the place of one that ran out since."""
        terms, began = given.of(sample), given.began
        if terms is None or began is None or sample.ttl <= terms.most + TOLERANCE:
            return
        if not (terms.first > began or (after is not None and after >= began)):
            return
        self.raised += RAISED if terms.first > began else 1
        key = key_of(sample.rrset)
        last = self.longest.get(key)
        if last is None or last.ttl < sample.ttl:
            self.longest[key] = sample
        while len(self.longest) > MOST_CLAIMS:
            del self.longest[next(iter(self.longest))]

    def _caps(self, sample: Sample, after: int | None) -> None:
        """A record fetched between the end of the one before it and now has a whole life of what is left
        and of at most that time more. Several records with one and the same life have it from a rule; what
        comes out of another cache on the way has any."""
        if self.life is not None and sample.ttl > self.life[2] + TOLERANCE:
            self.life = None
        if after is None or after > sample.at or sample.ttl == 0:
            return
        least, most = sample.ttl, sample.ttl + sample.at - after + TOLERANCE
        keys, count = frozenset({key_of(sample.rrset)}), 0
        if self.life is not None and max(self.life[1], least) <= min(self.life[2], most):
            keys, least, most, count = (
                self.life[0] | keys,
                max(self.life[1], least),
                min(self.life[2], most),
                self.life[3],
            )
        self.life = (keys, least, most, count + 1) if len(keys) <= MOST_CLAIMS else None


def habits(signs: Signs, caches: Caches, given: Given, authorities: Iterable[str]) -> tuple[Habit, ...]:
    """The habits that are proven by now, worst first."""
    found = [
        Habit("overstaying") if signs.overstayed is not None else None,
        Habit("stale") if signs.stale else None,
        _raising(signs, given, authorities),
        _capping(signs, given),
        Habit("constant") if _constant(signs, caches, given) else None,
    ]
    return tuple(habit for habit in found if habit is not None)


def _raising(signs: Signs, given: Given, authorities: Iterable[str]) -> Habit | None:
    if signs.raised < RAISED:
        return None
    addresses = tuple(authorities)
    above = [
        claim.ttl for claim in signs.longest.values()
        if given.confirmed(claim.at, addresses) and _most(given, claim) + TOLERANCE < claim.ttl
    ]  # fmt: skip
    return Habit("raises", max(above) / 1000) if above else None


def _most(given: Given, sample: Sample) -> int:
    terms = given.of(sample)
    return sample.ttl if terms is None else terms.most


def _capping(signs: Signs, given: Given) -> Habit | None:
    if signs.life is None or signs.life[3] < CAPPED:
        return None
    keys, least, most, _ = signs.life
    given_all = [given.terms[key].least for key in keys if key in given.terms]
    capped = len(given_all) == len(keys) and most < min(given_all)
    return Habit("caps", least / 1000) if capped else None


def _constant(signs: Signs, caches: Caches, given: Given) -> bool:
    """No countdown. Where the TTL is the authority's own, every answer may have been fetched anew by
    another cache, unless it is old and no authority serves old any more."""
    for cache in caches:
        terms = given.of(cache.sample)
        whole = terms is None or terms.least <= cache.sample.ttl <= terms.most
        if cache.steady >= STEADY and (not whole or signs.flat >= STEADY):
            return True
    return False
