"""Plays worlds, judges them, and sets what was said against what was true."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import inf
from statistics import median
from typing import Any

from monitor.verdict.judge import Judge
from monitor.verdict.model import Judgement
from probes.observation import Observation, Plan
from tests.worlds.kinds import Kind, kinds
from tests.worlds.mail import Post
from tests.worlds.rules import RULES, Seen, decided
from tests.worlds.truth import Truth, truth_of
from tests.worlds.watching import START, Watching, by_its_clock
from tests.worlds.world import World, build

OURS = "mxcutover"


@dataclass(slots=True)
class Row:
    """What one rule did in one world; times in seconds after the change. ``said`` ``inf``: not at all."""

    said: float
    reasons: list[str] = field(default_factory=list)
    lost: int = 0


@dataclass(slots=True)
class Score:
    """One world. ``late``: beyond what the policy demands of one who sees everything, in askings."""

    kind: str
    number: int
    rows: dict[str, Row]
    bound: float | None = None
    share: float = 0.0
    late: float | None = None
    stray: bool = False

    @property
    def false(self) -> bool:
        """Whether *safe* was said though something other than chance spoke against it."""
        return any(reason != "share" for reason in self.rows[OURS].reasons)

    @property
    def violated(self) -> bool:
        """Whether more of the legitimate mail went to old than was stated with *safe*."""
        return self.bound is not None and self.share > self.bound


def play(kind: Kind, seed: int, number: int) -> Score:
    """One world from beginning to end."""
    world = build(kind, seed, number)
    post = Post(world)
    watching = Watching(world, post)
    if world.watch.jump:
        seen = [o for batch in watching.observations() for o in batch]
        saids = _judged(by_its_clock(world, seen))
    else:
        seen, saids = _live(world, watching)
    post.until(world.times.ends)
    truth = truth_of(world, post, watching.served_new)
    safe = [j for j in saids if j.verdict == "safe"]
    rows = {OURS: _ours(world, truth, safe)}
    people = Seen.of(world, seen, post.taken)
    for name, rule in RULES.items():
        t, change = decided(rule, people)
        rows[name] = _row(truth, t, change)
    score = Score(kind.name, number, rows)
    if safe:
        t = real_time(world, _seconds(safe[0]))
        score.bound, score.share, score.stray = safe[0].share_bound, truth.share(t), truth.stray(t)
        allowed = truth.allowed_at()
        score.late = (t - allowed) / world.watch.tick if allowed < inf else None
    return score


def play_named(seed: int, which: tuple[str, int]) -> Score:
    """The same by the kind's name; for another process."""
    kind = next(kind for kind in kinds() if kind.name == which[0])
    return play(kind, seed, which[1])


def _live(world: World, watching: Watching) -> tuple[list[Observation], list[Judgement]]:
    """Judged as it is seen; it ends soon after it is safe, where nothing is to come any more."""
    judge: Judge | None = None
    seen: list[Observation] = []
    said: list[Judgement] = []
    last_change = world.change
    for batch in watching.observations():
        batch.sort(key=lambda o: o.at)
        seen += batch
        for one in batch:
            if judge is None:
                assert isinstance(one, Plan)
                judge = Judge(one)
            said.extend(judge.fold(one))
        if said and said[-1].verdict == "safe" and _seconds(said[-1]) > last_change:
            break
    return seen, said


def _judged(observations: list[Observation]) -> list[Judgement]:
    assert isinstance(observations[0], Plan)
    return list(Judge(observations[0]).run(observations))


def _seconds(judgement: Judgement) -> float:
    return (judgement.at - START).total_seconds()


def real_time(world: World, wall: float) -> float:
    """When the watcher's clock showed this; where it did so twice, the second time."""
    jump, at = world.watch.jump, world.watch.jump_at
    if not jump or wall < at + min(jump, 0.0):
        return wall
    return max(at, wall - jump) if jump > 0 else wall - jump


def _ours(world: World, truth: Truth, safe: list[Judgement]) -> Row:
    """The first safe counts for the wait; every one must be true."""
    found: Row | None = None
    for judgement in safe:
        t = real_time(world, _seconds(judgement))
        change = max((c for c in world.times.changes if c <= t), default=world.times.changes[0])
        row = _row(truth, t, change)
        if found is None:
            found = row
        found.reasons = sorted({*found.reasons, *row.reasons})
        found.lost = max(found.lost, row.lost)
    return found or Row(inf)


def _row(truth: Truth, t: float, change: float) -> Row:
    if t == inf:
        return Row(inf)
    return Row(t - change, sorted(truth.unsafe(t)), truth.lost(t))


def numbered(worlds: int) -> Iterator[tuple[Kind, int]]:
    """So many worlds, the kinds in turn by their weights."""
    turn = [kind for kind in kinds() for _ in range(round(kind.weight))]
    for number in range(worlds):
        yield turn[number % len(turn)], number // len(turn)


def summary(scores: list[Score]) -> dict[str, Any]:
    """The table's figures: rates in worlds, waits in hours."""
    rules = {name: _rule(scores, name) for name in scores[0].rows}
    bounds = [s for s in scores if s.bound is not None]
    late = [s.late for s in scores if s.late is not None]
    return {
        "worlds": len(scores), "rules": rules,
        "bound": {
            "stated": len(bounds), "violated": sum(s.violated for s in bounds),
        },
        "late": {"worlds": len(late), "median": median(late) if late else None,
                 "ninth_decile": sorted(late)[len(late) * 9 // 10] if late else None},
        "stray": sum(s.stray for s in scores),
    }  # fmt: skip


def _rule(scores: list[Score], name: str) -> dict[str, Any]:
    rows = [s.rows[name] for s in scores]
    said = [r for r in rows if r.said < inf]
    waits = sorted(r.said for r in rows)
    reasons = sorted({reason for r in said for reason in r.reasons})
    middle = waits[len(waits) // 2]
    return {
        "said": len(said),
        "false": sum(any(reason != "share" for reason in r.reasons) for r in said),
        "share": sum("share" in r.reasons for r in said),
        "either": sum(bool(r.reasons) for r in said),
        "lost": sum(r.lost > 0 for r in said),
        "messages": sum(r.lost for r in said),
        "reasons": {reason: sum(reason in r.reasons for r in said) for reason in reasons},
        "median_wait_h": middle / 3600 if middle < inf else None,
    }
