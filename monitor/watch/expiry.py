"""When a resolver is asked next: when its answer tells something. Pure: what is known in, an instant out.

A cached record is not asked for again and again while it counts down; it is asked for when it runs out. In
between, and where several caches stand behind one address, rarer questions look for caches that no answer
has shown yet. All times are in ms.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal, NamedTuple

from monitor.evidence.caches import Cache
from monitor.evidence.dns import Authority, Dns, Resolver
from monitor.evidence.habits import STEADY
from monitor.evidence.names import canonical
from monitor.verdict.answers import exchanges, host_name
from probes.observation import Plan

Why = Literal[
    "first", "hosts", "census", "turn", "expiry", "settle", "sample", "chase", "overstaying", "fresh",
]  # fmt: skip

DRAWS = 90  # 0.95 ** 90 < 0.01: a cache with a share of 5 % that none of them met is unlikely
CENSUS = 12  # answers at the beginning of a watch that are asked for at the plan's own cadence
FRESH_SHARE = 0.7  # of the policy's freshness: three failed questions still fit in before it is over
AFTER = 1_000  # after an expiry: a TTL is rounded to seconds
CHASES = (
    4  # questions for each cache told apart, after an old record ran out and its cache was not seen since
)
MOST_CHASES = 48
OVER = 0.1  # how much longer an overstaying resolver may have been so when it is asked again
HOSTS_EVERY = 3_600_000  # an exchange's addresses, where they are the planned ones
HOSTS_AT_ONCE = 3  # exchanges asked for with one question for the MX


class Rhythm(NamedTuple):
    """``cadence``: of the plan; ``fresh``: the longest pause; ``settle``: answers that settle a resolver;
    ``gap``: between two questions to one platform."""

    cadence: int
    fresh: int
    settle: int
    gap: int


class Stage(NamedTuple):
    """How far the authorities are. ``began``: when the first was seen to serve new (None: none does);
    ``turned``: since when none serves old; ``gone``: until when a well-behaved cache may hold old."""

    began: int | None = None
    turned: int | None = None
    gone: int | None = None


class Next(NamedTuple):
    """When to ask; ``spread``: by how much later it may be, so that questions never march in step."""

    at: int
    why: Why
    spread: int = 0


def rhythm(cadence: float, freshness: float, settle: int, gap: float) -> Rhythm:
    """From a plan's figures in seconds."""
    fresh = max(cadence, freshness * FRESH_SHARE)
    return Rhythm(int(cadence * 1000), int(fresh * 1000), settle, int(gap * 1000))


def stage(dns: Dns, plan: Plan) -> Stage:
    """What the authorities' answers say."""
    known = (dns.authorities.get(canonical(address)) for address in plan.authorities)
    since = [at for k in known if k is not None and (at := _serves_new(k, plan)) is not None]
    return Stage(min(since, default=None), dns.turned_at(plan), dns.gone_at(plan))


def _serves_new(known: Authority, plan: Plan) -> int | None:
    """Since when; None: it serves something else."""
    if known.sample is None or known.sample.old:
        return None
    ended = [run.ended for run in known.runs.get((host_name(plan.domain), "MX"), ()) if run.ended is not None]
    return max(ended, default=known.first_new or known.sample.at)


def next_question(
    known: Resolver | None, stage: Stage, rhythm: Rhythm, phase: float = 0.0, *, hosts: bool = False
) -> Next:
    """When this resolver is to be asked for the domain's MX again, if it answers. ``phase`` (0 to 1) is its
    place in the row where all are to be asked; ``hosts``: its answer names hosts whose addresses it was
    never asked for."""
    if known is None or not known.last_at:
        return Next(0, "first")
    least = known.last_at + rhythm.gap
    if hosts:
        return Next(least, "hosts", rhythm.gap)
    found = min(_reasons(known, stage, rhythm, phase), key=lambda reason: reason.at)
    return found if found.at >= least else found._replace(at=least)


def hosts_due(
    known: Resolver | None, kept: frozenset[str], asked: Mapping[str, int], now: int
) -> tuple[str, ...]:
    """Exchanges whose addresses this resolver is to be asked for: those of its own last answer alone, as a
    question for a name that is not there yet would have its absence cached (RFC 2308 section 5).

    ``kept``: names that the move keeps, so that their addresses decide; ``asked``: when each was asked for.
    """
    if known is None or not known.samples:
        return ()
    leading = {name for name, _ in known.hosts} | (kept if known.samples[-1].old else frozenset())
    due = [n for n in _named(known) if n in leading or n not in asked or now - asked[n] >= HOSTS_EVERY]
    return tuple(due[:HOSTS_AT_ONCE])


def hosts_new(known: Resolver | None, asked: Mapping[str, int]) -> bool:
    """Whether its last answer names an exchange whose addresses it was never asked for."""
    return known is not None and any(name not in asked for name in _named(known))


