"""Where pictures come from, and what has become of the task that makes them."""

from __future__ import annotations

from typing import Protocol

from monitor.exits import Failure
from monitor.snapshot import Snapshot


class Feed(Protocol):
    """``snapshot`` gives the newest picture at once (the same object while nothing is new), or None
    before the first. ``run`` works until cancelled; it may end or raise, the screen stays."""

    def snapshot(self) -> Snapshot | None: ...

    async def run(self) -> None: ...


def cause(error: BaseException) -> str:
    """The first real error in a group of them, as one line."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    text = " ".join(str(error).split())
    return text if isinstance(error, Failure) else f"{type(error).__name__}: {text}".rstrip(": ")
