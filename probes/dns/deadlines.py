"""Many deadlines, one timer: things that expire at about the same time share a slot."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar

TICKS = 20  # a second; a deadline may be kept one tick too late


class Expiring(Protocol):
    """``slot``: the things that expire together with this one; out of it, it does not."""

    slot: set[Any]


Thing = TypeVar("Thing", bound=Expiring)


class Deadlines(Generic[Thing]):
    """Calls ``expired`` with what was added and is still in its slot, once its time is up."""

    def __init__(self, loop: asyncio.AbstractEventLoop, expired: Callable[[Thing], None]) -> None:
        self._loop, self._expired = loop, expired
        self._slots: dict[int, set[Thing]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._next = 0
        self._last = -1  # the slot that was used last: the next thing mostly goes there, too
        self._there: set[Thing] = set()

    def add(self, thing: Thing, at: float) -> None:
        """``at`` is of the loop's clock."""
        number = int(at * TICKS) + 1
        if number != self._last:
            self._last, self._there = number, self._slot(number)
        self._there.add(thing)
        thing.slot = self._there

    def _slot(self, number: int) -> set[Thing]:
        there = self._slots.get(number)
        if there is None:
            there = self._slots[number] = set()
            if self._timer is None or number < self._next:
                self._arm(number)
        return there

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._last = None, -1
        self._slots.clear()

    def _arm(self, number: int) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._next = number
        self._timer = self._loop.call_at(number / TICKS, self._turn)

    def _turn(self) -> None:
        self._timer, self._last = None, -1
        now = int(self._loop.time() * TICKS)
        for number in [n for n in self._slots if n <= max(now, self._next)]:
            there = self._slots.pop(number)
            while there:
                self._expired(there.pop())
        if self._slots and self._timer is None:
            self._arm(min(self._slots))
