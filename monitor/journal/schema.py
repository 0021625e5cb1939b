"""The tables of a journal, how they are opened, and what SQLite's errors mean to a person.

Evidence (append-only): ``batches``, ``samples``, ``answers``, ``observations``; ``head`` says where the
chain ends. Derived (rebuilt from evidence at any time): ``spans``, ``summaries``. Not evidence: ``inbox``
(words that wait for the writer) and ``resume`` (where probes go on).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlite_utils

from monitor.exits import Exit, Failure

APPLICATION_ID = 0x4D58434F  # "MXCO"
VERSION = 1
BUSY_SECONDS = 10

# rtt: whole microseconds as INTEGER, else milliseconds as REAL; no type, so that SQLite keeps which.
EVIDENCE = """
CREATE TABLE batches (
  number INTEGER PRIMARY KEY, kept_ms INTEGER NOT NULL, count INTEGER NOT NULL, digest BLOB NOT NULL);
CREATE TABLE answers (id INTEGER PRIMARY KEY, form TEXT NOT NULL UNIQUE);
CREATE TABLE samples (
  batch INTEGER NOT NULL, seq INTEGER NOT NULL, at_ms INTEGER NOT NULL, answer INTEGER NOT NULL,
  ttl INTEGER NOT NULL, rtt, PRIMARY KEY (batch, seq)) WITHOUT ROWID;
CREATE TABLE observations (
  batch INTEGER NOT NULL, seq INTEGER NOT NULL, line TEXT NOT NULL, PRIMARY KEY (batch, seq)) WITHOUT ROWID;
CREATE TABLE head (one INTEGER PRIMARY KEY CHECK (one = 1), number INTEGER NOT NULL, digest BLOB NOT NULL);
INSERT INTO head VALUES (1, 0, zeroblob(32));
"""

DERIVED = """
CREATE TABLE spans (
  id INTEGER PRIMARY KEY, answer INTEGER NOT NULL, first_ms INTEGER NOT NULL, last_ms INTEGER NOT NULL,
  count INTEGER NOT NULL, first_ttl INTEGER NOT NULL, last_ttl INTEGER NOT NULL);
CREATE INDEX spans_answer ON spans (answer);
CREATE TABLE summaries (
  hour_ms INTEGER NOT NULL, kind TEXT NOT NULL, count INTEGER NOT NULL,
  PRIMARY KEY (hour_ms, kind)) WITHOUT ROWID;
"""

OTHER = """
CREATE TABLE inbox (id INTEGER PRIMARY KEY AUTOINCREMENT, line TEXT NOT NULL);
CREATE TABLE resume (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE VIEW dns AS
  SELECT samples.batch, samples.seq, samples.at_ms, samples.ttl, answers.form
  FROM samples JOIN answers ON answers.id = samples.answer;
"""

APPEND_ONLY = ("batches", "answers", "samples", "observations")

_SAID = {
    sqlite3.SQLITE_FULL: "the disk is full; what was kept is safe. Free some space and start again",
    sqlite3.SQLITE_IOERR: "reading or writing failed, or a size limit was reached; what was kept is safe",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened; check that it exists and that you may read its directory",
    sqlite3.SQLITE_READONLY: "it cannot be written; check the permissions of the file and its directory",
    sqlite3.SQLITE_PERM: "access is denied; check the permissions of the file and its directory",
    sqlite3.SQLITE_BUSY: "another process has held it for too long; try again",
    sqlite3.SQLITE_LOCKED: "another process has held it for too long; try again",
}


def connect(path: Path, options: str) -> sqlite_utils.Database:
    """A database on ``path`` with explicit transactions; ``options`` are SQLite's URI parameters."""
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?{options}",
        uri=True,
        timeout=BUSY_SECONDS,
        isolation_level=None,
        check_same_thread=False,
    )
    return sqlite_utils.Database(connection, use_counts_table=False)


def build(database: sqlite_utils.Database) -> None:
    """All tables, the triggers that hold evidence append-only, and the marks of the format."""
    database.conn.executescript(EVIDENCE + DERIVED + OTHER)
    for table in APPEND_ONLY:
        for event in ("UPDATE", "DELETE"):
            database.execute(
                f"CREATE TRIGGER {table}_{event.lower()} BEFORE {event} ON {table} "
                "BEGIN SELECT RAISE(ABORT, 'evidence is append-only'); END"
            )
    database.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    database.execute(f"PRAGMA user_version = {VERSION}")


def check(database: sqlite_utils.Database, path: Path) -> None:
    """Raise ``Failure`` 65 unless this is a journal that this program can read."""
    if database.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
        raise Failure(f"{path} is not a journal of mxcutover", Exit.BAD_DATA)
    version = database.execute("PRAGMA user_version").fetchone()[0]
    if version != VERSION:
        raise Failure(
            f"{path} has format {version} and this mxcutover reads {VERSION}; use a newer one", Exit.BAD_DATA
        )


@contextmanager
def failures(path: Path) -> Iterator[None]:
    """Errors of SQLite and of the system as one line each: 74 where I/O failed, 65 where data are bad."""
    try:
        yield
    except sqlite3.ProgrammingError:
        raise
    except sqlite3.Error as error:
        raise failure(path, error) from error
    except OSError as error:
        raise Failure(f"journal {path}: {error.strerror or error}", Exit.IO) from error


def failure(path: Path, error: sqlite3.Error) -> Failure:
    primary = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    if primary == sqlite3.SQLITE_NOTADB:
        return Failure(f"{path} is not a journal of mxcutover", Exit.BAD_DATA)
    if primary in _SAID:
        return Failure(f"journal {path}: {_SAID[primary]} ({error})", Exit.IO)
    return Failure(f"journal {path} is damaged ({error}); go on from a copy or a new journal", Exit.BAD_DATA)
