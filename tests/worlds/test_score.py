"""A sample of the score that ``make worlds`` prints: a world of each kind."""

from __future__ import annotations

from math import inf

import pytest

from tests.worlds.__main__ import main
from tests.worlds.score import OURS, Score, numbered, play, summary
from tests.worlds.table import by_kind, table

SEED, WORLDS = 20, 45


@pytest.fixture(scope="module")
def scores() -> list[Score]:
    return [play(kind, SEED, number) for kind, number in numbered(WORLDS)]


def test_safe_is_never_said_too_early_and_hardly_late(scores: list[Score]) -> None:
    assert [f"{s.kind}-{s.number}: {s.rows[OURS].reasons}" for s in scores if s.false] == []
    figures = summary(scores)
    assert figures["rules"][OURS]["said"] > 0.8 * WORLDS
    assert figures["bound"]["violated"] <= 0.05 * figures["bound"]["stated"]
    assert figures["late"]["median"] < 2, "of so few worlds; of ten thousand at most one"


def test_the_worlds_can_tell_a_bad_rule_from_a_good_one(scores: list[Score]) -> None:
    rules = summary(scores)["rules"]
    assert rules["first authority that matches"]["false"] > WORLDS / 3
    assert rules["all resolvers agree once"]["false"] > WORLDS / 5
    assert rules["wait 48 hours"]["false"] < rules["wait the TTL"]["false"]
    assert rules["wait 48 hours"]["median_wait_h"] == 48


def test_where_old_can_never_be_retired_it_is_never_said(scores: list[Score]) -> None:
    trapped = [s for s in scores if s.kind == "local-trap-for-ever"]
    assert trapped and all(s.rows[OURS].said == inf for s in trapped)


def test_the_table_has_a_line_for_each_rule_and_each_kind(scores: list[Score]) -> None:
    rules, by = table(summary(scores)), by_kind(scores)
    assert all(f"| {name} |" in rules for name in scores[0].rows)
    assert all(f"**{kind}**" in by for kind in {s.kind for s in scores})
    widths = {line.count("|") for line in by.splitlines()}
    assert len(widths) == 1


def test_the_command_prints_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--worlds", "2", "--kind", "plain"]) == 0
    assert "| mxcutover | 0 |" in capsys.readouterr().out
    assert main(["--write", "plain"]) == 2
