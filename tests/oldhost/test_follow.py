"""The log as files: history, rotation in every way, stops at any byte, and a log that goes away."""

from __future__ import annotations

import asyncio
import bz2
import gzip
import lzma
import os
import re
import shutil
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from probes.observation import Coverage, Mail, Observation, Skip, from_ms, now, to_ms
from probes.oldhost.files import CHUNK, LogReader, siblings
from probes.oldhost.follow import Follower, follow_log, readable
from tests.oldhost.loglines import LAB, canary, facts, gone, hits, log, mails, outside, parser, to, unread

SENT = "sent (delivered to mailbox)"
DAY = 86400


def recent(seconds_ago: float = 2) -> bytes:
    """The lab's log as if it had just been written."""
    raw = (LAB / "postfix-short.rfc3339.log").read_bytes()
    stamps = re.compile(rb"^\S+", re.M)
    last = datetime.fromisoformat(stamps.findall(raw)[-1].decode())
    shift = now() - timedelta(seconds=seconds_ago) - last
    return stamps.sub(
        lambda m: (datetime.fromisoformat(m[0].decode()) + shift).isoformat("T", "microseconds").encode(), raw
    )


def message(number: int, seconds_ago: float = 5) -> bytes:
    queue_id = f"{number:010X}"
    said = [*outside(queue_id, f"<{number}@x>"), to(queue_id, "bob@example.com", SENT), gone(queue_id)]
    return b"".join(line + b"\n" for line in log(*said, start=now() - timedelta(seconds=seconds_ago)))


def follower(path: Path, position: Any = None, history: bool = True, coverage: float = 60) -> Follower:
    return Follower(path, parser(), "old", coverage, history, position)


def read(one: Follower) -> list[Observation]:
    """Everything there is now."""
    seen: list[Observation] = []
    for _ in range(500):
        found, waits = one.look()
        seen += found or []
        if waits:
            return seen
    raise AssertionError("the log does not end")


def kept(one: Follower) -> Any:
    """Its position as a journal gives it back."""
    return msgspec.json.decode(msgspec.json.encode(one.position()))


def spans(seen: list[Observation]) -> list[tuple[datetime, datetime]]:
    """The covered intervals, joined where they meet."""
    joined: list[tuple[datetime, datetime]] = []
    for one in seen:
        if isinstance(one, Coverage) and not one.not_understood:
            assert (one.to - one.from_).total_seconds() <= 300
            if joined and joined[-1][1] == one.from_:
                joined[-1] = (joined[-1][0], one.to)
            else:
                joined.append((one.from_, one.to))
    return joined


def expected(raw: bytes) -> list[tuple[object, ...]]:
    reading = parser()
    return facts(reading.feed(raw.split(b"\n"), to_ms(now())) + reading.flush())


# -- stops and rotations at any byte -------------------------------------------------------------------

# Each example writes it anew: a line is given up on once it is older than what it waits for may take.
LENGTH = len(recent())
ANYWHERE = st.integers(0, LENGTH)


@given(
    cuts=st.lists(ANYWHERE, max_size=6).map(sorted), restarts=st.lists(st.booleans(), min_size=6, max_size=6)
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_written_in_any_pieces_and_read_with_any_stops(
    tmp_path: Path, cuts: list[int], restarts: list[bool]
) -> None:
    raw = recent()
    path = tmp_path / "mail.log"
    path.write_bytes(b"")
    one, seen = follower(path), []
    for begin, end, restart in zip([0, *cuts], [*cuts, len(raw)], [*restarts, False], strict=False):
        with path.open("ab") as file:
            file.write(raw[begin:end])
        seen += read(one)
        if restart:
            one.close()
            one = follower(path, kept(one))
    seen += read(one)
    one.close()
    assert facts(seen) == expected(raw)
    assert unread(seen) == 0


def renamed(path: Path) -> None:
    path.rename(path.with_name("mail.log.1"))
    path.write_bytes(b"")


def dated(path: Path) -> None:
    path.rename(path.with_name(f"mail.log-{now():%Y%m%d}"))
    path.write_bytes(b"")


def copied(path: Path) -> None:
    shutil.copyfile(path, path.with_name("mail.log.1"))
    os.truncate(path, 0)


def compressed(path: Path) -> None:
    raw = path.read_bytes()
    path.unlink()
    path.with_name("mail.log.1.gz").write_bytes(gzip.compress(raw))
    path.write_bytes(b"")


@pytest.mark.parametrize("rotate", [renamed, dated, copied, compressed])
@given(at=st.integers(200, LENGTH), later=st.integers(0, 4000), stopped=st.booleans())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_rotated_anywhere_whether_watched_or_not(
    tmp_path: Path, rotate: Callable[[Path], None], at: int, later: int, stopped: bool
) -> None:
    """Read up to ``at``; then more lines are written, it is rotated, and the rest goes to the new file."""
    for old in tmp_path.iterdir():
        old.unlink()
    raw = recent()
    path = tmp_path / "mail.log"
    path.write_bytes(raw[:at])
    one = follower(path)
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
        one = follower(path, kept(one))
    seen += read(one) + read(one)
    one.close()
    assert facts(seen) == expected(raw)
    assert unread(seen) == 0


@given(first=ANYWHERE, second=ANYWHERE, packer=st.sampled_from([".gz", ".bz2", ".xz", ""]))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_history_in_rotated_files(tmp_path: Path, first: int, second: int, packer: str) -> None:
    for old in tmp_path.iterdir():
        old.unlink()
    raw = recent()
    cuts = sorted(raw.rfind(b"\n", 0, c) + 1 for c in (first, second))
    packers = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress, "": bytes}
    (tmp_path / f"mail.log.2{packer}").write_bytes(packers[packer](raw[: cuts[0]]))
    (tmp_path / "mail.log.1").write_bytes(raw[cuts[0] : cuts[1]])
    (tmp_path / "mail.log").write_bytes(raw[cuts[1] :])
    one = follower(tmp_path / "mail.log")
    seen = read(one)
    one.close()
    assert facts(seen) == expected(raw)
    (span,) = spans(seen)
    assert span[1] >= now() - timedelta(seconds=5)


