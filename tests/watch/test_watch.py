"""The watch against a world in memory: what it asks, keeps, says, and how it ends and goes on."""

from __future__ import annotations

import asyncio
import random
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from monitor.exits import Exit, Failure
from monitor.folding import Fold
from monitor.journal import Journal, JournalReader, post, verify
from monitor.plan.model import CutoverPlan, Host
from monitor.plan.observed import plan_observation
from monitor.verdict.model import Judgement
from monitor.watch import Watch
from monitor.watch.asking import Server
from monitor.watch.clock import Clock
from monitor.watch.known import Known
from monitor.watch.pace import Backoff, Gates
from probes.observation import (
    AuthorityAnswer,
    CanarySent,
    Mail,
    Observation,
    Operator,
    Plan,
    Policy,
    Queue,
    ResolverAnswer,
    Skip,
    Watcher,
    now,
)  # fmt: skip
from tests.watch.fake import NEW, World, plan


class Running:
    """A watch in this loop, and what its journal holds."""

    def __init__(self, path: Path, world: World, made: CutoverPlan, journal: Journal) -> None:
        self.path, self.world = path, world
        self.stop = asyncio.Event()
        self.changes: list[Judgement] = []
        self.watch = Watch(made, journal, Fold(), on_change=self.changes.append, asking=world)
        self.task = asyncio.create_task(self.watch.run(self.stop))

    def seen(self) -> list[Observation]:
        with JournalReader(self.path) as reader:
            return list(reader.observations())

    async def until(self, holds: Callable[[], object]) -> None:
        async with asyncio.timeout(20):
            while not holds():
                if self.task.done():
                    self.task.result()
                await asyncio.sleep(0.05)

    async def event(self, name: str) -> None:
        await self.until(lambda: any(isinstance(o, Watcher) and o.event == name for o in self.seen()))


@asynccontextmanager
async def running(path: Path, world: World, made: CutoverPlan | None = None) -> AsyncIterator[Running]:
    made = made or plan()
    if path.exists():
        journal = Journal.open(path)
    else:
        journal = Journal.create(path, plan_observation(made, ["203.0.113.1"], now()))
    with journal:
        run = Running(path, world, made, journal)
        try:
            yield run
            run.stop.set()
            await run.task
        finally:
            run.task.cancel()
            await asyncio.gather(run.task, return_exceptions=True)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cutover.journal"


async def test_everything_of_the_plan_is_asked_kept_and_judged(path: Path) -> None:
    world = World()
    async with running(path, world) as run:
        await run.until(lambda: any(c.verdict == "before" for c in run.changes))
        await run.until(lambda: world.targets.count(None) < len(world.targets))
        world.mx = NEW
        await run.until(lambda: any(c.verdict == "propagating" for c in run.changes))
        await run.until(run.watch.snapshot)
    seen = run.seen()
    assert isinstance(seen[0], Plan)
    kinds = {type(one) for one in seen}
    assert {AuthorityAnswer, ResolverAnswer, CanarySent, Mail, Watcher} <= kinds
    assert {w.event for w in seen if isinstance(w, Watcher)} == {"started", "stopped"}
    assert world.asked["hosts"] and world.asked["records"]
    assert world.accounts == {"a@example.jp"}  # nobody could see b's canaries land
    assert "mailbox:old:b@example.jp" not in world.asked
    assert {t.address for t in world.targets if t} <= {"192.0.2.10", "198.51.100.20"}
    assert world.closed
    assert verify(path).observations == len(seen)


async def test_the_queue_is_a_loose_end_and_one_that_cannot_be_listed_is_said(path: Path) -> None:
    world = World()
    async with running(path, world, plan(old=listed())) as run:
        await run.until(lambda: any(isinstance(o, Queue) for o in run.seen()))
        await run.until(lambda: (j := run.watch.judgement()) and "queue" in {e.kind for e in j.loose_ends})
        world.silent.add("queue")
        await run.until(lambda: len(queue_skips(run)) > 1)
    first, *later = queue_skips(run)
    assert first.reason == "postqueue ended with status 69"
    assert later[0].reason.startswith("back-off: 4 times in a row postqueue ended with status 69")


