"""One queue, one batch at a time: everything seen is kept first, and judged as it was kept."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any

from monitor.folding import Fold
from monitor.journal import Batch, Journal
from monitor.verdict.model import Judgement
from probes.observation import Observation, now, to_ms

BATCH_SECONDS = 0.25
HOLD = timedelta(seconds=1)  # what arrives within it is judged in order
TOLD = "told"  # the key of the last reported change
MOST_GROUPS = 5000  # in the queue
MOST_OBSERVATIONS = 5000  # in a batch


class Intake:
    """Takes groups of observations from the probes; keeps, folds and reports changes in :meth:`run`."""

    def __init__(
        self, journal: Journal, fold: Fold,
        on_change: Callable[[Judgement], None], hear: Callable[[Observation], None],
    ) -> None:  # fmt: skip
        self._journal, self._fold = journal, fold
        self._on_change, self._hear = on_change, hear
        self._queue: asyncio.Queue[tuple[tuple[Observation, ...], tuple[str, Any] | None]]
        self._queue = asyncio.Queue(MOST_GROUPS)
        self.serial = 0  # grows whenever there is something new to see
        self._told: dict[str, int] = {}

    async def put(self, *observations: Observation, position: tuple[str, Any] | None = None) -> None:
        """Hand over what was seen; ``position`` is kept with it. Waits while the queue is full."""
        if observations or position is not None:
            await self._queue.put((observations, position))

    async def run(self) -> None:
        """Until cancelled. Raises what the journal raises."""
        while True:
            seen, positions = self._take()
            await self._keep(seen, positions)
            if self._queue.empty():
                await asyncio.sleep(BATCH_SECONDS)

    async def _keep(self, seen: list[Observation], positions: dict[str, Any]) -> None:
        """What was taken from the queue must reach the journal: a cancellation waits until it has."""
        task = asyncio.create_task(asyncio.to_thread(self._journal.keep, seen, positions))
        cancelled: asyncio.CancelledError | None = None
        while not task.done():
            try:
                await asyncio.wait({task})
            except asyncio.CancelledError as error:
                cancelled = error
        self._judge(task.result())
        if cancelled is not None:
            raise cancelled

    def finish(self, *last: Observation) -> None:
        """Keep what is left and ``last``, at once and on this thread."""
        while not self._queue.empty():
            self._judge(self._journal.keep(*self._take()))
        self._judge(self._journal.keep(list(last)))

    def _take(self) -> tuple[list[Observation], dict[str, Any]]:
        seen: list[Observation] = []
        positions: dict[str, Any] = dict(self._told)
        self._told = {}
        while len(seen) < MOST_OBSERVATIONS and not self._queue.empty():
            group, position = self._queue.get_nowait()
            seen.extend(group)
            positions.update([position] if position is not None else [])
        seen.sort(key=lambda one: one.at)
        return seen, positions

    def _judge(self, batch: Batch | None) -> None:
        if batch is not None:
            self.load(batch.observations)
        changes = self._fold.advance(now() - HOLD)
        self.serial += bool(batch or changes)
        self.tell(changes)

    def tell(self, changes: Iterable[Judgement], after: int = -1) -> None:
        """Report the changes past ``after`` (ms), and put on record up to where they were reported."""
        for change in changes:
            if to_ms(change.at) > after:
                self._on_change(change)
                self._told = {TOLD: to_ms(change.at)}

    def load(self, observations: Iterable[Observation]) -> None:
        for one in observations:
            self._hear(one)
            self._fold.add(one)
