"""What is kept up by observation is what would be worked out from all of them, at every instant."""

from __future__ import annotations

import msgspec
from hypothesis import given, settings

from monitor.verdict.judge import Judge
from probes.observation import Observation, Plan, to_ms
from tests.folds.oracle import Oracle, Shape
from tests.folds.streams import streams


def judged(observations: list[Observation]) -> tuple[Judge, list[Shape]]:
    plan = observations[0]
    assert isinstance(plan, Plan)
    judge = Judge(plan)
    changes = [j for seen in observations for j in judge.fold(seen)]
    changes += judge.settle(judge.now or 0)
    return judge, [(to_ms(j.at), j.verdict, tuple(f.state for f in j.findings)) for j in changes]


@given(streams())
@settings(max_examples=300, deadline=None)
def test_it_is_what_it_would_be_from_scratch(observations: list[Observation]) -> None:
    plan = observations[0]
    assert isinstance(plan, Plan)
    oracle = Oracle(plan)
    wanted = list(oracle.run(observations))
    judge, found = judged(observations)
    assert found == wanted
    last = to_ms(observations[-1].at)
    oracle._words._safe_since = judge._safe_since
    assert msgspec.to_builtins(judge.judge(last)) == msgspec.to_builtins(oracle._words.judge(last))
