"""Where the old log and queue are: each form, each mistake in it, and whether they are to be had."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec
import pytest

from monitor.exits import Exit
from monitor.plan.load import load
from monitor.plan.model import CutoverPlan, Host, LogSource
from monitor.watch.readiness import examine as ready
from monitor.watch.vault import Vault
from probes.logsource import Command, Files, Journal, Source, Ssh
from tests.plan.test_load import folder, put, said

__all__ = ["folder"]

PATH = 'path = "mail.log"'
FORMS: dict[str, tuple[str, Source]] = {
    "pattern": ('path = "/var/log/mail*.log"', Files(Path("/var/log/mail*.log"))),
    "journal": ('journal = ["postfix@-.service", "dovecot"]', Journal(("postfix@-.service", "dovecot"))),
    "one unit": ('journal = "exim4"', Journal(("exim4",))),
    "all units": ("journal = []", Journal()),
    "words": (
        'command = ["ssh", "old", "tail -F /var/log/mail.log"]',
        Command(("ssh", "old", "tail -F /var/log/mail.log")),
    ),
    "a text": (
        "command = \"ssh old 'tail -F /var/log/mail.log'\"",
        Command(("ssh", "old", "tail -F /var/log/mail.log")),
    ),
    "ssh": (
        'ssh = { host = "Mail.Old.example", path = "/var/log/mail*.log" }',
        Ssh(host="mail.old.example", path="/var/log/mail*.log"),
    ),
    "ssh by address": (
        'ssh.host = "2001:DB8::1"\nssh.path = "/m"\nssh.user = "w"\nssh.port = 22022\nssh.key = "s/suga"',
        Ssh(host="2001:db8::1", path="/m", user="w", port=22022, key=Path("s/suga")),
    ),
}


@pytest.mark.parametrize(("text", "source"), FORMS.values(), ids=FORMS)
def test_each_form(folder: Path, text: str, source: Source) -> None:
    assert said(folder, PATH, text) == []
    log = load(folder / "cutover.toml").old.log
    if isinstance(source, Ssh) and source.key is not None:
        source = msgspec.structs.replace(source, key=folder / source.key)
    assert log is not None and log.source == source


MISTAKES = [
    ("", ":16: old.log.path: is missing; write path"),
    (f'{PATH}\njournal = "exim4"', ":18: old.log.journal: says where the log is, as path does"),
    ('path = "/var/*/mail.log"', "has a pattern in its folder"),
    ('journal = ["a b"]', ":17: old.log.journal[1]: 'a b' is not a unit"),
    ('journal = ["--root=/"]', "'--root=/' is not a unit"),
    ("command = []", ":17: old.log.command: is no program with its arguments"),
    ('command = ["ssh", 3]', "is no program with its arguments"),
    ('command = "ssh \'old"', "cannot be split into words: no closing quotation"),
    ('command = ["tail\\u0000"]', "is no program with its arguments"),
    ('ssh = { path = "/m" }', ":17: old.log.ssh.host: is missing"),
    ('ssh = { host = "old.example", path = "m" }', "old.log.ssh.path: 'm' is not an absolute path"),
    (
        'ssh = { host = "old.example", path = "/m", usr = "x" }',
        "old.log.ssh.usr: unknown key (did you mean user?)",
    ),
    ('ssh = { host = "old.example", path = "/m", key = "none" }', "old.log.ssh.key: there is no file"),
    ('ssh = { host = "old.example", path = "/m", key = "accounts.csv" }', "others can read accounts.csv"),
    ('comand = "x"\npath = "m"', ":17: old.log.comand: unknown key (did you mean command?)"),
]


@pytest.mark.parametrize(("text", "line"), MISTAKES, ids=lambda v: v[:24])
def test_one_mistake_is_one_line(folder: Path, text: str, line: str) -> None:
    found = said(folder, PATH, text)
    assert len(found) == 1 and line in found[0] and "; " in found[0], found


def test_the_queues_command(folder: Path) -> None:
    smtp = "smtp.port = 2525"
    assert said(folder, smtp, 'queue_command = "ssh old postqueue -j"') == []
    assert load(folder / "cutover.toml").old.queue_command == ("ssh", "old", "postqueue", "-j")
    (mistake,) = said(folder, smtp, "queue_command = 3")
    assert ":8: old.queue_command: is a whole number, not a list in brackets" in mistake
    (mistake,) = said(
        folder, 'mx = ["*.mail.new.example"]', 'mx = ["*.mail.new.example"]\nqueue_command = "x"'
    )
    assert "new.queue_command: unknown key" in mistake


READY = {
    "command": (
        Command((sys.executable, "-c", "print('a line', flush=True); import time; time.sleep(60)")),
        "can be read",
        None,
    ),
    "refused": (
        Command((sys.executable, "-c", "import sys; sys.exit('Permission denied (publickey).')")),
        "cannot be read: {python} ended with status 1: Permission denied (publickey).; mend [old.log]",
        Exit.IO,
    ),
    "absent": (
        Command(("/nowhere/ssh",)),
        "cannot be read: /nowhere/ssh cannot be run: no such file",
        Exit.IO,
    ),
    "file": (Files(Path("/nowhere/mail.log")), "no such file or directory; mend path or rights", Exit.IO),
}


@pytest.mark.parametrize(("source", "line", "code"), READY.values(), ids=READY)
async def test_whether_it_is_to_be_had(folder: Path, source: Source, line: str, code: Exit | None) -> None:
    (log,) = [c for c in await examined(folder, LogSource(source=source)) if c[0].startswith("old.log: ")]
    assert line.format(python=sys.executable) in log[0] and log[1] == code


async def examined(
    folder: Path, log: LogSource | None, queue: tuple[str, ...] = ()
) -> list[tuple[str, Exit | None]]:
    plan = load(folder / "cutover.toml")
    bare = msgspec.structs.replace(plan, new=Host(mx=(), addresses=()), accounts=(), relays={})
    old = Host(mx=(), addresses=(), log=log, queue_command=queue)
    made: CutoverPlan = msgspec.structs.replace(bare, old=old)
    return [(c.line, c.code) for c in await ready(made, Vault(made))]


async def test_whether_the_queue_can_be_listed(folder: Path) -> None:
    listed = await examined(folder, None, (sys.executable, "-c", "print('Mail queue is empty')"))
    assert listed == [("old.queue_command: 0 messages wait", None)]
    ((line, code),) = await examined(folder, None, (sys.executable, "-c", "print('hm')"))
    assert "is no listing of a queue that is known; mend the command" in line and code == Exit.IO


def test_a_plan_written_by_init_shows_them(folder: Path) -> None:
    """What stands there as a comment is read as it stands."""
    from monitor.plan.template import Known, write

    text = write(Known(domain="example.jp", log="/var/log/mail.log"))
    shown = [line for line in text.splitlines() if line.startswith(("# journal = [", "# command", "# ssh ="))]
    assert len(shown) == 3
    for line in shown:
        assert said(folder, PATH, line.removeprefix("# ").partition("  #")[0]) == []
    (queue,) = [line for line in text.splitlines() if line.startswith("# queue_command")]
    assert said(folder, "smtp.port = 2525", queue.removeprefix("# ")) == []
    assert put(folder, text).exists()
