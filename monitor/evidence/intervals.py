"""Sets of time: sorted, disjoint, half-open intervals of integer milliseconds."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator

Interval = tuple[int, int]


class Intervals:
    """A union of intervals; adding one costs the logarithm of how many gaps there are."""

    __slots__ = ("_begins", "_ends")

    def __init__(self, spans: Iterable[Interval] = ()) -> None:
        self._begins: list[int] = []
        self._ends: list[int] = []
        for begin, end in spans:
            self.add(begin, end)

    def __iter__(self) -> Iterator[Interval]:
        return zip(self._begins, self._ends, strict=True)

    def __bool__(self) -> bool:
        return bool(self._begins)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Intervals) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]  # it changes

    def add(self, begin: int, end: int) -> None:
        """Join ``[begin, end)``; what touches or overlaps becomes one."""
        if end <= begin:
            return
        if self._begins and self._begins[-1] <= begin <= self._ends[-1]:  # the newest goes on
            self._ends[-1] = max(end, self._ends[-1])
            return
        first = bisect_left(self._ends, begin)
        last = bisect_right(self._begins, end)
        if first < last:
            begin = min(begin, self._begins[first])
            end = max(end, self._ends[last - 1])
        self._begins[first:last] = [begin]
        self._ends[first:last] = [end]

    def within(self, begin: int, end: int) -> Intervals:
        """The part inside ``[begin, end)``."""
        cut = Intervals()
        for i in range(bisect_right(self._ends, begin), bisect_left(self._begins, end)):
            cut.add(max(begin, self._begins[i]), min(end, self._ends[i]))
        return cut

    def total(self) -> int:
        return sum(self._ends) - sum(self._begins)

    def covers(self, instant: int) -> bool:
        i = bisect_right(self._begins, instant) - 1
        return i >= 0 and instant < self._ends[i]

    def touches(self, begin: int, end: int) -> bool:
        """Whether any of it lies inside ``[begin, end)``."""
        return begin < end and bisect_right(self._ends, begin) < bisect_left(self._begins, end)

    def last(self) -> int | None:
        return self._ends[-1] if self._ends else None

    def first(self) -> int | None:
        return self._begins[0] if self._begins else None

    def minus(self, other: Intervals) -> Intervals:
        left = Intervals()
        for begin, end in self:
            at = begin
            for b, e in other.within(begin, end):
                left.add(at, b)
                at = e
            left.add(at, end)
        return left

    def meet(self, other: Intervals) -> Intervals:
        both = Intervals()
        for begin, end in self:
            for b, e in other.within(begin, end):
                both.add(b, e)
        return both

    def join(self, other: Intervals) -> Intervals:
        return Intervals([*self, *other])
