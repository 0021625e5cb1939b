"""What one judging leaves to the next, so that nothing is worked out twice."""

from __future__ import annotations

from dataclasses import dataclass, field

from monitor.evidence.intervals import Intervals
from monitor.verdict.baseline import Baseline


@dataclass(slots=True)
class Proof:
    """In which time old was shown to be seen: valid for this version of the canaries until ``due`` (ms)."""

    version: int
    due: int
    spans: Intervals


@dataclass(slots=True)
class Memo:
    """Good for one plan, one set of waivers and one change; ``watched``: by side, with its version."""

    has_baseline: bool = False
    baseline: Baseline | None = None
    watched: dict[str, tuple[int, Intervals]] = field(default_factory=dict)
    proof: Proof | None = None
