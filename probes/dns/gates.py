"""How much is under way at once: places that a question takes while it is asked, all or none of them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable


class Gate:
    """``free`` places; ``waiting`` are those who want one, in turn: each tries anew when it is called."""

    __slots__ = ("free", "waiting")

    def __init__(self, limit: int) -> None:
        self.free = limit
        self.waiting: deque[Callable[[], None]] = deque()


Gates = tuple[Gate, ...]


def enter(gates: Gates) -> Gate | None:
    """Take a place at each of them; where one is full, it is returned and no place is taken."""
    for gate in gates:
        if gate.free <= 0:
            return gate
    for gate in gates:
        gate.free -= 1
    return None


def leave(gates: Gates) -> None:
    """Give the places back. Who waited for one either gets in, or waits at another gate from now on."""
    waited = False
    for gate in gates:
        gate.free += 1
        if gate.waiting:
            waited = True
    if waited:
        for gate in gates:
            while gate.waiting and gate.free > 0:
                gate.waiting.popleft()()


async def entered(gates: Gates) -> None:
    """Wait for a place at each. When cancelled, none is held."""
    full = enter(gates)
    if full is None:
        return
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def again() -> None:
        if not future.done():
            full = enter(gates)
            if full is None:
                future.set_result(None)
            else:
                full.waiting.append(again)

    full.waiting.append(again)
    try:
        await future
    except asyncio.CancelledError:
        if not future.cancelled():  # it was let in at the last moment
            leave(gates)
        raise
