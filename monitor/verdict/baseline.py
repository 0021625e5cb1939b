"""What mail the old host took before the change, and what it would be expected to take in a while."""

from __future__ import annotations

from bisect import bisect_left
from itertools import accumulate

from monitor.evidence.fold import Evidence
from monitor.evidence.intervals import Intervals

HOUR = 3_600_000
WEEK_HOURS = 168
LONGEST = 28 * 24 * HOUR  # at most the last four weeks before the change
ENOUGH = 14 * 24 * HOUR  # two of every hour of the week, at least, before they are told apart
LEAN = 2.0  # messages that an hour of the week must show before its own count weighs more than its like


class Baseline:
    """Messages an hour, by hour of the week where two weeks are covered, else one rate for all."""

    def __init__(self, hits: list[int], covered: Intervals) -> None:
        """``hits``: when old took mail, in order."""
        cuts = [(bisect_left(hits, begin), bisect_left(hits, end)) for begin, end in covered]
        seen = [at for first, last in cuts for at in hits[first:last]]
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


def _by_hour(seen: list[int], covered: Intervals) -> list[float]:
    """Messages an hour for each hour of the week: what was counted there, leaning on what the hour of the
    day and the day of the week show, as far as it is few. In all as many as were counted."""
    time, count = [0.0] * WEEK_HOURS, [0.0] * WEEK_HOURS
    for cell, length in _pieces(covered):
        time[cell] += length / HOUR
    for at in seen:
        count[at // HOUR % WEEK_HOURS] += 1
    flat = sum(count) / sum(time)
    hours = [_leaning(sum(count[h::24]), sum(time[h::24]), flat) for h in range(24)]
    days = [_leaning(sum(count[d : d + 24]), sum(time[d : d + 24]), flat) for d in range(0, WEEK_HOURS, 24)]
    cells = [
        _leaning(count[i], time[i], hours[i % 24] * days[i // 24] / flat if flat else 0.0)
        for i in range(WEEK_HOURS)
    ]
    total = sum(c * t for c, t in zip(cells, time, strict=True))
    return [c * sum(count) / total for c in cells] if total else cells


def _leaning(count: float, hours: float, prior: float) -> float:
    """The mean of a gamma distribution: ``LEAN`` messages at the rate ``prior``, and then the count."""
    return (count + LEAN) / (hours + LEAN / prior) if prior else 0.0


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
