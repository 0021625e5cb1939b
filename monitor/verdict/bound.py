"""How much mail may still go to old: limits of a Poisson count, exact and without tables."""

from __future__ import annotations

from functools import lru_cache
from math import ceil, exp, floor, log, log10


@lru_cache(maxsize=1024)
def upper_limit(hits: int, confidence: float) -> float:
    """The largest mean that would show ``hits`` or fewer with probability 1 - confidence.

    For no hits this is -ln(1 - confidence) (the "rule of three" at 95 %); else the exact limit after
    Garwood (1936), found by bisection on the Poisson distribution function.
    """
    if hits == 0:
        return -log(1 - confidence)
    low, high = 0.0, 10.0 + 4 * hits
    for _ in range(200):
        middle = (low + high) / 2
        if at_most(hits, middle) > 1 - confidence:
            low = middle
        else:
            high = middle
    return high


def at_most(hits: int, mean: float) -> float:
    """The Poisson probability of ``hits`` or fewer."""
    term = total = exp(-mean)
    for k in range(1, hits + 1):
        term *= mean / k
        total += term
    return total


def share_bound(hits: int, expected: float, confidence: float) -> float | None:
    """The upper bound of the share of mail that still goes to old; None where nothing was expected."""
    if expected <= 0:
        return None
    return min(1.0, upper_limit(hits, confidence) / expected)


def percent_up(share: float) -> str:
    """An upper bound in per cent with two significant digits, rounded up so that it stays true."""
    value = share * 100
    if value <= 0:
        return "0"
    digits = max(0, 1 - floor(log10(value)))
    return f"{ceil(value * 10**digits - 1e-9) / 10**digits:.{digits}f}"