# -- following -------------------------------------------------------------------------------------------


def test_an_old_file_is_read_to_its_end_while_a_slow_logger_still_writes_to_it(tmp_path: Path) -> None:
    path = tmp_path / "mail.log"
    path.write_bytes(message(1))
    one = follower(path)
    seen = read(one)
    still_open = path.open("ab")
    renamed(path)
    seen += read(one)
    still_open.write(message(2))
    still_open.flush()
    seen += read(one)
    path.write_bytes(message(3))
    still_open.write(message(4))
    still_open.close()
    seen += read(one) + read(one)
    one.close()
    assert sorted(str(m.message_id) for m in mails(seen)) == ["<1@x>", "<2@x>", "<3@x>", "<4@x>"]
    assert len(spans(seen)) == 1


def test_truncated_and_grown_past_the_place_between_two_looks(tmp_path: Path) -> None:
    path = tmp_path / "mail.log"
    path.write_bytes(message(1))
    one = follower(path)
    seen = read(one)
    os.truncate(path, 0)
    path.write_bytes(message(2) + message(3))
    seen += read(one)
    one.close()
    assert [m.message_id for m in mails(seen)] == ["<1@x>", "<2@x>", "<3@x>"]


def test_rotated_twice_during_a_stop(tmp_path: Path) -> None:
    path = tmp_path / "mail.log"
    path.write_bytes(message(1))
    one = follower(path)
    seen = read(one)
    one.close()
    with path.open("ab") as file:
        file.write(message(2))
    path.rename(tmp_path / "mail.log.1")
    path.write_bytes(message(3))
    (tmp_path / "mail.log.2.gz").write_bytes(gzip.compress((tmp_path / "mail.log.1").read_bytes()))
    path.rename(tmp_path / "mail.log.1")
    path.write_bytes(message(4))
    one = follower(path, kept(one), coverage=0)
    seen += read(one)
    one.close()
    assert [m.message_id for m in mails(seen)] == ["<1@x>", "<2@x>", "<3@x>", "<4@x>"]
    assert len(spans(seen)) == 1  # nothing is missing, so the stop is covered by what it left in the log


def test_a_place_that_is_gone_leaves_a_gap_and_tells_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "mail.log"
    path.write_bytes(message(1, seconds_ago=660))
    clock = [now() - timedelta(seconds=600)]
    monkeypatch.setattr("probes.oldhost.follow.now", lambda: clock[0])
    one = follower(path)
    seen = read(one)
    one.close()
    path.unlink()
    path.write_bytes(message(1, seconds_ago=660)[100:] + message(2, seconds_ago=9))
    clock[0] = now()
    one = follower(path, kept(one))
    later = read(one)
    one.close()
    assert [m.message_id for m in mails(seen + later)] == ["<1@x>", "<2@x>"]
    assert spans(later)[0][0] >= spans(seen)[-1][1]


def test_without_history_it_begins_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "mail.log"
    path.write_bytes(message(1) + message(2)[:-9])
    (tmp_path / "mail.log.1").write_bytes(message(3))
    one = follower(path, history=False)
    assert not mails(read(one))
    with path.open("ab") as file:
        file.write(message(2)[-9:] + message(4))
    assert [m.message_id for m in mails(read(one))] == ["<4@x>"]
    one.close()


