"""200 and 1,000 mailboxes watched over TLS on a local Dovecot, against aioimaplib and against a poll.

One watcher after the other, each in a process of its own, watches the same users: first what they cost
that nobody writes to, then how long it takes from a delivery to its observation. What Dovecot itself takes
is what a bare connection in IDLE sees.
"""

from __future__ import annotations

import random
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence

import msgspec
from msgspec import Struct

from tests.benchmarks.mail.dovecot import Dovecot, running
from tests.benchmarks.mail.part import Bar, Part, least, most
from tests.benchmarks.mail.watchers import LOOK, POLL, Result, Task, version
from tests.benchmarks.server import Cores, pinned

PEER = "aioimaplib"
PATIENCE = 240.0


class Scale(Struct, frozen=True):
    """How many users, messages to them, seconds over which these are spread, and seconds of a poll and from
    one look to the next."""

    users: tuple[int, ...]
    messages: int
    seconds: float
    poll: float
    look: float = LOOK


FULL, SMALL = Scale((200, 1000), 120, 62.0, POLL), Scale((20,), 10, 4.0, 2.0)


def letter(number: int) -> bytes:
    """Its Message-ID tells when it was delivered."""
    return (
        "Received: from mta.a.example (mta.a.example [203.0.113.1])\n"
        f"\tby mail.bench.example (Postfix) with ESMTPS id Q{number}; Wed, 25 Nov 2026 08:59:43 +0000\n"
        f"From: x@a.example\nMessage-ID: <{time.time_ns()}.{number}@bench.example>\n\nText.\n"
    ).encode()


def watch(name: str, dovecot: Dovecot, users: Sequence[str], scale: Scale, core: int | None) -> Result:
    """One watcher's run. Raises ``SystemExit`` where it fails."""
    command = [sys.executable, "-m", "tests.benchmarks.mail.watchers", name]
    with pinned(core):
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
    assert process.stdin and process.stdout and process.stderr
    try:
        task = Task(dovecot.port, str(dovecot.ca), list(users), scale.poll, scale.look)
        process.stdin.write(msgspec.json.encode(task) + b"\n")
        process.stdin.flush()
        if process.stdout.readline() != b"READY\n":
            raise SystemExit(f"{name}: {process.stderr.read().decode(errors='replace')[-2000:]}")
        write(dovecot, users, scale)
        process.stdin.close()
        return msgspec.json.decode(process.stdout.readline(), type=Result)
    except msgspec.DecodeError:
        raise SystemExit(f"{name}: {process.stderr.read().decode(errors='replace')[-2000:]}") from None
    finally:
        process.kill()
        process.wait()


def write(dovecot: Dovecot, users: Sequence[str], scale: Scale) -> None:
    """Messages to users in turn, evenly over the time, and then as long as the slowest may take."""
    chosen = random.Random(1).sample(list(users) * (scale.messages // len(users) + 1), scale.messages)
    begun = time.monotonic()
    for number, user in enumerate(chosen):
        time.sleep(max(0.0, begun + scale.seconds * number / scale.messages - time.monotonic()))
        dovecot.deliver(user, letter(number))
    time.sleep(scale.poll + 3)


def bare(dovecot: Dovecot, many: int) -> list[float]:
    """Seconds that Dovecot takes to tell a connection in IDLE of a message."""
    session = dovecot.session("bare")
    session.select("INBOX", readonly=True)
    found = []
    for number in range(many):
        session.send(b"X1 IDLE\r\n")
        while not session.readline().startswith(b"+"):
            pass
        time.sleep(0.2 + 0.1 * (number % 5))
        begun = time.time()
        dovecot.deliver("bare", letter(number))
        while b"EXISTS" not in session.readline():
            pass
        found.append(time.time() - begun)
        session.send(b"DONE\r\n")
        while not session.readline().startswith(b"X1 "):
            pass
    session.shutdown()
    return found


def run(small: bool) -> Part:
    scale, cores = (SMALL if small else FULL), Cores.found()
    names = ["ours", *([PEER] if version(PEER) else []), "poll"]
    table: dict[tuple[str, int], Result] = {}
    with running(cores.server) as dovecot:
        own = bare(dovecot, 4 if small else 30)
        for many in scale.users:
            users = [f"u{number}" for number in range(many)]
            for name in names:
                table[name, many] = watch(name, dovecot, users, scale, cores.client)
    wrong = [f"{n} of {m} saw {len(r.delays)} messages" for (n, m), r in table.items()
             if len(r.delays) != scale.messages]  # fmt: skip
    return Part(lines=list(lines(table, own, scale)), bars=bars(table), wrong=wrong)


def bars(table: dict[tuple[str, int], Result]) -> dict[str, Bar]:
    found: dict[str, Bar] = {}
    for many in dict.fromkeys(many for _, many in table):
        mine, theirs, poll = table["ours", many], table.get((PEER, many)), table["poll", many]
        found |= {
            f"memory a mailbox of {many}, {PEER}'s times": least(theirs and theirs.memory / mine.memory, 5),
            f"CPU a login of {many}, times {PEER}'s": most(theirs and mine.login / theirs.login, 1),
            f"CPU of watching {many}, times {PEER}'s": most(theirs and mine.watching / theirs.watching, 1),
        } | {
            f"delay at {many}, {called}, times the poll's": most(_at(mine, n) / _at(poll, n), 1)
            for called, n in (("median", 50), ("99th percentile", 99))
        }
    return found


def _at(result: Result, percent: int) -> float:
    return percentile(result.delays or [float("inf")], percent)


def percentile(values: Sequence[float], percent: int) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]


def lines(table: dict[tuple[str, int], Result], own: Sequence[float], scale: Scale) -> Iterator[str]:
    yield f"mailboxes over TLS on a local Dovecot, {scale.messages} messages in {scale.seconds:g} s"
    yield (
        f"{'':11} {'boxes':>6} {'KB a box':>9} {'CPU ms a login':>15} {'CPU s watching':>15}"
        f" {'delay s: median':>16} {'p99':>7}"
    )
    for (name, many), r in table.items():
        yield (
            f"{name:11} {many:6} {r.memory / 1000:9.1f} {r.login * 1000:15.2f} {r.watching:15.2f}"
            f" {_at(r, 50):16.2f} {_at(r, 99):7.2f}"
        )
    if not version(PEER):
        yield f"{PEER:11} MISSING: not installed, not measured"
    told = f"median {statistics.median(own):.2f} s, p99 {percentile(own, 99):.2f} s"
    yield f"Dovecot's own delay in IDLE: {told}. Poll: every {scale.poll:g} s."
