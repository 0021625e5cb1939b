"""What the requirements share: the evidence, an instant, and the deadlines that they name."""

from __future__ import annotations

from datetime import datetime
from functools import cached_property
from typing import Any

from monitor.evidence.fold import Evidence
from monitor.evidence.intervals import Intervals
from monitor.evidence.mail import NEVER, Taken
from monitor.evidence.names import canonical
from monitor.verdict.baseline import Baseline, baseline
from monitor.verdict.memo import Memo
from monitor.verdict.model import Finding, RequirementName, State
from probes.observation import Plan, Policy, from_ms


class Context:
    """One judging at ``now`` (ms). ``deadlines`` collects instants at which time alone may change it;
    ``restless``: any instant may, since something was told of the future. ``memo``: what earlier ones left.
    """

    def __init__(self, evidence: Evidence, now: int, memo: Memo | None = None) -> None:
        self.evidence = evidence
        self.memo = memo
        self.now = now
        self.plan: Plan = evidence.plan
        self.policy: Policy = evidence.plan.policy
        self.deadlines: set[int] = set()
        self.restless = False
        self.horizon: int | None = None  # set by the horizon, read by arrivals
        self.arrivals_met = False  # set by arrivals, read by quiet
        self.bound: float | None = None

    @cached_property
    def hits(self) -> list[Taken]:
        """What counts against retirement: taken or put off by old; no canaries, no waived senders."""
        return [
            t
            for t in self.evidence.mail.old
            if (t.disposition != "rejected" or t.still_comes) and not self.waived(f"sender:{t.client}")
        ]

    @cached_property
    def baseline(self) -> Baseline | None:
        """What old took in covered time before the change; None where there was neither."""
        if self.memo is None:
            return baseline(self.evidence)
        mail, change = self.evidence.mail, self.evidence.first_change
        # What comes later than the change says nothing of the time before it.
        if not self.memo.has_baseline or change is None or mail.lowest < change:
            self.memo.baseline, self.memo.has_baseline = baseline(self.evidence), True
            mail.lowest = NEVER
        return self.memo.baseline

    def watched(self, side: str) -> Intervals:
        """Covered time of one side (:meth:`MailFacts.watched`)."""
        mail = self.evidence.mail
        if self.memo is None:
            return mail.watched(side, self.plan, self.evidence.waived)
        found = self.memo.watched.get(side)
        if found is None or found[0] != mail.covered_version:
            found = self.memo.watched[side] = (
                mail.covered_version, mail.watched(side, self.plan, self.evidence.waived)
            )  # fmt: skip
        return found[1]

    def due(self, instant: int) -> int:
        """Remember an instant; those that have passed are of no interest."""
        if instant > self.now:
            self.deadlines.add(instant)
        return instant

    def fresh(self, at: int | None) -> bool:
        """Whether a fact of ``at`` is younger than the policy's freshness."""
        return at is not None and self.now < self.due(at + int(self.policy.freshness * 1000))

    def waived(self, subject: str) -> bool:
        return subject in self.evidence.waivers

    def split(self, kind: str, subjects: tuple[str, ...]) -> tuple[list[str], list[str]]:
        """Those to judge, and those that a waiver took out."""
        judged = [s for s in subjects if not self.waived(f"{kind}:{s}")]
        return judged, [s for s in subjects if s not in judged]

    def authorities(self) -> tuple[list[str], list[str]]:
        judged, waived = self.split("authority", self.plan.authorities)
        return [canonical(a) for a in judged], waived


def found(
    name: RequirementName,
    state: State,
    code: str,
    eta: int | None = None,
    waived: list[str] | None = None,
    **args: Any,
) -> Finding:
    return Finding(
        name=name, state=state, code=f"{name}.{code}", args=args,
        eta=when(eta), waived=tuple(waived or ()),
    )  # fmt: skip


def when(ms: int | None) -> datetime | None:
    return None if ms is None else from_ms(ms)
