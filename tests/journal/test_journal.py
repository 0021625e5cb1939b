"""The journal keeps what it was given, exactly, and says what is wrong with what it can't read."""

from __future__ import annotations

import os
import random
import sqlite3
import tempfile
import threading
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.exits import Exit, Failure
from monitor.journal import Busy, Journal, JournalReader, post, verify
from probes.observation import Mail, Observation, Operator, Skip, encode
from tests.journal.samples import T0, answer, note, observations, plan


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cutover.journal"


def encoded(seen: list[Observation] | tuple[Observation, ...]) -> list[bytes]:
    return [encode(one) for one in seen]


def rows(path: Path, table: str) -> list[tuple[object, ...]]:
    with sqlite3.connect(path) as db:
        found = db.execute(f"SELECT * FROM {table} ORDER BY 1, 2").fetchall()
    db.close()
    return found


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(observations, min_size=1, max_size=8), max_size=5))
def test_what_goes_in_comes_out_the_same(batches: list[list[Observation]]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "j"
        with Journal.create(path, plan()) as journal:
            kept = [journal.keep(batch) for batch in batches]
        with JournalReader(path) as reader:
            read = list(reader.batches(after=1))
        assert read == kept
        assert [encoded(b.observations) for b in read] == [encoded(batch) for batch in batches]
        assert verify(path).observations == 1 + sum(map(len, batches))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(observations, min_size=1, max_size=8), max_size=6), st.integers(0, 6))
def test_rebuilt_tables_equal_those_kept_along_the_way(batches: list[list[Observation]], cut: int) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "j"
        with Journal.create(path, plan()) as journal:
            for batch in batches[:cut]:
                journal.keep(batch)
        with Journal.open(path) as journal:
            for batch in batches[cut:]:
                journal.keep(batch)
        before = rows(path, "spans"), rows(path, "summaries")
        with Journal.open(path) as journal:
            journal.rebuild()
        assert (rows(path, "spans"), rows(path, "summaries")) == before


def test_a_span_is_one_cached_record_and_ends_where_another_answer_comes(path: Path) -> None:
    with Journal.create(path, plan()) as journal:
        journal.keep([answer(0, 1000), answer(30, 970), answer(60, 941)])
        journal.keep([answer(90, 3600)])  # fetched anew
        journal.keep([answer(120, 3570, "10 mx1.new.example."), answer(150, 3540)])
    spans = [(first - last, count) for _, _, first, last, count, *_ in rows(path, "spans")]
    assert spans == [(-60000, 3), (0, 1), (0, 1), (0, 1)]


def test_samples_of_one_answer_are_a_few_bytes_each(path: Path) -> None:
    with Journal.create(path, plan()) as journal:
        journal.keep([answer(n * 30, 3600 - n * 30 % 3600) for n in range(20_000)])
    assert path.stat().st_size < 20_000 * 30


def test_text_that_cannot_be_written_is_said_and_stops_nothing(path: Path) -> None:
    mail = Mail(
        at=T0, side="old", accepted_at=T0, source="log", recipient="\udcff@example.jp", message_id=None,
        client=None, helo=None, origin="outside", disposition="delivered", queue_id=None,
    )  # fmt: skip
    with Journal.create(path, plan()) as journal:
        batch = journal.keep([mail, note("after")])
    assert batch is not None
    assert isinstance(batch.observations[0], Skip)
    assert verify(path).observations == 3


def test_nothing_to_keep_is_no_batch_and_positions_go_with_their_batch(path: Path) -> None:
    with Journal.create(path, plan()) as journal:
        assert journal.keep([]) is None
        assert journal.keep([], {"key": "aa"}) is None
        journal.keep([note("x")], {"log": [1, 2], "key": "bb"})
        assert journal.positions() == {"log": [1, 2], "key": "bb"}
    assert verify(path).batches == 2


def test_evidence_is_append_only(path: Path) -> None:
    with Journal.create(path, plan()) as journal:
        journal.keep([answer(1), note("x")])
    db = sqlite3.connect(path)
    for table in ("batches", "answers", "samples", "observations"):
        for statement in (f"DELETE FROM {table}", f"UPDATE {table} SET rowid = rowid"):
            with pytest.raises(sqlite3.DatabaseError):
                db.execute(statement)
    db.close()


TAMPERINGS = [
    ("UPDATE observations SET line = replace(line, 'three', 'THREE') WHERE batch = 4", 4),
    ("DELETE FROM observations WHERE batch = 4", 4),
    ("INSERT INTO observations VALUES (4, 9, '{}')", 4),
    ("INSERT INTO observations VALUES (77, 0, '{}')", 8),
    ("UPDATE samples SET ttl = ttl + 1 WHERE batch = 5", 5),
    ("UPDATE samples SET rtt = 8.1 WHERE batch = 5", 5),
    ("UPDATE samples SET at_ms = at_ms + 1 WHERE batch = 5", 5),
    ("UPDATE samples SET seq = CASE seq WHEN 1 THEN 'x' ELSE seq END WHERE batch = 5", 5),
    ("UPDATE answers SET form = replace(form, 'mail.', 'nail.')", 2),
    ("DELETE FROM answers", 2),
    ("INSERT INTO answers VALUES (99, '{}')", 7),
    ("DELETE FROM batches WHERE number = 3", 3),
    ("DELETE FROM batches WHERE number = 7", 7),
    ("DELETE FROM batches WHERE number = 7; DELETE FROM samples WHERE batch = 7;"
     "DELETE FROM observations WHERE batch = 7", 7),
    ("UPDATE batches SET kept_ms = kept_ms + 1 WHERE number = 6", 6),
    ("UPDATE batches SET count = 9 WHERE number = 6", 6),
    ("UPDATE batches SET digest = zeroblob(32) WHERE number = 6", 6),
    ("UPDATE observations SET batch = 100 WHERE batch = 3; UPDATE observations SET batch = 3 WHERE batch = 4;"
     "UPDATE observations SET batch = 4 WHERE batch = 100", 3),
    ("INSERT INTO batches SELECT 8, kept_ms, count, digest FROM batches WHERE number = 7", 8),
    ("UPDATE observations SET line = X'ff' WHERE batch = 2", 2),
    ("DELETE FROM head", 8),
]  # fmt: skip


