"""The old log's history against ``pflogsumm`` and a ``mawk`` program with the same correlation.

Two logs, one in which 3 % of the lines are of messages for the domain and one with 20 %. In each round
everybody reads each of them once, one after the other, from the page cache. Counted is CPU time, since
all have one thread; ours without the interpreter's start. Memory is the peak of the whole process.
"""

from __future__ import annotations

import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from resource import RUSAGE_SELF, getrusage

import msgspec
from msgspec import Struct

from probes.observation import Mail, Observation
from probes.oldhost.files import LogReader
from probes.oldhost.reader import MailLog
from tests.benchmarks.mail.maillog import BEGIN, DOMAIN, Truth, write
from tests.benchmarks.mail.part import Bar, Part, least, most
from tests.servers.daemon import PATH

PEERS = ("mawk", "pflogsumm")
SHARES = (0.03, 0.2)
MEBI = 1_000_000
READ_AT = BEGIN + 14 * 86_400_000  # ms: when the logs are read, and were written
PROGRAM = Path(__file__).with_name("hits.awk")
Hits = dict[str, int]


class Scale(Struct, frozen=True):
    """Bytes of each log and of the largest, and how often each is read."""

    size: int
    largest: int
    rounds: int


FULL, SMALL = Scale(100 * MEBI, 1000 * MEBI, 7), Scale(12 * MEBI, 24 * MEBI, 1)


class Result(Struct):
    """CPU ``seconds`` of a run, its peak memory in KiB, and hits by "CLIENT DISPOSITION"."""

    seconds: float
    memory: int
    hits: Hits


def read(path: Path) -> Result:
    """Ours, in this process: the file's bytes to observations, as a watch reads its history."""
    hits: Counter[str] = Counter()
    log = MailLog(DOMAIN, zone="UTC")
    reader = LogReader(path, 0)
    reader.begin(None, history=True)
    started = time.process_time()
    while not (step := reader.step(READ_AT)).end:
        _count(hits, log.feed_text(step.text, step.near))
    _count(hits, log.flush())
    seconds = time.process_time() - started
    reader.close()
    return Result(seconds, getrusage(RUSAGE_SELF).ru_maxrss, dict(hits))


def _count(hits: Counter[str], seen: list[Observation]) -> None:
    for one in seen:
        if isinstance(one, Mail) and one.disposition != "rejected":
            hits[f"{one.client} {one.disposition}"] += 1


def ours(path: Path) -> Result:
    """In a process of its own. Raises ``SystemExit`` where it fails."""
    command = [sys.executable, "-m", "tests.benchmarks.mail.log", str(path)]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:
        raise SystemExit(f"log: exit {done.returncode}: {done.stderr.decode(errors='replace')[-2000:]}")
    return msgspec.json.decode(done.stdout, type=Result)


def peer(name: str, path: Path) -> Result:
    program = shutil.which(name, path=PATH) or name
    command = [program, "-f", str(PROGRAM), str(path)] if name == "mawk" else [program, str(path)]
    with tempfile.TemporaryFile("w+") as out:
        process = subprocess.Popen(command, stdout=out)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"{name}: exit {process.returncode}")
        out.seek(0)
        hits = _of_mawk(out.read()) if name == "mawk" else {}
    return Result(used.ru_utime + used.ru_stime, 0, hits)  # its memory is ours until it becomes a program


def _of_mawk(said: str) -> Hits:
    """A line each: ``12 client=host[192.0.2.1] delivered``."""
    found: Counter[str] = Counter()
    for count, address, how in re.findall(r"^(\d+) client=.*\[(.*)\] (\w+)$", said, re.M):
        found[f"{address} {how}"] += int(count)
    return dict(found)


def missing() -> list[str]:
    return [name for name in PEERS if not shutil.which(name, path=PATH)]


class Log(Struct):
    """One log and what everybody made of it, run by run."""

    path: Path
    truth: Truth
    runs: dict[str, list[Result]]

    def rate(self, name: str) -> float | None:
        """MB a second, median."""
        runs = self.runs.get(name)
        return statistics.median(self.truth.bytes / r.seconds / 1e6 for r in runs) if runs else None

    def times(self, name: str) -> float | None:
        """How many times this peer's speed ours is, median of the rounds."""
        pairs = zip(self.runs["ours"], self.runs.get(name, []), strict=False)
        ratios = [peers.seconds / our.seconds for our, peers in pairs]
        return statistics.median(ratios) if ratios else None


