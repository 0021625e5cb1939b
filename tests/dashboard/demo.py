"""Look at the dashboard with sample pictures.

``python -m tests.dashboard.demo [NAME] [ja] [--svg VIEW=FILE WxH]``

Without a name it plays all pictures one after another, four seconds each.
"""

from __future__ import annotations

import asyncio
import sys
from datetime import timedelta

import msgspec

from monitor.dashboard.app import Dashboard
from monitor.snapshot import Snapshot
from monitor.wording import CATALOGUES, Language
from tests.dashboard import sample


class Tour:
    """Gives a new picture every second, its clock running on; another sample every four."""

    def __init__(self, names: list[str]) -> None:
        self._pictures = [sample.SAMPLES[name]() for name in names]
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


async def shoot(name: str, view: str, file: str, size: str, language: Language) -> None:
    """One view as an SVG file."""
    width, height = map(int, size.split("x"))
    app = Dashboard(sample.Still(sample.SAMPLES[name]()), language=language, clock=lambda: 0.0)
    async with app.run_test(size=(width, height)) as pilot:
        await pilot.press(view)
        await pilot.pause(0.2)
        app.save_screenshot(file)


def main(arguments: list[str]) -> None:
    for catalogue in CATALOGUES.values():
        sample.install(catalogue)
    language: Language = "ja" if "ja" in arguments else "en"
    names = [a for a in arguments if a in sample.SAMPLES] or list(sample.SAMPLES)
    if "--svg" in arguments:
        shot, size = arguments[arguments.index("--svg") + 1 :][:2]
        view, _, file = shot.partition("=")
        asyncio.run(shoot(names[0], view, file, size, language))
    else:
        Dashboard(Tour(names), language=language).run()


if __name__ == "__main__":
    main(sys.argv[1:])
