"""From observations to an explanation at one instant, and what switching off then would have cost."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from msgspec import Struct

from monitor.evidence.mail import Taken
from monitor.explain.chosen import chosen
from monitor.explain.trail import Trail
from monitor.verdict.context import Context
from monitor.verdict.judge import Judge
from monitor.verdict.model import REQUIREMENTS, Finding, Judgement, RequirementName
from probes.observation import Mail, Observation, Plan, Policy, to_ms


class Explained(Struct, frozen=True, kw_only=True):
    """One requirement: its state, and what was seen."""

    finding: Finding
    evidence: tuple[Observation, ...]


class Explanation(Struct, frozen=True, kw_only=True):
    """``at``: the instant that was asked about. ``needs``: the figures of what the requirements take.
    ``lost``: what old took from then until ``until``, which a server that is switched off would not have
    taken."""

    at: datetime
    until: datetime
    judgement: Judgement
    needs: dict[str, Any]
    requirements: tuple[Explained, ...]
    lost: tuple[Mail, ...]


def explain(observations: Iterable[Observation], at: datetime, names: Iterable[RequirementName] = ()) -> (
    Explanation | None
):  # fmt: skip
    """Explain the verdict of ``at`` from ``observations`` in order of time. None: no plan by then."""
    trail, rest, judge, until = Trail(), list[Observation](), None, at
    for seen in observations:
        if seen.at > at:
            rest.append(seen)
            until = seen.at
            continue
        trail.add(seen)
        if judge is None and isinstance(seen, Plan):
            judge = Judge(seen)
        if judge is not None:
            for _ in judge.fold(seen):
                pass
    if judge is None:
        return None
    for _ in judge.settle(to_ms(at)):
        pass
    return _explained(judge, trail, at, until, rest, tuple(names) or REQUIREMENTS)


def _explained(
    judge: Judge, trail: Trail, at: datetime, until: datetime, rest: list[Observation],
    names: tuple[RequirementName, ...],
) -> Explanation:  # fmt: skip
    judgement = judge.judge(to_ms(at))
    c = Context(judge.evidence, to_ms(at))
    c.horizon = None if judgement.horizon is None else to_ms(judgement.horizon)
    requirements = tuple(
        Explained(finding=finding, evidence=tuple(chosen(finding.name, c, trail)))
        for finding in judgement.findings if finding.name in names
    )  # fmt: skip
    return Explanation(
        at=at, until=until, judgement=judgement, needs=_needs(c.policy), requirements=requirements,
        lost=lost(judge, trail, rest, at),
    )  # fmt: skip


def _needs(policy: Policy) -> dict[str, Any]:
    """The policy's figures, as the sentences of what each requirement takes have them."""
    ceiling = 3 * policy.quiet_for if policy.quiet_ceiling is None else policy.quiet_ceiling
    return {
        "freshness": float(policy.freshness), "samples": policy.settle_samples,
        "quorum": f"{policy.quorum * 100:g} %", "streak": policy.canary_streak,
        "deadline": float(policy.canary_deadline), "quiet_for": float(policy.quiet_for),
        "bound": f"{policy.share_bound * 100:g} %", "ceiling": float(ceiling),
    }  # fmt: skip


def lost(judge: Judge, trail: Trail, rest: Iterable[Observation], at: datetime) -> tuple[Mail, ...]:
    """What old took for the domain after ``at``, canaries and rejected mail aside, in order of time.

    Read to the end first: one message may be told of twice, by its log and by its mailbox.
    """
    for seen in rest:
        trail.add(seen)
        judge.evidence.add(seen)
    after = [t for t in judge.evidence.mail.old if _taken_after(t, to_ms(at))]
    return tuple(trail.of("old", sorted(after, key=lambda t: t.at)))


def _taken_after(t: Taken, at: int) -> bool:
    return t.at >= at and t.disposition != "rejected" and t.origin != "canary"
