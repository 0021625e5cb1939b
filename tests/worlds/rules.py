"""The rules by which people decide today, each as its users would follow it with a watch like ours at hand.

They know of the change and of its being taken back (then they begin anew), they ask as often as the watch
does, and they read whatever the watch reads. Each gives the first moment (world time, s) after which they
would switch off; ``inf``: not within the record.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf

from probes.observation import AuthorityAnswer, Observation, ResolverAnswer
from tests.worlds.mail import Taken
from tests.worlds.watching import DOMAIN, MX, START
from tests.worlds.world import World

DAY = 86400.0


@dataclass(slots=True)
class Seen:
    """What the people of one world have: its DNS answers in order of time, and old's log as it was read."""

    world: World
    answers: list[tuple[float, AuthorityAnswer | ResolverAnswer]]
    hits: list[float]

    @classmethod
    def of(cls, world: World, observations: Sequence[Observation], taken: Sequence[Taken]) -> Seen:
        answers = [
            ((o.at - START).total_seconds(), o) for o in observations
            if isinstance(o, (AuthorityAnswer, ResolverAnswer)) and o.type == "MX" and o.name == DOMAIN
            and o.outcome == "answer"
        ]  # fmt: skip
        gap, blind = world.watch.gap, world.watch.away in ("lost-log", "deaf", "unread")
        hits = [m.at for m in taken if m.hit and not (blind and gap.begin <= m.at < gap.end)]
        return cls(world, answers, sorted(hits))


Rule = Callable[[Seen, float], float]


def all_agree(seen: Seen, change: float) -> float:
    """All resolvers gave the new MX when they were asked last."""
    return _share_of_resolvers(seen, change, lambda new, total: new == total)


def majority(seen: Seen, change: float) -> float:
    """More than half of the resolvers did."""
    return _share_of_resolvers(seen, change, lambda new, total: 2 * new > total)


def _share_of_resolvers(seen: Seen, change: float, enough: Callable[[int, int], bool]) -> float:
    latest: dict[str, bool] = {}
    total = len(seen.world.listed)
    for t, answer in seen.answers:
        if isinstance(answer, ResolverAnswer):
            latest[answer.resolver] = answer.rrset == MX["new"]
            if t >= change and enough(sum(latest.values()), total):
                return t
    return inf


def first_authority(seen: Seen, change: float) -> float:
    """The first authority that gives the new MX ends the wait."""
    answers = (t for t, a in seen.answers if isinstance(a, AuthorityAnswer) and a.rrset == MX["new"])
    return next((t for t in answers if t >= change), inf)


def the_ttl(seen: Seen, change: float) -> float:
    """The TTL that the authorities last gave for the old MX, from when each of them was seen to give the new
    one."""
    given: dict[str, int] = {}
    turned: dict[str, float] = {}
    for t, answer in seen.answers:
        if isinstance(answer, AuthorityAnswer):
            if answer.rrset == MX["new"] and t >= change:
                turned.setdefault(answer.address, t)
            elif answer.rrset == MX["old"] and t < change:
                given[answer.address] = answer.ttl
    if len(turned) < len(seen.world.moved_to or seen.world.authorities):
        return inf
    return max(turned.values()) + max(given.values(), default=seen.world.zone[0].ttl)


def two_days(seen: Seen, change: float) -> float:
    """48 hours from the change on."""
    return change + 2 * DAY


def silent_log(seen: Seen, change: float) -> float:
    """No line in the log for 24 hours."""
    last = change
    for hit in seen.hits:
        if hit > change:
            if hit - last >= DAY:
                return last + DAY
            last = hit
    return last + DAY if last + DAY <= seen.world.times.ends else inf


RULES: dict[str, Rule] = {
    "first authority that matches": first_authority,
    "majority of resolvers": majority,
    "all resolvers agree once": all_agree,
    "wait the TTL": the_ttl,
    "no line in the log for 24 hours": silent_log,
    "wait 48 hours": two_days,
}


def decided(rule: Rule, seen: Seen) -> tuple[float, float]:
    """When this rule's people switch off, and the change from which they count."""
    times = seen.world.times
    first = rule(seen, times.changes[0])
    if times.back is None or first < times.back:
        return first, times.changes[0]
    return rule(seen, times.changes[-1]), times.changes[-1]
