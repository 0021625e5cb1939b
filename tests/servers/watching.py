"""``mxcutover`` as an administrator runs it: each command a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable, Collection
from itertools import groupby
from pathlib import Path

COMMAND = (sys.executable, "-c", "from monitor.cli import run; run()")
PATIENCE = 150.0  # seconds for a verdict; most of them wait for TTLs and quiet time


async def mxcutover(*arguments: str, codes: Collection[int] = (0,)) -> str:
    """One command to its end; what it printed. Raises ``AssertionError`` where it exits with another code."""
    process = await asyncio.create_subprocess_exec(*COMMAND, *arguments, stdout=PIPE, stderr=PIPE)
    async with asyncio.timeout(PATIENCE):
        output, errors = await process.communicate()
    assert process.returncode in codes, (arguments, process.returncode, errors.decode())
    return output.decode()


class Watching:
    """A headless watch while it runs, and what it has printed: a line for each change."""

    def __init__(self, process: Process) -> None:
        self.lines: list[str] = []
        self.states: dict[str, str] = {}
        self.errors = ""
        self._process = process
        self._news = asyncio.Condition()
        self._tasks = [asyncio.create_task(self._read()), asyncio.create_task(self._listen())]

    @property
    def verdicts(self) -> list[str]:
        """Each verdict that another one came before, in order."""
        return [word for word, _ in groupby(line.split()[1].rstrip(":") for line in self.lines)]

    async def until(self, holds: Callable[[Watching], object], what: str) -> None:
        """Wait for printed lines until ``holds``. Raises ``AssertionError`` where it never does, or where the
        watch ends."""
        try:
            async with asyncio.timeout(PATIENCE), self._news:
                while not holds(self):
                    assert not self._tasks[0].done(), f"the watch ended before: {what}"
                    await self._news.wait()
        except TimeoutError:
            raise AssertionError(f"never: {what}") from None

    async def verdict(self, word: str) -> None:
        await self.until(lambda w: w.verdicts and w.verdicts[-1] == word, word)

    async def stop(self) -> int:
        """As systemd does: SIGTERM. The exit code."""
        if self._process.returncode is None:
            self._process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(30):
            await asyncio.gather(*self._tasks)
            return await self._process.wait()

    def __str__(self) -> str:
        return "\n".join((*self.lines, "--- standard error", self.errors))

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            async with self._news:
                self._take(line.decode().rstrip("\n"))
                self._news.notify_all()
        async with self._news:
            self._news.notify_all()

    def _take(self, line: str) -> None:
        self.lines.append(line)
        for part in line.split(" | ")[1:]:
            requirement, state, *_ = part.split()
            self.states[requirement] = state.rstrip(":")

    async def _listen(self) -> None:
        assert self._process.stderr is not None
        async for line in self._process.stderr:
            self.errors += line.decode()


@contextlib.asynccontextmanager
async def watching(plan: Path) -> AsyncIterator[Watching]:
    """``mxcutover watch --headless PLAN``, ended at the end whatever happens. An exception on the way bears
    what it printed as a note."""
    process = await asyncio.create_subprocess_exec(
        *COMMAND, "watch", "--headless", str(plan), stdout=PIPE, stderr=PIPE, limit=2**20
    )
    watch = Watching(process)
    try:
        yield watch
    except BaseException as error:
        error.add_note(str(watch))
        raise
    finally:
        if process.returncode is None:
            process.kill()
        await asyncio.gather(*watch._tasks)
        await process.wait()
