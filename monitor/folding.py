"""The fold as a running watch uses it: observations in any order, judgements and pictures out."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator
from copy import deepcopy
from datetime import datetime, timedelta
from operator import attrgetter

from monitor.chronicle import Chronicle
from monitor.evidence.dns import Dns
from monitor.picture import picture
from monitor.snapshot import Snapshot
from monitor.verdict.judge import Judge
from monitor.verdict.model import Judgement
from probes.observation import Observation, Plan, to_ms

MANY = 20_000  # observations that wait, before they are judged unasked
BEHIND = timedelta(minutes=10)  # so much later an observation may come then
_at = attrgetter("at")
REORDER_MS = 60_000  # observations closer than this may arrive in any order (verdict.md)


class Fold:
    """Feed with :meth:`add`; :meth:`advance` judges every distinct ``at`` and every passed deadline.

    An observation that comes after its time was folded is put where it belongs: the state of a minute
    ago is kept, and what came since is folded again, so no state depends on the order of arrival.
    """

    def __init__(self) -> None:
        self._pending: list[Observation] = []
        self._judge: Judge | None = None
        self._base: Judge | None = None
        self._tail: list[Observation] = []
        self._chronicle = Chronicle()
        self._early: list[Judgement] = []
        self.changes: list[Judgement] = []

    def add(self, observation: Observation) -> None:
        """Take one observation. The first plan opens the fold; before it nothing is judged.

        Many at once, as a journal is read, are judged on the way but for the last minutes of them.
        """
        if self._judge is None and isinstance(observation, Plan):
            self._judge, self._base = Judge(observation), Judge(observation)
        if self._pending and observation.at < self._pending[-1].at:
            insort(self._pending, observation, key=_at)
        else:
            self._pending.append(observation)
        if len(self._pending) >= MANY and self._judge is not None:
            self._early += self._advance(self._pending[-1].at - BEHIND)

    def advance(self, to: datetime) -> list[Judgement]:
        """Judge up to ``to``; returns the judgements at which verdict or a state changed."""
        early, self._early = self._early, []
        return early + self._advance(to)

    def _advance(self, to: datetime) -> list[Judgement]:
        if self._judge is None:
            return []
        count = bisect_right(self._pending, to, key=_at)
        ready = self._pending[:count]
        del self._pending[:count]
        changed: list[Judgement] = []
        if ready and self._judge.now is not None and to_ms(ready[0].at) < self._judge.now:
            self._refold(ready)
        else:
            changed.extend(self._fold(ready))
        changed.extend(self._judge.settle(to_ms(to)))
        for seen in ready:
            self._chronicle.add(seen)
        self._chronicle.judged(changed)
        self.changes.extend(changed)
        self._keep()
        return changed

    def _fold(self, ready: list[Observation]) -> Iterator[Judgement]:
        """Into the judge; where there is much, by way of the kept state, so that nothing is folded twice."""
        if self._base is not None and self._judge is not None and len(ready) >= MANY // 2:
            judged, newest = self._judge.judged or 0, to_ms(ready[-1].at)
            old = bisect_left(ready, newest - REORDER_MS, key=lambda seen: to_ms(seen.at))
            for seen in (*self._tail, *ready[:old]):
                # What lies before its last judging was told already.
                yield from (j for j in self._base.fold(seen) if to_ms(j.at) > judged)
            self._tail, ready = [], ready[old:]
            self._judge = deepcopy(self._base)
        for seen in ready:
            yield from self._judge.fold(seen) if self._judge else ()
        self._tail.extend(ready)

    def _refold(self, late: list[Observation]) -> None:
        """Fold the last minute again with what came late in its place; what was said stays said."""
        self._tail = sorted([*self._tail, *late], key=_at)
        judge = deepcopy(self._base)
        assert judge is not None
        for seen in self._tail:
            for _ in judge.fold(seen):
                pass
        self._judge = judge

    def _keep(self) -> None:
        """Move the kept state forward, so that it stays one to two minutes behind."""
        if not self._tail or self._base is None:
            return
        newest = to_ms(self._tail[-1].at)
        if newest - to_ms(self._tail[0].at) < 2 * REORDER_MS:
            return
        settled = [seen for seen in self._tail if to_ms(seen.at) < newest - REORDER_MS]
        for seen in settled:
            for _ in self._base.fold(seen):
                pass
        del self._tail[: len(settled)]

    def dns(self) -> Dns | None:
        """A copy of what is known of DNS by now; None before the first plan."""
        return None if self._judge is None else deepcopy(self._judge.evidence.dns)

    def judgement(self, now: datetime) -> Judgement | None:
        """The verdict at ``now``; None before the first plan."""
        return None if self._judge is None else self._judge.judge(to_ms(now))

    def snapshot(self, now: datetime) -> Snapshot | None:
        """The picture that every view draws; None before the first plan."""
        judgement = self.judgement(now)
        if self._judge is None or judgement is None:
            return None
        return picture(self._judge.evidence, self._chronicle, judgement, tuple(self.changes), now)
