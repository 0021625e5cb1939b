"""What mail the old host took before the change, and what it would be expected to take in a while."""

from __future__ import annotations

from itertools import accumulate

from monitor.evidence.fold import Evidence
from monitor.evidence.intervals import Intervals
from monitor.evidence.mail import Taken

HOUR = 3_600_000
WEEK_HOURS = 168
LONGEST = 28 * 24 * HOUR  # at most the last four weeks before the change
ENOUGH = 14 * 24 * HOUR  # two of every hour of the week, at least, before they are told apart


class Baseline:
    """Messages an hour, by hour of the week where two weeks are covered, else one rate for all."""

    def __init__(self, hits: list[Taken], covered: Intervals) -> None:
        seen = [h for h in hits if covered.covers(h.at)]
        self.hours = covered.total() / HOUR
        self.messages = len(seen)
        self._flat = self.messages / self.hours if self.hours else 0.0
        self._cells: list[float] | None = None
        if covered.total() >= ENOUGH:
            self._cells = _by_hour(seen, covered)
            self._sums = [0.0, *accumulate(self._cells)]

    def expects(self, spans: Intervals) -> float:
        """How many messages it would have taken in these times."""
        if self._cells is None:
            return self._flat * spans.total() / HOUR
        return sum(self._until(end) - self._until(begin) for begin, end in spans)

    def _until(self, at: int) -> float:
        """Expected from the epoch until ``at``."""
        assert self._cells is not None
        weeks, rest = divmod(at, WEEK_HOURS * HOUR)
        hour, part = divmod(rest, HOUR)
        return weeks * self._sums[-1] + self._sums[hour] + self._cells[hour] * part / HOUR


def _pieces(spans: Intervals) -> list[tuple[int, int]]:
    """The spans cut at every full hour: (hour of the week, milliseconds)."""
    pieces = []
    for begin, end in spans:
        while begin < end:
            stop = min(end, (begin // HOUR + 1) * HOUR)
            pieces.append((begin // HOUR % WEEK_HOURS, stop - begin))
            begin = stop
    return pieces


def _by_hour(seen: list[Taken], covered: Intervals) -> list[float]:
    time = [0] * WEEK_HOURS
    count = [0] * WEEK_HOURS
    for cell, length in _pieces(covered):
        time[cell] += length
    for hit in seen:
        count[hit.at // HOUR % WEEK_HOURS] += 1
    return [c * HOUR / t if t else 0.0 for c, t in zip(count, time, strict=True)]


def baseline(evidence: Evidence, hits: list[Taken]) -> Baseline | None:
    """From the mail that old took in covered time before the change; None where there was neither."""
    change = evidence.first_change
    if change is None:
        return None
    begin = change - LONGEST
    before = [h for h in hits if begin <= h.at < change and h.disposition != "rejected"]
    covered = evidence.mail.watched("old", evidence.plan, evidence.waived).within(begin, change)
    if "log:old" not in evidence.mail.covered and before:
        # A mailbox's own history counts as covered from its oldest message on.
        covered.add(min(h.at for h in before), change)
    return Baseline(before, covered) if covered.total() and before else None
