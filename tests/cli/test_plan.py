"""``init`` and ``plan check`` as a person runs them."""

from __future__ import annotations

import asyncio
import os
import pty
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from monitor.cli import COMMANDS, ROWS
from monitor.rehearsal import zones
from monitor.rehearsal.scenarios import SMOOTH, TTL, Act
from monitor.rehearsal.world import World

RUN = [sys.executable, "-c", "import sys; from monitor.cli import main; sys.exit(main(sys.argv[1:]))"]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
FLAGS = ["example.jp", "--no-lookup"] + [
    f"--{flag}"
    for flag in (
        "old-mx=mail.example.jp",
        "old-address=192.0.2.10",
        "old-submission=mail.example.jp:587",
        "new-mx=mx1.new.example",
        "new-imap=mx1.new.example:993",
        "account=suga@example.jp",
    )
]


def run(folder: Path, *arguments: str, stdin: int = subprocess.DEVNULL) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*RUN, *arguments],
        check=False,
        cwd=folder,
        env=ENVIRONMENT,
        stdin=stdin,
        capture_output=True,
        text=True,
        timeout=60,
    )


def own_resolver(folder: Path) -> None:
    plan = folder / "cutover.toml"
    plan.write_text(plan.read_text().replace('["public"]', '["127.0.0.153"]'))


def test_init_with_flags_asks_nothing_and_its_plan_is_fine(tmp_path: Path) -> None:
    written = run(tmp_path, "init", *FLAGS)
    assert (written.returncode, written.stderr) == (0, "") and "Wrote cutover.toml" in written.stdout
    own_resolver(tmp_path)
    checked = run(tmp_path, "plan", "check")
    assert (checked.returncode, checked.stderr) == (0, "")
    assert "10 mx1.new.example." in checked.stdout and "via-old, mx" in checked.stdout


async def lookup(folder: Path, world: World, *arguments: str) -> tuple[int, str, str]:
    """``init`` of the rehearsal's domain, its look-up going to the rehearsal's name servers."""
    endpoints = [f"--endpoint={a}={b}" for a, b in world.net.endpoints().items() if a.endswith(":53")]
    command = [*RUN, "init", "rehearsal.example", "-f", f"--hints={zones.ROOT[1]}", *endpoints, *arguments]
    child = await asyncio.create_subprocess_exec(
        *command, cwd=folder, env=ENVIRONMENT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )  # fmt: skip
    out, err = await child.communicate()
    return child.returncode or 0, out.decode(), err.decode()


async def test_init_looks_up_what_is_there_today(tmp_path: Path) -> None:
    async with World(SMOOTH, 1, tmp_path) as world:
        code, out, err = await lookup(tmp_path, world, "--new-mx=mx1.new.example")
        assert (code, err) == (0, "") and ": old" not in out
        plan = tomllib.loads(text := (tmp_path / "cutover.toml").read_text())
        assert plan["old"] == {"mx": ["mail.old.example"], "addresses": [zones.OLD_ADDRESS]}
        assert f"# Today: 10 mail.old.example., TTL {world.pace.ttl(TTL)} s." in text
        assert all(f"#   {name} {address}" in text for name, address in (zones.PRIMARY, zones.SECONDARY))
        world.perform(Act(at=0, do="change-mx"))
        world.perform(Act(at=0, do="secondary-catches-up"))
        flags = [f"--new-mx={name}" for name in zones.NEW_MX]
        assert (await lookup(tmp_path, world, *flags))[0] == 0
        plan = tomllib.loads((tmp_path / "cutover.toml").read_text())
        assert "old" not in plan or not plan["old"].get("mx"), "today's MX is the new host already"
        given = await lookup(tmp_path, world, "--old-mx=other.example", "--old-address=192.0.2.77")
        assert given[0] == 0
        plan = tomllib.loads((tmp_path / "cutover.toml").read_text())
        assert plan["old"] == {"mx": ["other.example"], "addresses": ["192.0.2.77"]}


def test_init_goes_on_without_an_answer(tmp_path: Path) -> None:
    nobody = ["--hints=192.0.2.1", "--endpoint=192.0.2.1:53=127.0.0.153:5399"]
    written = run(tmp_path, "init", "example.jp", *nobody)
    assert written.returncode == 0 and "Wrote cutover.toml" in written.stdout
    assert written.stderr == (
        "mxcutover: the name servers of example.jp can't be asked now; fill in by hand\n"
    )


def test_init_overwrites_only_when_told(tmp_path: Path) -> None:
    (tmp_path / "cutover.toml").write_text("mine")
    refused = run(tmp_path, "init", *FLAGS)
    assert refused.returncode == 2 and "--force" in refused.stderr
    assert (tmp_path / "cutover.toml").read_text() == "mine"
    assert run(tmp_path, "init", "--force", *FLAGS).returncode == 0
    assert "example.jp" in (tmp_path / "cutover.toml").read_text()


