"""The one writer of a journal: batches of evidence, each whole or not there at all."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec
import sqlite_utils

from monitor.exits import Exit, Failure
from monitor.journal.chain import digest, line_row, sample_row
from monitor.journal.compact import Answer, Sample, pack, template, unpack
from monitor.journal.derived import Derived
from monitor.journal.lock import WriterLock
from monitor.journal.reader import Batch, Decoder, positions
from monitor.journal.schema import build, check, connect, failures
from probes.observation import (
    AuthorityAnswer,
    BadObservation,
    Mail,
    Observation,
    Operator,
    Plan,
    ResolverAnswer,
    Skip,
    decode,
    encode,
    now,
    to_ms,
)  # fmt: skip

_REMEMBERED = 50_000
REBUILD_BATCHES = 2000


class Journal:
    """Keeps observations. Raises ``Failure`` (74 disk full or failing, 65 not a journal or damaged) and
    :class:`Busy` while another process writes. Usable from any thread, one call at a time."""

    def __init__(self, path: Path, lock: WriterLock) -> None:
        self.path = path
        self._lock = lock
        self._turn = threading.Lock()
        self._ids: dict[str, tuple[int, Answer]] = {}
        try:
            with failures(path):
                self.database = self._opened()
                row = self.database.execute("SELECT number, digest FROM head").fetchone()
                self.number: int = row[0]
                self._digest: bytes = row[1]
        except BaseException:
            lock.release()
            raise
        self._derived = Derived(self.database)

    def _opened(self) -> sqlite_utils.Database:
        database = connect(self.path, "mode=rw")
        try:
            check(database, self.path)
            _durable(database)
        except BaseException:
            database.conn.close()
            raise
        return database

    @classmethod
    def create(cls, path: Path, plan: Plan) -> Journal:
        """A new journal whose first batch is ``plan``. It appears under its name only when it is whole."""
        lock, new = WriterLock(path), Path(f"{path}-new")
        try:
            if path.exists():
                raise Failure(f"{path} is there already; choose another name", Exit.IO)
            _built(new)
            first = cls(new, lock)
            first.keep([plan])
            first.database.conn.close()
            _named(new, path)
        except BaseException:
            lock.release()
            raise
        return cls(path, lock)

    @classmethod
    def open(cls, path: Path, wait: float = 0) -> Journal:
        """An existing journal, to go on writing. ``wait``: seconds to wait for another writer."""
        if not path.is_file():
            raise Failure(f"there is no journal {path}; mxcutover watch starts one", Exit.IO)
        return cls(path, WriterLock(path, wait))

    def keep(
        self, observations: Sequence[Observation], resume: Mapping[str, Any] | None = None
    ) -> Batch | None:
        """One batch of these and of what waits in the inbox, together with the ``resume`` values that
        they go with (JSON). When this returns, it is on disk. None when there was nothing to keep;
        the batch holds the observations as a reader will see them (times in whole milliseconds)."""
        with self._turn, failures(self.path):
            if not (observations or resume or self._inbox_waits()):
                return None
            self.database.execute("BEGIN IMMEDIATE")
            try:
                batch = self._write([*observations, *self._taken_from_inbox()], resume or {})
                self.database.execute("COMMIT")
            except BaseException:
                self._undo()
                raise
            if batch is not None:
                self.number, self._digest = batch.number, batch.digest
            return batch

    def _undo(self) -> None:
        self._ids.clear()
        self._derived.forget()
        if self.database.conn.in_transaction:
            with suppress(Exception):  # the first error is the one that matters
                self.database.execute("ROLLBACK")

    def _write(self, observations: list[Observation], resume: Mapping[str, Any]) -> Batch | None:
        self.database.conn.executemany(
            "INSERT INTO resume VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            [(key, json.dumps(value)) for key, value in resume.items()],
        )
        if not observations:
            return None
        rows = _Rows(self.number + 1)
        for seen in observations:
            self._place(rows, seen)
        return self._insert(rows)

    def _place(self, rows: _Rows, seen: Observation) -> None:
        try:
            if isinstance(seen, (AuthorityAnswer, ResolverAnswer)):
                sample = pack(seen)
                rows.add_sample(sample, *self._interned(sample.form))
            else:
                rows.add_line(encode(seen).decode(), seen)
        except (UnicodeError, ValueError, OverflowError, msgspec.MsgspecError) as error:
            # No probe's text may stop the record; what cannot be written is said.
            skip = Skip(at=seen.at, subject=type(seen).__name__, reason=f"cannot be written: {_plain(error)}")
            rows.add_line(encode(skip).decode(), skip)

    def _interned(self, form: str) -> tuple[int, Answer]:
        known = self._ids.get(form)
        if known is None:
            if len(self._ids) >= _REMEMBERED:
                self._ids.clear()
            answer = template(form)
            known = self._ids[form] = (self._answer_id(form), answer)
        return known

    def _answer_id(self, form: str) -> int:
        row = self.database.execute("SELECT id FROM answers WHERE form = ?", (form,)).fetchone()
        if row is None:
            statement = "INSERT INTO answers (form) VALUES (?) RETURNING id"
            row = self.database.execute(statement, (form,)).fetchone()
        return int(row[0])

    def _insert(self, rows: _Rows) -> Batch:
        kept_at = now()
        kept_ms = to_ms(kept_at)
        sha = digest(self._digest, rows.number, kept_ms, rows.hashed)
        many = self.database.conn.executemany
        many("INSERT INTO samples VALUES (?, ?, ?, ?, ?, ?)", rows.samples)
        many("INSERT INTO observations VALUES (?, ?, ?)", rows.lines)
        self.database.execute(
            "INSERT INTO batches VALUES (?, ?, ?, ?)", (rows.number, kept_ms, len(rows.hashed), sha)
        )
        self.database.execute("UPDATE head SET number = ?, digest = ?", (rows.number, sha))
        self._derived.add(rows.spans, rows.kinds)
        return Batch(number=rows.number, kept_at=kept_at, observations=tuple(rows.seen), digest=sha)

    # What a person said in another process

    def _inbox_waits(self) -> bool:
        return self.database.execute("SELECT 1 FROM inbox LIMIT 1").fetchone() is not None

    def _taken_from_inbox(self) -> list[Observation]:
        rows = self.database.execute("SELECT id, line FROM inbox ORDER BY id").fetchall()
        if rows:
            self.database.execute("DELETE FROM inbox WHERE id <= ?", (rows[-1][0],))
        return [_said(line) for _, line in rows]

    # Beside the evidence

    def positions(self) -> dict[str, Any]:
        """The ``resume`` values kept last, by key."""
        with self._turn, failures(self.path):
            return positions(self.database)

    def rebuild(self) -> None:
        """Make spans and summaries anew from the evidence, in one transaction."""
        with self._turn, failures(self.path):
            self._derived.forget()
            self.database.execute("BEGIN IMMEDIATE")
            try:
                self.database.execute("DELETE FROM spans")
                self.database.execute("DELETE FROM summaries")
                self._derive_all()
                self.database.execute("COMMIT")
            except BaseException:
                self._undo()
                raise

    def _derive_all(self) -> None:
        decoder, after = Decoder(self.database), 0
        while batches := decoder.batches(after, REBUILD_BATCHES):
            for batch in batches:
                rows = _Rows(batch.number)
                for seen in batch.observations:
                    self._place(rows, seen)
                self._derived.add(rows.spans, rows.kinds)
            after = batches[-1].number

    def close(self) -> None:
        """Fold the write-ahead log into the file as far as that works, and let the next writer in."""
        with self._turn:
            with suppress(Exception):
                self.database.conn.close()
            self._lock.release()

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.close()


class _Rows:
    """One batch on its way in: rows for each table, what the chain hashes, what readers will see."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.samples: list[tuple[int, int, int, int, int, int | float | None]] = []
        self.lines: list[tuple[int, int, str]] = []
        self.hashed: list[bytes] = []
        self.seen: list[Observation] = []
        self.spans: list[tuple[int, str, int, int]] = []
        self.kinds: list[tuple[int, str]] = []

    def add_sample(self, sample: Sample, id_: int, answer: Answer) -> None:
        seq = len(self.hashed)
        seen = unpack(answer, sample.at_ms, sample.ttl, sample.rtt)
        self.hashed.append(sample_row(seq, sample.at_ms, sample.ttl, sample.rtt, sample.form))
        self.samples.append((self.number, seq, sample.at_ms, id_, sample.ttl, sample.rtt))
        self.spans.append((id_, sample.form, sample.at_ms, sample.ttl))
        self._seen(seen, sample.at_ms)

    def add_line(self, line: str, original: Observation) -> None:
        seen, seq = decode(line), len(self.hashed)
        self.hashed.append(line_row(seq, line))
        self.lines.append((self.number, seq, line))
        self._seen(seen, to_ms(original.at))

    def _seen(self, seen: Observation, at_ms: int) -> None:
        self.seen.append(seen)
        self.kinds.append((at_ms, str(seen.__struct_config__.tag)))


