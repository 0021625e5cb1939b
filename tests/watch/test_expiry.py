"""When a resolver is asked next, as a table: what is known goes in, an instant and a reason come out."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.evidence.dns import Dns
from monitor.watch.expiry import DRAWS, Next, Stage, hosts_due, hosts_new, next_question, rhythm, stage
from probes.observation import Plan, to_ms
from tests.benchmarks.asking import bars, measured
from tests.scenarios.world import NEW, OLD, OLD_IP, START, World

WHO = "8.8.8.8"
USUAL = rhythm(30, 900, 3, 2)
TURN = 7200.0
Told = tuple[float, tuple[str, ...], float]  # when, what, and when its record runs out


def known(world: World) -> tuple[Dns, Plan]:
    dns, seen = Dns(), world.observations()
    plan = seen[0]
    assert isinstance(plan, Plan)
    for one in seen[1:]:
        (dns.authority if one.__struct_config__.tag == "dns.authority" else dns.resolver)(one, plan)  # type: ignore[operator]
    return dns, plan


def world(told: Iterable[Told], *, turned: bool = False, half: bool = False, **more: object) -> World:
    made = World(resolvers=[WHO])
    for address in made.plan["authorities"]:
        made.authority(0, address, OLD, 3600)
        if turned or (half and address.endswith(".1")):
            made.authority(TURN, address, NEW, 3600)
    for at, rrset, ends in told:
        made.resolver(at, WHO, rrset, int(ends - at), **more)
    return made


def asked(made: World, **more: bool) -> tuple[float, str]:
    """In seconds from the start; and why."""
    dns, plan = known(made)
    found = next_question(dns.resolvers.get(WHO), stage(dns, plan), USUAL, **more)
    return (found.at - to_ms(START)) / 1000, found.why


def counting_down(until: float, ends: float) -> list[Told]:
    return [(until - 630 * n, OLD, ends) for n in reversed(range(12))]


OLD_AT_TURN = counting_down(7190, 9000)
TWO = [(t, OLD, 9000.0 + t % 2 * 500) for t in range(7000, 7190, 15)]
MANY_NEW = [(7300.0 + n * 40, NEW, 10900.0 + n % 2 * 50) for n in range(12)]


@pytest.mark.parametrize(
    ("made", "at", "why"),
    [
        pytest.param(world([]), None, "first", id="never asked"),
        pytest.param(world([(100, OLD, 3700)]), 127, "census", id="few answers yet"),
        pytest.param(world(counting_down(7000, 9000)), 7567, "fresh", id="before: as rarely as is fresh"),
        pytest.param(world(counting_down(7000, 7400)), 7401, "expiry", id="before: when it runs out"),
        pytest.param(world(counting_down(7000, 7100)), 7567, "fresh", id="before: no short TTL's slave"),
        pytest.param(world(OLD_AT_TURN, turned=True), 7757, "fresh", id="turned: it still counts down"),
        pytest.param(
            world([*OLD_AT_TURN, (8800, OLD, 9000)], turned=True), 9001, "expiry", id="turned: its end"
        ),
        pytest.param(
            world(counting_down(7000, 7100), turned=True), 7200, "turn", id="turned: it ran out before"
        ),
        pytest.param(
            world([*OLD_AT_TURN, (9001, NEW, 12601)], turned=True), 9028, "settle", id="first new answer"
        ),
        pytest.param(
            world([*OLD_AT_TURN, *((t, NEW, 12601) for t in (9001, 9031, 9061))], turned=True),
            9628, "fresh", id="settled",
        ),
        pytest.param(
            world([*OLD_AT_TURN, (8990, OLD, 9000), (9001, OLD, 9001)], turned=True), 9005, "chase",
            id="its end, and a second more by rounding",
        ),
        pytest.param(
            world([(t, OLD, t + 800) for t in range(7000, 7220, 15)], turned=True), 7330, "sample",
            id="no countdown",
        ),
        pytest.param(world(TWO, turned=True), 7200, "turn", id="several caches: whoever it may be"),
        pytest.param(
            world([*TWO, *MANY_NEW], turned=True), 7776, "sample", id="several: spread over time"
        ),
        pytest.param(
            world([*TWO, *MANY_NEW, (9001, OLD, 9500)], turned=True), 9005, "chase", id="several: one ran out"
        ),
        pytest.param(
            world([*OLD_AT_TURN, (9100, OLD, 9130)], turned=True), 9130, "overstaying", id="overstays"
        ),
        pytest.param(
            world([*OLD_AT_TURN, (13000, OLD, 13030)], turned=True), 13400, "overstaying", id="for an hour"
        ),
        pytest.param(
            world([*OLD_AT_TURN, (7300, NEW, 7900)], half=True), 7327, "settle", id="half turned"
        ),
    ],
)  # fmt: skip
def test_when(made: World, at: float | None, why: str) -> None:
    found = asked(made)
    assert found[1] == why
    assert at is None or found[0] == pytest.approx(at, abs=2)


def test_new_data_may_turn_back_while_an_authority_serves_old() -> None:
    told = [*counting_down(7190, 7250), *((t, NEW, 7900.0) for t in (7300, 7330, 7360))]
    assert asked(world(told, half=True)) == (7901, "expiry")
    assert asked(world(told, turned=True))[1] == "fresh"


def test_several_caches_are_sampled_until_ninety_draws_and_no_further() -> None:
    told = [(7201.0 + n * 35, NEW, 10800.0 + n % 2 * 60) for n in range(DRAWS)]
    assert asked(world([*TWO, *told[:-1]], turned=True))[1] == "sample"
    assert asked(world([*TWO, *told], turned=True))[1] == "fresh"
    assert 0.95**DRAWS < 0.01


def test_a_named_cache_last_heard_old_is_looked_for() -> None:
    made = world([(t, OLD, 7700) for t in range(7000, 7190, 15)], turned=True, cache="nrt")
    for n in range(20):
        made.resolver(7300 + n * 40, WHO, NEW, 3000, cache="sin")
    assert asked(made)[1] == "sample" and asked(made)[0] < 8060 + 60
    made.resolver(8100, WHO, NEW, 3000, cache="nrt")
    assert asked(made)[1] == "sample"  # the draws are still few


def test_the_domains_hosts_are_asked_where_an_answer_names_them_and_nowhere_else() -> None:
    dns, _ = known(world([(100, OLD, 3700)]))
    one, at = dns.resolvers[WHO], to_ms(START + timedelta(seconds=100))
    assert hosts_due(one, frozenset(), {}, at) == ("mail.example.jp.",) and hosts_new(one, {})
    just = {"mail.example.jp.": at}
    assert hosts_due(one, frozenset(), just, at + 60_000) == () and not hosts_new(one, just)
    assert hosts_due(one, frozenset({"mail.example.jp."}), just, at + 60_000) == ("mail.example.jp.",)
    assert hosts_due(one, frozenset(), just, at + 3_600_000) == ("mail.example.jp.",)
    assert hosts_due(None, frozenset(), {}, at) == ()


def test_a_planned_host_that_is_still_at_its_old_address_is_asked_with_every_mx() -> None:
    made = world([(100, NEW, 3700)]).resolver(101, WHO, [OLD_IP], 900, name="mx1.new.example.", type="A")
    dns, _ = known(made.resolver(105, WHO, NEW, 3595))
    at = to_ms(START + timedelta(seconds=110))
    assert hosts_due(dns.resolvers[WHO], frozenset(), {"mx1.new.example.": at}, at) == ("mx1.new.example.",)


def test_the_stage_follows_a_change_that_is_taken_back_and_made_again() -> None:
    made = World(resolvers=[WHO])
    at = to_ms(START)
    stages = []
    for time, rrset in ((0, OLD), (100, NEW), (200, OLD), (300, NEW)):
        for address in made.plan["authorities"]:
            made.authority(time, address, rrset, 60)
        dns, plan = known(made)
        stages.append(stage(dns, plan))
    one, two = (
        Stage(at + 100_000, at + 100_000, at + 160_000),
        Stage(at + 300_000, at + 300_000, at + 360_000),
    )
    assert stages == [Stage(), one, Stage(), two]


@given(
    st.lists(st.tuples(st.integers(1, 4000), st.booleans(), st.integers(0, 4000)), max_size=40),
    st.sampled_from(["none", "half", "all"]),
)
def test_never_sooner_than_the_platforms_gap_and_never_later_than_is_fresh(
    told: list[tuple[int, bool, int]], turned: str
) -> None:
    answers, at = [], 0
    for pause, old, ttl in told:
        at += pause
        answers.append((float(at), OLD if old else NEW, float(at + ttl)))
    made = world(answers, turned=turned == "all", half=turned == "half")
    dns, plan = known(made)
    found: Next = next_question(dns.resolvers.get(WHO), stage(dns, plan), USUAL, 0.5)
    if not told:
        assert found == Next(0, "first")
        return
    last = to_ms(START) + at * 1000
    assert last + USUAL.gap <= found.at and found.at + found.spread <= last + USUAL.fresh


def test_two_days_of_the_catalogue_cost_a_fifth_and_miss_nothing() -> None:
    """One world of the benchmark ``tests.benchmarks.asking``."""
    held = bars({3600.0: measured(3600.0, (1,))})
    assert all(bar["ok"] for bar in held.values()), held
