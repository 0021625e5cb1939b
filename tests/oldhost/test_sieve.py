"""What history leaves out unread must not change a thing that is told."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from probes.observation import Use
from probes.oldhost import sieve as module
from probes.oldhost.sieve import sieve
from tests.oldhost.loglines import LAB, WRITTEN, facts, gone, log, outside, parser, to, unread
from tests.oldhost.test_postfix import CASES, GARBLED

SENT = "sent (delivered to mailbox)"


def other(number: int) -> list[str]:
    """A message that has nothing to do with the domain."""
    queue_id = f"7{number:09X}"
    said = [
        f"smtpd connect from mx.sender.example[203.0.113.{number % 250}]",
        *outside(queue_id, f"<{number}@o>"),
    ]
    said += [to(queue_id, f"user{number}@other.example", SENT), gone(queue_id)]
    said = [line.replace("smtpd ", f"smtpd#{number} ", 1) for line in said]
    return [*said, f"smtpd#{number} disconnect from mx.sender.example[203.0.113.7] ehlo=1 quit=1 commands=2"]


def renamed(said: list[Any], number: int) -> list[str]:
    """A case's lines under queue ids and Message-IDs of its own."""
    lines = [one if isinstance(one, str) else one[1] for one in said]
    for old in ("10B4E3D5BD", "20B4E3D5BE", "30B4E3D5BF"):
        lines = [line.replace(old, f"{old[0]}{number:09X}") for line in lines]
    lines = [line.replace("smtpd ", f"smtpd#{number} ", 1) for line in lines]
    return [line.replace("m1@sender", f"m{number}@sender") for line in lines]


def woven(messages: list[list[str]], chance: random.Random) -> list[str]:
    """The lines of several messages between each other's, each message's own in order."""
    queue = [list(one) for one in messages if one]
    said: list[str] = []
    active: list[list[str]] = []
    while queue or active:
        if queue and (len(active) < 6 or not active):
            active.append(queue.pop(0))
        one = chance.choice(active)
        said.append(one.pop(0))
        active = [a for a in active if a]
    return said


# Written so much later that nothing before it can have a part still to come.
LATER = b"2026-11-22T21:50:00.000000+00:00 oldhost postfix/anvil[7]: statistics: max cache size 1"


def told(
    lines: list[bytes], sizes: list[int], by_sieve: bool, late: bool = False
) -> tuple[list[Any], int, list[Any]]:
    reading, seen, at = parser(), [], 0
    for size in [*sizes, len(lines)]:
        batch = lines[at : at + size]
        if late and at + size >= len(lines):
            batch.append(LATER)
        text = b"".join(line + b"\n" for line in batch)
        seen += reading.feed_text(text, WRITTEN) if by_sieve else reading.feed(iter(batch), WRITTEN)
        at += size
    seen += reading.flush()
    return facts(seen), unread(seen), [(u.account, u.service, u.client) for u in seen if isinstance(u, Use)]


@given(
    cases=st.lists(st.sampled_from(sorted(CASES)), max_size=12),
    others=st.integers(0, 40),
    sizes=st.lists(st.integers(1, 120), max_size=6),
    seed=st.integers(0, 1 << 30),
    garbled=st.lists(st.sampled_from(sorted(GARBLED)[1:]), max_size=2),
    late=st.booleans(),
)
@settings(max_examples=200, deadline=None)
def test_nothing_is_told_otherwise(
    cases: list[str], others: int, sizes: list[int], seed: int, garbled: list[bytes], late: bool
) -> None:
    chance = random.Random(seed)
    messages = [renamed(CASES[name][0], 1000 + n) for n, name in enumerate(cases)]
    messages += [other(n) for n in range(others)]
    chance.shuffle(messages)
    lines = log(*woven(messages, chance))
    for line in garbled:
        lines.insert(chance.randrange(len(lines) + 1), line)
    before, module.LEAST_BYTES = module.LEAST_BYTES, 0  # type: ignore[misc]
    try:
        assert told(lines, sizes, True, late) == told(lines, sizes, False, late)
    finally:
        module.LEAST_BYTES = before  # type: ignore[misc]


@pytest.mark.parametrize("name", ["postfix-long.syslog.log", "postfix-short.rfc3339.log"])
def test_a_real_log_is_told_the_same_cut_anywhere(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LEAST_BYTES", 0)
    lines = (LAB / name).read_bytes().splitlines()
    expected = told(lines, [], by_sieve=False)
    for cut in range(len(lines)):
        assert told(lines, [cut], by_sieve=True) == expected
        assert told(lines, [cut], True, late=True) == told(lines, [cut], False, late=True)


def test_what_concerns_nobody_here_is_left_out() -> None:
    lines = log(*(line for number in range(500) for line in other(number)))
    mine = log(*outside("10B4E3D5BD"), to("10B4E3D5BD", "bob@example.com", SENT), gone("10B4E3D5BD"))
    text = b"".join(line + b"\n" for line in lines[:2000] + mine + lines[2000:])
    assert sieve(text, (b"example.com",), set) == mine
