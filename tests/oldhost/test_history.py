"""A long log, read in large pieces as history is: all that is in it, and nothing else, however it is cut."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import msgspec
import pytest

from probes.observation import Mail, Observation
from probes.oldhost import files
from probes.oldhost.files import LogReader
from probes.oldhost.postfix import PostfixLog
from tests.benchmarks.mail.maillog import BEGIN, DOMAIN, Truth, write
from tests.oldhost.loglines import facts, mails

READ_AT = BEGIN + 86_400_000
SHARE = 0.2


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Truth]:
    path = tmp_path_factory.mktemp("log") / "mail.log"
    truth = write(path, 1_500_000, SHARE)
    os.utime(path, (READ_AT / 1000, READ_AT / 1000))
    return path, truth


def parser() -> PostfixLog:
    return PostfixLog(DOMAIN, zone="UTC")


def hits(seen: list[Observation]) -> dict[tuple[str | None, str], int]:
    return dict(Counter((m.client, m.disposition) for m in mails(seen) if m.disposition != "rejected"))


@pytest.mark.parametrize("piece", [100_000, 400_000, 4_000_000])
def test_pieces_of_any_size_tell_the_truth_and_what_a_reading_by_lines_tells(
    made: tuple[Path, Truth], piece: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between two pieces a stop: what is kept must be enough to go on with."""
    path, truth = made
    monkeypatch.setattr(files, "CHUNK", piece)
    reader, log = LogReader(path, 0), parser()
    reader.begin(None, history=True)
    seen: list[Observation] = []
    while not (step := reader.step(READ_AT)).end:
        seen += log.feed_text(step.text, step.near)
        state = msgspec.json.encode(log.state())
        log = parser()
        log.restore(msgspec.json.decode(state))
    seen += log.flush()
    reader.close()
    assert hits(seen) == truth.hits
    by_lines = parser()
    lines = iter(path.read_bytes().splitlines())
    assert facts(seen) == facts(by_lines.feed(lines, READ_AT) + by_lines.flush())


def test_the_share_of_the_lines_is_what_was_asked_for(made: tuple[Path, Truth]) -> None:
    assert made[1].share == pytest.approx(SHARE, rel=0.15)


def test_another_programs_lines_are_left_to_who_claims_them(made: tuple[Path, Truth]) -> None:
    """In any place, and whatever they name; all else is told as it is without them."""
    lines = made[0].read_bytes().splitlines(keepends=True)
    foreign = b"Nov  2 00:00:09 oldhost exim[7]: 1abcde-0001-AB <= a@b.example for bob@example.com\n"
    mixed = b"".join(foreign + line if n % 50 == 0 else line for n, line in enumerate(lines))
    claimed: list[bytes] = []

    def claim(line: bytes) -> bool:
        claimed.append(line) if b" exim[" in line else None
        return b" exim[" in line

    log, plain = parser(), parser()
    seen = log.feed_text(mixed, READ_AT, claim) + log.flush()
    assert facts(seen) == facts(plain.feed_text(b"".join(lines), READ_AT) + plain.flush())
    assert claimed == [foreign[:-1]] * len(range(0, len(lines), 50))
    assert all(isinstance(one, Mail) for one in seen)
