"""A watch as a unit runs it: lines, signals, exit codes; its secrets; its screen."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from monitor.exits import Exit, Failure
from monitor.folding import Fold
from monitor.journal import Journal, JournalReader
from monitor.plan.model import Account
from monitor.plan.observed import plan_observation
from monitor.watch import Watch
from monitor.watch.running import LiveFeed
from monitor.watch.vault import Vault
from probes.observation import Watcher, now
from tests.watch.fake import World, plan


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cutover.journal"


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, Exit.NOT_YET), (signal.SIGINT, Exit.INTERRUPTED)]
)
def test_headless_prints_changes_and_ends_cleanly(path: Path, number: signal.Signals, code: int) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "tests.watch.headless_child", str(path)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    ) as child:
        assert child.stdout is not None
        line = child.stdout.readline()
        second = subprocess.run(
            [sys.executable, "-m", "tests.watch.headless_child", str(path)],
            capture_output=True,
            text=True,
            check=False,
            cwd=Path(__file__).parents[2],
        )
        child.send_signal(number)
        assert child.wait(20) == code
    when, verdict, _ = line.split(" ", 2)
    assert when.endswith("Z") and verdict == "before:" and " | quiet " in line
    assert second.returncode == Exit.IO and "written by another mxcutover" in second.stderr
    assert second.stderr.count("\n") == 1
    with JournalReader(path) as reader:
        last = list(reader.observations())[-1]
    assert isinstance(last, Watcher) and last.event == "stopped"


async def test_a_feed_gives_pictures_while_the_watch_runs(path: Path) -> None:
    made, ended = plan(), asyncio.Event()
    with Journal.create(path, plan_observation(made, ["203.0.113.1"], now())) as journal:
        feed = LiveFeed(lambda: Watch(made, journal, Fold(), on_change=lambda change: None, asking=World()))
        feed.ended = ended.set
        assert feed.snapshot() is None
        task = asyncio.create_task(feed.run())
        async with asyncio.timeout(20):
            while (shot := feed.snapshot()) is None or not shot.resolvers or shot.evidence_at is None:
                await asyncio.sleep(0.05)
        assert shot.plan.domain == "example.jp."
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert not ended.is_set()


async def test_secrets_come_late_once_and_anew_after_a_refusal(tmp_path: Path) -> None:
    file = tmp_path / "a"
    account = Account(address="a@example.jp", old_login="a", new_login="a", old_secret="file:a")
    vault = Vault(plan(path=tmp_path / "cutover.toml", accounts=(account,)))
    with pytest.raises(Failure):
        await vault.secret("old", account)
    file.write_text("one\n")
    file.chmod(0o600)
    assert (await vault.secret("old", account)).reveal() == "one"
    file.write_text("two\n")
    assert (await vault.secret("old", account)).reveal() == "one"
    vault.forget("old", account)
    assert (await vault.secret("old", account)).reveal() == "two"
    with pytest.raises(Failure, match="no secret for"):
        await vault.secret("new", account)
