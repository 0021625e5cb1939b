"""Which reader a source takes, and whether it can be read at all. Blocking."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Protocol

from msgspec import Struct

from probes.logsource import Command, Files, Journal, Source, Ssh
from probes.oldhost import files
from probes.oldhost.child import CannotRun, Child
from probes.oldhost.files import LogReader, Step
from probes.oldhost.journald import journal
from probes.oldhost.stream import HEARTBEAT, Dialect, StreamReader, plain

FIRST_LINE = 20.0  # seconds that a program is given to show that it reads a log


class Reader(Protocol):
    """One log as a stream of steps, with a place to go on from, of the type ``PLACE``."""

    PLACE: ClassVar[type[Struct]]

    def begin(self, place: Any, history: bool) -> bool:
        """Where to start; whether that is just where ``place`` was."""
        ...

    def step(self, moment: int) -> Step: ...

    def place(self) -> Struct: ...

    def close(self) -> None: ...


def source_of(given: str | Path | Source) -> Source:
    return Files(Path(given)) if isinstance(given, (str, Path)) else given


def opened(
    source: Source, since: float, stamp: Callable[[bytes, int], int | None], heartbeat: float = HEARTBEAT
) -> Reader:
    """``since`` (seconds since the epoch): no older files. ``stamp``: when a line was written (ms).
    ``heartbeat``: seconds of silence after which a program is started again."""
    match source:
        case Files(path):
            return LogReader(path, since)
        case Command() | Journal():
            return StreamReader(dialect(source), stamp, heartbeat=heartbeat)
        case Ssh():
            raise NotImplementedError


def dialect(source: Command | Journal) -> Dialect:
    return plain(source.argv) if isinstance(source, Command) else journal(source.units)


def readable(source: Source) -> str | None:
    """Why a log cannot be read now, in a few words; None where it can."""
    match source:
        case Files(path):
            return files.readable(path)
        case Command() | Journal():
            return _shows(dialect(source))
        case Ssh():
            raise NotImplementedError


def _shows(asked: Dialect) -> str | None:
    """A program must show a line of the log before it is believed to read one."""
    try:
        child = Child(asked.argv(None, False))
    except CannotRun as error:
        return str(error)
    until = time.monotonic() + FIRST_LINE
    code, how, data = 0, "", b""
    try:
        while not data and (left := until - time.monotonic()) > 0:
            read = child.read(1 << 16, min(left, 1.0))
            if read is None:
                break
            data = read
    finally:
        code, how = child.close()
    if data:
        return None
    return how if code > 0 else f"shows no line within {FIRST_LINE:g} s"
