"""Which copies were meant and which are done, so that a rescue killed at any moment copies nothing twice.

A small SQLite file of its own beside the journal (``JOURNAL.rescue``). An intent is on the disk before its
APPEND begins; it becomes ``done`` only when the copy was read back. Whoever finds an intent that is not done
looks on new first.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Literal

from msgspec import Struct

from monitor.exits import Exit, Failure
from monitor.journal.lock import Busy, WriterLock
from probes.observation import from_ms, now, to_ms

Stage = Literal["meant", "done", "differs"]
_Row = tuple[Stage, int, str, int | None, str]
_TABLE = """
CREATE TABLE IF NOT EXISTS copies (
  account TEXT NOT NULL, content TEXT NOT NULL, stage TEXT NOT NULL, at_ms INTEGER NOT NULL,
  folder TEXT NOT NULL, uid INTEGER, detail TEXT NOT NULL DEFAULT '',
  PRIMARY KEY (account, content)) WITHOUT ROWID
"""


class Copied(Struct, frozen=True, kw_only=True):
    """How far one copy came, and when; ``folder`` on new."""

    stage: Stage
    at: datetime
    folder: str
    uid: int | None
    detail: str


class Ledger:
    """One process at a time. Usable from any thread. Raises ``Failure`` 74 where the file cannot be had."""

    def __init__(self, journal: Path) -> None:
        self.path = Path(f"{journal}.rescue")
        try:
            self._lock = WriterLock(self.path)
        except Busy:
            raise Failure(f"another rescue is at work with {self.path}; let it end first", Exit.IO) from None
        self._turn = threading.Lock()
        try:
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
            self._database = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
            self._database.execute("PRAGMA synchronous = FULL")
            self._database.execute(_TABLE)
        except (OSError, sqlite3.Error) as error:
            self._lock.release()
            raise Failure(f"the rescue's ledger {self.path} cannot be used: {error}", Exit.IO) from None

    def of(self, account: str, content: str) -> Copied | None:
        row = self._run(
            "SELECT stage, at_ms, folder, uid, detail FROM copies WHERE account = ? AND content = ?",
            (account, content),
        )
        if row is None:
            return None
        return Copied(stage=row[0], at=from_ms(row[1]), folder=row[2], uid=row[3], detail=row[4])

    def put(
        self, account: str, content: str, stage: Stage, folder: str, uid: int | None = None, detail: str = ""
    ) -> None:
        """On the disk when this returns."""
        self._run(
            "INSERT OR REPLACE INTO copies VALUES (?, ?, ?, ?, ?, ?, ?)",
            (account, content, stage, to_ms(now()), folder, uid, detail[:500]),
        )

    def forget(self, account: str, content: str) -> None:
        """It was refused: nothing of it is on new."""
        self._run("DELETE FROM copies WHERE account = ? AND content = ?", (account, content))

    def _run(self, statement: str, values: tuple[object, ...]) -> _Row | None:
        with self._turn:
            try:
                row: _Row | None
                row = self._database.execute(statement, values).fetchone()
                return row
            except (sqlite3.Error, UnicodeError) as error:
                raise Failure(f"the rescue's ledger {self.path}: {error}", Exit.IO) from None

    def __enter__(self) -> Ledger:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._database.close()
        self._lock.release()
