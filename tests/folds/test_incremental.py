"""What is kept up by observation is what would be worked out from all of them, at every instant."""

from __future__ import annotations

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.evidence.again import whole
from monitor.lines import HEADS, Lines
from monitor.verdict.judge import Judge
from probes.observation import (
    BadObservation,
    Observation,
    Plan,
    ResolverAnswer,
    decode,
    encode,
    read_lines,
    to_ms,
)
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


@given(streams(60))
@settings(max_examples=150, deadline=None)
def test_answers_told_by_their_form_alone_are_judged_as_whole_ones(observations: list[Observation]) -> None:
    """Twice the same, so that every form, time, TTL and round trip has been there before."""
    plan = observations[0]
    assert isinstance(plan, Plan)
    told = [encode(seen) + b"\n" for seen in observations]
    lines = Lines()
    assert [whole(one) for one in lines.read(told)] == observations
    stream = list(lines.read(told))
    assert [whole(one) for one in stream] == observations
    for _, what, ttl, _ in stream:
        assert ttl is not None or not isinstance(what, ResolverAnswer) or what.outcome != "answer"
    one, other = Judge(plan), Judge(plan)
    wanted = [msgspec.to_builtins(j) for j in one.run(observations)]
    assert [msgspec.to_builtins(j) for j in other.follow(stream)] == wanted
    assert one.evidence.dns.resolvers == other.evidence.dns.resolvers


ANSWER = (
    b'2026-11-20T00:00:0%d.%03dZ","kind":"dns.resolver","resolver":"8.8.8.8","transport":"udp",'
    b'"name":"example.jp.","type":"MX","outcome":"answer","rrset":["10 mail.example.jp."],%s\n'
)
FIGURES = (
    b'"ttl":%s,"cache":null,"ede":[],"rtt_ms":%s}',
    b'"cache":"\\"ttl\\":5,","ede":[],"ttl":%s,"rtt_ms":%s}',
    b'"ttl":%s,"cache":null,"ede":[],"ttl":7,"rtt_ms":%s}',
    b'"x":{"ttl":%s},"ttl":5,"cache":null,"ede":[],"rtt_ms":%s}',
    b'"rtt_ms":1,"ttl":%s,"cache":null,"ede":[],"y":%s}',
    b'"ede":[],"rtt_ms":3,"cache":"a:\\"ttl\\":","ttl":%s, "z":%s}',
)
TEXTS = (
    b"1",
    b"2",
    b"01",
    b"-1",
    b" 2",
    b"+3",
    b"1_0",
    b"4.5",
    b"1e2",
    b"null",
    b"nan",
    b'"8"',
    b"9" * 11,
    b"",
)


@given(st.lists(st.tuples(*map(st.sampled_from, (HEADS, FIGURES, TEXTS, TEXTS))), max_size=12))
def test_lines_are_read_as_they_are_decoded(figures: list[tuple[bytes, bytes, bytes, bytes]]) -> None:
    """Whatever the figures look like, wherever they stand: the same observations, or the same complaint."""
    good: list[bytes] = []
    for n, (head, form, ttl, trip) in enumerate(figures):
        line = head + ANSWER % (n % 10, n, form % (ttl, trip))
        try:
            decode(line)
        except BadObservation as bad:
            assert {complaint(head, [*good, line]) for head in HEADS} == {bad.what}
        else:
            good.append(line)
    for head in HEADS:
        assert [whole(one) for one in Lines(head).read(good * 2)] == list(read_lines(good * 2))


def complaint(head: bytes, lines: list[bytes]) -> str:
    try:
        for _ in Lines(head).read(lines):
            pass
    except BadObservation as bad:
        return bad.what
    return "nothing"
