"""Does the evidence still fit its chain? Recomputes every digest from the stored rows themselves."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import sqlite_utils
from msgspec import Struct

from monitor.exits import Exit, Failure
from monitor.journal.chain import START, digest, line_row, sample_row
from monitor.journal.reader import JournalReader
from monitor.journal.schema import failures
from probes.observation import from_ms

_CHUNK = 1000


class Verified(Struct, frozen=True, kw_only=True):
    """Counts of evidence that fits; ``digest`` is the last one of the chain, hex."""

    batches: int
    observations: int
    first_kept: datetime | None
    last_kept: datetime | None
    digest: str


def verify(path: Path) -> Verified:
    """Walk the whole chain in one consistent view. Raises ``Failure`` 65 naming the first batch that
    does not fit, 74 when the file cannot be read."""
    with JournalReader(path) as reader:
        # Bytes, not text: a tampered row need not be UTF-8.
        reader.database.conn.text_factory = bytes
        with failures(path):
            reader.database.execute("BEGIN")
            return _Walk(path, reader.database).run()


class _Walk:
    def __init__(self, path: Path, database: sqlite_utils.Database) -> None:
        self._path, self._database = path, database
        self._number, self._digest = 0, START
        self._rows = 0
        self._times: list[int] = []

    def run(self) -> Verified:
        try:
            self._pages()
            self._chain()
            self._ends()
        except sqlite3.DatabaseError as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_IOERR:
                raise
            raise self._broken(f"its pages are damaged ({error})") from error
        times = [from_ms(t) for t in self._times]
        first, last = (times[0], times[-1]) if times else (None, None)
        return Verified(
            batches=self._number,
            observations=self._rows,
            first_kept=first,
            last_kept=last,
            digest=self._digest.hex(),
        )

    def _pages(self) -> None:
        """Walk the chain first where pages are damaged, so that a batch is named where one can be."""
        said = self._database.execute("PRAGMA quick_check(1)").fetchone()[0]
        if said != b"ok":
            self._chain()
            raise self._broken(f"SQLite finds the file damaged: {said.decode('utf-8', 'replace')}")

    def _chain(self) -> None:
        self._number, self._digest, self._rows, self._times = 0, START, 0, []
        while heads := self._database.execute(
            "SELECT number, kept_ms, count, digest FROM batches WHERE number > ? ORDER BY number LIMIT ?",
            (self._number, _CHUNK),
        ).fetchall():
            rows = self._stored(heads[0][0], heads[-1][0])
            for number, kept_ms, count, stored in heads:
                self._fits(number, kept_ms, count, stored, rows.pop(number, []))
            if rows:
                raise self._broken("rows stand there that belong to no batch")

    def _fits(
        self, number: int, kept_ms: int, count: int, stored: bytes, rows: list[tuple[int, bytes]]
    ) -> None:
        if number != self._number + 1:
            raise self._broken("it is missing")
        if count != len(rows) or [seq for seq, _ in rows] != list(range(len(rows))):
            raise self._broken(f"it should hold {count} observations in order, and does not")
        if digest(self._digest, number, kept_ms, (row for _, row in rows)) != stored:
            raise self._broken("its content is not what was written")
        self._number, self._digest = number, stored
        self._rows += len(rows)
        self._times = [*self._times[:1], kept_ms]

    def _stored(self, first: int, last: int) -> dict[int, list[tuple[int, bytes]]]:
        rows: dict[int, list[tuple[int, bytes]]] = {}
        for batch, seq, row in self._all(first, last):
            rows.setdefault(batch, []).append((seq, row))
        for stored in rows.values():
            stored.sort(key=lambda row: row[0] if isinstance(row[0], int) else -1)
        return rows

    def _all(self, first: int, last: int) -> Iterator[tuple[int, int, bytes]]:
        for batch, seq, *sample in self._database.execute(
            "SELECT batch, seq, at_ms, ttl, rtt, form FROM samples LEFT JOIN answers ON answers.id = answer "
            "WHERE batch BETWEEN ? AND ?",
            (first, last),
        ):
            yield batch, seq, sample_row(seq, *sample)
        for batch, seq, line in self._database.execute(
            "SELECT batch, seq, line FROM observations WHERE batch BETWEEN ? AND ?", (first, last)
        ):
            yield batch, seq, line_row(seq, line)

    def _ends(self) -> None:
        """The chain ends where ``head`` says, nothing stands outside it, and no answer is unused."""
        head = self._database.execute("SELECT number, digest FROM head").fetchone()
        if head is None or head[0] > self._number:
            raise self._broken("it is missing")
        if tuple(head) != (self._number, self._digest):
            raise self._broken("the record of where the chain ends does not fit it", self._number)
        for table in ("samples", "observations"):
            stray = self._database.execute(
                f"SELECT batch FROM {table} WHERE batch NOT BETWEEN 1 AND ? LIMIT 1", (self._number,)
            ).fetchone()
            if stray:
                raise self._broken("rows stand there that belong to no batch")
        unused = self._database.execute(
            "SELECT id FROM answers WHERE id NOT IN (SELECT answer FROM samples) LIMIT 1"
        ).fetchone()
        if unused:
            raise self._broken(f"answer {unused[0]} stands there and belongs to no batch", self._number)

    def _broken(self, why: str, batch: int | None = None) -> Failure:
        number = self._number + 1 if batch is None else batch
        return Failure(f"{self._path} does not verify: batch {number} does not fit: {why}", Exit.BAD_DATA)
