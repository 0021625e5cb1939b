"""A world that plays and the real watch of it, until the story is over."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from monitor.journal import post
from monitor.rehearsal.scenarios import Act
from monitor.rehearsal.world import World
from monitor.snapshot import Snapshot
from monitor.verdict.model import Judgement
from monitor.wording import Language, say
from probes.observation import Action, Operator, now

GRACE = 30.0  # real seconds for an orderly end of each part
LOOK = 0.1


class Watching(Protocol):
    """What a story needs of ``monitor.watch.Watch``."""

    def snapshot(self) -> Snapshot | None: ...

    async def run(self, stop: asyncio.Event) -> None: ...


class Listener(Protocol):
    """Who is told what happens; each call returns at once."""

    def acted(self, act: Act) -> None: ...

    def judged(self, judgement: Judgement) -> None: ...


class Story:
    """One rehearsal; also a feed for the dashboard. ``journal`` is where the change gets declared.

    The story is over when all acts are done and the verdict is safe, or when the scenario's length has
    passed. ``linger``: real seconds for which the watch goes on after that, for somebody who looks at it.
    """

    def __init__(
        self, world: World, journal: Path, linger: float = 0, listener: Listener | None = None,
        language: Language = "en",
    ) -> None:  # fmt: skip
        self.world = world
        self.latest: Judgement | None = None
        self.judged: list[Judgement] = []
        self._journal = journal
        self._linger = linger
        self._language = language
        self.ended: Callable[[], object] = bool  # called when it is over
        self._listener = listener
        world.on_act = self.acted
        self._watch: Watching | None = None
        self._stop = asyncio.Event()
        self._declaring: set[asyncio.Task[None]] = set()

    def watch_with(self, watch: Watching) -> None:
        self._watch = watch

    def snapshot(self) -> Snapshot | None:
        return None if self._watch is None else self._watch.snapshot()

    def stop(self) -> None:
        """End it early."""
        self._stop.set()

    def changed(self, judgement: Judgement) -> None:
        """The watch's ``on_change``."""
        self.latest = judgement
        self.judged.append(judgement)
        self._told("judged", judgement)

    def acted(self, act: Act) -> None:
        """The world's ``on_act``. The operator's part goes on record as ``mxcutover cutover``, ``waive`` and
        ``note`` would put it there."""
        shot = self.snapshot() if act.do == "waive-lost" else None
        lost = [row.message_id for row in shot.stragglers] if shot is not None else []
        self._declaring.add(asyncio.ensure_future(asyncio.to_thread(self._declare, act, lost)))
        self._told("acted", act)

    def _declare(self, act: Act, lost: Sequence[str | None]) -> None:
        said = say(f"rehearsal.{act.do}", {"subject": act.subject}, self._language)
        action: Action = "cutover" if act.do == "change-mx" else "note"
        post(self._journal, Operator(at=now(), action=action, subject="", reason=said))
        for message in lost:
            subject, why = f"message:{message}", say("rehearsal.waived", {}, self._language)
            post(self._journal, Operator(at=now(), action="waive", subject=subject, reason=why))

    def _told(self, what: str, news: Act | Judgement) -> None:
        """A reader that has gone ends the story."""
        try:
            if self._listener is not None:
                getattr(self._listener, what)(news)
        except BrokenPipeError:
            self._listener = None
            self.stop()

    async def run(self) -> None:
        """Play and watch. Raises what the watch raises, and ``TimeoutError`` if that does not end in time."""
        assert self._watch is not None
        ending = asyncio.Event()
        watching = asyncio.create_task(self._watch.run(ending))
        playing = asyncio.create_task(self.world.play())
        try:
            await self._over(playing, watching)
            await self._wait(0 if watching.done() else self._linger)
        finally:
            playing.cancel()
            await asyncio.wait({playing, *self._declaring}, timeout=GRACE)
            ending.set()
            await asyncio.wait({watching}, timeout=GRACE)
        _ended(watching)
        if not playing.cancelled():
            _ended(playing)
        self.ended()

    async def _over(self, playing: asyncio.Task[None], watching: asyncio.Task[None]) -> None:
        while not (playing.done() or watching.done() or self._stop.is_set()):
            safe = self.latest is not None and self.latest.verdict == "safe"
            if safe and self.world.acts_done.is_set():
                return
            await asyncio.sleep(LOOK)

    async def _wait(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stop.wait()


def _ended(task: asyncio.Task[None]) -> None:
    """Raise what the task died of."""
    if not task.done():
        task.cancel()
        raise TimeoutError
    task.result()
