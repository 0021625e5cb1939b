"""kill -9 at random moments of a rehearsal: nothing that was kept is lost, and the story ends the same."""

from __future__ import annotations

import asyncio
import random
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from monitor.journal import JournalReader, post, verify
from monitor.recording import judge, read
from monitor.rehearsal.scenarios import SMOOTH, Act
from monitor.rehearsal.world import World
from probes.observation import Observation, Operator, encode, now

COMMAND = (sys.executable, "-c", "from monitor.cli import run; run()", "watch", "--headless")
KILLS = 8


@asynccontextmanager
async def watching(world: World, journal: Path, output: Path) -> AsyncIterator[Process]:
    """``mxcutover watch --headless`` as a process, ended with SIGTERM unless it is dead by then."""
    with output.open("ab") as out:
        child = await asyncio.create_subprocess_exec(
            *COMMAND, str(world.plan_path), "--journal", str(journal), stdout=out, stderr=out
        )
    try:
        yield child
    finally:
        if child.returncode is None:
            child.send_signal(signal.SIGTERM)
        async with asyncio.timeout(60):
            await child.wait()


def kept(journal: Path) -> list[Observation]:
    with JournalReader(journal) as reader:
        return list(reader.observations())


def words_of(output: Path) -> list[str]:
    """The verdicts that the watch printed: each line stands for evidence that is kept."""
    lines = output.read_text().splitlines()
    return [line.split(" ", 2)[1].rstrip(":") for line in lines if line[:2] == "20"]


async def test_killed_again_and_again_it_loses_nothing_and_ends_safe(tmp_path: Path) -> None:
    journal, pick = tmp_path / "cutover.journal", random.Random(4711)
    declared: list[asyncio.Future[int]] = []

    def declare(act: Act) -> None:
        if act.do == "change-mx":
            word = Operator(at=now(), action="cutover", subject="", reason="")
            declared.append(asyncio.ensure_future(asyncio.to_thread(post, journal, word, 30)))

    output = tmp_path / "output"
    async with World(SMOOTH, 4, tmp_path, declare) as world:
        playing = asyncio.create_task(world.play())
        before: list[Observation] = []
        for _ in range(KILLS):
            async with watching(world, journal, output) as child:
                while not journal.exists():
                    await asyncio.sleep(0.05)
                await asyncio.sleep(pick.uniform(0.1, 3))
                child.kill()
                await child.wait()
            after = kept(journal)
            assert after[: len(before)] == before
            before = after
            verify(journal)
        async with watching(world, journal, output) as child, asyncio.timeout(90):
            while "safe" not in words_of(output):
                assert child.returncode is None and not playing.done(), output.read_text()
                await asyncio.sleep(0.2)
        playing.cancel()
        await asyncio.gather(playing, *declared, return_exceptions=True)
        truth = {sent.message_id for sent in world.truth.sent if sent.host == world.old.who.name}
    seen = kept(journal)
    assert seen[: len(before)] == before
    counted = [
        m.message_id
        for m in seen
        if getattr(m, "source", "") == "log" and getattr(m, "origin", "") != "canary"
    ]
    assert len(counted) == len(set(counted)) and truth <= set(counted)
    file = tmp_path / "cutover.jsonl"
    file.write_bytes(b"".join(encode(one) + b"\n" for one in seen))
    words = [judgement.verdict for judgement in judge(read(file), str(file))]
    assert words[-1] == "safe" and set(words_of(output)) <= set(words)
