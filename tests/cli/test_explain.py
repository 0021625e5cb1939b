"""``mxcutover explain``: the evidence, the way on, the counterfactual; from a record and from a journal."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from monitor.explain.build import explain
from monitor.explain.text import as_object, lines, todo
from monitor.journal import Journal
from monitor.wording import CATALOGUES, Language
from probes.observation import Plan, encode
from tests.scenarios.world import ACCOUNT, NEW, OLD, World, clock, cutover

NAMES = ("authority", "horizon", "resolvers", "canaries", "quiet", "stragglers", "arrivals")


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from monitor.cli import run; run()", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def told(world: World, at: str | None = None, only: str | None = None) -> dict[str, Any]:
    found = explain(world.observations(), None if at is None else datetime.fromisoformat(at))
    assert found is not None
    return as_object(found, only)


def write(world: World, path: Path) -> Path:
    path.write_bytes(b"".join(encode(seen) + b"\n" for seen in world.observations()))
    return path


@pytest.fixture
def trapped() -> World:
    """Old keeps the domain local; a sender goes on with the address it has; one server was not reached."""
    world = cutover(World(), skip=("authority:203.0.113.2",)).canary(1450, "via-old", "old")
    world.mail(900, "old", "late", client="203.0.113.99", helo="mta.late.example")
    return world.mail(
        1400, "old", "refused", client="203.0.113.98", disposition="rejected", reply="550 5.1.1 no"
    )


def requirement(found: dict[str, Any], name: str) -> dict[str, Any]:
    return next(r for r in found["requirements"] if r["name"] == name)


def test_the_evidence_goes_down_to_the_observations(trapped: World) -> None:
    found = told(trapped)
    told_lines = [json.loads(encode(seen)) for seen in trapped.observations()]
    for name in NAMES:
        for one in requirement(found, name)["evidence"]:
            assert one["raw"] in told_lines and one["at"] == one["raw"]["at"], name
    trap = [one["source"] for one in requirement(found, "canaries")["evidence"]]
    assert any(source.startswith("canary.landed old") for source in trap)
    assert "local" in requirement(found, "canaries")["todo"]
    hits = [one["raw"]["client"] for one in requirement(found, "quiet")["evidence"] if "client" in one["raw"]]
    assert "203.0.113.99" in hits
    missing = requirement(found, "stragglers")["evidence"]
    assert any(one["raw"].get("message_id") == "<late@sender.example>" for one in missing)


def test_whatever_is_not_met_says_what_to_do_at_every_moment(trapped: World) -> None:
    seen: set[str] = set()
    for second in range(0, 1500, 75):
        found = told(trapped, clock(second))
        for one in found["requirements"]:
            seen.add(one["code"])
            assert bool(one["todo"]) == (one["state"] in ("unmet", "unknown")) and one["needs"]
            assert one["evidence"] or one["observations"] == 0
    assert len(seen) > 12


def test_every_state_that_is_not_met_has_an_instruction_in_both_languages() -> None:
    for code in CATALOGUES["en"]:
        name, _, what = code.partition(".")
        if name not in NAMES or what in ("met", "ceiling"):
            continue
        instruction = f"todo.{name}.bogus" if what.startswith("bogus") else f"todo.{code}"
        assert instruction in CATALOGUES["en"] and instruction in CATALOGUES["ja"], code


def test_what_would_have_been_lost(trapped: World) -> None:
    late = told(trapped, clock(600))
    assert [m["message_id"] for m in late["lost"]] == ["<late@sender.example>"], (
        "refused mail is not lost by it"
    )
    assert late["switched_off_at"] == clock(600)
    assert told(trapped, clock(1000))["lost"] == []
    before = told(trapped, clock(150))["lost"]
    assert [m["message_id"] for m in before[:2]] == ["<before-7@sender.example>", "<before-8@sender.example>"]
    assert told(trapped)["switched_off_at"] == clock(300), "at the change, where no time is given"


def test_a_horizon_shows_the_last_old_answer_and_the_one_that_ended_it() -> None:
    world = World().authority(0, "203.0.113.1", OLD, 900).authority(60, "203.0.113.1", NEW)
    raws = [one["raw"] for one in requirement(told(world), "horizon")["evidence"]]
    assert [(r["at"], r["ttl"]) for r in raws] == [(clock(0), 900), (clock(60), 300)]


@pytest.mark.parametrize("language", ["en", "ja"])
def test_the_text_is_whole_in_both_languages(trapped: World, language: Language) -> None:
    found = explain(trapped.observations(), None)
    assert found is not None
    text = "\n".join(lines(found, None, language))
    assert all(name in text for name in NAMES) and "{" not in text.replace("{'", "")
    for reason in found.reasons:
        instruction = todo(reason.finding, language)
        assert instruction is None or instruction in text


def test_hostile_text_is_shown_harmlessly() -> None:
    world = cutover(World()).mail(900, "old", "\x1b[2J", client="203.0.113.9", helo="\u202eevil")
    found = explain(world.observations(), None)
    assert found is not None
    text = "\n".join(lines(found, None))
    assert not any(c in text for c in "\x1b\u202e")


def test_the_command_reads_a_record_a_journal_and_a_plan(tmp_path: Path, trapped: World) -> None:
    record = write(trapped, tmp_path / "record.jsonl")
    journal = tmp_path / "cutover.journal"
    first, *rest = trapped.observations()
    assert isinstance(first, Plan)
    writer = Journal.create(journal, first)
    writer.keep(rest)
    writer.close()
    (tmp_path / "cutover.toml").write_text('journal = "cutover.journal"\n')
    outputs = {
        run("explain", "quiet", str(path), "--json", "--at", clock(800)).stdout
        for path in (record, journal, tmp_path / "cutover.toml")
    }
    assert len(outputs) == 1
    found = json.loads(outputs.pop())
    assert [r["name"] for r in found["requirements"]] == ["quiet"] and ACCOUNT in str(found["lost"][0])
    plain = run("explain", str(record))
    assert plain.returncode == 0 and "What" not in plain.stderr and "via-old" in plain.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["nowhere.journal"], 74, "nowhere.journal"),
        (["quite"], 2, "neither a file nor one of"),
        (["quiet", "one.journal", "two"], 2, "is no requirement"),
        (["--at", "yesterday"], 2, "is no time"),
    ],
)
def test_bad_input_gets_one_line(tmp_path: Path, arguments: list[str], code: int, says: str) -> None:
    done = run("explain", *arguments)
    assert done.returncode == code and says in done.stderr and "Traceback" not in done.stderr


def test_a_time_before_the_plan_is_told(tmp_path: Path, trapped: World) -> None:
    done = run("explain", str(write(trapped, tmp_path / "r.jsonl")), "--at", "2020-01-01")
    assert done.returncode == 65 and "holds no plan as of 2020-01-01" in done.stderr
