"""The baseline and the bound: hours of the day and the week, few data, and the limits against scipy's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2, poisson  # type: ignore[import-untyped]

from monitor.evidence.intervals import Intervals
from monitor.verdict.baseline import HOUR, WEEK_HOURS, Baseline
from monitor.verdict.bound import at_most, percent_up, share_bound, upper_limit

DAY = 24 * HOUR
MONDAY = 4 * DAY  # the epoch was a Thursday


@given(st.integers(0, 200), st.floats(0.5, 0.999))
def test_the_limit_is_that_of_garwood(hits: int, confidence: float) -> None:
    """Half of a quantile of chi-squared with 2 (hits + 1) degrees of freedom."""
    assert upper_limit(hits, confidence) == pytest.approx(chi2.ppf(confidence, 2 * (hits + 1)) / 2, rel=1e-9)


@given(st.integers(0, 200), st.floats(0.01, 300))
def test_the_distribution_is_poisson(hits: int, mean: float) -> None:
    assert at_most(hits, mean) == pytest.approx(poisson.cdf(hits, mean), rel=1e-9, abs=1e-300)


@given(st.integers(0, 50), st.floats(0.5, 100), st.floats(0.5, 0.99))
def test_what_the_limit_promises(hits: int, mean: float, confidence: float) -> None:
    """Where the mean is above the limit of a count, that count or a lower one has at most the rest."""
    if mean > upper_limit(hits, confidence):
        assert poisson.cdf(hits, mean) <= 1 - confidence + 1e-9


def office(weeks: int) -> tuple[list[int], Intervals]:
    """Ten messages each of eight hours on five days of the week; covered throughout."""
    hits = [
        MONDAY + week * 7 * DAY + day * DAY + hour * HOUR + n * 6 * 60_000
        for week in range(weeks) for day in range(5) for hour in range(8, 16) for n in range(10)
    ]  # fmt: skip
    return hits, Intervals([(MONDAY, MONDAY + weeks * 7 * DAY)])


def test_a_weekend_expects_no_office_mail() -> None:
    base = Baseline(*office(2))
    monday = MONDAY + 14 * DAY
    assert base.cycle == WEEK_HOURS and base.messages == 800
    assert base.expects(Intervals([(monday, monday + DAY)])) == pytest.approx(80)
    assert base.expects(Intervals([(monday + 5 * DAY, monday + 7 * DAY)])) == 0
    assert base.expects(Intervals([(monday + 8 * HOUR, monday + 8 * HOUR + HOUR // 2)])) == pytest.approx(5)
    assert base.expects(Intervals([(monday - 30 * DAY, monday + 12 * DAY)])) == pytest.approx(6 * 400)


def test_with_few_data_a_night_expects_no_office_mail() -> None:
    hits, _ = office(1)
    base = Baseline(hits, Intervals([(MONDAY, MONDAY + 5 * DAY)]))
    monday = MONDAY + 7 * DAY
    assert base.cycle == 24
    assert base.expects(Intervals([(monday, monday + 8 * HOUR)])) == 0
    assert base.expects(Intervals([(monday + 8 * HOUR, monday + DAY)])) == pytest.approx(80)


def test_with_fewest_data_all_hours_are_alike() -> None:
    base = Baseline([MONDAY + n * HOUR for n in range(6)], Intervals([(MONDAY, MONDAY + 12 * HOUR)]))
    assert base.cycle == 1
    assert base.expects(Intervals([(0, DAY)])) == pytest.approx(12)


@given(
    st.lists(st.tuples(st.integers(0, 40 * 24), st.integers(1, 50)), min_size=1, max_size=6),
    st.integers(1, 30),
)
def test_the_baseline_expects_of_its_own_time_what_it_saw(cuts: list[tuple[int, int]], step: int) -> None:
    covered = Intervals((MONDAY + a * HOUR, MONDAY + (a + b) * HOUR) for a, b in cuts)
    hits = [at for at in range(MONDAY, MONDAY + 45 * DAY, step * HOUR) if covered.covers(at)]
    assert Baseline(hits, covered).expects(covered) == pytest.approx(len(hits))


def test_the_worked_example() -> None:
    """As docs/verdict.md works it out."""
    base = Baseline(*office(4))
    monday = MONDAY + 28 * DAY
    calm = Intervals([(monday + 9 * HOUR, monday + DAY + 9 * HOUR)])
    assert base.messages == 1600 and base.expects(calm) == pytest.approx(80)
    # New took 64 from outside in that time: the smaller of the two counts.
    bound = share_bound(0, 64, 0.95)
    assert bound == pytest.approx(chi2.ppf(0.95, 2) / 2 / 64) == pytest.approx(0.046808, abs=1e-6)
    assert percent_up(bound) == "4.7"
    # Two hits in a day in which new took 64: Garwood's limit of 2 is 6.2958.
    assert share_bound(2, 64, 0.95) == pytest.approx(6.2958 / 64, abs=1e-6)
    # One per cent at 95 % needs 300 messages; the ceiling of 3 x 24 h ends the wait before that.
    assert upper_limit(0, 0.95) / 0.01 == pytest.approx(299.57, abs=0.01)
