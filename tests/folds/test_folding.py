"""The running fold: order of arrival within a minute changes nothing, and the picture agrees with it."""

from __future__ import annotations

import random
from datetime import timedelta

import pytest

from monitor.folding import Fold
from probes.observation import Observation
from tests.scenarios.world import NEW, World, cutover


def shape(fold: Fold) -> list[tuple[str, ...]]:
    return [(j.verdict, *(f.state for f in j.findings)) for j in fold.changes]


def live(observations: list[Observation], order: list[Observation]) -> Fold:
    """Feed in this order; advance to just before the newest time seen so far, as a watch does."""
    fold = Fold()
    newest = observations[0].at
    for seen in order:
        fold.add(seen)
        newest = max(newest, seen.at)
        fold.advance(newest - timedelta(milliseconds=1))
    fold.advance(newest)
    return fold


@pytest.mark.parametrize("seed", range(3))
def test_the_end_does_not_depend_on_the_order_of_arrival_within_a_minute(seed: int) -> None:
    observations = cutover(World(), until=1000).observations()
    chance = random.Random(seed)
    late = sorted(observations[1:], key=lambda seen: seen.at.timestamp() + chance.uniform(0, 55))
    end = observations[-1].at
    straight = live(observations, observations)
    shuffled = live(observations, [observations[0], *late])
    one, two = straight.snapshot(end), shuffled.snapshot(end)
    assert one is not None and two is not None
    assert one.judgement == two.judgement
    assert one.authorities == two.authorities and one.resolvers == two.resolvers and one.routes == two.routes


def test_a_live_fold_says_what_replay_says() -> None:
    world = cutover(World())
    observations = world.observations()
    replayed = [(j.at, j.verdict) for j in world.judgements()[:-1]]
    fold = live(observations, observations)
    assert [(j.at, j.verdict) for j in fold.changes] == replayed


def test_the_picture_has_what_the_views_draw() -> None:
    world = cutover(World()).mail(1400, "old", "late", client="203.0.113.99", helo="mta.late.example")
    world.operator(1450, "waive", "route:mx", "no port 25 from here").canary(1460, "via-old", "old")
    observations = world.observations()
    shot = live(observations, observations).snapshot(observations[-1].at)
    assert shot is not None
    assert [a.leads for a in shot.authorities] == ["new", "new"]
    assert all(r.settled and r.answer == NEW for r in shot.resolvers)
    assert shot.last_old_mail is not None and shot.last_old_mail.helo == "mta.late.example"
    assert shot.clients[0].client == "203.0.113.99" and shot.clients[0].since == 1
    assert shot.routes[0].counts["old"] == 1 and shot.routes[0].streak == 0
    assert [w.subject for w in shot.waivers] == ["route:mx"]
    assert [s.message_id for s in shot.stragglers] == ["<late@sender.example>"]
    assert shot.shares[0].dns == 0.0 and any(s.mail == 1.0 for s in shot.shares)
    assert {e.code for e in shot.events} >= {
        "verdict.safe",
        "verdict.regressed",
        "event.waive",
        "canaries.trap",
    }
    assert shot.quiet_since is not None and shot.quiet_since.minute == 23