def measure(folder: Path, scale: Scale) -> list[Log]:
    logs = []
    for share in SHARES:
        path = folder / f"{share:.0%}.log"
        logs.append(Log(path, _written(path, scale.size, share), {"ours": []}))
    names = [name for name in PEERS if name not in missing()]
    for number in range(scale.rounds):
        for log in logs:
            log.runs["ours"].append(ours(log.path))
            for name in names:
                if name != "pflogsumm" or number < 3:  # it takes half a minute for what takes others a second
                    log.runs.setdefault(name, []).append(peer(name, log.path))
    return logs


def _written(path: Path, size: int, share: float) -> Truth:
    truth = write(path, size, share)
    os.utime(path, (READ_AT / 1000, READ_AT / 1000))
    return truth


def largest(folder: Path, scale: Scale) -> tuple[Truth, Result]:
    path = folder / "largest.log"
    truth = _written(path, scale.largest, SHARES[0])
    found = ours(path)
    path.unlink()
    return truth, found


def expected(truth: Truth) -> Hits:
    return {f"{client} {how}": count for (client, how), count in truth.hits.items()}


def wrong(logs: list[Log], big: tuple[Truth, Result]) -> list[str]:
    """Whose hits are not the generator's."""
    bad = [
        f"{name} in {log.path.name}"
        for log in logs
        for name, runs in log.runs.items()
        if name != "pflogsumm" and any(run.hits != expected(log.truth) for run in runs)
    ]
    return bad if big[1].hits == expected(big[0]) else [*bad, "ours in the largest log"]


def bars(logs: list[Log], big: Result) -> dict[str, Bar]:
    few, many = logs
    first = max(run.memory for run in few.runs["ours"])
    return {
        "log: times pflogsumm's speed, 3 % of the lines": least(few.times("pflogsumm"), 15),
        "log: times pflogsumm's speed, 20 % of the lines": least(many.times("pflogsumm"), 15),
        "log: times mawk's speed, 3 % of the lines": least(few.times("mawk"), 0.7),
        "log: times mawk's speed, 20 % of the lines": least(many.times("mawk"), 0.7),
        "log: MiB of memory at most": most(max(big.memory, first) / 1024, 80),
        "log: memory, the largest log to the small, times": most(big.memory / first, 1.2),
    }


def table(logs: list[Log], scale: Scale, big: tuple[Truth, Result]) -> list[str]:
    lines = [f"{scale.size // MEBI} MB of log, medians of {scale.rounds}; MB a second of CPU time"]
    lines.append(f"{'':12}" + "".join(f"{log.truth.share:>11.1%} of lines" for log in logs) + f"{'MiB':>8}")
    for name in ("ours", *PEERS):
        if name in missing():
            lines.append(f"{name:12} MISSING: not installed, not measured")
            continue
        rates = "".join(f"{log.rate(name) or 0:20.0f}" for log in logs)
        memory = max(r.memory for r in logs[0].runs[name]) / 1024
        lines.append(f"{name:12}{rates}{f'{memory:8.0f}' if memory else ''}")
    hits = " and ".join(str(sum(log.truth.hits.values())) for log in logs)
    lines.append(f"{hits} hits by client and disposition, as the generator knows them")
    rate = big[0].bytes / big[1].seconds / 1e6
    lines.append(f"{big[0].bytes / 1e6:.0f} MB: {rate:.0f} MB a second, {big[1].memory / 1024:.0f} MiB")
    return lines


def run(small: bool) -> Part:
    scale = SMALL if small else FULL
    with tempfile.TemporaryDirectory() as folder:
        logs = measure(Path(folder), scale)
        big = largest(Path(folder), scale)
    return Part(table(logs, scale, big), bars(logs, big[1]), wrong(logs, big))


if __name__ == "__main__":
    sys.stdout.buffer.write(msgspec.json.encode(read(Path(sys.argv[1]))))