def listed() -> Host:
    return msgspec.structs.replace(plan().old, queue_command=("postqueue", "-j"))


def queue_skips(run: Running) -> list[Skip]:
    return [o for o in run.seen() if isinstance(o, Skip) and o.subject == "queue:old"]


async def test_the_record_gives_the_live_changes_again(path: Path) -> None:
    world = World()
    async with running(path, world) as run:
        await run.until(lambda: any(c.verdict == "before" for c in run.changes))
        world.mx = NEW
        await run.until(lambda: any(c.verdict == "propagating" for c in run.changes))
    again = Fold()
    for one in run.seen():
        again.add(one)
    changes = again.advance(run.changes[-1].at)
    assert [shape(c) for c in changes] == [shape(c) for c in run.changes]


def shape(change: Judgement) -> tuple[object, ...]:
    return change.at, change.verdict, tuple(f.state for f in change.findings)


async def test_a_fault_in_one_probe_is_said_and_ends_nothing(path: Path) -> None:
    world = World()
    world.broken = {"203.0.113.1", "log", "route:mx"}
    async with running(path, world) as run:
        await run.until(lambda: {s.subject for s in run.seen() if isinstance(s, Skip)} >= {
            "authority:203.0.113.1", "log:old", "route:mx"})  # fmt: skip
        await run.until(lambda: world.asked["192.0.2.53"] > 3)
    assert not any("fault in the probe" in s.reason for s in run.seen() if isinstance(s, Skip))


async def test_a_new_authority_is_on_the_list_at_once_and_a_gone_one_later(path: Path) -> None:
    world = World()
    async with running(path, world) as run:
        await run.until(lambda: world.asked["203.0.113.1"] > 0)
        world.servers = [Server("ns2.example.", "203.0.113.2")]
        await run.until(lambda: world.asked["203.0.113.2"] > 0)
        await run.until(lambda: len([p for p in run.seen() if isinstance(p, Plan)]) == 3)
    lists = [p.authorities for p in run.seen() if isinstance(p, Plan)]
    assert lists == [("203.0.113.1",), ("203.0.113.1", "203.0.113.2"), ("203.0.113.2",)]


async def test_a_silent_resolver_is_asked_less_and_that_is_said(path: Path) -> None:
    world = World()
    world.silent = {"192.0.2.53"}
    often = plan(policy=Policy(freshness=0.5))
    async with running(path, world, often) as run:
        await run.until(lambda: world.asked["192.0.2.54"] > 25)
    assert world.asked["192.0.2.53"] < world.asked["192.0.2.54"] / 2
    said = [s.reason for s in run.seen() if isinstance(s, Skip) and s.subject == "resolver:192.0.2.53"]
    assert len(said) == 1 and "in a row timeout" in said[0], "once, not with every question left out"


async def test_being_cut_off_is_the_watchers_own_state(path: Path) -> None:
    world = World()
    world.silent = {"203.0.113.1", "192.0.2.53", "192.0.2.54"}
    async with running(path, world) as run:
        await run.event("offline")
        asked = world.asked["192.0.2.53"]
        await run.until(lambda: world.asked["192.0.2.53"] > asked + 5)  # no back-off while it is our silence
        world.silent.clear()
        await run.event("online")


async def test_the_operators_word_is_in_evidence_within_a_moment(path: Path) -> None:
    async with running(path, World()) as run:
        await run.until(lambda: run.changes)
        word = Operator(at=now(), action="note", subject="", reason="seen")
        number = await asyncio.to_thread(post, path, word)
        assert number > 1
    assert word in run.seen()


async def test_cancelling_leaves_a_clean_end(path: Path) -> None:
    async with running(path, World()) as run:
        await run.until(lambda: run.changes)
        run.task.cancel()
        await asyncio.gather(run.task, return_exceptions=True)
        run.task = asyncio.create_task(asyncio.sleep(0))
    last = run.seen()[-1]
    assert isinstance(last, Watcher) and last.event == "stopped"


