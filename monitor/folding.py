"""The fold as a running watch uses it: observations in any order, judgements and pictures out."""

from __future__ import annotations

from bisect import insort
from copy import deepcopy
from datetime import datetime

from monitor.chronicle import Chronicle
from monitor.evidence.dns import Dns
from monitor.picture import picture
from monitor.snapshot import Snapshot
from monitor.verdict.judge import Judge
from monitor.verdict.model import Judgement
from probes.observation import Observation, Plan, to_ms

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
        self.changes: list[Judgement] = []

    def add(self, observation: Observation) -> None:
        """Take one observation. The first plan opens the fold; before it nothing is judged."""
        if self._judge is None and isinstance(observation, Plan):
            self._judge, self._base = Judge(observation), Judge(observation)
        insort(self._pending, observation, key=lambda seen: seen.at)

    def advance(self, to: datetime) -> list[Judgement]:
        """Judge up to ``to``; returns the judgements at which verdict or a state changed."""
        if self._judge is None:
            return []
        ready = [seen for seen in self._pending if seen.at <= to]
        del self._pending[: len(ready)]
        changed: list[Judgement] = []
        if ready and self._judge.now is not None and to_ms(ready[0].at) < self._judge.now:
            self._refold(ready)
        else:
            for seen in ready:
                changed.extend(self._judge.fold(seen))
            self._tail.extend(ready)
        changed.extend(self._judge.settle(to_ms(to)))
        for seen in ready:
            self._chronicle.add(seen)
        self._chronicle.judged(changed)
        self.changes.extend(changed)
        self._keep()
        return changed

    def _refold(self, late: list[Observation]) -> None:
        """Fold the last minute again with what came late in its place; what was said stays said."""
        self._tail = sorted([*self._tail, *late], key=lambda seen: seen.at)
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