def test_history_is_four_weeks_at_most_and_a_missing_file_is_a_gap(tmp_path: Path) -> None:
    for number, days in ((6, 40), (5, 20), (3, 10), (2, 8)):
        file = tmp_path / f"mail.log.{number}"
        file.write_bytes(message(number, days * DAY) + message(number + 100, (days - 2) * DAY))
        os.utime(file, times=(now().timestamp() - (days - 2) * DAY,) * 2)
    (tmp_path / "mail.log").write_bytes(message(1, 60))
    one = follower(tmp_path / "mail.log")
    seen = read(one)
    one.close()
    assert [m.message_id for m in mails(seen)] == [
        "<5@x>",
        "<105@x>",
        "<3@x>",
        "<103@x>",
        "<2@x>",
        "<102@x>",
        "<1@x>",
    ]
    joined = spans(seen)
    assert len(joined) == 3  # .5 | .3 .2 | the live one, since .4 and .1 are not there
    assert [round((b - a).total_seconds() / DAY) for a, b in joined] == [2, 4, 0]


@pytest.mark.parametrize(
    ("days", "gaps"), [((1, 2, 3), 0), ((2, 3, 4), 1), ((1, 3, 4), 1), ((7, 14, 21), 0), ((7, 21, 28), 1)]
)
def test_dates_in_names_show_a_missing_file(tmp_path: Path, days: tuple[int, ...], gaps: int) -> None:
    """``days`` ago: whatever the length of the months between."""
    for ago in days:
        label = datetime.fromtimestamp(now().timestamp() - ago * DAY).strftime("%Y%m%d")
        (tmp_path / f"maillog-{label}").write_bytes(message(ago, ago * DAY + 9))
    (tmp_path / "maillog").write_bytes(message(99, 9))
    one = follower(tmp_path / "maillog")
    seen = read(one)
    one.close()
    assert len(mails(seen)) == len(days) - (28 in days) + 1
    assert len(spans(seen)) == gaps + 1


def test_history_is_told_before_the_first_interval_that_reaches_now(tmp_path: Path) -> None:
    """Else its lines would be taken for live ones with a wrong clock."""
    path = tmp_path / "mail.log"
    path.write_bytes(b"".join(message(n, 7200 - n) for n in range(4000)))
    assert path.stat().st_size > 2 * CHUNK
    one = follower(path)
    seen = read(one)
    one.close()
    last_mail = max(i for i, o in enumerate(seen) if isinstance(o, Mail))
    reaching = [
        i for i, o in enumerate(seen) if isinstance(o, Coverage) and o.at - o.to < timedelta(minutes=5)
    ]
    assert len(mails(seen)) == 4000 and last_mail < min(reaching)


def test_in_silence_coverage_goes_on_and_each_interval_joins_the_last(tmp_path: Path) -> None:
    path = tmp_path / "mail.log"
    path.write_bytes(message(1))
    one = follower(path, coverage=0)
    seen: list[Observation] = []
    for _ in range(20):
        seen += read(one)
    one.close()
    (span,) = spans(seen)
    assert now() - span[1] < timedelta(seconds=5)


def test_an_over_long_line_is_counted_and_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "mail.log"
    stamp = now().isoformat().encode()
    path.write_bytes(message(1) + stamp + b" old postfix/local[1]: " + b"x" * (5 * CHUNK))
    one = follower(path)
    seen = read(one)
    assert unread(seen) == 1
    one.close()
    one = follower(path, kept(one))
    with path.open("ab") as file:
        file.write(b"yyy to=<bob@example.com>, relay=loc\n" + message(2))
    seen += read(one)
    one.close()
    assert unread(seen) == 1
    assert [m.message_id for m in mails(seen)] == ["<1@x>", "<2@x>"]


def test_nul_bytes_in_place_of_lines_are_no_covered_time(tmp_path: Path) -> None:
    path = tmp_path / "mail.log"
    path.write_bytes(message(1, 400) + b"\0" * 300_000 + message(2, 100))
    one = follower(path)
    seen = read(one)
    one.close()
    assert [m.message_id for m in mails(seen)] == ["<1@x>", "<2@x>"]
    lost = [o for o in seen if isinstance(o, Coverage) and o.not_understood]
    assert sum((o.to - o.from_).total_seconds() for o in lost) == pytest.approx(300, abs=5)


# -- what cannot be read ---------------------------------------------------------------------------------


def test_why_a_log_cannot_be_read(tmp_path: Path) -> None:
    assert readable(tmp_path / "mail.log") == "no such file or directory"
    assert readable(tmp_path) == "is a directory"
    os.mkfifo(tmp_path / "pipe")
    assert readable(tmp_path / "pipe") == "not a regular file"
    (tmp_path / "mail.log").write_bytes(b"")
    assert readable(tmp_path / "mail.log") is None