@pytest.mark.parametrize(("statement", "batch"), TAMPERINGS)
def test_verify_names_the_first_batch_that_does_not_fit(path: Path, statement: str, batch: int) -> None:
    with Journal.create(path, plan()) as journal:
        for n, word in enumerate(("one", "two", "three", "four", "five", "six")):
            journal.keep([note(word), answer(n * 30), answer(n * 30 + 1)])
    assert verify(path).batches == 7
    db = sqlite3.connect(path)
    for (trigger,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
        db.execute(f"DROP TRIGGER {trigger}")
    db.executescript(statement)
    db.close()
    with pytest.raises(Failure, match=f"batch {batch} does not fit") as caught:
        verify(path)
    assert caught.value.code == Exit.BAD_DATA


def test_flipped_bytes_never_pass_as_other_evidence(path: Path) -> None:
    """Whatever byte of the file changes: either it verifies with the same chain, or it is a Failure."""
    with Journal.create(path, plan()) as journal:
        for n in range(60):
            journal.keep([note(f"word {n}" * 20), answer(n)])
    whole, good, chance = path.read_bytes(), verify(path), random.Random(7)
    found = 0
    for _ in range(60):
        at = chance.randrange(100, len(whole))
        path.write_bytes(whole[:at] + bytes([whole[at] ^ (1 << chance.randrange(8))]) + whole[at + 1 :])
        try:
            assert verify(path) == good
        except Failure as failure:
            assert failure.code == Exit.BAD_DATA, failure
            found += 1
    assert found > 10


def test_one_writer(path: Path) -> None:
    with Journal.create(path, plan()):
        with pytest.raises(Busy, match=rf"written by another mxcutover \(process {os.getpid()}\)") as caught:
            Journal.open(path)
        assert caught.value.code == Exit.IO
    Journal.open(path).close()
    with pytest.raises(Failure, match="there already"):
        Journal.create(path, plan())


def test_a_reader_sees_batches_as_they_are_written(path: Path) -> None:
    with Journal.create(path, plan()) as journal, JournalReader(path) as reader:
        assert reader.head() == 1
        for n in range(1200):
            journal.keep([note(str(n))])
        assert [b.number for b in reader.batches(after=1)] == list(range(2, 1202))
        journal.keep([plan(T0 + timedelta(hours=1))])
        assert reader.plan().at == T0 + timedelta(hours=1)
        assert [b.number for b in reader.batches(after=1201)] == [1202]


def test_what_is_not_a_journal_is_one_line_and_a_code(tmp_path: Path) -> None:
    missing, text, empty, other = (tmp_path / name for name in ("missing", "text", "empty", "other"))
    text.write_bytes(b"Nov 20 00:00:00 mail postfix/smtpd[1]: connect\n" * 100)
    empty.touch()
    with sqlite3.connect(other) as db:
        db.execute("CREATE TABLE t (x)")
    db.close()
    for file, code in (
        (missing, Exit.IO),
        (text, Exit.BAD_DATA),
        (empty, Exit.BAD_DATA),
        (other, Exit.BAD_DATA),
    ):
        for use in (JournalReader, Journal.open, verify):
            with pytest.raises(Failure) as caught:
                use(file)
            assert caught.value.code == code
            assert "\n" not in str(caught.value)


def test_a_newer_format_is_refused(path: Path) -> None:
    Journal.create(path, plan()).close()
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version = 2")
    db.close()
    with pytest.raises(Failure, match="has format 2"):
        JournalReader(path)


# The operator's word


def test_a_word_is_kept_directly_when_nobody_writes(path: Path) -> None:
    Journal.create(path, plan()).close()
    assert post(path, note("hello")) == 2
    with JournalReader(path) as reader:
        assert list(reader.observations(after=1)) == [note("hello")]


def test_a_word_goes_through_the_writer_into_evidence(path: Path) -> None:
    with Journal.create(path, plan()) as journal:
        numbers: list[int] = []
        asking = threading.Thread(target=lambda: numbers.append(post(path, note("through the inbox"))))
        asking.start()
        while (batch := journal.keep([])) is None:
            pass
        asking.join()
        assert numbers == [batch.number]
        assert batch.observations == (note("through the inbox"),)
        assert journal.keep([]) is None


def test_a_word_that_nobody_takes_waits_for_the_next_writer(path: Path) -> None:
    with Journal.create(path, plan()), pytest.raises(Failure, match="waits there") as caught:
        post(path, note("later"), wait=0.2)
    assert caught.value.code == Exit.BLIND
    with Journal.open(path) as journal:
        batch = journal.keep([])
    assert batch is not None and batch.observations == (note("later"),)


def test_rubbish_in_the_inbox_is_noted(path: Path) -> None:
    Journal.create(path, plan()).close()
    db = sqlite3.connect(path)
    db.execute("INSERT INTO inbox (line) VALUES ('{\"kind\":'), (?)", (encode(answer(1)).decode(),))
    db.commit()
    db.close()
    with Journal.open(path) as journal:
        batch = journal.keep([])
    assert batch is not None
    assert [type(seen) for seen in batch.observations] == [Operator, Operator]
