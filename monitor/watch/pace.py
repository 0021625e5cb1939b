"""How often: jitter, back-off, a limit for each operator of resolvers, and work that starts again."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable

from monitor.printable import printable
from probes.observation import Skip, now

LOG = logging.getLogger(__name__)
FAILURES_BORNE = 3
LONGEST = 900.0
PLATFORM_GAP = 2.0
DEAD_AFTER, QUARANTINE = 12, 4
SAID_EVERY = 3600.0
_DAY = 86400.0
_RESTART_FIRST, _RESTART_LONGEST = 1.0, 300.0


def jittered(seconds: float) -> float:
    """``seconds`` give or take a tenth, so that questions never march in step."""
    return seconds * random.uniform(0.9, 1.1)


def heed() -> None:
    """Raise the cancellation that a task has had and lost: before Python 3.12 ``asyncio.wait_for``, which
    the DNS and SMTP clients use, drops one that comes at the moment its work is done."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


async def rest(seconds: float) -> None:
    """Sleep, unless this task is to end."""
    heed()
    await asyncio.sleep(seconds)


def gap(cadence: float) -> float:
    """Seconds between two questions to one platform, in a plan that asks a resolver each ``cadence``."""
    return min(PLATFORM_GAP, cadence / 4)


class Backoff:
    """After three failures in a row the pause doubles with each, up to ``longest``; after twelve whoever is
    asked is quarantined, and asked four times as rarely as that."""

    def __init__(self, every: float, longest: float = LONGEST) -> None:
        self.every = every
        self.longest = max(every, min(longest, every * 30))
        self.failures = 0

    def note(self, failed: bool) -> None:
        self.failures = self.failures + 1 if failed else 0

    @property
    def pause(self) -> float:
        if self.quarantined:
            return self.longest * QUARANTINE
        over = min(self.failures - FAILURES_BORNE, 30)
        return self.every if over <= 0 else min(self.every * 2.0**over, self.longest)

    @property
    def waiting(self) -> bool:
        return self.pause > self.every

    @property
    def quarantined(self) -> bool:
        return self.failures > DEAD_AFTER


class Skipped:
    """Says that somebody is asked less than planned: when that begins, when it becomes a quarantine, and once
    in ``period`` seconds while it lasts."""

    def __init__(self, period: float = SAID_EVERY) -> None:
        self._period = period
        self._state, self._said = "", 0.0

    def reason(self, backoff: Backoff, outcome: str) -> str | None:
        """For the record; None where there is nothing new to say."""
        state = "quarantined" if backoff.quarantined else "back-off" if backoff.waiting else ""
        now = time.monotonic()
        new = state != self._state or now - self._said >= self._period
        if state:
            self._said = now if new else self._said
        self._state = state
        if not state or not new:
            return None
        return f"{state}: {backoff.failures} times in a row {outcome}; next in {backoff.pause:.0f} s"


class Gates:
    """At most one question each ``gap`` seconds to a platform, however many addresses it has."""

    def __init__(self, gap: float) -> None:
        self._gap = gap
        self._free: dict[str, float] = defaultdict(float)
        self._queues: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    def slot(self, platform: str, now: float, questions: int = 1) -> float:
        """From when on so many questions, a gap apart, are this caller's alone; not before ``now``."""
        at = max(now, self._free[platform])
        self._free[platform] = at + self._gap * questions
        return at

    def used(self, platform: str, more: int) -> None:
        """So many questions were asked beyond the slot."""
        self._free[platform] += self._gap * max(0, more)

    async def enter(self, platform: str, questions: int = 1) -> None:
        """Wait for one's slot. Counted from when it really began: who wakes late brings no burst after it."""
        async with self._queues[platform]:
            wait = 1.0
            while wait > 0:
                wait = self._free[platform] - time.monotonic()
                await asyncio.sleep(max(0.0, wait))
            self.slot(platform, time.monotonic(), questions)


class Allowance:
    """At most ``daily`` in any 24 hours, all that share it together: a quarter of them at once, the rest
    evenly over the day (the generic cell rate algorithm)."""

    def __init__(self, daily: int) -> None:
        self._gap = _DAY / max(1.0, daily * 3 / 4)
        self._burst = self._gap * max(1, daily // 4)
        self._due = 0.0

    def take(self, clock: float) -> float:
        """Take one; for how many seconds it must wait from ``clock`` (of any steady clock) on."""
        self._due = max(self._due, clock) + self._gap
        return max(0.0, self._due - self._burst - clock)


def fault(subject: str, error: Exception) -> Skip:
    """A fault of ours, told on stderr and for the record; never what the world did."""
    kind = type(error).__name__
    LOG.warning("mxcutover: %s: %s: %s", printable(subject), kind, printable(str(error)))
    LOG.debug("where", exc_info=error)
    return Skip(at=now(), subject=subject, reason=f"the probe failed ({kind}); tried again")


async def again_and_again(
    subject: str, work: Callable[[], Awaitable[None]], put: Callable[..., Awaitable[None]]
) -> None:
    """Run ``work`` for ever. A fault in it is put on record by kind and told on stderr; it never ends the
    watch. Pauses double up to five minutes while it fails at once."""
    pause = _RESTART_FIRST
    while True:
        began = time.monotonic()
        try:
            await work()
        except Exception as error:
            await put(fault(subject, error))
        if time.monotonic() - began > 10 * pause:
            pause = _RESTART_FIRST
        await rest(jittered(pause))
        pause = min(pause * 2, _RESTART_LONGEST)
