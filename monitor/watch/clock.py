"""Notices when the wall clock jumps: evidence is dated by it, deadlines are judged by it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from probes.observation import Watcher, now

TICK = 1.0
JUMP = 2.0  # seconds; NTP's slewing stays far below


def _steady() -> float:
    """Seconds that goes on counting while the machine sleeps, where there is such a clock: sleep is time."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if clock is None else time.clock_gettime(clock)


class Clock:
    """Compares the wall clock with the one that nobody sets."""

    def __init__(self, wall: Callable[[], float] = time.time, steady: Callable[[], float] = _steady) -> None:
        self._wall, self._steady = wall, steady
        self._offset = wall() - steady()

    def jump(self) -> float | None:
        """Seconds by which the wall clock has jumped since the last call, if it has."""
        offset = self._wall() - self._steady()
        jumped, self._offset = offset - self._offset, offset
        return jumped if abs(jumped) >= JUMP else None

    async def run(self, put: Callable[..., Awaitable[None]]) -> None:
        while True:
            await asyncio.sleep(TICK)
            jumped = self.jump()
            if jumped is not None:
                detail = f"the wall clock jumped by {jumped:+.1f} s"
                await put(Watcher(at=now(), event="clock", detail=detail))
