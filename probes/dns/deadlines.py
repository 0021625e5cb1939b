"""Many deadlines, one timer: things that expire at about the same time share a slot."""

from __future__ import annotations

import asyncio
from typing import Protocol

TICK = 0.025  # seconds; a deadline may be kept so much too late


class Expiring(Protocol):
    """``slot`` is the deadlines' own: the number of the tick at which it expires."""

    slot: int

    def expire(self) -> None: ...


class Deadlines:
    """Calls ``expire`` of what was added and not dropped, once its time is up."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._slots: dict[int, set[Expiring]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._next = 0

    def add(self, thing: Expiring, at: float) -> None:
        """``at`` is of the loop's clock."""
        slot = thing.slot = int(at / TICK) + 1
        there = self._slots.get(slot)
        if there is None:
            self._slots[slot] = {thing}
            if self._timer is None or slot < self._next:
                self._arm(slot)
        else:
            there.add(thing)

    def drop(self, thing: Expiring) -> None:
        there = self._slots.get(thing.slot)
        if there is not None:
            there.discard(thing)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        self._slots.clear()

    def _arm(self, slot: int) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._next = slot
        self._timer = self._loop.call_at(slot * TICK, self._turn)

    def _turn(self) -> None:
        self._timer = None
        now = int(self._loop.time() / TICK)
        for slot in [s for s in self._slots if s <= max(now, self._next)]:
            for thing in self._slots.pop(slot):
                thing.expire()
        if self._slots:
            self._arm(min(self._slots))
