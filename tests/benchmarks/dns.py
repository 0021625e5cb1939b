"""The engine and its peers in one table: ``python -m tests.benchmarks.dns [--small] [--json]``.

20,000 MX questions over 200 addresses of one loopback server, medians of five runs that take turns. The
server has a core of its own, and each contender runs alone on another. ``--small`` (CI) asks less, once, and
fails for wrong answers only: bars are for machines that do nothing else.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence

import msgspec
from msgspec import Struct

from tests.benchmarks.contenders import CONTENDERS, PEERS, Result, Task, pairs, version
from tests.benchmarks.recognition import decoded_beyond_the_first
from tests.benchmarks.server import PORT, Cores, pinned, serving
from tests.servers.daemon import PATH

ADDRESSES = 200
DNSPERF, REPEATS = "dnsperf", 5
OURS = "sweep"
PATIENCE = 600.0


class Scale(Struct, frozen=True):
    """How much is measured: questions of a run, runs of each, questions of the run for memory."""

    queries: int
    rounds: int
    memory: int


FULL, SMALL = Scale(20_000, 5, 1_000_000), Scale(5_000, 1, 20_000)


class Bar(Struct, frozen=True):
    value: float | None
    wanted: str
    ok: bool


class Row(Struct, frozen=True):
    """Medians of one contender. ``right``: the least answers that were as they should be, in one run."""

    rate: float
    cpu: float
    right: int


Runs = dict[str, list[Result]]


def contend(name: str, task: Task, core: int | None) -> Result:
    """One run in a process of its own. Raises ``SystemExit`` where it fails."""
    with pinned(core):
        done = subprocess.run(
            [sys.executable, "-m", "tests.benchmarks.contenders", name],
            input=msgspec.json.encode(task), capture_output=True, timeout=PATIENCE, check=False,
        )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"{name}: exit {done.returncode}: {done.stderr.decode(errors='replace')[-2000:]}")
    return msgspec.json.decode(done.stdout, type=Result)


def dnsperf(task: Task, core: int | None) -> Result:
    """It asks one address only, and looks at the RCODE alone. It runs through the same questions several
    times, so that its own start does not count for much."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.writelines(f"{name.rstrip('.')} MX\n" for _, name in pairs(task))
        file.flush()
        command = [
            DNSPERF, "-s", task.addresses[0], "-p", str(PORT), "-d", file.name, "-n", str(REPEATS),
            "-c", "16", "-T", "1", "-q", "200",
        ]  # fmt: skip
        with pinned(core):
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert process.stdout is not None
        said = process.stdout.read()
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = status
    seconds = re.search(r"Run time \(s\): +([\d.]+)", said)
    right = re.search(r"NOERROR (\d+)", said)
    if seconds is None or right is None:
        raise SystemExit(f"dnsperf: {said[-2000:]}")
    cpu = used.ru_utime + used.ru_stime
    return Result(float(seconds[1]) / REPEATS, cpu / REPEATS, int(right[1]) // REPEATS)


def missing() -> list[str]:
    """What is not installed and so cannot be in the table."""
    peers = [peer for peer in PEERS if version(peer) is None]
    return peers if shutil.which(DNSPERF, path=PATH) else [*peers, DNSPERF]


def measure(scale: Scale, cores: Cores, addresses: Sequence[str]) -> Runs:
    """In each round everybody once, so that all see the machine in all of its moods."""
    task = Task(list(addresses), scale.queries)
    absent = missing()
    names = [name for name in (*CONTENDERS, DNSPERF) if name not in absent]
    runs: Runs = {name: [] for name in names}
    for _ in range(scale.rounds):
        for name in names:
            run = dnsperf(task, cores.client) if name == DNSPERF else contend(name, task, cores.client)
            runs[name].append(run)
    return runs


def rows(runs: Runs, scale: Scale) -> dict[str, Row]:
    return {
        name: Row(
            statistics.median(scale.queries / run.seconds for run in some),
            statistics.median(run.cpu / scale.queries * 1e6 for run in some),
            min(run.right for run in some),
        )
        for name, some in runs.items()
    }


def bars(table: Mapping[str, Row], memory: Result, late: int) -> dict[str, Bar]:
    """One that a missing peer belongs to is not reached: nobody knows."""
    ours, perf = table[OURS], table.get(DNSPERF)
    best = max(table[peer].rate for peer in PEERS) if table.keys() >= set(PEERS) else None
    first, last = memory.rss
    return {
        "queries a second, times dnspython's": _least(ours.rate / table["dnspython"].rate, 30),
        "queries a second, times the best peer's": _least(ours.rate / best if best else None, 1.5),
        "CPU a query, times dnsperf's": _most(ours.cpu / perf.cpu if perf else None, 2.5),
        "slow decodes when only id and TTLs change": _most(late, 0),
        "memory, 1,000 to all queries, times": _most(last / first, 1.05),
    }


def _least(value: float | None, wanted: float) -> Bar:
    return Bar(value and round(value, 2), f">= {wanted:g}", value is not None and value >= wanted)


def _most(value: float | None, wanted: float) -> Bar:
    return Bar(
        None if value is None else round(value, 3), f"<= {wanted:g}", value is not None and value <= wanted
    )


def lines(
    table: Mapping[str, Row], found: Mapping[str, Bar], scale: Scale, memory: Result, cores: Cores
) -> Iterator[str]:
    where = "each on a core of its own" if cores.client is not None else "NOT pinned to cores of their own"
    yield f"{scale.queries} MX questions over {ADDRESSES} addresses, medians of {scale.rounds}; {where}"
    yield f"{'':12} {'version':>9} {'queries/s':>10} {'CPU us/query':>13} {'answered rightly':>17}"
    for name, row in sorted(table.items(), key=lambda item: -item[1].rate):
        label = f"our {name}" if name in ("sweep", "ask") else name
        said = version(name) or ""
        yield f"{label:12} {said:>9} {row.rate:10.0f} {row.cpu:13.1f} {row.right:>9} of {scale.queries}"
    for name in missing():
        yield f"{name:12} MISSING: not installed, not measured"
    yield f"dnsperf asks one address and checks RCODEs. Memory: {memory.rss[0]} to {memory.rss[1]} KiB."
    yield ""
    for name, bar in found.items():
        yield f"{'ok  ' if bar.ok else 'FAIL'} {name}: {bar.value} (wanted {bar.wanted})"


def wrong(table: Mapping[str, Row], scale: Scale, memory: Result) -> list[str]:
    """Who did not answer rightly; a rate of wrong answers is none."""
    some = [name for name, row in table.items() if row.right != scale.queries]
    return some if memory.right == scale.memory else [*some, "memory"]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--small", action="store_true", help="a fraction of it, once")
    parser.add_argument("--json", action="store_true", help="print the bars as one JSON object")
    options = parser.parse_args()
    scale, cores = (SMALL if options.small else FULL), Cores.found()
    with serving(ADDRESSES, cores.server) as addresses:
        runs = measure(scale, cores, addresses)
        memory = contend(OURS, Task(addresses, scale.memory), cores.client)
        late = decoded_beyond_the_first(addresses[0], 100_000 if not options.small else 10_000)
    table = rows(runs, scale)
    found = bars(table, memory, late)
    if options.json:
        print(msgspec.json.encode(found).decode())
    else:
        print("\n".join(lines(table, found, scale, memory, cores)))
    bad = wrong(table, scale, memory)
    if bad:
        print(f"not all answers were right: {', '.join(bad)}", file=sys.stderr)
    return int(bool(bad) or not (options.small or all(bar.ok for bar in found.values())))


if __name__ == "__main__":
    sys.exit(main())
