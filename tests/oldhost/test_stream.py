"""The log as a program prints it: real programs that end, hang, show too little, or show it all again."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from probes.logsource import Command, Source
from probes.observation import Observation, Skip, now
from probes.oldhost.follow import Follower
from tests.oldhost.loglines import facts, hits, mails, parser, unread
from tests.oldhost.test_follow import expected, kept, message, recent, spans

BEAT = 0.3  # seconds


class Follow:
    """A follower that is closed at the end, and begun again as after ``kill -9``: from what was kept last."""

    def __init__(self, source: Source, history: bool = True) -> None:
        self.source, self.history = source, history
        self.seen: list[Observation] = []
        self.position: Any = None
        self._one = self._begun()

    def _begun(self) -> Follower:
        return Follower(self.source, parser(), "old", 0, self.history, self.position, BEAT)

    def killed(self) -> None:
        self._one.close()
        self._one = self._begun()

    def until(self, enough: Callable[[Follow], bool]) -> Follow:
        deadline = time.monotonic() + 20
        while not enough(self):
            assert time.monotonic() < deadline, self.seen
            found, waits = self._one.look()
            if found is not None:
                self.seen += found
                self.position = kept(self._one)
            if waits:
                time.sleep(0.01)
        return self

    def meanwhile(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        self.until(lambda _: time.monotonic() >= end)

    def close(self) -> None:
        self._one.close()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program is soon started again, and soon believed to have shown what it has."""
    monkeypatch.setattr("probes.oldhost.stream._FIRST_PAUSE", 0.01)
    monkeypatch.setattr("probes.oldhost.stream.SETTLED", 0.2)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "mail.log"


@pytest.fixture
def following() -> Iterator[Callable[..., Follow]]:
    made: list[Follow] = []

    def follow(source: Source, history: bool = True) -> Follow:
        made.append(Follow(source, history))
        return made[-1]

    yield follow
    for one in made:
        one.close()


def tail(path: Path, lines: str = "+1") -> Command:
    return Command(("tail", "-n", lines, "-s", "0.02", "-F", str(path)))


def ids(one: Follow) -> list[str]:
    return [str(m.message_id) for m in mails(one.seen)]


def taken(*numbers: int) -> Callable[[Follow], bool]:
    return lambda one: set(ids(one)) >= {f"<{n}@x>" for n in numbers}


def covered(after: Any) -> Callable[[Follow], bool]:
    """There is coverage up to later than ``after``."""
    return lambda one: bool(spans(one.seen)) and spans(one.seen)[-1][1] > after


def add(path: Path, *numbers: int) -> None:
    with path.open("ab") as file:
        for number in numbers:
            file.write(message(number))


Following = Callable[..., Follow]


def test_all_of_it_then_each_new_line(path: Path, following: Following) -> None:
    raw = recent()
    path.write_bytes(raw)
    one = following(tail(path)).until(lambda f: len(hits(f.seen)) == 10)
    add(path, 1)
    one.until(taken(1))
    assert [f for f in facts(one.seen) if "<1@x>" not in f] == expected(raw)
    assert unread(one.seen) == 0


@pytest.mark.parametrize("lines", ["+1", "1000", "15"])
def test_kill_9_loses_nothing_and_takes_nothing_twice(path: Path, following: Following, lines: str) -> None:
    add(path, 1, 2)
    one = following(tail(path, lines)).until(taken(2))
    for number in range(3, 9):
        one.killed()
        add(path, number)
        one.until(taken(number))
    one.until(covered(now()))
    assert sorted(ids(one)) == [f"<{n}@x>" for n in range(1, 9)]
    assert len(spans(one.seen)) == 1


def test_a_program_that_ends_is_started_again_and_none_is_missing(path: Path, following: Following) -> None:
    add(path, 1)
    one = following(Command(("timeout", "0.5", *tail(path).argv))).until(covered(now()))
    for number in (2, 3, 4):
        add(path, number)
        one.until(taken(number)).until(covered(now()))
    assert ids(one) == ["<1@x>", "<2@x>", "<3@x>", "<4@x>"]
    assert len(spans(one.seen)) == 1 and not [o for o in one.seen if isinstance(o, Skip)]


def test_silence_is_covered_only_once_it_was_proven(path: Path, following: Following) -> None:
    """Each start is counted, and shows the same again: that proves silence up to then, and no further."""
    add(path, 1)
    starts = path.with_name("starts")
    script = f"echo x >> {starts}; exec tail -n 100 -F {path}"
    one = following(Command(("sh", "-c", script))).until(covered(now()))
    for _ in range(3):
        one.until(covered(now()))
    assert starts.read_text().count("x") >= 4
    assert len(spans(one.seen)) == 1 and ids(one) == ["<1@x>"]


def test_a_program_that_hangs_covers_nothing(path: Path, following: Following) -> None:
    """It shows the last lines once, and then nothing at all: neither lines nor that there are none."""
    add(path, 1)
    once = path.with_name("once")
    script = f"[ -e {once} ] || cat {path}; touch {once}; sleep 60"
    one = following(Command(("sh", "-c", script)))
    one.until(lambda f: any(isinstance(o, Skip) for o in f.seen))
    hung = now()
    add(path, 2)
    one.meanwhile(3 * BEAT)
    assert not covered(hung)(one) and ids(one) == ["<1@x>"]
    (skip,) = {o.reason for o in one.seen if isinstance(o, Skip)}
    assert "silence proves nothing" in skip and skip.startswith("sh -c ")


def test_lines_that_were_not_shown_are_a_gap(path: Path, following: Following) -> None:
    add(path, 1)
    one = following(tail(path, "3")).until(covered(now()))
    one.killed()
    path.write_bytes(b"")
    path.write_bytes(message(2, seconds_ago=1) + message(3, seconds_ago=0))
    one.until(lambda f: len(spans(f.seen)) == 2)


def test_without_history_it_begins_with_the_next_line(path: Path, following: Following) -> None:
    add(path, 1)
    one = following(tail(path, "+1"), history=False).until(covered(now()))
    add(path, 2)
    one.until(taken(2)).killed()
    add(path, 3)
    one.until(taken(3))
    assert ids(one) == ["<2@x>", "<3@x>"]
