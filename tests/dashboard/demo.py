"""Look at the dashboard with sample pictures, or at a moment of a journal.

``python -m tests.dashboard.demo [NAME | JOURNAL@SECONDS] [ja] [--svg VIEW=FILE WxH]``

Without a name it plays all pictures one after another, four seconds each. ``JOURNAL@SECONDS`` is the picture
that a journal gave so long after its first observation: docs/dashboard.svg is one of a rehearsal,
``VIEW`` being the key that opens the view.
"""

from __future__ import annotations

import asyncio
import re
import sys
from datetime import timedelta
from pathlib import Path

import msgspec

from monitor.dashboard.app import Dashboard
from monitor.following import read
from monitor.journal import JournalReader
from monitor.snapshot import Snapshot
from monitor.wording import CATALOGUES, Language
from tests.dashboard import sample


class Tour:
    """Gives a new picture every second, its clock running on; another sample every four."""

    def __init__(self, names: list[str]) -> None:
        self._pictures = [picture(name) for name in names]
        self._now = self._pictures[0]

    def snapshot(self) -> Snapshot | None:
        return self._now

    async def run(self) -> None:
        second = 0
        while True:
            await asyncio.sleep(1)
            second += 1
            picture = self._pictures[second // 4 % len(self._pictures)]
            self._now = msgspec.structs.replace(picture, now=picture.now + timedelta(seconds=second))


def picture(name: str) -> Snapshot:
    """A sample by its name, or what ``JOURNAL@SECONDS`` showed."""
    if name in sample.SAMPLES:
        return sample.SAMPLES[name]()
    path, _, seconds = name.rpartition("@")
    with JournalReader(Path(path)) as reader:
        begun = next(iter(reader.batches())).observations[0].at
    return read(Path(path), begun + timedelta(seconds=float(seconds)))[0]


async def shoot(name: str, view: str, file: str, size: str, language: Language) -> None:
    """One view as an SVG file."""
    width, height = map(int, size.split("x"))
    app = Dashboard(sample.Still(picture(name)), language=language, clock=lambda: 0.0)
    async with app.run_test(size=(width, height)) as pilot:
        await pilot.press(view)
        await pilot.pause(0.2)
        drawn = app.export_screenshot()
    # Textual names fonts on somebody's server: nothing is to be fetched when the picture is opened.
    Path(file).write_text(re.sub(r"\s*@font-face \{.*?\}", "", drawn, flags=re.S))


def main(arguments: list[str]) -> None:
    for catalogue in CATALOGUES.values():
        sample.install(catalogue)
    language: Language = "ja" if "ja" in arguments else "en"
    names = [a for a in arguments if a in sample.SAMPLES or "@" in a] or list(sample.SAMPLES)
    if "--svg" in arguments:
        shot, size = arguments[arguments.index("--svg") + 1 :][:2]
        view, _, file = shot.partition("=")
        asyncio.run(shoot(names[0], view, file, size, language))
    else:
        Dashboard(Tour(names), language=language).run()


if __name__ == "__main__":
    main(sys.argv[1:])
