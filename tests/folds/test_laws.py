"""What a verdict must never do, whatever it is told: laws over streams that nobody planned."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from monitor.verdict.judge import Judge
from monitor.verdict.model import Judgement
from probes.observation import Coverage, Mail, Observation, Operator, Plan, ResolverAnswer, to_ms
from tests.folds.streams import POLICIES, SUBJECTS, near_safe, streams
from tests.scenarios.world import ACCOUNT, OLD, World, cutover

Steps = list[tuple[int, Judgement]]
MANY = settings(max_examples=60, deadline=None)

# What a waiver of each kind may move. Horizon and baseline are grounds of others, and so move them, too.
MOVES = {
    "authority": {"authority"},
    "resolver": {"resolvers", "horizon", "arrivals", "quiet"},
    "route": {"canaries", "quiet"},
    "sender": {"quiet", "stragglers", "arrivals"},
    "account": {"quiet", "arrivals"},
    "message": {"stragglers"},
}


def judged(observations: list[Observation]) -> Steps:
    plan = observations[0]
    assert isinstance(plan, Plan)
    return [(to_ms(j.at), j) for j in Judge(plan).run(observations)]


def at_every(one: Steps, other: Steps) -> list[tuple[int, Judgement, Judgement]]:
    """Both at every instant at which either changes; from their first common one on."""
    found = []
    for instant in sorted({at for at, _ in (*one, *other)}):
        pair = [next((j for at, j in reversed(steps) if at <= instant), None) for steps in (one, other)]
        if pair[0] is not None and pair[1] is not None:
            found.append((instant, pair[0], pair[1]))
    return found


def with_one(observations: list[Observation], more: Observation) -> list[Observation]:
    return sorted([*observations, more], key=lambda seen: seen.at)


def never_safer(worse: list[Observation], better: list[Observation]) -> None:
    """Where the one that knows the worse is safe, so is the other."""
    for instant, one, other in at_every(judged(worse), judged(better)):
        assert one.verdict != "safe" or other.verdict == "safe", instant


def between(observations: list[Observation], part: float) -> Observation:
    """One of them in the latter half, past the change of a record that gets safe."""
    return observations[int((0.5 + part / 2) * (len(observations) - 1))]


@given(near_safe(), st.floats(0, 1), st.booleans(), st.integers(0, 600))
@MANY
def test_an_old_answer_more_is_never_safer(
    observations: list[Observation], part: float, named: bool, ttl: int
) -> None:
    place = between(observations, part)
    answer = ResolverAnswer(
        at=place.at, resolver="8.8.8.8", transport="udp", name="example.jp.", type="MX", outcome="answer",
        cache="a" if named else None, ede=(), rrset=OLD, ttl=ttl, rtt_ms=1,
    )  # fmt: skip
    never_safer(with_one(observations, answer), observations)


@given(near_safe(), st.floats(0, 1), st.sampled_from(("delivered", "relayed")))
@MANY
def test_a_hit_more_is_never_safer(observations: list[Observation], part: float, how: str) -> None:
    place = between(observations, part)
    hit = Mail(
        at=place.at, side="old", accepted_at=place.at, source="log", recipient=ACCOUNT, message_id="<more@x>",
        client="203.0.113.99", helo=None, origin="outside", disposition=how, queue_id=None,  # type: ignore[arg-type]
    )  # fmt: skip
    never_safer(with_one(observations, hit), observations)


@given(near_safe(), st.data())
@MANY
def test_what_speaks_for_it_taken_away_is_never_safer(
    observations: list[Observation], data: st.DataObject
) -> None:
    """A resolver's new answer, a landing, what was covered since the change, a waiver."""
    change = next(j.changed_at for _, j in reversed(judged(observations)))
    speaks = [
        n for n, seen in enumerate(observations)
        if (isinstance(seen, ResolverAnswer) and seen.rrset != OLD)
        or type(seen).__name__ == "CanaryLanded"
        or (isinstance(seen, Coverage) and change is not None and seen.from_ > change)
        or (isinstance(seen, Operator) and seen.action == "waive")
    ]  # fmt: skip
    assume(speaks)
    gone = data.draw(st.sampled_from(speaks))
    never_safer([seen for n, seen in enumerate(observations) if n != gone], observations)


@given(streams(), st.floats(0, 1), st.sampled_from(SUBJECTS))
@MANY
def test_a_waiver_moves_its_own_subject_alone(
    observations: list[Observation], part: float, subject: str
) -> None:
    place = observations[int(part * (len(observations) - 1))]
    waiver = Operator(at=place.at, action="waive", subject=subject, reason="said so")
    may = MOVES[subject.partition(":")[0]]
    for instant, one, other in at_every(judged(with_one(observations, waiver)), judged(observations)):
        moved = {f.name for f, g in zip(one.findings, other.findings, strict=True) if f.state != g.state}
        assert moved <= may, instant


@given(st.one_of(streams(), near_safe()))
@MANY
def test_time_alone_meets_only_what_has_an_eta_and_then(observations: list[Observation]) -> None:
    plan = observations[0]
    assert isinstance(plan, Plan)
    judge = Judge(plan)
    for seen in observations:
        judge.fold(seen)
    judge.settle(judge.now or 0)
    now = to_ms(observations[-1].at)
    later = judge.settle(now + 30 * 86_400_000)
    for before, after in pairwise([judge.judge(now), *later]):
        for was, found in zip(before.findings, after.findings, strict=True):
            if found.state == "met" and was.state != "met":
                assert was.eta == after.at, found.name


@given(st.one_of(streams(), near_safe()), st.data())
@MANY
def test_coverage_may_come_in_pieces(observations: list[Observation], data: st.DataObject) -> None:
    pieces: list[Observation] = []
    for seen in observations:
        long = isinstance(seen, Coverage) and seen.to > seen.from_ and not seen.not_understood
        if not isinstance(seen, Coverage) or not long or not data.draw(st.booleans()):
            pieces.append(seen)
            continue
        cut = seen.from_ + timedelta(
            milliseconds=data.draw(st.integers(0, to_ms(seen.to) - to_ms(seen.from_)))
        )
        halves = [msgspec.structs.replace(seen, to=cut), msgspec.structs.replace(seen, from_=cut)]
        pieces.extend(data.draw(st.permutations(halves)))
    assert [msgspec.to_builtins(j) for _, j in judged(pieces)] == [
        msgspec.to_builtins(j) for _, j in judged(observations)
    ]


@pytest.mark.parametrize("policy", POLICIES)
def test_the_records_do_get_safe(policy: dict[str, Any]) -> None:
    """Else the laws above would say nothing."""
    record = cutover(World(policy | {"share_bound": 1.0}), until=1400).observations()
    assert judged(record)[-1][1].verdict == "safe"
