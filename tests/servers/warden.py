"""Runs one daemon and ends it with all its descendants: when told to, or when whoever started it has gone.

A program of its own (standard library only, run with ``-I -S``): ``warden.py PROGRAM ARGUMENT…``. Its
standard input is a pipe that the test holds: end of file there is the order to end everything, and comes
also when the test is killed. A daemon that forks away or makes its own session stays below the warden,
which is a child subreaper (prctl(2)).
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
PATIENCE = 8.0  # seconds from SIGTERM to SIGKILL


def main() -> int:
    libc = ctypes.CDLL(None)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    daemon = subprocess.Popen(
        sys.argv[1:],
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=lambda: libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0),  # noqa: PLW1509 - no threads
    )
    try:
        return attend(daemon)
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        end(daemon)


def attend(daemon: subprocess.Popen[bytes]) -> int:
    """Until the pipe is closed (0) or the daemon has ended of itself (its own code)."""
    while True:
        ready, _, _ = select.select([0], [], [], 0.2)
        if ready and not os.read(0, 4096):
            return 0
        if daemon.poll() is not None:
            return daemon.returncode or 1


def end(daemon: subprocess.Popen[bytes]) -> None:
    """Politely first: the daemon ends its own processes, and what it leaves behind is asked as well. What is
    left after a while is killed."""
    if daemon.poll() is None:
        daemon.terminate()
    deadline = time.monotonic() + PATIENCE
    orphaned = False
    while (left := below()) and time.monotonic() < deadline:
        if daemon.poll() is not None and not orphaned:
            orphaned = True
            send(signal.SIGTERM, left)
        reap()
        time.sleep(0.02)
    while left := below():
        send(signal.SIGKILL, left)
        reap()
        time.sleep(0.02)


def send(number: signal.Signals, pids: list[int]) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


def below() -> list[int]:
    """Every process under this one that still runs or waits to be reaped; orphans come to be its children."""
    found: list[int] = []
    look = [os.getpid()]
    while look:
        pid = look.pop()
        try:
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        except OSError:
            continue
        found += map(int, children)
        look += map(int, children)
    return found


def reap() -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return


if __name__ == "__main__":
    sys.exit(main())
