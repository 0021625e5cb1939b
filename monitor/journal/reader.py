"""Reading a journal while it is written, after its writer was killed, or from a copy that is read-only."""

from __future__ import annotations

import json
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any

import sqlite_utils
from msgspec import Struct

from monitor.exits import Exit, Failure
from monitor.journal.compact import Answer, template, unpack
from monitor.journal.schema import check, connect, failures
from probes.observation import BadObservation, Observation, Plan, decode, from_ms

CHUNK = 500  # batches read in one transaction
_REMEMBERED = 50_000


class Batch(Struct, frozen=True, kw_only=True):
    """What was kept in one transaction, in its order. ``digest``: the chain's SHA-256 up to here."""

    number: int
    kept_at: datetime
    observations: tuple[Observation, ...]
    digest: bytes


class Decoder:
    """Rows of evidence back to observations, remembering the answers it has decoded."""

    def __init__(self, database: sqlite_utils.Database) -> None:
        self._database = database
        self._answers: dict[int, Answer] = {}

    def answer(self, id_: int) -> Answer:
        if id_ not in self._answers:
            if len(self._answers) >= _REMEMBERED:
                self._answers.clear()
            row = self._database.execute("SELECT form FROM answers WHERE id = ?", (id_,)).fetchone()
            if row is None:
                raise ValueError(f"answer {id_} is missing")
            self._answers[id_] = template(row[0])
        return self._answers[id_]

    def batches(self, after: int, limit: int) -> list[Batch]:
        """The next ``limit`` batches. Raises ``ValueError`` where a row is not what was written."""
        heads = self._database.execute(
            "SELECT number, kept_ms, digest FROM batches WHERE number > ? ORDER BY number LIMIT ?",
            (after, limit),
        ).fetchall()
        if not heads:
            return []
        contents = self._contents(heads[0][0], heads[-1][0])
        return [
            Batch(
                number=number,
                kept_at=from_ms(kept_ms),
                digest=digest,
                observations=tuple(seen for _, seen in sorted(contents.get(number, ()), key=lambda r: r[0])),
            )
            for number, kept_ms, digest in heads
        ]

    def _contents(self, first: int, last: int) -> dict[int, list[tuple[int, Observation]]]:
        contents: dict[int, list[tuple[int, Observation]]] = {}
        for batch, seq, at_ms, answer, ttl, rtt in self._database.execute(
            "SELECT batch, seq, at_ms, answer, ttl, rtt FROM samples WHERE batch BETWEEN ? AND ?",
            (first, last),
        ):
            seen = unpack(self.answer(answer), at_ms, ttl, rtt)
            contents.setdefault(batch, []).append((seq, seen))
        for batch, seq, line in self._database.execute(
            "SELECT batch, seq, line FROM observations WHERE batch BETWEEN ? AND ?", (first, last)
        ):
            contents.setdefault(batch, []).append((seq, decode(line)))
        return contents


class JournalReader:
    """Reads a journal and never changes it. Raises ``Failure``: 74 cannot be read, 65 is not a journal."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._copy: tempfile.TemporaryDirectory[str] | None = None
        if not path.is_file():
            raise Failure(f"there is no journal {path}; mxcutover watch starts one", Exit.IO)
        with failures(path):
            self.database = self._opened()
        self._decoder = Decoder(self.database)

    def _opened(self) -> sqlite_utils.Database:
        try:
            return self._checked(connect(self.path, "mode=ro"))
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY):
                raise
        return self._from_read_only_place()

    def _from_read_only_place(self) -> sqlite_utils.Database:
        """SQLite reads a WAL database only where it may put its index file; else from a copy, which
        holds the write-ahead log of a killed writer as well."""
        self._copy = tempfile.TemporaryDirectory(prefix="mxcutover-")
        target = Path(self._copy.name) / "journal"
        try:
            for suffix in ("", "-wal"):
                source = Path(f"{self.path}{suffix}")
                if source.exists():
                    shutil.copyfile(source, f"{target}{suffix}")
            return self._checked(connect(target, "mode=rw"))
        except BaseException:
            self._copy.cleanup()
            raise

    def _checked(self, database: sqlite_utils.Database) -> sqlite_utils.Database:
        try:
            check(database, self.path)
        except BaseException:
            database.conn.close()
            raise
        return database

    def batches(self, after: int = 0) -> Iterator[Batch]:
        """Every batch past number ``after`` that is there now, in order; call again for what came since."""
        while chunk := self._chunk(after):
            yield from chunk
            after = chunk[-1].number

    def _chunk(self, after: int) -> list[Batch]:
        """One short read transaction, so that a slow taker never holds the writer's log back."""
        with failures(self.path):
            self.database.execute("BEGIN")
            try:
                return self._decoder.batches(after, CHUNK)
            except (BadObservation, ValueError, TypeError, KeyError) as error:
                raise Failure(
                    f"journal {self.path} holds evidence that cannot be read after batch {after} ({error}); "
                    "mxcutover verify names the batch",
                    Exit.BAD_DATA,
                ) from error
            finally:
                self.database.execute("COMMIT")

    def observations(self, after: int = 0) -> Iterator[Observation]:
        """All evidence past batch ``after`` in its order."""
        for batch in self.batches(after):
            yield from batch.observations

    def head(self) -> int:
        """The number of the newest batch."""
        with failures(self.path):
            return int(self.database.execute("SELECT number FROM head").fetchone()[0])

    def plan(self) -> Plan:
        """The newest plan in the evidence. Raises ``Failure`` 65 if there is none."""
        with failures(self.path):
            row = self.database.execute(
                "SELECT line FROM observations WHERE json_extract(line, '$.kind') = 'plan' "
                "ORDER BY batch DESC, seq DESC LIMIT 1"
            ).fetchone()
        plan = decode(row[0]) if row is not None else None
        if not isinstance(plan, Plan):
            raise Failure(f"journal {self.path} holds no plan", Exit.BAD_DATA)
        return plan

    def of_kind(self, kind: str) -> list[Observation]:
        """All evidence of one kind that is not an answer of DNS, in order: few and far between."""
        with failures(self.path):
            rows = self.database.execute(
                "SELECT line FROM observations WHERE json_extract(line, '$.kind') = ? ORDER BY batch, seq",
                (kind,),
            ).fetchall()
            try:
                return [decode(line) for (line,) in rows]
            except BadObservation as error:
                raise Failure(f"journal {self.path} holds a bad line ({error})", Exit.BAD_DATA) from error

    def close(self) -> None:
        self.database.conn.close()
        if self._copy is not None:
            self._copy.cleanup()

    def __enter__(self) -> JournalReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.close()


def positions(database: sqlite_utils.Database) -> dict[str, Any]:
    """Everything in ``resume``, by key."""
    return {key: json.loads(value) for key, value in database.execute("SELECT key, value FROM resume")}
