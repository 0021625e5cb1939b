"""The verdict: seven findings and one word, at every instant at which any of them may change."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

import msgspec

from monitor.evidence.fold import Evidence
from monitor.verdict import dns, mail
from monitor.verdict.context import Context, when
from monitor.verdict.loose import loose_ends
from monitor.verdict.model import REQUIREMENTS, Finding, Judgement, VerdictWord
from probes.observation import Observation, Plan, from_ms, to_ms

DNS = ("authority", "horizon", "resolvers")


class Judge:
    """Folds observations in order of ``at`` and judges at each distinct ``at`` and passed deadline."""

    def __init__(self, plan: Plan) -> None:
        self.evidence = Evidence(plan)
        self._safe_since: int | None = None  # the generation of the change that was safe once
        self._deadlines: list[int] = []
        self._last: Judgement | None = None
        self.now: int | None = None
        self._judged: int | None = None

    def run(self, observations: Iterable[Observation]) -> Iterator[Judgement]:
        """Every judgement at which the verdict or a state changed, and one last at the end.

        ``observations`` stand in order of ``at``.
        """
        for seen in observations:
            yield from self.fold(seen)
        if self.now is not None:
            yield from self._changed(self.now)
            yield self.judge(self.now)

    def fold(self, seen: Observation) -> Iterator[Judgement]:
        """Fold one observation, none earlier than the one before; first judge what lies between."""
        at = to_ms(seen.at)
        if self.now is not None and at != self.now:
            yield from self.settle(at)
        self.now = at
        self.evidence.add(seen)

    def settle(self, until: int) -> Iterator[Judgement]:
        """Judge at the last observation's time, then at every deadline before ``until`` (ms)."""
        if self.now is None:
            return
        if self._judged != self.now:
            self._judged = self.now
            yield from self._changed(self.now)
        while self._deadlines and (due := self._deadlines[0]) < until:
            yield from self._changed(due)

    def _changed(self, now: int) -> Iterator[Judgement]:
        before = self._last
        c = Context(self.evidence, now)
        self._last = self._judgement(c)
        self._deadlines = sorted(c.deadlines)
        if self._last.verdict == "safe":
            self._safe_since = self.evidence.generation
        if before is None or _shape(before) != _shape(self._last):
            yield self._last

    def judge(self, now: int) -> Judgement:
        """The verdict at ``now`` (ms) with its loose ends; asking changes nothing."""
        c = Context(self.evidence, now)
        return msgspec.structs.replace(self._judgement(c), loose_ends=loose_ends(c))

    def _judgement(self, c: Context) -> Judgement:
        by_name: dict[str, Finding] = {
            "authority": dns.authority(c),
            "horizon": dns.horizon(c),
            "resolvers": dns.resolvers(c),
            "canaries": mail.canaries(c),
            "arrivals": mail.arrivals(c),
            "quiet": mail.quiet(c),
            "stragglers": mail.stragglers(c),
        }
        findings = tuple(by_name[name] for name in REQUIREMENTS)
        word, code, args = self._word(c, findings)
        return Judgement(
            at=from_ms(c.now), verdict=word, findings=findings, code=code, args=args, eta=_eta(findings),
            share_bound=c.bound, confidence=c.policy.confidence, changed_at=when(self.evidence.change),
            horizon=when(c.horizon),
        )  # fmt: skip

    def _word(self, c: Context, findings: tuple[Finding, ...]) -> tuple[VerdictWord, str, dict[str, str]]:
        """The first that holds, in the order of verdict.md."""
        alarm = self._alarm(c)
        if alarm is not None:
            return "alarm", alarm[0], alarm[1]
        word = self._calm_word(findings)
        return word, f"verdict.{word}", {}

    def _calm_word(self, findings: tuple[Finding, ...]) -> VerdictWord:
        unmet = [f.name for f in findings if f.state == "unmet"]
        if self.evidence.change is None:
            return "before"
        if unmet and self._safe_since == self.evidence.generation:
            return "regressed"
        if any(name in DNS for name in unmet):
            return "propagating"
        if unmet:
            return "draining"
        return "blind" if any(f.state == "unknown" for f in findings) else "safe"

    def _alarm(self, c: Context) -> tuple[str, dict[str, str]] | None:
        """The new side is broken, or an authority says something nobody planned."""
        if self.evidence.change is None:
            return None
        for address in c.authorities()[0]:
            known = self.evidence.dns.authorities.get(address)
            if dns.bogus(c, address) is not None:
                return "verdict.alarm_bogus", {"server": address}
            if known is None or known.sample is None or not c.fresh(known.sample.at):
                continue
            leads = self.evidence.dns.now_leads(f"authority:{address}", known.sample, c.plan)
            if leads in ("other", "none"):
                return f"verdict.alarm_{leads}", {"server": address}
        broken = mail.broken_route(c)
        return None if broken is None else (f"verdict.alarm_{broken[1]}", {"route": broken[0]})


def _shape(judgement: Judgement) -> tuple[str, ...]:
    return (judgement.verdict, *(f.state for f in judgement.findings))


def _eta(findings: tuple[Finding, ...]) -> datetime | None:
    """The latest of the requirements' etas; None where waiting is not enough for one of them."""
    waiting = [f.eta for f in findings if f.state in ("unmet", "unknown")]
    known = [eta for eta in waiting if eta is not None]
    return max(known) if known and len(known) == len(waiting) else None