def test_init_says_what_is_still_missing(tmp_path: Path) -> None:
    written = run(tmp_path, "init", "example.jp", "--no-lookup", "-o", "bare.toml")
    assert written.returncode == 0
    assert {"old", "new", "mx.planned"} <= {line.split(": ")[2] for line in written.stdout.splitlines()[1:-1]}


def test_init_asks_a_person_and_takes_no_nonsense(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    old = ["mail.example.jp", "192.0.2.10", "imap.example.jp", "imap.example.jp:993", "", ""]
    answers = ["exa mple", "example.jp", *old, "mx1.new.example", "", "", "", "suga@example.jp"]
    os.write(ours, "".join(f"{answer}\n" for answer in answers).encode())
    asked = run(tmp_path, "init", "--no-lookup", stdin=theirs)
    os.close(ours)
    os.close(theirs)
    assert asked.returncode == 0, asked.stderr
    assert "is not a domain name" in asked.stderr and "has no port" in asked.stderr
    text = (tmp_path / "cutover.toml").read_text()
    assert 'planned = ["10 mx1.new.example"]' in text and 'host = "mx1.new.example"\nport = 587' in text


BAD = [
    (["plan", "check"], 78, "cutover.toml: there is no plan; write one with: mxcutover init"),
    (["plan", "check", "."], 74, ". cannot be read: Is a directory"),
    (["init"], 2, "no domain; write: mxcutover init example.jp"),
    (["init", "a.jp", "--no-lookup", "-o", "none/x.toml"], 74, "none/x.toml cannot be written: No such"),
]


@pytest.mark.parametrize(("arguments", "code", "said"), BAD, ids=lambda v: str(v)[:30])
def test_bad_input_is_one_line_and_its_code(
    tmp_path: Path, arguments: list[str], code: int, said: str
) -> None:
    done = run(tmp_path, *arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr and len(done.stderr.splitlines()) == 1


def test_plan_check_reports_every_mistake_by_line(tmp_path: Path) -> None:
    run(tmp_path, "init", *FLAGS)
    own_resolver(tmp_path)
    plan = tmp_path / "cutover.toml"
    plan.write_text(
        plan.read_text().replace("port = 587", "prot = 587").replace("[policy]", "[policy]\nquiet = 1")
    )
    done = run(tmp_path, "plan", "check")
    assert (done.returncode, done.stdout) == (78, "")
    first, second, last = done.stderr.splitlines()
    assert "old.submission.prot: unknown key (did you mean port?)" in first
    assert "policy.quiet: unknown key (did you mean quiet_for?)" in second
    assert last == "mxcutover: cutover.toml: 2 mistakes"


FLAGS_WRONG = [
    "old-address=mail.example",
    "new-imap=x",
    "account=suga",
    "account=a@b.jp=hunter2",
    "new-mx=::1",
]


@pytest.mark.parametrize("flag", [f"--{flag}" for flag in FLAGS_WRONG])
def test_a_flag_is_judged_before_anything_is_written(tmp_path: Path, flag: str) -> None:
    done = run(tmp_path, "init", "example.jp", flag)
    assert done.returncode == 2 and flag.partition("=")[0] in done.stderr and "hunter2" not in done.stderr
    assert not (tmp_path / "cutover.toml").exists()


def test_help_of_plan_check_fits_and_asks_for_nothing(tmp_path: Path) -> None:
    lines = run(tmp_path, "plan", "check", "-h").stdout.splitlines()
    assert len(lines) <= 24 and max(map(len, lines)) <= 80 and "Example" in lines[-1]


def test_each_command_stands_once_in_the_help_whole(tmp_path: Path) -> None:
    lines = run(tmp_path, "--help").stdout.splitlines()
    assert sorted(name for names in ROWS for name in names) == sorted(COMMANDS)
    width = max(len(", ".join(names)) for names in ROWS) + 2
    assert {f"  {', '.join(names):<{width}}{said}" for names, said in ROWS.items()} <= set(lines)


def test_a_full_disk_is_one_line_and_74(tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*RUN, "--help"], check=False, env=ENVIRONMENT, stdout=full, stderr=-1, text=True
        )
    assert (done.returncode, done.stderr) == (
        74,
        "mxcutover: input or output failed: No space left on device\n",
    )


def test_a_reader_that_went_away_is_74_without_a_word(tmp_path: Path) -> None:
    reads, writes = os.pipe()
    os.close(reads)
    done = subprocess.run([*RUN, "--help"], check=False, env=ENVIRONMENT, stdout=writes, stderr=-1, text=True)
    os.close(writes)
    assert (done.returncode, done.stderr) == (74, "")
