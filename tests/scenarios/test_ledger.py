"""Earlier correspondents: who is one, where each was heard since, when it is due, and none forgotten."""

from __future__ import annotations

import pytest

from monitor.verdict.context import Context
from monitor.verdict.judge import Judge
from monitor.verdict.ledger import ledger, organisation
from monitor.verdict.model import SenderRow
from probes.observation import Plan, to_ms
from tests.scenarios.world import NEW, OLD, START, World

DAY = 86400.0
CHANGE = 28 * DAY


def rows(world: World, at: float = CHANGE + DAY) -> dict[str, SenderRow]:
    observations = world.observations()
    assert isinstance(observations[0], Plan)
    judge = Judge(observations[0])
    for seen in observations:
        for _ in judge.fold(seen):
            pass
    return {row.who: row for row in ledger(Context(judge.evidence, to_ms(START) + int(at * 1000)))}


def story() -> World:
    """Four weeks: one writes daily, one weekly, one once, one every hour; then the change."""
    world = World().authority(0, "203.0.113.1", OLD).authority(CHANGE, "203.0.113.1", NEW)
    for day in range(28):
        world.mail(day * DAY, "old", f"d{day}", client="203.0.113.1", helo="mta1.daily.example.com")
    for week in range(4):
        world.mail(week * 7 * DAY, "old", f"w{week}", client="203.0.113.2", helo="mx.weekly.co.jp")
    world.mail(10 * DAY, "old", "once", client="203.0.113.3", helo=None)
    for hour in range(24 * 28):
        world.mail(hour * 3600, "old", f"h{hour}", client="203.0.113.4", helo="[203.0.113.4]")
    return world.mail(DAY, "old", "mine", client="192.0.2.1", origin="local")


def test_each_is_named_with_its_rhythm_and_when_it_is_due() -> None:
    found = rows(story())
    assert list(found) == ["203.0.113.4", "example.com", "weekly.co.jp", "203.0.113.3"]
    assert {who: (row.before, row.state) for who, row in found.items()} == {
        "203.0.113.4": (672, "overdue"), "example.com": (28, "silent"), "weekly.co.jp": (4, "silent"),
        "203.0.113.3": (1, "silent"),
    }  # fmt: skip
    weekly, once = found["weekly.co.jp"], found["203.0.113.3"]
    assert weekly.gap == 7 * DAY and (weekly.expected - START).total_seconds() == 28 * DAY
    assert (once.expected - once.last_before).total_seconds() == CHANGE, "no oftener than all that was seen"


def test_another_machine_of_the_same_sender_on_new_is_the_sender() -> None:
    world = story().mail(CHANGE + 600, "new", "x", client="198.18.0.9", helo="mta7.daily.example.com")
    world.mail(CHANGE + 700, "new", "y", client="203.0.113.2", helo=None)
    found = rows(world)
    assert found["example.com"].state == "new" and found["example.com"].first_new is not None
    assert found["weekly.co.jp"].state == "new", "by an address that has called itself so before"


@pytest.mark.parametrize(("later", "state"), [(1200, "old"), (300, "new")])
def test_where_it_was_heard_last_counts(later: float, state: str) -> None:
    world = story().mail(CHANGE + 600, "new", "x", client="203.0.113.1", helo="mta1.daily.example.com")
    world.mail(CHANGE + later, "old", "still", client="203.0.113.1", helo="mta1.daily.example.com")
    row = rows(world)["example.com"]
    assert row.state == state and row.last_old is not None


def test_before_the_change_there_is_no_ledger() -> None:
    assert rows(World().mail(5, "old", 1)) == {}


@pytest.mark.parametrize(
    ("helo", "name"),
    [
        ("mail-ej1-f51.google.com", "google.com"), ("mx3.example.co.jp", "example.co.jp"),
        ("a.b.c.example.or.jp.", "example.or.jp"), ("example.jp", "example.jp"), ("co.jp", "co.jp"),
        ("MX.Example.COM", "example.com"), ("localhost", None), ("[192.0.2.1]", None), ("192.0.2.1", None),
        ("[IPv6:2001:db8::1]", None), ("a..b", None), ("", None), (None, None), ("x." * 200, None),
    ],
)  # fmt: skip
def test_the_organisation_behind_a_helo(helo: str | None, name: str | None) -> None:
    assert organisation(helo) == name
