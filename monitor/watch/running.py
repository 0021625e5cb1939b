"""A watch from its first question to its exit code: lines for a unit, or behind the dashboard."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import click

from monitor.exits import BY_VERDICT, Exit
from monitor.folding import Fold
from monitor.journal import Journal
from monitor.plan.model import CutoverPlan
from monitor.printable import printable
from monitor.snapshot import Snapshot
from monitor.verdict.model import Judgement
from monitor.watch import Watch, opened_journal
from monitor.watch.asking import Asking, Server
from monitor.wording import Language, say
from probes.observation import stamp

# Made anew in each event loop: what asks the world has sockets in it.
World = Callable[[], Asking]


def run(plan: CutoverPlan, path: Path, world: World, *, headless: bool) -> int:
    """Watch until told to stop. Returns the exit code; raises ``Failure`` 65 or 74."""
    journal, servers = asyncio.run(_opened(plan, path, world))
    with journal:
        if headless:
            click.echo(f"watching {printable(plan.domain)} into {printable(str(path))}", err=True)
            return asyncio.run(_headless(plan, journal, servers, world))
        return _on_screen(plan, journal, servers, world)


async def _opened(plan: CutoverPlan, path: Path, world: World) -> tuple[Journal, Sequence[Server] | None]:
    asking = world()
    try:
        return await opened_journal(path, plan, asking)
    finally:
        await asking.close()


# Headless


class Lines:
    """One line a change: when, the verdict, and each requirement whose state is another than before."""

    def __init__(self, language: Language, stop: asyncio.Event) -> None:
        self._language, self._stop = language, stop
        self._states: dict[str, str] = {}

    def show(self, judgement: Judgement) -> None:
        """Print at once. A reader that has gone ends the watch."""
        try:
            click.echo(self.line(judgement))
        except BrokenPipeError:
            self._stop.set()

    def line(self, judgement: Judgement) -> str:
        parts = [f"{stamp(judgement.at)} {judgement.verdict}: {self._said(judgement)}"]
        for finding in judgement.findings:
            if self._states.get(finding.name) != finding.state:
                self._states[finding.name] = finding.state
                reason = say(finding.code, finding.args, self._language, judgement.at)
                parts.append(f"{finding.name} {finding.state}: {reason}")
        return " | ".join(parts)

    def _said(self, judgement: Judgement) -> str:
        return say(judgement.code, judgement.args, self._language, judgement.at)


async def _headless(
    plan: CutoverPlan, journal: Journal, servers: Sequence[Server] | None, world: World
) -> int:
    stop, got = asyncio.Event(), set[signal.Signals]()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, _told, number, got, stop)
    lines = Lines(plan.language, stop)
    watch = Watch(plan, journal, Fold(), on_change=lines.show, asking=world(), servers=servers)
    await watch.run(stop)
    if signal.SIGINT in got:
        return Exit.INTERRUPTED
    judgement = watch.judgement()
    return BY_VERDICT[judgement.verdict] if judgement is not None else Exit.BLIND


def _told(number: signal.Signals, got: set[signal.Signals], stop: asyncio.Event) -> None:
    got.add(number)
    stop.set()


# Behind the dashboard


class LiveFeed:
    """What the dashboard draws from and, with it, the watch itself."""

    def __init__(self, watch: Callable[[], Watch]) -> None:
        self._make = watch
        self._watch: Watch | None = None
        self.ended: Callable[[], object] = bool  # called when the watch ended of itself

    def snapshot(self) -> Snapshot | None:
        return self._watch.snapshot() if self._watch is not None else None

    async def run(self) -> None:
        """Until cancelled, which the screen does when it closes, or until SIGTERM."""
        stop = asyncio.Event()
        with suppress(NotImplementedError, RuntimeError):  # not in the main thread
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
        self._watch = self._make()
        await self._watch.run(stop)
        self.ended()


def _on_screen(plan: CutoverPlan, journal: Journal, servers: Sequence[Server] | None, world: World) -> int:
    from monitor.dashboard.app import Dashboard

    def watch() -> Watch:
        return Watch(plan, journal, Fold(), on_change=lambda change: None, asking=world(), servers=servers)

    feed = LiveFeed(watch)
    app = Dashboard(feed, language=plan.language)
    feed.ended = app.exit
    app.run()
    if app.failure is not None:
        raise app.failure
    return Exit.OK
