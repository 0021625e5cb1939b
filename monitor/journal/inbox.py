"""How another process's word reaches the evidence: directly, or through the process that writes.

Operators speak so, and ``rescue`` tells so of each message that it has put on new and read back there.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from monitor.exits import Exit, Failure
from monitor.journal.lock import Busy
from monitor.journal.reader import JournalReader
from monitor.journal.schema import check, connect, failures
from monitor.journal.writer import Journal
from probes.observation import Mail, Operator, encode

Word = Operator | Mail

_POLL = 0.1


def post(path: Path, *words: Word, wait: float = 5) -> int:
    """The number of the batch in which the last of ``words`` was kept. Raises ``Failure`` 30 when the process
    that writes the journal did not take it within ``wait`` seconds; it stays in the inbox then."""
    try:
        return _written(path, words)
    except Busy:
        pass
    word = words[-1]
    with JournalReader(path) as reader:
        before = reader.head()
        _put(path, words)
        deadline = time.monotonic() + wait
        while time.monotonic() < deadline:
            number = _found(reader, word, before) or _drained(path, reader, word, before)
            if number is not None:
                return number
            time.sleep(_POLL)
    raise Failure(
        f"the process that writes {path} has not taken this up in {wait:g} s; "
        "it waits there and will be kept as soon as that one goes on",
        Exit.BLIND,
    )


def _written(path: Path, words: Sequence[Word]) -> int:
    with Journal.open(path) as journal:
        batch = journal.keep(words)
        assert batch is not None
        return batch.number


def _put(path: Path, words: Sequence[Word]) -> None:
    with failures(path):
        database = connect(path, "mode=rw")
        try:
            check(database, path)
            database.execute("PRAGMA synchronous = FULL")
            lines = [(encode(word).decode(),) for word in words]
            database.conn.executemany("INSERT INTO inbox (line) VALUES (?)", lines)
        finally:
            database.conn.close()


def _found(reader: JournalReader, word: Word, before: int) -> int | None:
    with failures(reader.path):
        row = reader.database.execute(
            "SELECT batch FROM observations WHERE batch > ? AND line = ? LIMIT 1",
            (before, encode(word).decode()),
        ).fetchone()
    return row[0] if row else None


def _drained(path: Path, reader: JournalReader, word: Word, before: int) -> int | None:
    """The writer may have gone since; then this process takes its place for one batch."""
    try:
        with Journal.open(path) as journal:
            journal.keep([])
    except Busy:
        return None
    return _found(reader, word, before)
