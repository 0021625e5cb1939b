"""A rehearsal from its first socket to its exit code."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from monitor.exits import BY_VERDICT, Exit, Failure
from monitor.folding import Fold
from monitor.plan.load import load
from monitor.plan.model import CutoverPlan
from monitor.rehearsal import zones
from monitor.rehearsal.scenarios import DOMAIN, Scenario
from monitor.rehearsal.story import Story
from monitor.rehearsal.telling import Lines
from monitor.rehearsal.world import World
from monitor.watch import Watch, opened_journal
from monitor.watch.asking import Asking
from monitor.watch.vault import Vault
from monitor.watch.world import RealWorld
from monitor.wording import Language, say, span

LINGER = 20.0  # real seconds for which the dashboard stays when the story is over


class Chosen(msgspec.Struct, frozen=True, kw_only=True):
    """What to rehearse. ``directory``: the servers' own, to be removed; ``out``: for journal and report."""

    scenario: Scenario
    speed: float
    directory: Path
    out: Path
    language: Language
    screen: bool

    @property
    def journal(self) -> Path:
        return self.out / "cutover.journal"


async def rehearse(chosen: Chosen, out: Callable[[str], None]) -> int:
    """Play, watch, report. Returns the verdict's exit code. Raises ``Failure`` 30, 69 or 74."""
    lines = None if chosen.screen else Lines(chosen.speed, chosen.language, out)
    if not chosen.screen:
        _begin(chosen, out)
    try:
        async with World(chosen.scenario, chosen.speed, chosen.directory) as world:
            story = Story(world, chosen.journal, LINGER if chosen.screen else 0, lines, chosen.language)
            plan = msgspec.structs.replace(load(world.plan_path), language=chosen.language)
            await _watched(story, plan, chosen)
        return _conclude(plan, chosen, out)
    except BrokenPipeError:  # who reads the story has gone: the command line's affair
        raise
    except TimeoutError:
        raise Failure("the rehearsal did not end in time; is this machine very busy?", Exit.BLIND) from None
    except OSError as error:
        raise Failure(f"the rehearsal's servers cannot run here: {error}", Exit.UNAVAILABLE) from None


def _begin(chosen: Chosen, out: Callable[[str], None]) -> None:
    words = {
        "scenario": chosen.scenario.name,
        "domain": DOMAIN.rstrip("."),
        "old": zones.OLD_MX.rstrip("."),
        "new": zones.NEW_MX[0].rstrip("."),
        "length": span(chosen.scenario.about / chosen.speed, chosen.language),
        "journal": str(chosen.journal),
    }
    for code in ("rehearsal.begins", "rehearsal.attach"):
        out(say(code, words, chosen.language))


def real_world(plan: CutoverPlan, journal: Path) -> Asking:
    """What the watch asks with: the probes themselves, over this plan's ``[endpoints]``."""
    return RealWorld(plan, Vault(plan), journal)


async def _watched(story: Story, plan: CutoverPlan, chosen: Chosen) -> None:
    asking = real_world(plan, chosen.journal)
    journal, servers = await opened_journal(chosen.journal, plan, asking)
    with journal, _sigterm(story):
        watch = Watch(plan, journal, Fold(), on_change=story.changed, asking=asking, servers=servers)
        story.watch_with(watch)
        await (_on_screen(story, chosen.language) if chosen.screen else story.run())


@contextlib.contextmanager
def _sigterm(story: Story) -> Iterator[None]:
    """SIGTERM ends the story early and in order."""
    loop = asyncio.get_running_loop()
    with contextlib.suppress(NotImplementedError, RuntimeError):  # not in the main thread
        loop.add_signal_handler(signal.SIGTERM, story.stop)
    try:
        yield
    finally:
        with contextlib.suppress(NotImplementedError, RuntimeError):
            loop.remove_signal_handler(signal.SIGTERM)


async def _on_screen(story: Story, language: Language) -> None:
    """The dashboard, until somebody leaves it or the story has been over for a while."""
    from monitor.dashboard.app import Dashboard

    app = Dashboard(story, language=language)
    story.ended = app.exit
    await app.run_async()
    if app.failure is not None:
        raise app.failure


def _conclude(plan: CutoverPlan, chosen: Chosen, out: Callable[[str], None]) -> int:
    """Write the report of what is in the journal, and say how it ended."""
    from monitor.commands.report import pictured
    from monitor.report.build import write_report
    from monitor.report.exceptions import tls_exceptions

    snapshot, seal = pictured(chosen.journal, None)
    write_report(snapshot, chosen.out, language=chosen.language, seal=seal, exceptions=tls_exceptions(plan))
    verdict = snapshot.judgement.verdict
    word = say(f"ui.word.{verdict}", {}, chosen.language)
    out(say("rehearsal.ends", {"verdict": word}, chosen.language))
    out(say("rehearsal.report", {"directory": str(chosen.out)}, chosen.language))
    return BY_VERDICT[verdict]
