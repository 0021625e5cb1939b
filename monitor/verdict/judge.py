"""The verdict: seven findings and one word, at every instant at which any of them may change."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime

import msgspec

from monitor.evidence.again import Again, Seen, seen, whole
from monitor.evidence.fold import Evidence
from monitor.verdict import dns, mail
from monitor.verdict.context import Context, when
from monitor.verdict.ledger import ledger
from monitor.verdict.loose import loose_ends
from monitor.verdict.model import REQUIREMENTS, Finding, Judgement, RequirementName, State, VerdictWord
from monitor.verdict.states import Alarm, States, alarm
from probes.observation import Observation, Plan, ResolverAnswer, from_ms, to_ms

Shape = tuple[str, ...]  # the verdict, then the state of each requirement
DNS = ("authority", "horizon", "resolvers")


class Judge:
    """Folds observations in order of ``at`` and judges at each distinct ``at`` and passed deadline."""

    def __init__(self, plan: Plan) -> None:
        self.evidence = Evidence(plan)
        self._states = States(self.evidence)
        self._again = Again(self.evidence.dns)
        self._safe_since: int | None = None  # the generation of the change that was safe once
        self._last: Shape | None = None
        self.now: int | None = None
        self.judged: int | None = None  # the latest instant that was judged

    def run(self, observations: Iterable[Observation]) -> Iterator[Judgement]:
        """Every judgement at which the verdict or a state changed, and one last at the end.

        ``observations`` stand in order of ``at``.
        """
        yield from self.follow(map(seen, observations))

    def follow(self, stream: Iterable[Seen]) -> Iterator[Judgement]:
        """The same of observations that may be told by their forms."""
        states, fold, now, settled = self._states, self._again.fold, self.now, self._states.settled
        for at, what, ttl, rtt in stream:
            if at != now:
                if now is not None and (states.stirred or states.due < at):
                    yield from self.settle(at)
                self.now = now = at
            if ttl is not None:
                form = fold(what, at, ttl, rtt, self.evidence.plan)
                if form is not None:
                    if form.leads != "new" or form.resolver not in settled:
                        states.answered(form.resolver, form.known)
                    continue
                what = whole((at, what, ttl, rtt))
            states.hear(what, self.evidence.add(what))
        if now is not None:
            yield from self._look(now)
            yield self.judge(now)

    def fold(self, seen: Observation) -> Sequence[Judgement]:
        """Fold one observation, none earlier than the one before; first judge what lies between."""
        at = to_ms(seen.at)
        changed: Sequence[Judgement] = ()
        if at != self.now:
            if self.now is not None and (self._states.stirred or self._states.due < at):
                changed = self.settle(at)
            self.now = at
        if isinstance(seen, ResolverAnswer):
            form = self._again.fold_whole(seen, self.evidence.plan)
            if form is not None:
                self._states.answered(form.resolver, form.known)
                return changed
        self._states.hear(seen, self.evidence.add(seen))
        return changed

    def settle(self, until: int) -> list[Judgement]:
        """Judge at the last observation's time, then at every deadline before ``until`` (ms)."""
        changed: list[Judgement] = []
        if self.now is None:
            return changed
        if self._states.stirred or self._states.due <= self.now:
            changed.extend(self._look(max(self.now, self.judged or 0)))
        while (due := self._states.due) < until:
            changed.extend(self._look(due))
        return changed

    def _look(self, now: int) -> list[Judgement]:
        """Judge again what may have changed by ``now``; the whole only where the verdict or a state did."""
        self.judged = now
        if not self._states.at(now):
            return []
        states = self._states.states
        word = self._word(self._states.alarm, states)[0]
        if word == "safe":
            self._safe_since = self.evidence.generation
        shape = (word, *states.values())
        if shape == self._last:
            return []
        self._last = shape
        return [self._judgement(Context(self.evidence, now, self._states.memo))]

    def judge(self, now: int) -> Judgement:
        """The verdict at ``now`` (ms) with what stands beside it; asking changes nothing."""
        c = Context(self.evidence, now, None if self._states.stirred else self._states.memo)
        senders = ledger(c)
        ends = loose_ends(c, senders)
        return msgspec.structs.replace(self._judgement(c), loose_ends=ends, senders=senders)

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
        word, code, args = self._word(alarm(c), {f.name: f.state for f in findings})
        return Judgement(
            at=from_ms(c.now), verdict=word, findings=findings, code=code, args=args, eta=_eta(findings),
            share_bound=c.bound, confidence=c.policy.confidence, changed_at=when(self.evidence.change),
            horizon=when(c.horizon),
        )  # fmt: skip

    def _word(
        self, found: Alarm | None, states: Mapping[RequirementName, State]
    ) -> tuple[VerdictWord, str, dict[str, str]]:
        """The first that holds, in the order of verdict.md."""
        if found is not None:
            return "alarm", found[0], found[1]
        word = self._calm_word(states)
        return word, f"verdict.{word}", {}

    def _calm_word(self, states: Mapping[RequirementName, State]) -> VerdictWord:
        if self.evidence.change is None:
            return "before"
        unmet = [name for name, state in states.items() if state == "unmet"]
        if unmet and self._safe_since == self.evidence.generation:
            return "regressed"
        if any(name in DNS for name in unmet):
            return "propagating"
        if unmet:
            return "draining"
        return "blind" if "unknown" in states.values() else "safe"


def _eta(findings: tuple[Finding, ...]) -> datetime | None:
    """The latest of the requirements' etas; None where waiting is not enough for one of them."""
    waiting = [f.eta for f in findings if f.state in ("unmet", "unknown")]
    known = [eta for eta in waiting if eta is not None]
    return max(known) if known and len(known) == len(waiting) else None
