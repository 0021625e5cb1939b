"""The command line: help that fits a screen, replay's output, one line and the right code for bad input."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from monitor.cli import COMMANDS
from probes.observation import encode
from tests.scenarios.world import World, cutover

NEVER_FOR_HELP = ("textual", "dns", "imapclient", "aiosmtplib", "probes.dns", "probes.mail", "probes.oldhost")
ENTRY = "import sys; from monitor.cli import main; code = main(sys.argv[1:]); "


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    script = (
        ENTRY
        + "print(*[m for m in sys.modules], file=sys.stderr) if '-h' in sys.argv else None; sys.exit(code)"
    )
    return subprocess.run(
        [sys.executable, "-c", script, *arguments], check=False, capture_output=True, text=True, timeout=60
    )


@pytest.mark.parametrize("command", [[], *([c] for c in COMMANDS)], ids=lambda c: " ".join(c) or "mxcutover")
def test_help_fits_a_screen_shows_an_example_and_loads_nothing(command: list[str]) -> None:
    shown = run(*command, "-h")
    lines = shown.stdout.splitlines()
    assert shown.returncode == 0
    assert len(lines) <= 24 and max(map(len, lines)) <= 80
    assert "Example" in shown.stdout
    assert not set(shown.stderr.split()) & set(NEVER_FOR_HELP)


@pytest.fixture
def record(tmp_path: Path) -> Path:
    file = tmp_path / "cutover.jsonl"
    file.write_bytes(b"\n".join(map(encode, cutover(World()).observations())) + b"\n")
    return file


def test_replay_prints_one_object_a_change_and_one_last(record: Path) -> None:
    done = run("replay", str(record), "--json")
    verdicts = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0 and done.stderr == ""
    assert verdicts[0]["verdict"] == "before"
    assert verdicts[-1]["verdict"] == "safe"
    assert {len(v["requirements"]) for v in verdicts} == {7}
    assert all(r["reason"] and r["code"] for v in verdicts for r in v["requirements"])
    changes = [(v["verdict"], [r["state"] for r in v["requirements"]]) for v in verdicts[:-1]]
    assert all(a != b for a, b in pairwise(changes))


def test_the_order_of_lines_does_not_matter_where_times_differ(record: Path, tmp_path: Path) -> None:
    backwards = tmp_path / "backwards.jsonl"
    first, *rest = record.read_bytes().splitlines()
    backwards.write_bytes(b"\n".join([first, *sorted(rest, reverse=True)]))
    forwards = tmp_path / "forwards.jsonl"
    forwards.write_bytes(b"\n".join([first, *sorted(rest)]))
    assert run("replay", str(backwards), "--json").stdout == run("replay", str(forwards), "--json").stdout


@pytest.mark.parametrize(
    ("content", "code", "said"),
    [
        (b"", 65, "holds no plan"),
        (b'{"at":"2026-11-20T00:00:00Z","kind":"weather"}\n', 65, "line 1: Invalid value 'weather'"),
        (b"\n\xff\xfe\n", 65, "line 2:"),
        (b'{"at":"2026-11-20T00:00:00Z","kind":"watcher","event":"online"}', 65, "line 1: Object missing"),
        (None, 74, "cannot be read: No such file"),
    ],
)
def test_bad_input_gets_one_line_and_its_code(
    tmp_path: Path, content: bytes | None, code: int, said: str
) -> None:
    file = tmp_path / "bad.jsonl"
    if content is not None:
        file.write_bytes(content)
    done = run("replay", str(file))
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr and len(done.stderr.splitlines()) == 1


def test_usage_errors_are_2() -> None:
    assert run("replay").returncode == 2
    assert run("fly").returncode == 2
