"""One writer a journal: a lock that the kernel takes back when the writer dies, however it dies."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

from monitor.exits import Exit, Failure


class Busy(Failure):
    """Another process writes this journal."""


class WriterLock:
    """An flock on ``JOURNAL-lock``, never on the database itself: to close any descriptor of that file
    would drop the locks that SQLite holds on it. The file stays; only the lock on it has meaning."""

    def __init__(self, journal: Path, wait: float = 0) -> None:
        self._journal = journal
        try:
            self._fd = os.open(f"{journal}-lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise Failure(f"journal {journal}: its lock file: {error.strerror}", Exit.IO) from error
        self._take(time.monotonic() + wait)

    def _take(self, deadline: float) -> None:
        while True:
            try:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    holder = os.pread(self._fd, 20, 0).decode("ascii", "replace").strip()
                    os.close(self._fd)
                    raise Busy(self._said(holder), Exit.IO) from None
            time.sleep(0.05)
        self._sign()

    def _said(self, holder: str) -> str:
        who = f" (process {holder})" if holder.isdigit() else ""
        return f"{self._journal} is being written by another mxcutover{who}; attach to it, or stop it first"

    def _sign(self) -> None:
        """The holder's process id, for the message only; on a full disk it goes without."""
        try:
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)
        except OSError:
            pass

    def release(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
