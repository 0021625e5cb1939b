"""Logs that are read once, from beginning to end, for any number of domains: no place is kept."""

from __future__ import annotations

import glob
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from msgspec import Struct

from probes.observation import Observation, now, to_ms
from probes.oldhost.files import BROKEN, CHUNK, OPENERS
from probes.oldhost.lines import CUT
from probes.oldhost.reader import MailLog

STDIN = "-"
HEAD = 200  # lines in which the first and the last stamp are looked for
EDGE = 1 << 17  # bytes in which these lie


class Unreadable(Exception):
    """A file that cannot be read: which, and why in a few words."""


class Log(Struct):
    """One file: ``near`` (ms) is when its last line was written, or soon after; ``first`` its first stamp."""

    path: str
    near: int
    first: int


def found(names: Iterable[str], log: MailLog) -> list[Log]:
    """The files behind names, patterns and ``-``, in order of what is in them. Raises :class:`Unreadable`."""
    paths = dict.fromkeys(path for name in names for path in _matching(name))
    logs = [_headed(path, log) for path in paths]
    return sorted(logs, key=lambda one: (one.first, one.near))


def _matching(name: str) -> list[str]:
    if name == STDIN or Path(name).exists() or not glob.has_magic(name):
        return [name]
    matched = sorted(glob.glob(name))  # noqa: PTH207 (absolute patterns, too)
    if not matched:
        raise Unreadable(f"{name}: no such file")
    return matched


def _headed(path: str, log: MailLog) -> Log:
    if path == STDIN:
        return Log(path, to_ms(now()), 1 << 62)
    try:
        near = int(Path(path).stat().st_mtime * 1000)
        with _opened(path) as file:
            head = file.read(64 << 10).split(b"\n")[:HEAD]
    except BROKEN as error:
        raise Unreadable(f"{path}: {_why(error)}") from None
    stamps = (log.stamp(line, near) for line in head)
    return Log(path, near, next((at for at in stamps if at is not None), near))


def _opened(path: str) -> Any:
    opener = OPENERS.get(Path(path).suffix)
    return opener(Path(path), "rb") if opener else Path(path).open("rb")


def _why(error: Exception) -> str:
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return str(reason).lower()


def texts(log: Log) -> Iterator[bytes]:
    """Whole lines in pieces, each with its newline; what the file ends with is a line. Raises
    :class:`Unreadable`."""
    try:
        if log.path == STDIN:
            yield from _split(sys.stdin.buffer)
        else:
            with _opened(log.path) as file:
                yield from _split(file)
    except BROKEN as error:
        raise Unreadable(f"{log.path}: {_why(error)}") from None


def _split(file: IO[bytes]) -> Iterator[bytes]:
    """An over-long line is handed on as far as it is known, and its rest is passed over."""
    carry, skipping = b"", False
    while data := file.read(CHUNK):
        end = data.rfind(b"\n") + 1
        if end:
            text = b"".join((carry, memoryview(data)[:end]))
            yield text[text.index(b"\n") + 1 :] if skipping else text
            carry, skipping = data[end:], False
        else:
            carry += data
        if len(carry) > CUT:
            if not skipping:
                yield carry[:CUT] + b"\n"
            carry, skipping = b"", True
    if carry and not skipping:
        yield carry + b"\n"


def read(
    logs: Sequence[Log], readers: Sequence[MailLog], seen: Callable[[int, list[Observation]], None]
) -> tuple[int, int] | None:
    """Feed all files to each reader; ``seen`` is told what each (by its place) reports.

    Returns the first and the last stamp (ms), None where no line bore one. Raises :class:`Unreadable`.
    """
    first = last = None
    for log in logs:
        for text in texts(log):
            for place, reader in enumerate(readers):
                seen(place, reader.feed_text(text, log.near))
            stamps = _ends(text, log, readers[0])
            if stamps is not None:
                first = stamps[0] if first is None else min(first, stamps[0])
                last = stamps[1] if last is None else max(last, stamps[1])
    for place, reader in enumerate(readers):
        seen(place, reader.flush())
    return None if first is None or last is None else (first, last)


def _ends(text: bytes, log: Log, reader: MailLog) -> tuple[int, int] | None:
    """The stamps of the first and the last line of these that bear one."""
    head = (reader.stamp(line, log.near) for line in text[:EDGE].split(b"\n", HEAD)[:HEAD])
    tail = (reader.stamp(line, log.near) for line in reversed(text[-EDGE:].split(b"\n")[-HEAD - 1 : -1]))
    first = next((at for at in head if at is not None), None)
    last = next((at for at in tail if at is not None), None)
    return None if first is None or last is None else (first, last)
