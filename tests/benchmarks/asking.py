"""Asking by expiry against asking every 30 s: the bundled catalogue watched for 48 hours of virtual time.

The policy is the watch's own and decides on the watch's own evidence; only the caches are a model
(``tests.benchmarks.caches``). Every question is charged to it, those for hosts and names as well; the other
side is charged its MX questions alone. A change is one cache that held old when the authorities turned; it
is noticed with the first new answer that comes from that cache. A platform's is noticed when every cache of
it has been.

    python -m tests.benchmarks.asking [--small] [--json]
"""

from __future__ import annotations

import heapq
import json
import random
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from statistics import median

from msgspec import Struct

from monitor.evidence.dns import Resolver
from monitor.evidence.fold import Evidence
from monitor.watch.expiry import Stage, hosts_due, hosts_new, next_question, rhythm, stage
from monitor.watch.pace import PLATFORM_GAP, Backoff, Gates
from probes.dns.catalogue import Entry, entries
from probes.observation import AuthorityAnswer, Hosts, Plan, Policy, ResolverAnswer, from_ms
from tests.benchmarks.caches import LARGE, Answer, Truth, world

LENGTH = 48 * 3600.0
CADENCE = 30.0
TTLS = (300.0, 3600.0, 14400.0)
SEEDS = (1, 2, 3)
START = 1_800_000_000_000  # ms
OLD, NEW = ("10 mail.example.jp.",), ("10 mx1.new.example.", "20 mx2.new.example.")
AUTHORITIES = ("203.0.113.1", "203.0.113.2")
IDENTITY_EVERY = 6 * 3600.0
FEWER, DELAY = 0.8, 30.0  # the bars


class Run(Struct, frozen=True):
    """One way of asking in one world. Delays in seconds: of each cache behind a small platform and behind a
    large one, and of each platform, from its last cache's change to the last that was noticed."""

    queries: int
    small: list[float]
    large: list[float]
    platforms: list[float]
    missed: int
    why: dict[str, int] = {}

    @property
    def all(self) -> list[float]:
        return self.small + self.large


class World:
    """The catalogue's addresses, the caches behind them, and how often these were asked."""

    def __init__(self, seed: int, ttl: float) -> None:
        self.chance = random.Random(seed)
        self.truth = Truth(self.chance, LENGTH, ttl)
        self.entries = [entry for entry in entries() if "udp" in entry.transports]
        self.platforms = world(self.entries, self.chance, self.truth)
        self.queries = 0

    def ask(self, index: int, at: float) -> Answer | None:
        self.queries += 1
        return self.platforms[self.entries[index].platform].ask(at, self.truth, self.chance)

    def result(self, why: dict[str, int]) -> Run:
        small, large, whole, missed = list[float](), list[float](), list[float](), 0
        for name, platform in self.platforms.items():
            platform.finish(self.truth)
            turned = [(c.turned, c.seen_new) for c in platform.caches if c.turned is not None]
            seen = [noticed - at for at, noticed in turned if noticed is not None]
            (large if name in LARGE else small).extend(seen)
            missed += len(turned) - len(seen)
            if len(seen) == len(turned) > 0:
                whole.append(max(noticed or 0 for _, noticed in turned) - max(at for at, _ in turned))
        return Run(self.queries, small, large, whole, missed, why)


def every_30_s(world: World) -> Run:
    phases = [world.chance.uniform(0, CADENCE) for _ in world.entries]
    for turn in range(int(LENGTH / CADENCE)):
        for index, phase in enumerate(phases):
            world.ask(index, turn * CADENCE + phase)
    return world.result({})


