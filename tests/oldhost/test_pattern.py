"""Files that a pattern names: side by side, a new one each day, packed later, under other names, in stops."""

from __future__ import annotations

import gzip
import os
import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from probes.logsource import Files
from probes.observation import Observation, Skip, now
from probes.oldhost.files import rotated_from
from probes.oldhost.follow import Follower
from probes.oldhost.opening import readable
from tests.oldhost.loglines import facts, mails, parser, unread
from tests.oldhost.test_follow import LENGTH, expected, kept, message, read, recent, spans


def follower(pattern: Path, position: Any = None, history: bool = True) -> Follower:
    return Follower(pattern, parser(), "old", 0, history, position)


def ids(seen: list[Observation]) -> list[str]:
    return sorted(str(m.message_id) for m in mails(seen))


def numbered(*numbers: int) -> list[str]:
    return [f"<{n}@x>" for n in numbers]


def test_what_a_rotated_name_belongs_to() -> None:
    assert rotated_from("mail.log.1") == rotated_from("mail.log.1.gz") == "mail.log"
    assert rotated_from("maillog-20261101.xz") == "maillog"
    assert rotated_from("mail-20261101.log") == "mail.log"
    assert rotated_from("mail.log") is rotated_from("exim-11-20.log.gz") is None


def test_side_by_side_with_their_own_rotated_files(tmp_path: Path) -> None:
    for name, number, ago in (("in.log", 1, 60), ("out.log", 2, 50), ("in.log.1", 3, 900)):
        (tmp_path / name).write_bytes(message(number, ago))
    (tmp_path / "out.log.1.gz").write_bytes(gzip.compress(message(4, 900)))
    (tmp_path / "other").write_bytes(message(5))
    one = follower(tmp_path / "*.log*")
    seen = read(one)
    assert ids(seen) == numbered(1, 2, 3, 4)
    for number, name in ((6, "in.log"), (7, "out.log"), (8, "in.log")):
        with (tmp_path / name).open("ab") as file:
            file.write(message(number))
        seen += read(one)
    (tmp_path / "in.log.1").rename(tmp_path / "in.log.2")
    (tmp_path / "in.log").rename(tmp_path / "in.log.1")
    seen += read(one)
    (tmp_path / "in.log").write_bytes(message(9))
    seen += read(one) + read(one)
    one.close()
    assert ids(seen) == numbered(1, 2, 3, 4, 6, 7, 8, 9)
    assert spans(seen)[-1][1] > now() - timedelta(seconds=5)


def test_a_new_file_each_day_and_the_old_ones_are_packed(tmp_path: Path) -> None:
    for day in (1, 2, 3):
        (tmp_path / f"main-11-0{day}.log").write_bytes(message(day, 900 - day))
    one = follower(tmp_path / "main-*")
    seen = read(one)
    for day in (4, 5, 6):
        before = tmp_path / f"main-11-0{day - 1}.log"
        with before.open("ab") as file:
            file.write(message(10 + day))
        (tmp_path / f"main-11-0{day}.log").write_bytes(message(day))
        seen += read(one)
        packed = Path(f"{before}.gz")
        packed.write_bytes(gzip.compress(before.read_bytes()))
        before.unlink()
        seen += read(one)
        if day == 5:
            position = kept(one)
            one.close()
            one = follower(tmp_path / "main-*", position)
    seen += read(one)
    one.close()
    assert ids(seen) == sorted(numbered(1, 2, 3, 4, 5, 6, 14, 15, 16))
    assert not [o for o in seen if isinstance(o, Skip)]


def renamed(path: Path) -> None:
    path.rename(path.with_name("before.log"))
    path.write_bytes(b"")


def copied(path: Path) -> None:
    shutil.copyfile(path, path.with_name("before.log"))
    os.truncate(path, 0)


def numbered_on(path: Path) -> None:
    path.rename(path.with_name("mail.log.1"))
    path.write_bytes(b"")


@pytest.mark.parametrize("rotate", [renamed, copied, numbered_on])
@given(at=st.integers(300, LENGTH), later=st.integers(0, 4000), stopped=st.booleans())
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_file_under_another_name_that_the_pattern_names_too(
    tmp_path: Path, rotate: Callable[[Path], None], at: int, later: int, stopped: bool
) -> None:
    for old in tmp_path.iterdir():
        old.unlink()
    raw, path, pattern = recent(), tmp_path / "mail.log", tmp_path / "*.log*"
    path.write_bytes(raw[:at])
    one = follower(pattern)
    seen = read(one)
    turn = raw.find(b"\n", min(at + later, len(raw)) - 1) + 1
    with path.open("ab") as file:
        file.write(raw[at:turn])
    if stopped:
        one.close()
    rotate(path)
    if not stopped:
        seen += read(one)
    with path.open("ab") as file:
        file.write(raw[turn:])
    if stopped:
        one = follower(pattern, kept(one))
    seen += read(one) + read(one)
    one.close()
    assert facts(seen) == expected(raw)
    assert unread(seen) == 0


def test_a_file_that_rests_is_closed_until_it_grows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("probes.oldhost.pattern.PARKED", -60.0)
    for number in range(1, 6):
        (tmp_path / f"{number}.log").write_bytes(message(number))
    one = follower(tmp_path / "*.log")
    seen = read(one)
    opened = len(list(Path("/proc/self/fd").iterdir()))
    seen += read(one)
    assert len(list(Path("/proc/self/fd").iterdir())) <= opened - 4
    with (tmp_path / "3.log").open("ab") as file:
        file.write(message(6))
    seen += read(one)
    one.close()
    assert ids(seen) == numbered(1, 2, 3, 4, 5, 6)


def test_no_file_at_all_and_the_first_one(tmp_path: Path) -> None:
    pattern = tmp_path / "*.log"
    assert readable(Files(pattern)) == "no such file"
    one = follower(pattern)
    seen = read(one)
    assert not spans(seen)
    (tmp_path / "a.log").write_bytes(message(1))
    assert readable(Files(pattern)) is None
    seen += read(one) + read(one)
    one.close()
    assert ids(seen) == numbered(1)


def test_without_history_only_what_is_written_later(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_bytes(message(1))
    one = follower(tmp_path / "*.log", history=False)
    seen = read(one)
    (tmp_path / "b.log").write_bytes(message(2))
    with (tmp_path / "a.log").open("ab") as file:
        file.write(message(3))
    seen += read(one) + read(one)
    one.close()
    assert ids(seen) == numbered(2, 3)
