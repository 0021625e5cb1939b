"""A journal read into a fold: whole for a command that asks once, or followed while another writes."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from pathlib import Path

from monitor.exits import Exit, Failure
from monitor.folding import Fold
from monitor.journal import Batch, JournalReader
from monitor.snapshot import Snapshot
from probes.observation import now

# Judging keeps this far behind the clock, so that what was seen at one moment is judged together.
HOLD = timedelta(seconds=1)
POLL = 0.5  # seconds between two looks at the journal


class JournalFeed:
    """Follows a journal read-only. ``snapshot`` gives the newest picture, the same object while it holds."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fold = Fold()
        self._batch = 0
        self._shown: Snapshot | None = None

    async def run(self) -> None:
        """Read what comes until cancelled. Raises ``Failure`` where the journal cannot be read."""
        while True:
            await asyncio.to_thread(self.look)
            await asyncio.sleep(POLL)

    def look(self) -> None:
        """Fold the batches that came since the last look, and draw anew where there is reason to."""
        before = self._batch
        with JournalReader(self._path) as reader:
            for batch in reader.batches(self._batch):
                self._batch = batch.number
                for seen in batch.observations:
                    self._fold.add(seen)
        instant = now() - HOLD
        changed = self._fold.advance(instant)
        if changed or self._batch != before or self._shown is None:
            self._shown = self._fold.snapshot(instant)

    def snapshot(self) -> Snapshot | None:
        return self._shown


def read(path: Path, at: datetime | None = None) -> tuple[Snapshot, Batch]:
    """The picture that a journal gives at ``at`` (now, if None), and the last batch that it rests on.

    Raises ``Failure`` 65 or 74.
    """
    fold, last, instant = Fold(), None, at or now()
    with JournalReader(path) as reader:
        for batch in reader.batches():
            seen = [o for o in batch.observations if o.at <= instant]
            for observation in seen:
                fold.add(observation)
            last = batch if seen else last
    fold.advance(instant)
    shot = fold.snapshot(instant)
    if shot is None or last is None:
        raise Failure(f"journal {path} holds no plan as of {instant:%Y-%m-%d %H:%M:%SZ}", Exit.BAD_DATA)
    return shot, last
