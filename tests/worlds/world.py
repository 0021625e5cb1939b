"""One world: its zone, caches, senders and operator, drawn from its kind. Seconds of world time; 0 is the
start of the watch. Everything follows from the kind, the seed and the number: nothing else is random."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import inf, log
from random import Random
from typing import cast, get_args

from probes.observation import Policy
from tests.worlds.caches import Cache, Span, Word
from tests.worlds.kinds import Draws, Kind
from tests.worlds.zone import LONG_AGO, Authority, Version, secondary

HEAVY = 1.1  # of Zipf's law: the heaviest sender of twenty has about a quarter of the mail
ACCOUNTS = ("suga@example.jp", "mori@example.jp")
MONTH = 30 * 86400.0
Make = Callable[[Word, float], Cache]


@dataclass(slots=True)
class Sender:
    """``rate``: messages a second. ``nature``: outside, stubborn (does not follow DNS), spam, local."""

    client: str
    nature: str
    rate: float
    caches: Sequence[Cache] = ()
    last: tuple[float, str] = (-inf, "old")  # its open connection: when, to which side

    @property
    def legitimate(self) -> bool:
        return self.nature != "spam"


@dataclass(slots=True)
class Listed:
    """A resolver of the plan, and the caches behind it."""

    address: str
    caches: list[Cache]


@dataclass(slots=True)
class Timeline:
    """What people do, and when. ``changes``: the change, and the later one after it was taken back."""

    changes: list[float]
    ends: float
    back: float | None = None
    trap_until: float = -inf
    relays_until: float = -inf
    defers_from: float = inf
    refused_until: float = -inf
    rescued_every: float = 0.0
    spam_waived: float = inf


@dataclass(slots=True)
class Watch:
    """The watcher. ``away``: what befalls it during ``gap``; ``jump``: seconds by which its
    clock jumps at ``jump_at``."""

    tick: float
    history: float
    mailboxes: bool
    to_old: bool
    live: bool
    away: str
    gap: Span
    jump: float
    jump_at: float
    shuffled: bool
    says_so: bool
    accounts: tuple[str, ...]


@dataclass(slots=True)
class World:
    kind: Kind
    number: int
    chance: Random
    times: Timeline
    zone: list[Version]
    authorities: list[Authority]
    moved_to: list[Authority]  # where the delegation moves
    ns_ttl: float
    old_ttl: float | None  # as the plan states it
    listed: list[Listed]
    senders: list[Sender]
    policy: Policy
    watch: Watch
    night: tuple[float, float]  # by how much, and when
    queued: float
    old_cache: Cache  # through which the old host itself looks up
    unlisted: list[Cache] = field(default_factory=list)

    @property
    def name(self) -> str:
        return f"{self.kind.name}-{self.number}"

    @property
    def change(self) -> float:
        """The one that lasts."""
        return self.times.changes[-1]

    def trapped(self, t: float) -> bool:
        return t < self.times.trap_until


def build(kind: Kind, seed: int, number: int) -> World:
    """The world of this number."""
    chance = Random(f"{seed}/{kind.name}/{number}")
    d = Draws(kind, chance)
    first = d.number("watch", "before")
    old_ttl = round(d.number("zone", "old_ttl"))
    times = _timeline(d, first)
    lowered = _lowered(d, old_ttl, times)
    zone = _zone(d, old_ttl, lowered, times)
    authorities, moved_to, ns_ttl = _authorities(d, zone, times)
    unlisted: list[Cache] = []

    def cache(habit: Word, busy: float) -> Cache:
        made = Cache(chance, authorities, habit, busy, longer=d.number("resolvers", "longer"))
        made.calm = times.changes[0]
        if moved_to:
            made.later, made.moves_at = moved_to, times.changes[0] + chance.uniform(0, ns_ttl)
        if habit in ("stale", "quiet-stale"):
            begin = times.changes[0] - chance.uniform(0, max(60.0, lowered[1]))
            made.cut = Span(begin, begin + d.number("resolvers", "cut"))
        return made

    listed = _listed(d, cache)
    senders, hourly = _senders(d, listed, cache, unlisted)
    return World(
        kind, number, chance, times, zone, authorities, moved_to, ns_ttl,
        old_ttl if d.happens("zone", "old_ttl_stated") else None, listed, senders,
        _policy(d, hourly), _watch(d, times), (d.number("senders", "night"), chance.uniform(0, 86400)),
        d.number("senders", "queued"), cache("plain", 600.0), unlisted,
    )  # fmt: skip


def _timeline(d: Draws, first: float) -> Timeline:
    def after(section: str, key: str, never: float) -> float:
        seconds = d.number(section, key)
        return changes[0] + seconds if seconds else never

    changes, back = [first], None
    if (taken_back := d.number("zone", "back_after")) > 0:
        back = first + taken_back
        changes.append(back + d.number("zone", "again_after"))
    times = Timeline(changes, changes[-1] + d.number("watch", "for"), back)
    if d.number("senders", "local_hourly") > 0:
        times.trap_until = after("senders", "local_for", inf)
    times.relays_until = after("old", "relays_for", -inf)
    times.defers_from = after("old", "defers_after", inf)
    times.refused_until = after("old", "refused_user", -inf)
    times.rescued_every = d.number("old", "rescued_every")
    times.spam_waived = after("senders", "spam_waived_after", inf)
    return times


def _lowered(d: Draws, old_ttl: int, times: Timeline) -> tuple[float, int]:
    """When the TTL is lowered, and to what. In time or late, it may come before the watch; the change is
    moved where it must come later than that."""
    how, low = d.word("zone", "lowering"), min(old_ttl, round(d.number("zone", "lowered_to")))
    if how == "never":
        return LONG_AGO, old_ttl
    early = old_ttl * (d.number("zone", "lowered_late") if how == "late" else d.chance.uniform(1.05, 2))
    seen = d.happens("zone", "seen_lowering")
    if seen != (early < times.changes[0]):
        wanted = early + d.chance.uniform(600, 3600) if seen else early * d.chance.uniform(0.1, 0.9)
        _shift(times, wanted - times.changes[0])
    return times.changes[0] - early, low


def _shift(times: Timeline, by: float) -> None:
    """All that happens comes later."""
    times.changes = [t + by for t in times.changes]
    times.back = None if times.back is None else times.back + by
    for key in ("ends", "trap_until", "relays_until", "defers_from", "refused_until", "spam_waived"):
        setattr(times, key, getattr(times, key) + by)


def _zone(d: Draws, old_ttl: int, lowered: tuple[float, int], times: Timeline) -> list[Version]:
    zone = [Version(LONG_AGO, "old", old_ttl)]
    at, low = lowered
    if low != old_ttl:
        zone.append(Version(at, "old", low))
    new_ttl, backup = round(d.number("zone", "new_ttl")), d.number("zone", "backup_for")
    if times.back is not None:
        short = min(new_ttl, 600)  # who is careful enough to be able to take it back keeps the TTL low
        zone += [Version(times.changes[0], "new", short), Version(times.back, "old", low)]
        return [*zone, Version(times.changes[1], "new", new_ttl)]
    if backup:
        zone += [Version(times.changes[0], "mixed", min(low, new_ttl))]
    return [*zone, Version(times.changes[0] + backup, "new", new_ttl)]


def _authorities(
    d: Draws, zone: list[Version], times: Timeline
) -> tuple[list[Authority], list[Authority], float]:
    """The primary and its secondaries; where the delegation moves, the old servers and the new."""
    count, stuck = d.whole("zone", "authorities"), d.whole("zone", "stuck")
    lags = [[d.number("zone", "lag") if k else 0.0 for _ in zone] for k in range(count)]
    for k in range(1, min(count, stuck + 1)):
        lags[k][-1] = d.number("zone", "mended_after")
    made = [secondary(f"203.0.113.{k + 1}", zone, lags[k]) for k in range(count)]
    ns_ttl, left = d.number("zone", "ns_ttl"), d.number("zone", "left_for")
    if not left:
        return made, [], ns_ttl
    change, old, mended = times.changes[0], zone[:-1], d.chance.random() < 0.5
    moved = [Authority(f"203.0.113.{k + 101}", [zone[0], zone[-1]]) for k in range(count)]
    for server in made:
        server.serves = [*old, zone[-1]._replace(at=change + left)] if mended else list(old)
        server.ends = change + ns_ttl
        server.dark_from = inf if mended else change + left
        if not mended:
            server.ends = min(server.ends, server.dark_from)
        server.__post_init__()
    return made, moved, ns_ttl


def _habit(word: str) -> Word:
    if word not in get_args(Word):
        raise ValueError(f"{word!r} is no habit of a cache")
    return cast(Word, word)


def _listed(d: Draws, cache: Make) -> list[Listed]:
    habits = list(d.words("resolvers", "certainly"))
    count = d.whole("resolvers", "count")
    habits += [d.word("resolvers", "habits") for _ in range(count - len(habits))]
    found: list[Listed] = []
    for k, habit in enumerate(habits):
        many = habit != "forwarder" and d.happens("resolvers", "many")
        named = d.happens("resolvers", "named")
        caches = [
            cache(_habit(habit), d.number("resolvers", "busy"))
            for _ in range(d.whole("resolvers", "caches") if many else 1)
        ]
        for i, one in enumerate(caches):
            one.name = f"c{k}-{i}" if named else None
        if many and habit not in ("plain", "cap", "prefetch"):  # one of them alone has the habit
            for one in caches[1:]:
                one.habit = "plain"
        found.append(Listed(f"192.88.99.{k + 1}", caches))
    plain = [r.caches[0] for r in found if r.caches[0].habit == "plain"]
    for resolver in found:
        for one in resolver.caches:
            if one.habit == "forwarder":
                one.busy = inf  # it asks only when it is asked, so that upstream is asked in order of time
                one.upstream = d.chance.choice(plain) if plain else None
    return found


def _senders(
    d: Draws, listed: list[Listed], cache: Make, unlisted: list[Cache]
) -> tuple[list[Sender], float]:
    chance, hourly = d.chance, d.number("senders", "hourly")
    count, monthly = d.whole("senders", "count"), d.whole("senders", "monthly")
    weights = [1 / (k + 1) ** HEAVY for k in range(count)]
    rates = [hourly / 3600 * w / sum(weights) for w in weights] + [1 / MONTH] * monthly
    made = []
    for k, rate in enumerate(rates):
        if chance.random() < d.number("senders", "public"):
            caches = chance.choice(listed).caches
        else:
            caches = [
                cache(
                    _habit(d.word("senders", "habits")),
                    inf if chance.random() < 0.5 else d.number("resolvers", "busy"),
                )
            ]
            unlisted.extend(caches)
        made.append(Sender(f"198.18.0.{k + 1}", "outside", rate, caches))
    stubborn = d.number("senders", "stubborn")
    if stubborn:
        total = sum(s.rate for s in made)
        made += [
            Sender(f"198.18.1.{k + 1}", "stubborn", total * stubborn / (1 - stubborn) / 3) for k in range(3)
        ]
    for nature, key in (("spam", "spam_hourly"), ("local", "local_hourly")):
        rate = d.number("senders", key) / 3600
        if rate:
            made += [
                Sender(f"198.18.2.{k + 1}" if nature == "spam" else "127.0.0.1", nature, rate / 2)
                for k in range(2)
            ]
    return made, hourly


def _policy(d: Draws, hourly: float) -> Policy:
    """The share bound is such that the mail of the quiet time is enough for it, or is not."""
    quiet = round(d.number("policy", "quiet_for"))
    needed = -log(0.05) * d.number("policy", "expected")
    bound = min(0.5, needed / (hourly * quiet / 3600))
    ceiling = d.number("policy", "ceiling")
    return Policy(
        quiet_for=quiet, share_bound=round(max(bound, 0.002), 4), quiet_ceiling=ceiling or None,
        canary_streak=d.whole("policy", "canary_streak"),
    )  # fmt: skip


def _watch(d: Draws, times: Timeline) -> Watch:
    tick = float(round(d.number("watch", "asks_every") / 60) * 60)
    begin = times.changes[0] + d.number("watch", "away_begins")
    away, jump = d.word("watch", "away"), d.number("watch", "jump")
    gap = Span(begin, begin + d.number("watch", "away_for")) if away != "no" else Span(inf, inf)
    return Watch(
        tick, d.number("watch", "history"), d.happens("watch", "mailboxes"), d.happens("watch", "to_old"),
        d.happens("watch", "live"), away, gap, jump, max(begin, 60 - jump),
        bool(d.number("watch", "shuffled")), d.happens("watch", "says_so"),
        ACCOUNTS[: d.whole("watch", "accounts")],
    )  # fmt: skip
