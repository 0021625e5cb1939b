"""A recorded cutover from a JSON Lines file, judged again in order of time as it is read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from heapq import heappop, heappush, merge
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

from monitor.exits import Exit, Failure
from monitor.verdict.judge import Judge
from monitor.verdict.model import Judgement
from probes.observation import BadObservation, Observation, Plan, decode, read_lines, to_ms

WINDOW = 300_000  # ms; lines that come no later than this are put in order on the way
RUN = 32 << 20  # bytes of lines that are sorted at once, where they come in any order
HEAD, STAMP = b'{"at":"', slice(7, 30)  # where the format's own writers put the time


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
    before: list[Observation] = []
    rest = iter(observations)
    for seen in rest:
        before.append(seen)
        if isinstance(seen, Plan):
            yield from Judge(seen).run(_chain(before, rest))
            return
    raise Failure(f"{source} holds no plan; its first line must be one", Exit.BAD_DATA)


def _chain(before: list[Observation], rest: Iterator[Observation]) -> Iterator[Observation]:
    yield from before
    before.clear()
    yield from rest


def replay(path: Path) -> Iterator[Judgement]:
    """The same of a file, read as it is judged: what stands before a bad line has been judged by then.

    Raises ``Failure`` 65 or 74.
    """
    with _failures(path), path.open("rb") as lines:
        late = lateness(lines)
        lines.seek(0)
        if late is None:
            ordered = _sorted(lines)
        else:
            ordered = _put_right(read_lines(lines), late) if late else read_lines(lines)
        yield from judge(ordered, str(path))


@contextmanager
def _failures(path: Path) -> Iterator[None]:
    try:
        yield
    except BadObservation as bad:
        raise Failure(f"{path}, {bad}; mend or remove that line", Exit.BAD_DATA) from None
    except OSError as error:
        raise Failure(f"{path} cannot be read: {error.strerror}", Exit.IO) from None


def lateness(lines: Iterable[bytes]) -> int | None:
    """How long (ms) after later ones a line comes at most; None: too long, or not to be seen at a glance.

    Stamps of one length in UTC stand in order of time when they stand in order of their characters.
    """
    newest, late = b"", 0
    for line in lines:
        stamp = line[STAMP]
        if stamp >= newest and line[:7] == HEAD and line[17:18] == b"T" and line[30:32] == b'Z"':
            newest = stamp
        elif not (behind := _behind(line, newest)):
            if behind is None:
                return None
        elif (late := max(late, behind)) > WINDOW:
            return None
    return late


def _behind(line: bytes, newest: bytes) -> int | None:
    if not line.strip():
        return 0
    if line[:7] != HEAD or line[17:18] != b"T" or line[30:32] != b'Z"':
        return None
    try:
        return _ms(newest) - _ms(line[STAMP])
    except ValueError:
        return None


def _ms(stamp: bytes) -> int:
    return to_ms(datetime.fromisoformat(stamp.decode("ascii") + "+00:00"))


def _put_right(observations: Iterable[Observation], late: int) -> Iterator[Observation]:
    """In order of time, ties as they come, where none comes more than ``late`` ms after a later one."""
    waiting: list[tuple[int, int, Observation]] = []
    newest = 0
    for number, seen in enumerate(observations):
        at = to_ms(seen.at)
        newest = max(newest, at)
        heappush(waiting, (at, number, seen))
        while waiting[0][0] < newest - late:
            yield heappop(waiting)[2]
    while waiting:
        yield heappop(waiting)[2]


def _sorted(lines: IO[bytes]) -> Iterator[Observation]:
    """Any order put right by way of sorted runs on disk."""
    with ExitStack() as open_files:
        runs = []
        number = 0
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
            runs.append(read_lines(run))
        yield from merge(*runs, key=lambda seen: seen.at)