def test_a_broken_archive_is_a_gap(tmp_path: Path) -> None:
    (tmp_path / "mail.log.2.gz").write_bytes(gzip.compress(message(2, 300))[:60])
    (tmp_path / "mail.log.1.xz").write_bytes(b"no archive at all")
    (tmp_path / "mail.log").write_bytes(message(1, 100))
    one = follower(tmp_path / "mail.log")
    seen = read(one)
    one.close()
    assert [m.message_id for m in mails(seen)] == ["<1@x>"]


def test_names_that_rotation_gives(tmp_path: Path) -> None:
    names = ["mail.log.10.gz", "mail.log.2", "mail.log.1", "mail.log.1.gz"]
    others = ["mail.log", "mail.log.old", "mail.log.1.tmp", "mail.err.1", "mail.logs.1", "mail.log.1.zst"]
    for name in (*names, *others):
        (tmp_path / name).write_bytes(b"x")
    assert [one.path.name for one in siblings(tmp_path / "mail.log")] == names[:3]
    for name in ("maillog-20261101.gz", "maillog-20261108", "maillog"):
        (tmp_path / name).write_bytes(b"x")
    assert [s.path.name for s in siblings(tmp_path / "maillog")] == [
        "maillog-20261101.gz",
        "maillog-20261108",
    ]


@pytest.mark.parametrize("zone", [None, "Mars/Olympus", "../etc"])
async def test_a_log_that_cannot_be_read_is_said_and_ends(tmp_path: Path, zone: str | None) -> None:
    path = tmp_path / "mail.log"
    if zone is not None:
        path.write_bytes(recent())
    sights = [sight async for sight in follow_log(path, domain="example.com.", zone=zone)]
    ((seen, position),) = sights
    assert position is None
    assert [(type(o), getattr(o, "subject", "")) for o in seen] == [(Skip, "log:old")]


async def test_missing_for_a_while_is_no_coverage_and_it_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "mail.log"
    path.write_bytes(message(1))
    clock = [now()]
    monkeypatch.setattr("probes.oldhost.follow.now", lambda: clock[0])
    one = follower(path, coverage=0)
    seen = read(one)
    path.unlink()
    for _ in range(4):
        clock[0] += timedelta(seconds=30)
        seen += read(one)
    gone_at = clock[0]
    path.write_bytes(message(2))
    seen += read(one) + read(one)
    clock[0] += timedelta(seconds=30)
    seen += read(one)
    one.close()
    assert [o.subject for o in seen if isinstance(o, Skip)] == ["log:old"]
    assert [m.message_id for m in mails(seen)] == ["<1@x>", "<2@x>"]
    before, after = spans(seen)
    assert (after[0] - before[1]).total_seconds() >= 100
    assert after[1] > gone_at


async def test_followed_live_by_the_iterator_and_gone_on_with(tmp_path: Path) -> None:
    path = tmp_path / "mail.log"
    path.write_bytes(recent())
    position: Any = None
    seen: list[Observation] = []

    async def until(enough: Callable[[], bool]) -> None:
        nonlocal position
        sights = follow_log(
            path, domain="example.com.", recognise=canary, own=["192.0.2.10"], poll=0.01, coverage=0.01,
            position=position,
        )  # fmt: skip
        async with asyncio.timeout(20):
            async for found, place in sights:
                seen.extend(found)
                position = ("log:old", msgspec.json.decode(msgspec.json.encode(place)))[1][1]
                if enough():
                    break
        await sights.aclose()  # type: ignore[attr-defined]

    await until(lambda: len(hits(seen)) == 10 and bool(spans(seen)))
    with path.open("ab") as file:
        file.write(message(1))
    await until(lambda: any(m.message_id == "<1@x>" for m in mails(seen)))
    renamed(path)
    path.write_bytes(message(2))
    await until(lambda: any(m.message_id == "<2@x>" for m in mails(seen)))
    assert len(hits(seen)) == 12 and len(facts(seen)) == len(set(facts(seen)))


def test_permission_denied_is_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "mail.log"
    path.write_bytes(message(1))
    path.chmod(0)
    if os.geteuid() == 0:  # root reads everything: let the kernel's refusal come from where it would
        monkeypatch.setattr("os.open", _refuse)
    assert readable(path) == "permission denied"


def _refuse(*_: Any, **__: Any) -> int:
    raise PermissionError(13, "Permission denied")


def test_a_reader_that_lost_its_file_raises_what_the_follower_reports(tmp_path: Path) -> None:
    reader = LogReader(tmp_path / "mail.log", 0)
    reader.begin(None, history=True)
    with pytest.raises(FileNotFoundError):
        reader.step(to_ms(from_ms(0)))
