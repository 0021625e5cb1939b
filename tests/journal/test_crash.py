"""kill -9, a disk that fills up, places where nothing may be written."""

from __future__ import annotations

import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from monitor.exits import Exit, Failure
from monitor.journal import Journal, JournalReader, verify
from tests.journal.samples import note, plan

CHILD = [sys.executable, "-m", "tests.journal.writer_child"]
ROOT = Path(__file__).parents[2]


def test_whatever_was_reported_as_kept_survives_kill_9(tmp_path: Path) -> None:
    path, chance = tmp_path / "cutover.journal", random.Random(1)
    reported = 0
    for _ in range(8):
        child = subprocess.Popen([*CHILD, str(path), "100000"], stdout=subprocess.PIPE, cwd=ROOT)
        assert child.stdout is not None
        child.stdout.readline()  # it writes now
        time.sleep(chance.uniform(0, 0.25))
        child.send_signal(signal.SIGKILL)
        said = child.stdout.read().split(b"\n")[:-1]
        child.wait()
        child.stdout.close()
        reported = int(said[-1]) if said else reported
        _holds(path, reported)
    assert reported > 30


def _holds(path: Path, reported: int) -> None:
    """Readable as the killed writer left it, complete, and its position fits its last batch."""
    checked = verify(path)
    assert checked.batches >= reported
    with JournalReader(path) as reader:
        notes = [s.reason for s in reader.observations(after=1) if hasattr(s, "reason")]
    assert notes == [f"batch {n}" for n in range(2, checked.batches + 1)]
    with Journal.open(path) as journal:
        assert journal.positions().get("position", 1) == checked.batches


def test_killed_while_it_creates_leaves_nothing_or_a_journal(tmp_path: Path) -> None:
    for n in range(8):
        path = tmp_path / f"{n % 2}.journal"
        child = subprocess.Popen([*CHILD, str(path), "1"], stdout=subprocess.DEVNULL, cwd=ROOT)
        deadline = time.monotonic() + 10
        while not Path(f"{path}-lock").exists() and time.monotonic() < deadline:
            time.sleep(0.001)
        time.sleep(0.004 * (n // 2))
        child.kill()
        child.wait()
        if path.exists():
            assert verify(path).batches >= 1


def test_a_full_disk_is_one_line_and_nothing_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "cutover.journal"
    Journal.create(path, plan()).close()
    run = subprocess.run(
        [*CHILD, str(path), "100000"],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        timeout=60,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000)),
    )
    assert run.returncode == Exit.IO, run.stderr
    assert run.stderr.count("\n") == 1 and "what was kept is safe" in run.stderr
    last = int(run.stdout.split()[-1])
    assert last > 10
    assert verify(path).batches == last
    with Journal.open(path) as journal:
        assert journal.number == last
        journal.keep([note("room again")])
    assert verify(path).batches == last + 1


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("mount") is None, reason="needs root to mount a tmpfs")
def test_a_full_file_system(tmp_path: Path) -> None:
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", tmp_path], check=False).returncode:
        pytest.skip("may not mount here")
    try:
        path = tmp_path / "cutover.journal"
        with Journal.create(path, plan()) as journal, pytest.raises(Failure, match="disk is full") as caught:
            for n in range(100_000):
                journal.keep([note("x" * 5000 + str(n))])
        assert caught.value.code == Exit.IO
        assert verify(path).batches == journal.number
    finally:
        subprocess.run(["umount", tmp_path], check=True)


@contextmanager
def not_root() -> Iterator[None]:
    """Permissions mean nothing to root."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def open_to_all() -> Iterator[Path]:
    """pytest's own directories are their owner's only."""
    with tempfile.TemporaryDirectory() as directory:
        yield Path(directory)


def test_a_copy_in_a_read_only_place_is_read(open_to_all: Path) -> None:
    """A closed journal, and one whose writer was killed with its log beside it."""
    tmp_path = open_to_all
    live, place = tmp_path / "live.journal", tmp_path / "proof"
    place.mkdir()
    journal = Journal.create(live, plan())
    journal.keep([note("only in the log yet")])
    for suffix in ("", "-wal"):
        shutil.copy(f"{live}{suffix}", place / f"killed.journal{suffix}")
    journal.close()
    shutil.copy(live, place / "closed.journal")
    for file in place.iterdir():
        file.chmod(0o444)
    tmp_path.chmod(0o755)
    place.chmod(0o555)
    with not_root():
        for name in ("killed", "closed"):
            assert verify(place / f"{name}.journal").batches == 2
        with pytest.raises(Failure) as caught:
            Journal.open(place / "closed.journal")
        assert caught.value.code == Exit.IO
    place.chmod(0o755)
