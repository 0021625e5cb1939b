"""The screens: plain-text captures, a walk through every view, hostile text.

``UPDATE_SCREENS=1`` writes the captures anew; read them before they are committed.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import msgspec
import pytest
from textual.pilot import Pilot

from monitor.dashboard.app import Dashboard
from monitor.dashboard.bars import VIEWS
from monitor.snapshot import HitRow, Snapshot
from monitor.wording import CATALOGUES, Language
from tests.dashboard import sample

SCREENS = Path(__file__).parent / "screens"
EVIL = (
    "[/",
    "[red]x[/red]",
    "\x1b[2J\x1b]0;own\x07",
    "\u202egnp.exe",
    "\x9b31m",
    "x" * 10_000,
    "メール" * 400,
)


@pytest.fixture(autouse=True)
def _sentences(monkeypatch: pytest.MonkeyPatch) -> None:
    """The samples' own sentences, and clock times in one zone."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    for catalogue in CATALOGUES.values():
        for code in (probe := {}, sample.install(probe))[0]:
            monkeypatch.setitem(catalogue, code, probe[code])


def still(snapshot: Snapshot) -> Dashboard:
    return Dashboard(sample.Still(snapshot), clock=lambda: 0.0)


def text(app: Dashboard) -> str:
    """What stands on the screen, without its colours."""
    width, height = app.size
    lines = app.screen._compositor.render_strips()
    assert len(lines) == height and all(line.cell_length == width for line in lines)
    return "\n".join(line.text.rstrip() for line in lines) + "\n"


async def captured(snapshot: Snapshot, view: str, size: tuple[int, int]) -> str:
    app = still(snapshot)
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        await pilot.press(view)
        while app.here != VIEWS[int(view) - 1]:
            await pilot.pause()
        return await settled(app, pilot)


async def settled(app: Dashboard, pilot: Pilot[None]) -> str:
    """What stands there once drawing is over: the same after three ticks in a row."""
    shown: list[str] = []
    while len(shown) < 3 or len(set(shown[-3:])) > 1:
        await pilot.pause(0.05)
        app.tick()
        await pilot.pause()
        shown.append(text(app))
    return shown[-1]


@pytest.mark.parametrize(("name", "view"), [*(("draining", v) for v in "123456"), ("safe", "1")])
@pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=lambda s: f"{s[0]}x{s[1]}")
async def test_the_screen_is_as_it_was_read(name: str, view: str, size: tuple[int, int]) -> None:
    shown = await captured(sample.SAMPLES[name](), view, size)
    file = SCREENS / f"{name}-{view}-{size[0]}x{size[1]}.txt"
    if os.environ.get("UPDATE_SCREENS"):
        file.parent.mkdir(exist_ok=True)
        file.write_text(shown, "utf-8")
    assert shown == file.read_text("utf-8")


@pytest.mark.parametrize(
    ("language", "said"),
    [("en", "Port 53 is intercepted here since 21:"), ("ja", "から 53 番ポートは横取り中")],
)
async def test_that_port_53_is_intercepted_is_said_on_every_screen(language: Language, said: str) -> None:
    snapshot = sample.SAMPLES["draining"]()
    since = snapshot.now.replace(hour=21)
    app = Dashboard(sample.Still(msgspec.structs.replace(snapshot, intercepted=since)), language=language)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause(0.3)
        (line,) = (line for line in text(app).splitlines() if said in line.replace("\0", ""))
        assert not line.rstrip().endswith("…")


async def test_without_colour_the_same_words_stand_there(monkeypatch: pytest.MonkeyPatch) -> None:
    coloured = await captured(sample.SAMPLES["draining"](), "1", (80, 24))
    monkeypatch.setenv("NO_COLOR", "1")
    assert await captured(sample.SAMPLES["draining"](), "1", (80, 24)) == coloured


@pytest.mark.parametrize("name", list(sample.SAMPLES))
async def test_every_view_can_be_walked_with_the_keyboard(name: str) -> None:
    app = still(sample.SAMPLES[name]())
    async with app.run_test(size=(80, 24)) as pilot:
        seen = [app.here]
        for _ in VIEWS:
            await pilot.press("tab", "down", "pagedown", "k", "up")
            seen.append(app.here)
        await pilot.press("question_mark")
        assert app.here == "help"
        await pilot.press("escape", "slash", *"google", "enter", "escape", "s", "s", "q")
    assert set(seen) >= set(VIEWS) - {"help"}
    assert app.failure is None


@pytest.mark.parametrize("evil", EVIL, ids=range(len(EVIL)))
async def test_text_from_outside_stays_text(evil: str) -> None:
    shot = sample.SAMPLES["draining"]()
    hits = tuple(
        HitRow(accepted_at=shot.now, client=evil, helo=evil, recipient=evil, origin="outside",
               disposition="delivered", message_id=evil, queue_id=evil, source="log", counts=True)
        for _ in range(3)
    )  # fmt: skip
    shot = msgspec.structs.replace(shot, hits=hits, last_old_mail=hits[0])
    for view in "14":
        shown = await captured(shot, view, (120, 40))
        assert not any(c in shown for c in "\x1b\x07\x9b\u202e")
