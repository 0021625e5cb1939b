"""When a mailbox was really watched: the stretch that its server's answers prove, told in short intervals."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import pairwise
from math import ceil

from probes.observation import Coverage, from_ms, now, to_ms

LONGEST = timedelta(seconds=300)
MOST_GAP = timedelta(hours=1)
MOST_PARTS = 240


class Ledger:
    """``untold`` is where the next interval begins; None while nothing is proven.

    A message that arrives lies in the folder until somebody takes it away, so a list of UIDs proves the time
    before it as well. What was taken away in a long time leaves no trace: no more than an hour is claimed.
    """

    def __init__(self, source: str, cadence: float, untold: datetime | None = None) -> None:
        self._source = source
        self._step = min(LONGEST, timedelta(seconds=max(cadence, 0.05)))
        self.untold = untold
        self._proven = untold

    def forget(self) -> None:
        """What was proven says nothing of what comes next: the mailbox is another one."""
        self.untold = self._proven = None

    def prove(self, at: datetime, vanished: int = 0) -> list[Coverage]:
        """The server has shown everything that had arrived by ``at``. ``vanished``: messages that came and
        went since the last time, unread."""
        proven = self._proven
        if proven is None or self.untold is None or not timedelta(0) <= at - proven <= MOST_GAP:
            told = self.flush()
            self.untold = self._proven = at
            return told
        if vanished:
            told = self.flush()
            self.untold = self._proven = at
            return told + list(self._pieces(proven, at, vanished))
        self._proven = at
        return self.flush() if at - self.untold >= self._step / 2 else []

    def flush(self) -> list[Coverage]:
        """What is proven and not told."""
        begin, end = self.untold, self._proven
        if begin is None or end is None or end <= begin:
            return []
        self.untold = end
        return list(self._pieces(begin, end, 0))

    def _pieces(self, begin: datetime, end: datetime, vanished: int) -> Iterator[Coverage]:
        """Equal parts, none longer than the cadence (a cadence of milliseconds is not kept over an hour)."""
        parts = min(ceil((end - begin) / self._step), MOST_PARTS)
        # Whole milliseconds, as observations are written: the parts must meet.
        edges = [begin + timedelta(milliseconds=to_ms(end) - to_ms(begin)) * n / parts for n in range(parts)]
        edges = [from_ms(to_ms(edge)) for edge in edges] + [end]
        for start, stop in pairwise(edges):
            yield Coverage(at=now(), source=self._source, from_=start, to=stop, not_understood=vanished)