class Watching:
    """The watch's way: evidence, policy, gates and back-off are its own; the clock is not."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.plan = plan(world.entries)
        self.evidence = Evidence(self.plan)
        policy, size = self.plan.policy, len(world.entries)
        self.rhythm = rhythm(CADENCE, policy.freshness, policy.settle_samples, PLATFORM_GAP)
        self.gates = Gates(PLATFORM_GAP)
        self.backoff = [Backoff(CADENCE) for _ in range(size)]
        self.hosts: list[dict[str, int]] = [{} for _ in range(size)]
        self.identified = [-IDENTITY_EVERY] * size
        self.stage = Stage()
        self.due = [world.chance.uniform(0, CADENCE) for _ in range(size)]
        self.reason = ["first"] * size
        self.why: Counter[str] = Counter()

    def run(self) -> Run:
        for turn in range(int(LENGTH / CADENCE)):
            at = turn * CADENCE
            self._authorities(at)
            for due, index in self._until(at + CADENCE):
                self._question(due, index)
        return self.world.result(dict(self.why))

    def _until(self, end: float) -> Iterator[tuple[float, int]]:
        heap = [(due, index) for index, due in enumerate(self.due) if due < end]
        heapq.heapify(heap)
        while heap:
            due, index = heapq.heappop(heap)
            yield due, index
            if self.due[index] < end:
                heapq.heappush(heap, (self.due[index], index))

    def _authorities(self, at: float) -> None:
        for which, address in enumerate(AUTHORITIES):
            old = self.world.truth.old(at, which)
            self.evidence.add(
                AuthorityAnswer(
                    at=_moment(at), server=f"ns{which}.example.jp.", address=address, transport="udp",
                    name="example.jp.", type="MX", outcome="answer", rrset=OLD if old else NEW,
                    ttl=int(self.world.truth.ttl), serial=1, aa=True, rtt_ms=10,
                )
            )  # fmt: skip
        now = stage(self.evidence.dns, self.plan)
        if now != self.stage:
            self.stage = now
            for index in range(len(self.due)):
                self._next(index, at)

    def _question(self, due: float, index: int) -> None:
        entry = self.world.entries[index]
        names = hosts_due(self._known(index), frozenset(), self.hosts[index], _ms(due))
        identify = due - self.identified[index] >= IDENTITY_EVERY
        at = self.gates.slot(entry.platform, due, 1 + 2 * len(names) + identify)
        answer = self.world.ask(index, at)
        self._count(index, at, names, identify and answer is not None and answer.name is None)
        self.hosts[index].update(dict.fromkeys(names, _ms(at)))
        self.evidence.add(_observed(entry.address, at, answer))
        self.backoff[index].note(answer is None)
        self._next(index, at)

    def _count(self, index: int, at: float, names: Sequence[str], identify: bool) -> None:
        self.why[self.reason[index]] += 1
        self.why["hosts' addresses"] += 2 * len(names)
        self.why["identity"] += identify
        self.world.queries += 2 * len(names) + identify
        if identify:
            self.identified[index] = at

    def _next(self, index: int, now: float) -> None:
        if self.backoff[index].failures:
            self.due[index], self.reason[index] = now + self.backoff[index].pause, "back-off"
            return
        known = self._known(index)
        if known is None:
            return
        new = hosts_new(known, self.hosts[index])
        found = next_question(known, self.stage, self.rhythm, index / len(self.due), hosts=new)
        at = (found.at - START) / 1000 + self.world.chance.uniform(0, found.spread / 1000)
        self.due[index], self.reason[index] = max(now, at), found.why

    def _known(self, index: int) -> Resolver | None:
        return self.evidence.dns.resolvers.get(self.world.entries[index].address)


def _observed(address: str, at: float, answer: Answer | None) -> ResolverAnswer:
    return ResolverAnswer(
        at=_moment(at), resolver=address, transport="udp", name="example.jp.", type="MX",
        outcome="answer" if answer else "timeout", cache=answer.name if answer else None,
        ede=answer.ede if answer else (), rrset=(OLD if answer.old else NEW) if answer else (),
        ttl=answer.ttl if answer else 0, rtt_ms=20,
    )  # fmt: skip


def plan(addresses: Sequence[Entry]) -> Plan:
    return Plan(
        at=from_ms(START), version=1, domain="example.jp.",
        old=Hosts(mx=("mail.example.jp.",), addresses=("192.0.2.10",)),
        new=Hosts(mx=("mx1.new.example.", "mx2.new.example."), addresses=("198.51.100.20",)),
        expected_mx=NEW, authorities=AUTHORITIES, resolvers=tuple(e.address for e in addresses),
        routes=(), accounts=(), policy=Policy(), platforms={e.address: e.platform for e in addresses},
    )  # fmt: skip


def _ms(at: float) -> int:
    return START + int(at * 1000)


def _moment(at: float) -> datetime:
    return from_ms(START) + timedelta(milliseconds=int(at * 1000))


# The table


def measured(ttl: float, seeds: Sequence[int]) -> tuple[Run, Run]:
    """Both ways, the runs of all seeds together."""
    pairs = [(every_30_s(World(seed, ttl)), Watching(World(seed, ttl)).run()) for seed in seeds]
    return _sum([plain for plain, _ in pairs]), _sum([ours for _, ours in pairs])


def _sum(runs: Sequence[Run]) -> Run:
    why: Counter[str] = sum((Counter(run.why) for run in runs), Counter())
    return Run(
        sum(r.queries for r in runs), [d for r in runs for d in r.small], [d for r in runs for d in r.large],
        [d for r in runs for d in r.platforms], sum(r.missed for r in runs), dict(why.most_common()),
    )  # fmt: skip


def bars(found: dict[float, tuple[Run, Run]]) -> dict[str, dict[str, object]]:
    fewer = min(1 - ours.queries / plain.queries for plain, ours in found.values())
    delay = max(median(ours.all) for _, ours in found.values())
    missed = sum(ours.missed for _, ours in found.values())
    return {
        "asking: fewer queries than every 30 s, share": {
            "value": round(fewer, 3), "wanted": FEWER, "ok": fewer >= FEWER,
        },
        "asking: median delay in noticing a change, s": {
            "value": round(delay, 1), "wanted": DELAY, "ok": delay <= DELAY,
        },
        "asking: changes missed": {"value": missed, "wanted": 0, "ok": missed == 0},
    }  # fmt: skip


def table(found: dict[float, tuple[Run, Run]], worlds: int) -> Iterator[str]:
    world = World(1, 3600)
    yield (
        f"{len(world.entries)} addresses on {len(world.platforms)} platforms, {LENGTH / 3600:.0f} h,"
        f" {worlds} worlds for each TTL; medians of delays in seconds"
    )
    heads = " ".join(f"{head:>12}" for head in ("small", "large", "all", "platforms"))
    yield f"{'TTL':>6} {'asking':<10} {'queries':>9} {heads} missed"
    for ttl, runs in found.items():
        for name, run in zip(("every 30 s", "by expiry"), runs, strict=True):
            cells = " ".join(
                f"{_cell(delays):>12}" for delays in (run.small, run.large, run.all, run.platforms)
            )
            yield f"{ttl:>6.0f} {name:<10} {run.queries:>9} {cells} {run.missed:>6}"
        yield "       " + ", ".join(f"{why} {n}" for why, n in runs[1].why.items())


def _cell(delays: Sequence[float]) -> str:
    return f"{median(delays):.1f} ({len(delays)})" if delays else "–"  # and how many


def main() -> int:
    seeds = SEEDS[:1] if "--small" in sys.argv[1:] else SEEDS
    found = {ttl: measured(ttl, seeds) for ttl in TTLS}
    held = bars(found)
    if "--json" in sys.argv[1:]:
        print(json.dumps(held))
    else:
        print("\n".join(table(found, len(seeds))))
        for name, bar in held.items():
            print(f"{'ok  ' if bar['ok'] else 'FAIL'} {name}: {bar['value']} (wanted {bar['wanted']})")
    return 0 if all(bar["ok"] for bar in held.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