def _built(new: Path) -> None:
    """An empty journal, readable by its owner only: it holds addresses and the canaries' key."""
    with failures(new):
        for suffix in ("", "-wal", "-shm", "-journal"):
            Path(f"{new}{suffix}").unlink(missing_ok=True)
        os.close(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        database = connect(new, "mode=rw")
        try:
            _durable(database)
            build(database)
        finally:
            database.conn.close()


def _named(new: Path, path: Path) -> None:
    """Give a complete journal its name; a link fails where something has come to stand there."""
    with failures(path):
        os.link(new, path)
        new.unlink()
        _sync_directory(path.absolute().parent)


def _durable(database: sqlite_utils.Database) -> None:
    """WAL, and a commit that returns only when the log is on the disk (FULL; fullfsync is macOS's)."""
    database.execute("PRAGMA journal_mode = WAL").fetchone()
    for pragma in ("synchronous = FULL", "fullfsync = 1", "checkpoint_fullfsync = 1"):
        database.execute(f"PRAGMA {pragma}")


def _sync_directory(directory: Path) -> None:
    fd = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _said(line: str) -> Observation:
    """A word from the inbox. Whatever else somebody put there is noted and let go."""
    with suppress(BadObservation):
        seen = decode(line)
        rescued = isinstance(seen, Mail) and seen.side == "new" and seen.source == "mailbox"
        if rescued or isinstance(seen, Operator):
            return seen
    return Operator(at=now(), action="note", subject="inbox", reason="an unreadable word was dropped")


def _plain(error: Exception) -> str:
    return str(error).encode("ascii", "backslashreplace").decode()[:200]
