"""The watcher's own clock is set: what it passes over is no time, neither for caches nor for quiet."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.scenarios.test_verdict import finding, last
from tests.scenarios.world import NEW, OLD, START, World, cutover


def jumped(world: World, at: float, by: float) -> World:
    """Everything from ``at`` on bears the time of a clock that was set ``by`` seconds ahead then."""
    return world.add(at + by, "watcher", event="clock", detail=f"the wall clock jumped by {by:+.1f} s")


def turned(jump: float = 0) -> World:
    """Old with an hour of life until 300 s, then new; the clock jumps at 600 s."""
    world = World()
    for address in world.plan["authorities"]:
        world.authority(0, address, OLD, 3600).authority(270, address, OLD, 3600).authority(
            300, address, NEW, 3600
        )
    return jumped(world, 600, jump) if jump else world


@pytest.mark.parametrize(("jump", "end"), [(0.0, 3900), (1800.0, 5700), (7200.0, 11100), (-300.0, 3900)])
def test_the_horizon_moves_with_a_clock_that_is_set_ahead(jump: float, end: float) -> None:
    world = turned(jump)
    world.authority(700 + jump if jump > 0 else 700, "203.0.113.1", NEW, 3600)
    found = finding(last(world), "horizon")
    assert (found.state, found.eta) == ("unmet", START + timedelta(seconds=end))


def test_what_is_told_after_the_jump_has_its_time_by_the_new_clock() -> None:
    world = turned(1800)
    world.resolver(2500, "8.8.8.8", OLD, 3500)  # 100 s after the jump: until 6000, which is later than 5700
    assert finding(last(world), "horizon").eta == START + timedelta(seconds=6000)


def test_what_the_clock_passed_over_is_no_quiet_time() -> None:
    world = cutover(World(), until=600)
    assert finding(last(world), "quiet").state == "unmet"  # 300 of 600 s
    world.covered(600, 1000, "log:old", 100).covered(600, 1000, "log:new", 100)
    assert finding(last(world), "quiet").state == "met"
    jumped(world, 610, 380)  # from 610 to 990 in no time
    found = finding(last(world), "quiet")
    assert (found.state, found.args["quiet"]) == ("unmet", 320.0)


@pytest.mark.parametrize(
    "detail", ["", "it jumped", "+ s", "+1e9 s", "the wall clock jumped by -3600.0 s", "+x s"]
)
def test_a_detail_without_a_figure_moves_nothing(detail: str) -> None:
    world = turned().add(600, "watcher", event="clock", detail=detail)
    assert finding(last(world), "horizon").eta == START + timedelta(seconds=3900)
