"""Charts made of characters: bars in eighths of a cell, or in dots, and marks on a time axis."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from datetime import datetime

from monitor.snapshot import SharePoint, Span

BLOCKS = " ▁▂▃▄▅▆▇█"
DOTS = " ⣀⣤⣶⣿"
Value = float | None


def bars(values: Sequence[Value], height: int, peak: float, ramp: str = BLOCKS) -> list[str]:
    """``height`` rows, top first; a value of ``peak`` fills them all, None is a dot on the ground.

    A value above nothing always shows at least the lowest step: one message must not look like none.
    """
    steps = len(ramp) - 1
    levels = [None if v is None else _level(v, peak, height * steps) for v in values]
    return [_row(levels, row, steps, ramp) for row in reversed(range(height))]


def _level(value: float, peak: float, full: int) -> int:
    if value <= 0 or peak <= 0:
        return 0
    return max(1, min(full, round(value / peak * full)))


def _row(levels: Sequence[int | None], row: int, steps: int, ramp: str) -> str:
    empty = "·" if row == 0 else " "
    return "".join(empty if v is None else ramp[min(steps, max(0, v - row * steps))] for v in levels)


def mean(values: Sequence[Value]) -> Value:
    known = [v for v in values if v is not None]
    return sum(known) / len(known) if known else None


def total(values: Sequence[Value]) -> Value:
    known = [v for v in values if v is not None]
    return sum(known) if known else None


def columns(values: Sequence[Value], width: int, merge: Callable[[Sequence[Value]], Value]) -> list[Value]:
    """``values`` over exactly ``width`` columns: several merged into one, or one over several."""
    n = len(values)
    if not n:
        return [None] * width
    cuts = [i * n // width for i in range(width + 1)]
    return [merge(values[a : max(b, a + 1)]) for a, b in itertools.pairwise(cuts)]


class Axis:
    """Times to columns: the shares' own span over ``width`` columns."""

    def __init__(self, shares: Sequence[SharePoint], now: datetime, width: int) -> None:
        self.width = width
        self.begin = shares[0].at if shares else now
        slot = shares[1].at - shares[0].at if len(shares) > 1 else now - self.begin
        self.end = max(now, shares[-1].at + slot) if shares else now

    def column(self, t: datetime) -> int | None:
        """The column of ``t``, or None outside the chart."""
        whole = (self.end - self.begin).total_seconds()
        if whole <= 0 or not self.begin <= t <= self.end:
            return None
        return min(self.width - 1, int((t - self.begin).total_seconds() / whole * self.width))

    def stretch(self, spans: Sequence[Span], mark: str = "━", empty: str = " ") -> str:
        """One row with ``mark`` in every column that a span touches."""
        row = [empty] * self.width
        for span in spans:
            a, b = self.column(max(span.begin, self.begin)), self.column(min(span.end, self.end))
            if a is not None and b is not None and span.end >= self.begin:
                row[a : b + 1] = [mark] * (b + 1 - a)
        return "".join(row)


def meter(share: float, width: int) -> tuple[str, str]:
    """A gauge in two texts, the filled part and the rest; ``share`` from 0 to 1."""
    full = int(max(0.0, min(1.0, share)) * width)
    return "━" * full, "╌" * (width - full)
