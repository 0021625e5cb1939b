"""What must hold for any input: sets of time, the Poisson limit, text at the edge, both catalogues."""

from __future__ import annotations

from itertools import pairwise
from math import log
from string import Formatter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.evidence.intervals import Intervals
from monitor.printable import printable
from monitor.verdict.bound import at_most, share_bound, upper_limit
from monitor.wording.en import CATALOGUE as EN
from monitor.wording.ja import CATALOGUE as JA

span = st.tuples(st.integers(0, 60), st.integers(0, 60)).map(lambda s: (min(s), max(s)))
spans = st.lists(span, max_size=12)


def points(of: Intervals) -> set[int]:
    return {i for begin, end in of for i in range(begin, end)}


@given(spans, spans, span)
def test_intervals_are_sets_of_time(
    a: list[tuple[int, int]], b: list[tuple[int, int]], cut: tuple[int, int]
) -> None:
    one, two = Intervals(a), Intervals(b)
    in_one = {i for begin, end in a for i in range(begin, end)}
    in_two = {i for begin, end in b for i in range(begin, end)}
    assert points(one) == in_one and one.total() == len(in_one)
    assert one == Intervals(reversed(a)), "the order of adding does not matter"
    assert points(one.minus(two)) == in_one - in_two
    assert points(one.meet(two)) == in_one & in_two
    assert points(one.join(two)) == in_one | in_two
    assert points(one.within(*cut)) == in_one & set(range(*cut))
    assert one.touches(*cut) == bool(in_one & set(range(*cut)))
    assert all(one.covers(i) == (i in in_one) for i in range(61))
    assert all(e < b for (_, e), (b, _) in pairwise(one)), "disjoint, apart"


@given(st.integers(0, 300), st.floats(0.5, 0.999))
def test_the_upper_limit_is_exact(hits: int, confidence: float) -> None:
    limit = upper_limit(hits, confidence)
    assert at_most(hits, limit) == pytest.approx(1 - confidence, rel=1e-6)
    assert upper_limit(hits + 1, confidence) > limit


def test_the_bound_in_known_figures() -> None:
    assert upper_limit(0, 0.95) == pytest.approx(-log(0.05)) == pytest.approx(2.9957, abs=1e-4)
    assert upper_limit(1, 0.95) == pytest.approx(4.7439, abs=1e-4)  # Garwood (1936), one-sided
    assert upper_limit(10, 0.95) == pytest.approx(16.9622, abs=1e-4)
    assert share_bound(0, 0, 0.95) is None
    assert share_bound(0, 1, 0.95) == 1.0


@given(st.text(), st.integers(1, 50))
def test_nothing_that_steers_a_terminal_is_printable(text: str, limit: int) -> None:
    shown = printable(text, limit)
    assert len(shown) <= limit
    assert not any(ord(c) < 32 or 127 <= ord(c) < 160 or c in "\u202e\u2066\u200f" for c in shown)


def test_both_catalogues_say_the_same_things() -> None:
    def fields(template: str) -> set[str]:
        return {name for _, name, _, _ in Formatter().parse(template) if name}

    assert EN.keys() == JA.keys()
    assert {code: fields(text) for code, text in EN.items()} == {
        code: fields(text) for code, text in JA.items()
    }
