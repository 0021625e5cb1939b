"""``mxcutover dns --watch``: through a change to its end, on a pipe, as JSON and on a terminal."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import pty
import re
import signal
import struct
import termios
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from tests.cli.dnslab import ENTRY, EXPECT_NEW, NEW, NS1, NS2, Done, Lab, ended, saying

WATCH = ("--watch", "--floor", "0.3", "--timeout", "0.7")
STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z ")


@pytest.fixture
async def lab() -> AsyncIterator[Lab]:
    async with Lab(ttl=2) as built:
        yield built


class Reading:
    """What a watch prints, line by line, until its end."""

    def __init__(self, child: Process) -> None:
        self._child, self.lines = child, list[str]()

    async def until(self, holds: Callable[[str], object]) -> str:
        assert self._child.stdout is not None
        async with asyncio.timeout(60):
            while line := (await self._child.stdout.readline()).decode():
                self.lines.append(line.rstrip("\n"))
                if holds(line):
                    return line
        raise AssertionError(f"it ended before: {self.lines}")

    async def end(self) -> Done:
        done = await ended(self._child)
        return Done(done.code, "\n".join([*self.lines, done.output]), done.errors)


async def test_through_a_change_to_its_end(lab: Lab) -> None:
    await lab.several(2)
    await lab.several(2, prefers=1)
    reading = Reading(await lab.start("move.example", *EXPECT_NEW, *WATCH))
    await reading.until(lambda line: "NOT AS EXPECTED" in line)
    lab.change(lab.ns1)
    await reading.until(lambda line: NS1 in line and "-> 10 mx1.new.example., 20 mx2" in line)
    lab.change(lab.ns2)
    done = await reading.end()
    changes = [line for line in done.output.splitlines() if STAMP.match(line)]
    assert done.code == 0 and " AS EXPECTED: " in changes[-1]
    for name in (NS1, NS2, *lab.names):
        assert any(
            f"{name}: 10 mail.old.example. (TTL " in line and "-> 10 mx1.new" in line for line in changes
        )
    assert "✓ AS EXPECTED" in done.output and "ALL CACHES CHANGED  since" in done.output


async def test_without_an_expectation_until_all_agree_with_the_authorities(lab: Lab) -> None:
    await lab.several(2)
    lab.change()
    done = await lab.dns("move.example", *WATCH, "--json")
    *changes, last = map(json.loads, done.output.splitlines())
    assert done.code == 0 and last["over"] and last["result"] == "holds" and last["expected"] is None
    assert {c["resolver"] for c in changes} == set(lab.names)
    assert {tuple(c["before"]["rrset"]) for c in changes} == {("10 mail.old.example.",)}
    assert {tuple(c["after"]["rrset"]) for c in changes} == {NEW}


async def test_it_does_not_end_before_the_horizon(lab: Lab) -> None:
    """No resolver that is asked holds the old answer; others may, for its TTL after the last authority."""
    lab.change(lab.ns1)
    await lab.several(3)
    reading = Reading(await lab.start("move.example", *EXPECT_NEW, *WATCH))
    await reading.until(lambda line: "NOT AS EXPECTED" in line)
    lab.change(lab.ns2)
    await reading.until(lambda line: " AS EXPECTED: " in line)
    clock = asyncio.get_running_loop().time
    turned = clock()
    done = await reading.end()
    assert done.code == 0 and clock() - turned > 1.0  # the TTL is 2 s, and that line took a moment to come


async def test_one_answer_of_one_cache_is_not_the_end(lab: Lab) -> None:
    """Two caches behind one address: the old one speaks every other time."""
    cache = await lab.resolver("203.0.113.9", caches=("tyo-1", "osa-2"))
    lab.change()
    now = asyncio.get_running_loop().time()
    for number, left in ((0, -1.0), (1, 3.0)):
        for key, entry in cache._caches[number].items():
            cache._caches[number][key] = type(entry)(
                expires=now + left, rcode=entry.rcode, answer=entry.answer, authority=entry.authority
            )
    done = await lab.dns("move.example", *EXPECT_NEW, *WATCH)
    assert done.code == 0
    assert any("203.0.113.9 (osa-2): 10 mail.old.example." in line for line in done.output.splitlines())


async def test_it_asks_three_times_before_it_believes(lab: Lab) -> None:
    lab.change()
    server = await lab.odd("203.0.113.1", saying(*NEW))
    assert (await lab.dns("move.example", *EXPECT_NEW, *WATCH)).code == 0
    assert 3 <= len([wire for wire in server.queries if b"\x04move" in wire.lower()]) <= 4


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 10)])
async def test_it_is_ended_in_good_order(lab: Lab, number: signal.Signals, code: int) -> None:
    await lab.several(2)
    reading = Reading(await lab.start("move.example", *EXPECT_NEW, *WATCH))
    await reading.until(lambda line: "NOT AS EXPECTED" in line)
    reading._child.send_signal(number)
    done = await reading.end()
    assert done.code == code and "✗ NOT AS EXPECTED\n" in done.output
    assert "stopped before the end" in done.output


async def test_a_reader_that_goes_away_ends_it(lab: Lab) -> None:
    await lab.several(2)
    child = await lab.start("move.example", *EXPECT_NEW, *WATCH)
    reading = Reading(child)
    await reading.until(lambda line: "NOT AS EXPECTED" in line)
    child._transport.get_pipe_transport(1).close()  # type: ignore[attr-defined]
    lab.change()
    async with asyncio.timeout(30):
        assert await child.wait() == 74
    assert child.stderr is not None and b"Traceback" not in await child.stderr.read()


# On a terminal


class Terminal:
    """A terminal of its own: what is written to it, and what it shows in the end, roughly."""

    def __init__(self, columns: int, rows: int) -> None:
        self.master, self.slave = pty.openpty()
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.before = termios.tcgetattr(self.slave)
        self.raw = ""
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self.master, self._read)

    def _read(self) -> None:
        with contextlib.suppress(OSError):
            self.raw += os.read(self.master, 65536).decode(errors="replace")

    @property
    def screens(self) -> list[list[str]]:
        """Each picture that was drawn, without colours."""
        inside = self.raw.partition("\x1b[?1049h")[2].partition("\x1b[?25h")[0]
        plain = re.sub(r"\x1b\[[0-9;]*m", "", inside)
        return [re.sub(r"\x1b\[[KJ]", "", one).split("\r\n") for one in plain.split("\x1b[H")[1:]]

    def close(self) -> None:
        self._loop.remove_reader(self.master)
        os.close(self.master)
        os.close(self.slave)


async def on_terminal(lab: Lab, terminal: Terminal, *arguments: str, **environment: str) -> Process:
    # LINES and COLUMNS, which a test runner may have been given, would speak of another terminal.
    plain = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "LINES", "COLUMNS")}
    return await asyncio.create_subprocess_exec(
        *ENTRY, "dns", *arguments, *lab.arguments(), stdin=terminal.slave, stdout=terminal.slave, stderr=PIPE,
        env={**plain, "TERM": "xterm-256color", **environment}, start_new_session=True,
    )  # fmt: skip


@pytest.mark.parametrize("size", [(80, 24), (160, 50), (40, 10)])
async def test_a_terminal_shows_a_screen_and_is_left_as_it_was(lab: Lab, size: tuple[int, int]) -> None:
    await lab.several(6)
    terminal = Terminal(*size)
    try:
        child = await on_terminal(lab, terminal, "move.example", *EXPECT_NEW, *WATCH)
        await wait_for(lambda: "NOT AS EXPECTED" in terminal.raw)
        assert not termios.tcgetattr(terminal.slave)[3] & termios.ECHO
        lab.change()
        async with asyncio.timeout(60):
            assert await child.wait() == 0
        await wait_for(
            lambda: "\x1b[?1049l" in terminal.raw and "✓" in terminal.raw.partition("\x1b[?1049l")[2]
        )
        assert termios.tcgetattr(terminal.slave) == terminal.before
        for screen in terminal.screens:
            assert len(screen) <= size[1] and max(map(len, screen)) <= size[0]
        after = terminal.raw.partition("\x1b[?1049l")[2]
        assert "\x1b[1;32m✓ AS EXPECTED\x1b[0m" in after
    finally:
        terminal.close()


async def test_no_colour_where_none_is_wanted(lab: Lab) -> None:
    await lab.several(2)
    for environment, screens in (({"NO_COLOR": "1"}, True), ({"TERM": "dumb"}, False)):
        terminal = Terminal(80, 24)
        try:
            child = await on_terminal(lab, terminal, "move.example", *EXPECT_NEW, *WATCH, **environment)
            await wait_for(lambda terminal=terminal: "NOT AS EXPECTED" in terminal.raw)
            child.send_signal(signal.SIGINT)
            async with asyncio.timeout(30):
                assert await child.wait() == 130
            assert not re.search(r"\x1b\[[0-9;]*m", terminal.raw)
            assert ("\x1b[?1049h" in terminal.raw) is screens
        finally:
            terminal.close()


async def wait_for(holds: Callable[[], Any]) -> None:
    async with asyncio.timeout(60):
        while not holds():
            await asyncio.sleep(0.02)
