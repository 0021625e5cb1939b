"""Bad input, each with its one line and its exit code, by the real commands against real sockets."""

from __future__ import annotations

import asyncio
import re
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path

import pytest

from monitor.rehearsal.certificates import CertificateAuthority
from monitor.rehearsal.scenarios import SMOOTH
from monitor.rehearsal.world import World

ENTRY = (sys.executable, "-c", "from monitor.cli import run; run()")


async def run(*arguments: str) -> tuple[int, str, str]:
    child = await asyncio.create_subprocess_exec(*ENTRY, *arguments, stdout=PIPE, stderr=PIPE)
    async with asyncio.timeout(90):
        output, errors = await child.communicate()
    return child.returncode or 0, output.decode(), errors.decode()


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with World(SMOOTH, 8, tmp_path) as built:
        yield built


def edited(world: World, pattern: str, instead: str) -> None:
    text = world.plan_path.read_text()
    changed, count = re.subn(pattern, instead, text, count=1, flags=re.DOTALL)
    assert count == 1
    world.plan_path.write_text(changed)


def wrong_key(world: World) -> None:
    edited(world, r"quiet_for =", "quite_for =")


def unknown_host(world: World) -> None:
    edited(
        world,
        r'(\[new\.imap\]\n)host = "[^"]+"(.*?)address = "[^"]+"\n',
        r'\1host = "imap.nowhere.invalid"\2',
    )


def refused_login(world: World) -> None:
    next(world.directory.glob("old-anna*.secret")).write_text("not the password\n")


def expired(world: World) -> None:
    other = CertificateAuthority(world.directory)  # in the place of the one that the plan trusts
    other.server_context(world.new.who.name, life=timedelta(days=-1))
    world.new.context.load_cert_chain(world.directory / f"{world.new.who.name}.pem")
    other.server_context(world.old.who.name)
    world.old.context.load_cert_chain(world.directory / f"{world.old.who.name}.pem")


def no_log(world: World) -> None:
    world.log_path.unlink()


def broken_secret(world: World) -> None:
    next(world.directory.glob("new-ben*.secret")).chmod(0o644)


CASES = [
    (wrong_key, 78, "quite_for", "quiet_for"),
    (unknown_host, 69, "new.imap", "there is no host imap.nowhere.invalid"),
    (refused_login, 69, "anna@rehearsal.example", "the login anna is refused"),
    (expired, 69, "new.", "certificate has expired"),
    (no_log, 74, "mail.log", "cannot be read"),
    (broken_secret, 78, "new-ben", "others can read"),
]


@pytest.mark.parametrize("command", ["watch", "check"])
@pytest.mark.parametrize(
    ("spoil", "code", "where", "what"), CASES, ids=lambda c: getattr(c, "__name__", None)
)
async def test_a_plan_that_cannot_be_watched(
    world: World, spoil: Callable[[World], None], code: int, where: str, what: str, command: str
) -> None:
    spoil(world)
    journal = world.directory / "cutover.journal"
    more = ["--headless", "-j", str(journal)] if command == "watch" else []
    got, output, errors = await run(command, str(world.plan_path), *more)
    said = errors if command == "watch" or code == 78 else output
    first = said.splitlines()[0]
    assert got == code, (output, errors)
    assert where in first and what in first
    assert "not the password" not in output + errors and "Traceback" not in errors
    if command == "watch":
        assert errors.count("\n") == 1 and output == ""
        assert not journal.exists()


async def test_a_plan_that_can_be_watched_is_ready(world: World) -> None:
    code, output, errors = await run("check", str(world.plan_path))
    assert (code, errors) == (0, "")
    assert (
        output.count("✓") == len(output.splitlines()) == 12
    )  # port 53, a log, two submissions, four mailboxes a side


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["watch", "--headless", "nowhere.toml"], 78, "there is no plan"),
        (["check", "nowhere.toml"], 78, "there is no plan"),
        (["status", "nowhere.journal"], 74, "nowhere.journal"),
        (["replay", "nowhere.jsonl"], 74, "nowhere.jsonl"),
        (["verify", "nowhere.journal"], 74, "nowhere.journal"),
    ],
)
async def test_what_is_not_there(arguments: list[str], code: int, said: str) -> None:
    got, output, errors = await run(*arguments)
    assert (got, output) == (code, "")
    assert said in errors and errors.count("\n") == 1


@pytest.mark.parametrize("command", ["watch", "status", "report", "verify", "export", "attach"])
async def test_a_corrupt_journal_is_bad_data(world: World, command: str, tmp_path: Path) -> None:
    journal = tmp_path / "corrupt.journal"
    journal.write_bytes(b"SQLite format 3\0" + b"\xff" * 5000)
    plan = [str(world.plan_path), "--headless", "-j"] if command == "watch" else []
    code, _, errors = await run(command, *plan, str(journal))
    assert code == 65, errors
    assert str(journal) in errors and errors.count("\n") == 1
    assert journal.read_bytes()[16:] == b"\xff" * 5000


async def test_without_a_terminal_the_screen_is_refused(world: World) -> None:
    code, _, errors = await run("watch", str(world.plan_path))
    assert code == 2 and "--headless" in errors
