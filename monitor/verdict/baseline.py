"""What mail the old host took before the change, and what it would be expected to take in a while."""

from __future__ import annotations

from bisect import bisect_left
from itertools import accumulate

from monitor.evidence.fold import Evidence
from monitor.evidence.intervals import Intervals

HOUR = 3_600_000
DAY_HOURS, WEEK_HOURS = 24, 168
LONGEST = 28 * 24 * HOUR  # at most the last four weeks before the change
# How much of covered time tells hours apart: two of every hour of the week, four of every hour of the day.
ENOUGH = ((14 * 24 * HOUR, WEEK_HOURS), (4 * 24 * HOUR, DAY_HOURS))


class Baseline:
    """Messages an hour: by hour of the week; with fewer data by hour of the day; else one rate for all hours.

    Hours are those of UTC: which of them are office hours is the data's own affair.
    """

    def __init__(self, hits: list[int], covered: Intervals) -> None:
        """``hits``: when old took mail, in order (ms)."""
        cuts = [(bisect_left(hits, begin), bisect_left(hits, end)) for begin, end in covered]
        seen = [at for first, last in cuts for at in hits[first:last]]
        total = covered.total()
        self.hours = total / HOUR
        self.messages = len(seen)
        self.cycle = next((hours for least, hours in ENOUGH if total >= least), 1)
        self.rates = _rates(seen, covered, self.cycle)
        self._sums = [0.0, *accumulate(self.rates)]

    def expects(self, spans: Intervals) -> float:
        """How many messages it would have taken in these times."""
        if self.cycle == 1:
            return self.rates[0] * spans.total() / HOUR
        return sum(self._between(begin, end) for begin, end in spans)

    def _between(self, begin: int, end: int) -> float:
        start = begin // (self.cycle * HOUR) * self.cycle * HOUR
        return self._until(end - start) - self._until(begin - start)

    def _until(self, length: int) -> float:
        """Expected in so many ms from the beginning of a cycle."""
        cycles, rest = divmod(length, self.cycle * HOUR)
        hour, part = divmod(rest, HOUR)
        return cycles * self._sums[-1] + self._sums[hour] + self.rates[hour] * part / HOUR


def _pieces(spans: Intervals) -> list[tuple[int, int]]:
    """The spans cut at every full hour: (hour since the epoch, milliseconds)."""
    pieces = []
    for begin, end in spans:
        while begin < end:
            stop = min(end, (begin // HOUR + 1) * HOUR)
            pieces.append((begin // HOUR, stop - begin))
            begin = stop
    return pieces


def _rates(seen: list[int], covered: Intervals, cycle: int) -> list[float]:
    """Messages an hour, for each hour of the cycle; 0 where none of that hour was covered."""
    time, count = [0] * cycle, [0] * cycle
    for hour, length in _pieces(covered):
        time[hour % cycle] += length
    for at in seen:
        count[at // HOUR % cycle] += 1
    return [c * HOUR / t if t else 0.0 for c, t in zip(count, time, strict=True)]


def baseline(evidence: Evidence) -> Baseline | None:
    """From the mail that old took in covered time before the change; None where there was neither."""
    change, mail = evidence.first_change, evidence.mail
    if change is None:
        return None
    begin = change - LONGEST
    hits = mail.hits[bisect_left(mail.hits, (begin,)) : bisect_left(mail.hits, (change,))]
    before = [h.at for h in hits if not h.rejected and f"sender:{h.client}" not in evidence.waivers]
    covered = mail.watched("old", evidence.plan, evidence.waived).within(begin, change)
    if "log:old" not in mail.covered and before:
        # A mailbox's own history counts as covered from its oldest message on.
        covered.add(before[0], change)
    return Baseline(before, covered) if covered.total() and before else None
