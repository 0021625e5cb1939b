"""A recorded cutover from a JSON Lines file, judged again in order of time as it is read."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from heapq import merge
from itertools import chain, islice
from operator import itemgetter
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

from monitor.evidence.again import Seen, seen
from monitor.exits import Exit, Failure
from monitor.lines import HEADS, Lines, head_of
from monitor.verdict.judge import Judge
from monitor.verdict.model import Judgement
from probes.observation import BadObservation, Observation, Plan, decode, read_lines

BATCH = 512  # lines that are put in order at once
WINDOW = 300_000  # ms; lines that come no later than this are put in order on the way
RUN = 32 << 20  # bytes of lines that are sorted at once, where they come in any order


_at = itemgetter(0)


def read(path: Path) -> list[Observation]:
    """Observations in order of ``at``, ties in file order. Raises ``Failure`` 65 or 74."""
    with _failures(path), path.open("rb") as lines:
        observations = list(read_lines(lines))
    observations.sort(key=lambda seen: seen.at)
    return observations


def judge(observations: Iterable[Observation], source: str) -> Iterator[Judgement]:
    """Every judgement that changed something, and the last one. Raises ``Failure`` 65 without a plan.

    ``observations`` stand in order of time; those before the first plan are judged by that.
    """
    yield from _judge(map(seen, observations), source)


def _judge(stream: Iterator[Seen], source: str) -> Iterator[Judgement]:
    before: list[Seen] = []
    for one in stream:
        before.append(one)
        if isinstance(one[1], Plan):
            yield from Judge(one[1]).follow(chain(before, stream))
            return
    raise Failure(f"{source} holds no plan; its first line must be one", Exit.BAD_DATA)


def replay(path: Path) -> Iterator[Judgement]:
    """The same of a file, read as it is judged: what stands before a bad line has been judged by then.

    Raises ``Failure`` 65 or 74.
    """
    with _failures(path), path.open("rb") as lines:
        head = head_of(lines.readline(), lines.readline())
        lines.seek(0)
        late = lateness(lines, head)
        lines.seek(0)
        ordered = _sorted(lines) if late is None else _put_right(Lines(head).read(lines), late)
        yield from _judge(ordered, str(path))


@contextmanager
def _failures(path: Path) -> Iterator[None]:
    try:
        yield
    except BadObservation as bad:
        raise Failure(f"{path}, {bad}; mend or remove that line", Exit.BAD_DATA) from None
    except OSError as error:
        raise Failure(f"{path} cannot be read: {error.strerror}", Exit.IO) from None


def lateness(lines: Iterable[bytes], head: bytes) -> int | None:
    """How long (ms) after later ones a line comes at most; None: too long, or not to be seen at a glance.

    Stamps of one length in UTC that begin alike stand in order of time when they do so by their characters.
    """
    newest, late, end = head, 0, len(head) + 23
    after = end + 2
    for line in lines:
        stamp = line[:end]
        if line[end:after] == b'Z"' and stamp >= newest:
            newest = stamp
            continue
        other = _stamp(line)
        if other is None or not newest.startswith(head):
            return None
        if other >= newest[-23:] or newest == head:
            newest = head + other if other else newest
        elif other and (late := max(late, _between(other, newest[-23:]))) > WINDOW:
            return None
    return late if newest.startswith(head) else None


def _stamp(line: bytes) -> bytes | None:
    """Of a line that begins in either way; "" of a blank one."""
    for head in HEADS:
        begin = len(head)
        if line.startswith(head) and line[begin + 23 : begin + 25] == b'Z"':
            return line[begin : begin + 23]
    return None if line.strip() else b""


def _between(stamp: bytes, newest: bytes) -> int:
    try:
        earlier, later = (datetime.fromisoformat(one.decode("ascii")) for one in (stamp, newest))
    except ValueError:
        return WINDOW + 1
    return (later - earlier) // timedelta(milliseconds=1)


def _put_right(stream: Iterator[Seen], late: int) -> Iterator[Seen]:
    """In order of time, ties as they come, where none comes more than ``late`` ms after a later one."""
    waiting: list[Seen] = []
    told = 0
    while batch := list(islice(stream, BATCH)):
        waiting += batch
        waiting.sort(key=_at)
        if waiting[0][0] < told:
            raise BadObservation("the lines tell time in several ways, and out of order; sort them by time")
        ready = bisect_left(waiting, waiting[-1][0] - late, key=_at)
        yield from waiting[:ready]
        told = waiting[ready - 1][0] if ready else told
        del waiting[:ready]
    yield from waiting


def _sorted(lines: IO[bytes]) -> Iterator[Seen]:
    """Any order put right by way of sorted runs on disk."""
    with ExitStack() as open_files:
        runs, number = [], 0
        while chunk := lines.readlines(RUN):
            keyed = []
            for line in chunk:
                number += 1
                if line.strip():
                    keyed.append((decode(line, number).at, line if line.endswith(b"\n") else line + b"\n"))
            keyed.sort(key=lambda one: one[0])
            run = open_files.enter_context(TemporaryFile())
            run.writelines(line for _, line in keyed)
            run.seek(0)
            runs.append(map(seen, read_lines(run)))
        yield from merge(*runs, key=_at)