def _named(known: Resolver) -> list[str]:
    """Exchanges of the last answer, lowest preference first; the null MX names none."""
    rrset = known.samples[-1].rrset if known.samples else ()
    return [name for _, name in sorted(exchanges(rrset)) if name != "."]


def many(known: Resolver) -> bool:
    """Whether several caches have been seen behind the address."""
    return len(known.caches) > 1


def _reasons(known: Resolver, stage: Stage, rhythm: Rhythm, phase: float) -> Iterator[Next]:
    last = known.last_at
    yield Next(last + rhythm.fresh * 9 // 10, "fresh", rhythm.fresh // 10)
    if len(known.samples) < CENSUS:
        yield Next(last + rhythm.cadence * 9 // 10, "census", rhythm.cadence // 5)
    if stage.began is None:
        yield from _expiry(known, list(known.caches), last + max(rhythm.cadence, rhythm.fresh // 2))
    else:
        yield from _after(known, stage, rhythm, phase, stage.began)


def _after(known: Resolver, stage: Stage, rhythm: Rhythm, phase: float, began: int) -> Iterator[Next]:
    """The first authority has turned: each old answer's end is worth a question."""
    last, old = known.last_at, [cache for cache in known.caches if cache.sample.old]
    if known.overstaying is not None and known.samples[-1].at == known.overstaying:
        yield _overstaying(known, rhythm)
        return
    if known.lingers:
        yield Next(last + rhythm.cadence * 9 // 10, "overstaying", rhythm.cadence // 5)
    if last < began:
        old = [cache for cache in old if cache.expires > began]
        if many(known) or not old:
            yield Next(began + int(phase * rhythm.cadence), "turn")
    yield from _expiry(known, old if stage.turned is not None else list(known.caches), last + rhythm.gap)
    yield from _chase(known, [cache for cache in old if _unseen(known, cache, last)], rhythm)
    if any(cache.steady >= STEADY for cache in old):  # it does not say when its record runs out
        yield Next(last + rhythm.cadence * 4, "sample", rhythm.cadence)
    if last >= began and _streak(known, began) < rhythm.settle and not known.samples[-1].old:
        yield Next(last + rhythm.cadence * 9 // 10, "settle", rhythm.cadence // 5)
    if many(known):
        yield from _sampling(known, stage, rhythm)


def _expiry(known: Resolver, caches: list[Cache], earliest: int) -> Iterator[Next]:
    """Right after the next of these records runs out."""
    ends = [cache.expires for cache in caches if cache.expires > known.last_at and cache.steady < STEADY]
    if ends:
        at = min(ends) + AFTER
        if at >= earliest:
            yield Next(at, "expiry", 500)


def _overstaying(known: Resolver, rhythm: Rhythm) -> Next:
    """Asked again when it may have overstayed for a tenth longer."""
    last = known.last_at
    over = max(0, last - max(known.caches.announced.values(), default=last))
    pause = min(max(int(over * OVER), rhythm.cadence), rhythm.fresh * 9 // 10)
    return Next(last + pause, "overstaying", pause // 10)


def _unseen(known: Resolver, cache: Cache, last: int) -> bool:
    """Whether an old record has run out, and its cache has not answered since."""
    if cache.name is not None and known.caches.words.get(cache.name) is not cache.sample:
        return False
    return cache.pending(last)


def _chase(known: Resolver, pending: list[Cache], rhythm: Rhythm) -> Iterator[Next]:
    """Ask for the caches that must have fetched by now. After so many questions a nameless one is taken to be
    no more, and one that has a name is looked for at leisure."""
    if not pending:
        return
    since = max(cache.expires for cache in pending)
    tries = sum(sample.at > since for sample in known.samples)
    if tries < min(CHASES * len(known.caches), MOST_CHASES):
        yield Next(known.last_at + 2 * rhythm.gap, "chase", rhythm.gap)
    elif any(cache.name is not None for cache in pending):
        yield Next(known.last_at + rhythm.cadence * 4, "sample", rhythm.cadence)


def _streak(known: Resolver, began: int) -> int:
    count = 0
    for sample in reversed(known.samples):
        if sample.at < began or sample.old:
            break
        count += 1
    return count


def _sampling(known: Resolver, stage: Stage, rhythm: Rhythm) -> Iterator[Next]:
    """Spread what is missing of the draws over the time for which caches may hold old."""
    last = known.last_at
    if stage.turned is None or stage.gone is None:
        yield Next(last + rhythm.cadence * 4, "sample", rhythm.cadence)
        return
    draws = known.draws if known.drawn_from == stage.turned else 0
    if draws < DRAWS:
        pause = min(max((stage.gone - last) // (DRAWS - draws), rhythm.cadence), rhythm.fresh)
        yield Next(last + pause * 9 // 10, "sample", pause // 5)
