"""How much mail may still go to old: limits of a Poisson count, exact and without tables."""

from __future__ import annotations

from functools import lru_cache
from math import ceil, exp, floor, lgamma, log, log10

_EXACT = 1e-15
_TINY = 1e-300


@lru_cache(maxsize=1024)
def upper_limit(hits: int, confidence: float) -> float:
    """The largest mean that would show ``hits`` or fewer with probability 1 - confidence.

    For no hits this is -ln(1 - confidence) (the "rule of three" at 95 %); else the exact limit after
    Garwood (1936), found by bisection on the Poisson distribution function.
    """
    if hits == 0:
        return -log(1 - confidence)
    low, high = 0.0, 10.0 + 4 * hits
    for _ in range(100):
        middle = (low + high) / 2
        if at_most(hits, middle) > 1 - confidence:
            low = middle
        else:
            high = middle
    return high


def at_most(hits: int, mean: float) -> float:
    """The Poisson probability of ``hits`` or fewer, at any size without under- or overflow: the regularized
    incomplete gamma function Q(hits + 1, mean) (NIST Digital Library of Mathematical Functions, 8.4.10)."""
    a = hits + 1.0
    if mean <= 0:
        return 1.0
    scale = exp(a * log(mean) - mean - lgamma(a))
    return 1.0 - scale * _series(a, mean) if mean < a + 1 else scale * _fraction(a, mean)


def _series(a: float, x: float) -> float:
    """P(a, x) without its scale (DLMF 8.7.1)."""
    term = total = 1.0 / a
    while term > total * _EXACT:
        a += 1.0
        term *= x / a
        total += term
    return total


def _fraction(a: float, x: float) -> float:
    """Q(a, x) without its scale, as a continued fraction (DLMF 8.9.2) after Lentz."""
    b = x + 1.0 - a
    c, d = 1.0 / _TINY, 1.0 / (b or _TINY)
    found, step, n = d, 0.0, 0
    while abs(step - 1.0) > _EXACT:
        n += 1
        factor = n * (a - n)
        b += 2.0
        d = 1.0 / (factor * d + b or _TINY)
        c = b + factor / c or _TINY
        step = c * d
        found *= step
    return found


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
