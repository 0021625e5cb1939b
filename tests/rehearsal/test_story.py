"""Whole rehearsals under the real watch: it saw what happened, and judged it in order."""

from __future__ import annotations

import asyncio
import json
import sys
from asyncio.subprocess import PIPE
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path

from monitor.exits import BY_VERDICT
from monitor.folding import Fold
from monitor.journal import JournalReader, verify
from monitor.plan.load import load
from monitor.recording import judge, read
from monitor.rehearsal.running import real_world
from monitor.rehearsal.scenarios import SCENARIOS, SMOOTH
from monitor.rehearsal.story import Story
from monitor.rehearsal.world import World
from monitor.verdict.model import Judgement
from monitor.watch import Watch, opened_journal
from probes.observation import Mail, encode

SPEED = "8"
COMMAND = (sys.executable, "-c", "from monitor.cli import run; run()", "rehearse", "--headless")


async def told(name: str, out: Path) -> tuple[int, str, str]:
    """One rehearsal by the command: exit code, standard output, standard error."""
    process = await asyncio.create_subprocess_exec(
        *COMMAND, "--scenario", name, "--speed", SPEED, "-o", str(out), stdout=PIPE, stderr=PIPE
    )
    try:
        async with asyncio.timeout(180):
            output, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    return process.returncode or 0, output.decode(), errors.decode()


def in_order(wanted: Iterable[str], found: Iterable[str]) -> bool:
    words: Iterator[str] = iter(found)
    return all(word in words for word in wanted)


def exported(journal: Path) -> Path:
    """The journal as a file for replay."""
    path = journal.with_suffix(".jsonl")
    with JournalReader(journal) as reader, path.open("wb") as out:
        out.writelines(encode(seen) + b"\n" for seen in reader.observations())
    return path


async def test_all_stories_at_once_each_end_as_they_should(tmp_path: Path) -> None:
    names = list(SCENARIOS)
    results = await asyncio.gather(*(told(name, tmp_path / name) for name in names))
    for name, (code, output, errors) in zip(names, results, strict=True):
        scenario, out = SCENARIOS[name], tmp_path / name
        assert code == BY_VERDICT[scenario.ends], (name, output, errors)
        assert json.loads((out / "report.json").read_text())["verdict"]["verdict"] == scenario.ends
        assert "<html" in (out / "report.html").read_text()
        verify(out / "cutover.journal")
        path = exported(out / "cutover.journal")
        words = [judgement.verdict for judgement in judge(read(path), str(path))]
        assert in_order(scenario.verdicts, words), (name, [w for w, _ in groupby(words)], output)


def shape(judgement: Judgement) -> tuple[str, ...]:
    return (judgement.verdict, *(f"{f.name} {f.state}" for f in judgement.findings))


async def test_every_message_is_counted_once_and_replay_judges_as_the_live_watch_did(tmp_path: Path) -> None:
    journal = tmp_path / "cutover.journal"
    async with World(SMOOTH, float(SPEED), tmp_path) as world:
        story = Story(world, journal)
        plan = load(world.plan_path)
        asking = real_world(plan, journal)
        kept, servers = await opened_journal(journal, plan, asking)
        with kept:
            watch = Watch(plan, kept, Fold(), on_change=story.changed, asking=asking, servers=servers)
            story.watch_with(watch)
            async with asyncio.timeout(120):
                await story.run()
        log = world.log_path.read_text()
    path = exported(journal)
    again = [shape(judgement) for judgement in judge(read(path), str(path))]
    assert [shape(judgement) for judgement in story.judged] == again[: len(story.judged)]
    assert len(again) - len(story.judged) <= 2  # the last second, and the line that ends a replay
    with JournalReader(journal) as reader:
        taken = [m for m in reader.of_kind("mail") if isinstance(m, Mail) and m.side == "old"]
    counted = [m.message_id for m in taken if m.source == "log" and m.origin != "canary"]
    assert len(counted) == len(set(counted))
    sent_there = {sent.message_id for sent in world.truth.sent if sent.host == "mail.old.example"}
    assert sent_there <= set(counted)
    assert all(f"message-id={found}\n" in log for found in counted)
    assert not world.truth.missing()