async def test_a_journal_that_fails_ends_the_watch_with_its_own_line(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(path, World()) as run:
        await run.until(lambda: run.changes)

        def full(*_: object) -> None:
            raise Failure("the disk is full", Exit.IO)

        monkeypatch.setattr(Journal, "keep", full)
        with pytest.raises(Failure, match="the disk is full"):
            await asyncio.wait_for(run.task, 10)
        run.task = asyncio.create_task(asyncio.sleep(0))
    assert run.world.closed


async def test_it_goes_on_where_it_stopped(path: Path) -> None:
    world = World()
    async with running(path, world) as run:
        await run.until(lambda: sum(isinstance(o, Mail) for o in run.seen()) > 20)
    told = {shape(change) for change in run.changes}
    again = World()
    async with running(path, again, plan(resolvers=("192.0.2.53",))) as run:
        await run.until(lambda: "log:old" in again.resumed and again.asked["mailbox:old:a@example.jp"])
    assert not told & {shape(change) for change in run.changes}
    assert again.resumed["mailbox:old:a@example.jp"] == [1, 7]
    _each_message_once(path)
    plans = [p.resolvers for p in run.seen() if isinstance(p, Plan)]
    assert plans == [("192.0.2.53", "192.0.2.54"), ("192.0.2.53",)]


def test_kill_9_loses_nothing_and_takes_nothing_twice(path: Path) -> None:
    chance = random.Random(3)
    for _ in range(3):
        child = subprocess.Popen(
            [sys.executable, "-m", "tests.watch.child", str(path)],
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[2],
        )
        assert child.stdout is not None
        child.stdout.readline()
        time.sleep(chance.uniform(0.3, 0.9))
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
        verify(path)
        _each_message_once(path)
    with JournalReader(path) as reader:
        assert sum(isinstance(o, Mail) for o in reader.observations()) > 20


def _each_message_once(path: Path) -> None:
    with JournalReader(path) as reader:
        numbers = [int(o.queue_id or 0) for o in reader.observations() if isinstance(o, Mail)]
    assert numbers == list(range(1, len(numbers) + 1))


# The parts by themselves


def test_a_jump_of_the_wall_clock_is_noticed_once() -> None:
    wall, steady = [1000.0], [50.0]
    clock = Clock(lambda: wall[0], lambda: steady[0])
    wall[0], steady[0] = 1001.0, 51.1
    assert clock.jump() is None
    wall[0], steady[0] = 4602.0, 52.1
    assert clock.jump() == pytest.approx(3600, abs=1)
    wall[0], steady[0] = 4603.0, 53.1
    assert clock.jump() is None


def test_back_off_doubles_to_its_bound_and_forgets() -> None:
    backoff = Backoff(30)
    pauses = []
    for _ in range(12):
        backoff.note(True)
        pauses.append(backoff.pause)
    assert pauses[:6] == [30, 30, 30, 60, 120, 240] and pauses[-1] == 900
    backoff.note(False)
    assert backoff.pause == 30


async def test_one_operator_is_never_asked_in_a_burst() -> None:
    gates, began = Gates(0.05), time.monotonic()
    await asyncio.gather(*(gates.enter("one") for _ in range(5)), *(gates.enter(f"p{n}") for n in range(50)))
    assert time.monotonic() - began >= 0.2


def test_an_mx_canary_goes_where_the_answer_points_lowest_preference_first() -> None:
    known = Known(plan())
    past = now() - timedelta(minutes=1)
    for name, kind, rdata in (
        ("example.jp.", "MX", ("20 mail.example.jp.", "5 mx9.example.")),
        ("mail.example.jp.", "A", ("192.0.2.10",)),
        ("mx9.example.", "AAAA", ("2001:db8::9",)),
    ):
        known.hear(
            ResolverAnswer(
                at=now(), resolver="192.0.2.53", transport="udp", name=name, type=kind, outcome="answer",
                cache=None, ede=(), rrset=rdata, ttl=5, rtt_ms=1,
            )
        )  # fmt: skip
    target = known.target("192.0.2.53", past)
    assert target is not None and (target.host, target.address) == ("mx9.example.", "2001:db8::9")
    assert known.target("192.0.2.54", past) is None
    assert known.target("192.0.2.53", now() + timedelta(minutes=1)) is None
    assert set(known.hosts()) == {"mx1.new.example.", "mail.example.jp.", "mx9.example."}
