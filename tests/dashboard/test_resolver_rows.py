"""What a resolver's line says of the caches behind its address, and of its habits."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest

from monitor.dashboard.dns import RESOLVERS
from monitor.dashboard.scene import Scene
from monitor.snapshot import CacheRow, HabitRow, ResolverRow
from monitor.wording import Language
from tests.dashboard import sample

LONG = timedelta(minutes=12)


@pytest.fixture(autouse=True)
def _zone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()


def cell(title: str, row: ResolverRow, language: Language = "en") -> str:
    snapshot = sample.draining()
    column = next(c for c in RESOLVERS.columns if c.title == f"col.{title}")
    return column.cell(row, Scene(snapshot=snapshot, now=snapshot.now, language=language))[0]


def behind(*leads: str, name: str | None = "gpdns-sin", left: timedelta = LONG) -> ResolverRow:
    now = sample.draining().now
    caches = tuple(CacheRow(cache=name, leads=word, until=now + left, seen_at=now) for word in leads)  # type: ignore[arg-type]
    return sample.resolver("8.8.8.8", "Google", "new", 3, 700, caches=caches)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (behind(), ""),
        (behind(*["new"] * 8), "8 ✓"),
        (behind(*["new"] * 7, "old"), "1/8 ✗ until 21:26:07 gpdns-sin"),
        (behind(*["new"] * 7, "old", name=None), "1/8 ✗ until 21:26:07"),
        (behind("new", "old", left=-LONG), "1/2 ✗ gpdns-sin"),
        (behind("new", "old", left=-LONG, name=None), "2 ✓"),
    ],
)
def test_caches(row: ResolverRow, said: str) -> None:
    assert cell("caches", row) == said


def test_habits_and_the_last_answers_errors() -> None:
    habits = (HabitRow(habit="stale"), HabitRow(habit="caps", seconds=1800.0), HabitRow(habit="constant"))
    row = sample.resolver("192.0.2.53", "ISP", "old", 3, 30, habits=habits, ede=(3, 22))
    assert cell("habits", row) == "stale TTL≤30m TTL= 3,22"
    assert cell("habits", row, "ja") == "失効応答 TTL≤30m TTL一定 3,22"
