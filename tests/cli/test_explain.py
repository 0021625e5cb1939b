"""``mxcutover explain``: evidence and instructions, any moment of the past, what would have been lost."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from string import Formatter
from typing import Any

import msgspec
import pytest

from monitor.explain.build import explain
from monitor.journal import Journal
from monitor.verdict.model import REQUIREMENTS
from monitor.wording import CATALOGUES
from probes.observation import Mail, Plan, decode, encode
from tests.scenarios.world import ACCOUNT, NEW, OLD, START, World, clock, cutover

GOOD = ("met", "ceiling")
ENTRY = (sys.executable, "-c", "from monitor.cli import run; run()", "explain")


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*ENTRY, *arguments], check=False, capture_output=True, text=True, timeout=60)


def told(file: Path, *arguments: str) -> dict[str, Any]:
    done = run(*arguments, str(file), "--json")
    assert done.stderr == ""
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture
def record(tmp_path: Path) -> Path:
    """Old took three messages after the change, of which new has one; the last at 700 s."""
    world = cutover(World())
    world.mail(400, "old", "late-1").mail(420, "new", "late-1")
    world.mail(500, "old", "late-2").mail(700, "old", "late-3", origin="local", client=None)
    world.mail(800, "old", "canary", origin="canary").mail(810, "old", "spam", disposition="rejected")
    file = tmp_path / "cutover.jsonl"
    file.write_bytes(b"\n".join(map(encode, world.observations())) + b"\n")
    return file


def test_every_state_that_is_not_met_has_its_instruction() -> None:
    for catalogue in CATALOGUES.values():
        codes = [c for c in catalogue if c.partition(".")[0] in REQUIREMENTS]
        assert len(codes) > 40
        assert [c for c in codes if c.partition(".")[2] not in GOOD and f"do.{c}" not in catalogue] == []
        assert [r for r in REQUIREMENTS if f"needs.{r}" not in catalogue] == []
        given = [
            name
            for c, t in catalogue.items()
            if c.startswith("do.")
            for _, name, _, _ in Formatter().parse(t)
        ]
        assert set(given) == {None}, "an instruction needs no figure that its reason may lack"


def test_the_evidence_is_what_decides(record: Path) -> None:
    found = told(record, "--at", clock(900))
    assert found["judgement"]["verdict"] == "draining"
    by_name = {r["name"]: r for r in found["requirements"]}
    assert list(by_name) == list(REQUIREMENTS)
    stragglers = by_name["stragglers"]
    assert [m["message_id"] for m in stragglers["evidence"]] == [
        "<late-2@sender.example>",
        "<late-3@sender.example>",
    ]
    assert stragglers["do"].startswith("Copy them to new") and stragglers["needs"]
    assert by_name["quiet"]["evidence"][0]["message_id"] == "<late-3@sender.example>"
    authority = by_name["authority"]["evidence"]
    assert {(o["address"], tuple(o["rrset"])) for o in authority} == {
        ("203.0.113.1", NEW),
        ("203.0.113.2", NEW),
    }
    assert all("do" not in r for r in found["requirements"] if r["state"] == "met")
    ends = {o["kind"] for o in by_name["canaries"]["evidence"]}
    assert ends == {"canary.sent", "canary.landed"}


def test_one_requirement_alone_and_what_lags_first(tmp_path: Path) -> None:
    world = cutover(World(), skip=("authority:203.0.113.2",))
    for t in range(0, 1500, 30):
        world.authority(t, "203.0.113.2", OLD)
    file = tmp_path / "lag.jsonl"
    file.write_bytes(b"\n".join(map(encode, world.observations())))
    found = told(file, "authority")
    (one,) = found["requirements"]
    assert (one["state"], one["code"]) == ("unmet", "authority.serves_old")
    assert [o["address"] for o in one["evidence"]] == ["203.0.113.2", "203.0.113.1"]
    text = " ".join(run("horizon", str(file)).stdout.split())
    assert "10 mail.example.jp. TTL 300" in text and "do:" in text and "authority:" not in text


def test_any_moment_of_the_past_is_judged_as_it_was_then(record: Path) -> None:
    assert told(record, "--at", clock(200))["judgement"]["verdict"] == "before"
    assert told(record, "--at", clock(312))["judgement"]["verdict"] == "propagating"
    assert run("--at", clock(200), str(record)).returncode == 10
    early = run("--at", clock(-5), str(record))
    assert (early.returncode, early.stdout) == (65, "") and "holds no plan as of" in early.stderr


def test_what_would_have_been_lost(record: Path) -> None:
    for at, lost in ((390, ["late-1", "late-2", "late-3"]), (500, ["late-2", "late-3"]), (701, [])):
        off = told(record, "--at", clock(at))["switched_off"]
        assert [m["message_id"] for m in off["messages"]] == [f"<{n}@sender.example>" for n in lost]
        assert off["lost"] == len(lost)
    assert "these 2 messages" in run("--at", clock(500), str(record)).stdout
    later = run("--at", clock(701), str(record)).stdout
    assert "nothing would have been lost" in " ".join(later.split())
    japanese = run("--at", clock(500), str(record), "--language", "ja").stdout
    assert "2 通" in japanese and "対処:" in japanese


def test_a_message_that_log_and_mailbox_tell_of_is_lost_once() -> None:
    world = cutover(World()).mail(400, "old", "twice").mail(401, "old", "twice", source="mailbox")
    found = explain(world.observations(), START + timedelta(seconds=350))
    assert found is not None and [m.message_id for m in found.lost] == ["<twice@sender.example>"]


def test_a_journal_is_read_as_its_export_is(record: Path, tmp_path: Path) -> None:
    journal = tmp_path / "cutover.journal"
    first, *rest = map(decode, record.read_bytes().splitlines())
    assert isinstance(first, Plan)
    with Journal.create(journal, first) as kept:
        kept.keep(rest, {})
    asked = ("quiet", "--at", clock(900))
    assert told(journal, *asked) == told(record, *asked)


def test_hostile_text_is_shown_as_text(tmp_path: Path) -> None:
    evil = "\x1b[2J\u202egone\x07"
    world = cutover(World())
    world.mail(500, "old", "x", client=evil, helo=evil, queue_id=evil)
    world.canary(1400, "mx", None, outcome="rejected", reply=f"550 {evil}")
    file = tmp_path / "evil.jsonl"
    file.write_bytes(b"\n".join(map(encode, world.observations())))
    shown = run(str(file), "--all").stdout
    assert "gone" in shown and not any(c in shown for c in "\x1b\u202e\x07")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("gravity",), 2, "is no requirement and no file"),
        (("quiet", "nowhere.journal"), 74, "there is no journal"),
        (("--at", "soon"), 2, "is no time"),
        (("--at", "99:99"), 2, "is no time"),
    ],
)
def test_bad_input_is_one_line_and_its_code(arguments: tuple[str, ...], code: int, said: str) -> None:
    done = run(*arguments)
    assert done.returncode == code and said in done.stderr and "Traceback" not in done.stderr


def test_messages_without_a_name_are_told_apart_by_client() -> None:
    world = cutover(World()).mail(500, "old", "x", message_id=None, client="203.0.113.9")
    found = explain(world.observations(), START + timedelta(seconds=450))
    assert found is not None
    (one,) = found.lost
    assert isinstance(one, Mail) and one.client == "203.0.113.9" and one.recipient == ACCOUNT
    assert msgspec.structs.asdict(one)["origin"] == "outside"


def test_earlier_correspondents_as_a_table_and_as_json(record: Path) -> None:
    shown = run("senders", str(record)).stdout
    assert shown.startswith("1 earlier correspondents: 1 heard on new") and "203.0.113.77" in shown
    assert "まだ旧 0" in run("senders", str(record), "--language", "ja").stdout
    assert "or there is no change yet" in " ".join(
        run("senders", str(record), "--at", clock(200)).stdout.split()
    )
    (row,) = told(record, "senders")["senders"]
    assert (row["who"], row["before"], row["state"]) == ("203.0.113.77", 15, "new")
