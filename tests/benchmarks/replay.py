"""A recorded watch judged again, against ``json.loads`` of its lines: ``python -m tests.benchmarks.replay``.

One million observations of 48 hours, every judging instant included; each is a process of its own, they take
turns, medians of CPU time count. ``--small`` (CI) judges a tenth, once, and fails for a wrong verdict only:
bars are for machines that do nothing else.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec
from msgspec import Struct

from tests.benchmarks.recorded import write

LOADS = "import json,sys\nfor line in open(sys.argv[1], 'rb'): json.loads(line)"
REPLAY = "import sys\nfrom monitor.cli import main\nsys.exit(main(['replay', sys.argv[1], '--json']))"


class Scale(Struct, frozen=True):
    """Observations of the long record and of the short one for comparison, and how often each is judged."""

    long: int
    short: int
    rounds: int


FULL, SMALL = Scale(1_000_000, 250_000, 3), Scale(100_000, 50_000, 1)


class Bar(Struct, frozen=True):
    value: float | None
    wanted: str
    ok: bool


class Run(Struct, frozen=True):
    """CPU seconds, the most memory in MB, the last line that was printed."""

    cpu: float
    memory: float
    last: bytes


def run(program: str, record: Path) -> Run:
    """One process. Raises ``SystemExit`` where it fails."""
    with tempfile.TemporaryFile() as out:
        process = subprocess.Popen([sys.executable, "-c", program, str(record)], stdout=out)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        lines = out.read().splitlines()
    if process.returncode:
        raise SystemExit(f"exit {process.returncode}")
    return Run(used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, lines[-1] if lines else b"")


class Result(Struct, frozen=True):
    lines: int
    loads: float
    replay: float
    memory: float
    short_memory: float
    verdict: str


def measure(scale: Scale, folder: Path) -> Result:
    long, short = folder / "long.jsonl", folder / "short.jsonl"
    lines = write(long, scale.long)
    write(short, scale.short)
    loads, replays = [], []
    for _ in range(scale.rounds):
        loads.append(run(LOADS, long))
        replays.append(run(REPLAY, long))
    return Result(
        lines,
        statistics.median(one.cpu for one in loads),
        statistics.median(one.cpu for one in replays),
        max(one.memory for one in replays),
        run(REPLAY, short).memory,
        msgspec.json.decode(replays[-1].last)["verdict"],
    )


def bars(result: Result) -> dict[str, Bar]:
    ratio = round(result.replay / result.loads, 2)
    growth = round(result.memory / result.short_memory, 2)
    return {
        "replay, times json.loads": Bar(ratio, "<= 2.5", ratio <= 2.5),
        "memory, MB": Bar(round(result.memory), "<= 150", result.memory <= 150),
        "memory, a quarter to all observations, times": Bar(growth, "<= 1.5", growth <= 1.5),
    }


def table(result: Result, found: Mapping[str, Bar]) -> Iterator[str]:
    def row(seconds: float) -> str:
        return f"{seconds:8.2f} s {seconds / result.lines * 1e6:8.2f} us a line"

    yield f"{result.lines} observations, the last verdict: {result.verdict}"
    yield f"{'json.loads':12}{row(result.loads)}"
    memory = f"{result.memory:.0f} MB, of the short one {result.short_memory:.0f} MB"
    yield f"{'replay':12}{row(result.replay)}  {memory}"
    for name, bar in found.items():
        yield f"{'ok  ' if bar.ok else 'FAIL'} {name}: {bar.value} (wanted {bar.wanted})"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--small", action="store_true", help="a tenth of it, once")
    parser.add_argument("--json", action="store_true", help="print the bars as one JSON object")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mxcutover-bench-") as folder:
        result = measure(SMALL if options.small else FULL, Path(folder))
    found = bars(result)
    if options.json:
        print(msgspec.json.encode(found).decode())
    else:
        print("\n".join(table(result, found)))
    wrong = result.verdict != "safe"
    if wrong:
        print(f"the last verdict should be safe, not {result.verdict}", file=sys.stderr)
    return int(wrong or not (options.small or all(bar.ok for bar in found.values())))


if __name__ == "__main__":
    sys.exit(main())
