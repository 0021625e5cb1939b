"""The bound against scipy's own distributions, and a baseline that neither invents nor forgets mail."""

from __future__ import annotations

from math import exp, isclose, log

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from monitor.evidence.intervals import Intervals
from monitor.verdict.baseline import ENOUGH, HOUR, Baseline
from monitor.verdict.bound import at_most, percent_up, share_bound, upper_limit

WEEK = 168
WHOLE = Intervals()
WHOLE.add(0, 4 * WEEK * HOUR)


@given(hits=st.integers(0, 400) | st.integers(0, 100_000), confidence=st.floats(0.5, 0.9999))
@settings(max_examples=300, deadline=None)
def test_the_limit_is_the_exact_one(hits: int, confidence: float) -> None:
    """Garwood's limit is half a chi-square quantile with 2 (hits + 1) degrees of freedom."""
    exact = stats.chi2.ppf(confidence, 2 * (hits + 1)) / 2
    assert isclose(upper_limit(hits, confidence), exact, rel_tol=1e-9)
    assert isclose(at_most(hits, exact), stats.poisson.cdf(hits, exact), rel_tol=1e-6)
    for mean in (exact / 3, exact * 3):
        assert isclose(at_most(hits, mean), stats.poisson.cdf(hits, mean), rel_tol=1e-6, abs_tol=1e-12)


@pytest.mark.parametrize(
    ("hits", "expected", "confidence", "share"),
    [
        (0, 300, 0.95, -log(0.05) / 300),  # the rule of three: 0.998...%
        (0, 299.573, 0.95, 0.01), (0, 14.2 * 24, 0.95, 0.0087902), (0, 100, 0.99, 0.0460517),
        (1, 100, 0.95, 0.0474386), (5, 100, 0.95, 0.1051303), (0, 2, 0.95, 1.0), (3, 0, 0.95, None),
    ],
)  # fmt: skip
def test_hand_checked(hits: int, expected: float, confidence: float, share: float | None) -> None:
    found = share_bound(hits, expected, confidence)
    assert found is share or isclose(found or 0, share or 0, rel_tol=1e-4)


@given(share=st.floats(1e-6, 1))
def test_a_share_that_is_shown_is_never_less_than_it_is(share: float) -> None:
    assert float(percent_up(share)) >= share * 100 * (1 - 1e-9)


def office(weeks: int, an_hour: float) -> list[int]:
    """So many messages an hour from Monday to Friday, nine to five; the epoch began on a Thursday."""
    times = []
    for hour in range(weeks * WEEK):
        day = (hour // 24 + 3) % 7
        if day < 5 and 9 <= hour % 24 < 17:
            times += [int((hour + (k + 0.5) / an_hour) * HOUR) for k in range(int(an_hour))]
    return times


def spans(begin: float, end: float) -> Intervals:
    found = Intervals()
    found.add(int(begin * HOUR), int(end * HOUR))
    return found


def test_a_weekend_and_a_night_prove_little() -> None:
    base = Baseline(office(4, 6), WHOLE)
    friday = 4 * WEEK + 24  # a Friday 00:00 after the four weeks
    working = base.expects(spans(friday + 9, friday + 17))
    weekend = base.expects(spans(friday + 24, friday + 72))
    night = base.expects(spans(friday, friday + 8))
    assert 42 < working <= 48
    assert weekend < working / 20 and night < working / 20
    flat = Baseline(office(1, 6), spans(0, WEEK))
    assert flat.expects(spans(friday + 24, friday + 72)) > 40, "under two weeks there is one rate for all"


@given(
    hits=st.lists(st.integers(0, 4 * WEEK * HOUR - 1), min_size=1, max_size=200).map(sorted),
    gaps=st.lists(st.tuples(st.integers(0, 600), st.integers(1, 50)), max_size=3),
)
@settings(max_examples=150, deadline=None)
def test_over_its_own_time_it_expects_what_it_has_seen(hits: list[int], gaps: list[tuple[int, int]]) -> None:
    covered = WHOLE
    for begin, length in gaps:
        covered = covered.minus(spans(begin, begin + length))
    base = Baseline(hits, covered)
    seen = sum(covered.covers(at) for at in hits)
    if covered.total() >= ENOUGH and seen:
        assert isclose(base.expects(covered), seen, rel_tol=1e-6)
    assert base.messages == seen


@given(
    hits=st.lists(st.integers(0, 4 * WEEK * HOUR - 1), min_size=1, max_size=8).map(sorted),
    day=st.integers(0, 6),
)
@settings(max_examples=200, deadline=None)
def test_a_few_letters_give_no_hour_a_meaning(hits: list[int], day: int) -> None:
    """Any whole day counts nearly as any other, and none counts nothing."""
    base = Baseline(hits, WHOLE)
    a_day = len(hits) / 28
    found = base.expects(spans(4 * WEEK + day * 24, 4 * WEEK + day * 24 + 24))
    assert a_day / 6 < found < a_day * 6


def test_the_worked_example_of_the_document() -> None:
    expected = 14.2 * 24
    bound = share_bound(0, min(expected, 310.0), 0.95)
    assert bound is not None and percent_up(bound) == "0.97"
    assert isclose(exp(-bound * 310), 0.05)
