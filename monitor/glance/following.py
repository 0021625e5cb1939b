"""``--watch``: asks on until everybody agrees and no well-behaved cache can hold anything else.

Who holds another answer is asked again when it runs out, not every few seconds; who agrees, a few times in
a row, since behind one address there may be many caches; who is silent, ever more rarely.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime

from msgspec import Struct

from monitor.glance.agreement import Agrees, agreement
from monitor.glance.judge import picture
from monitor.glance.known import Resolver
from monitor.glance.picture import Picture
from monitor.glance.said import SETTLED, Track
from monitor.glance.survey import Survey
from monitor.watch.pace import jittered
from probes.observation import Observation, now

STALE_FLOORS = 3


class Cadence(Struct, frozen=True, kw_only=True):
    """Seconds. ``floor``: no address of a resolver is asked more often; ``longest``: none more rarely."""

    floor: float = 20.0
    longest: float = 300.0
    authority: float = 20.0
    walk: float = 300.0
    tick: float = 0.5

    @staticmethod
    def faster(floor: float) -> Cadence:
        """The same in proportion."""
        share = floor / Cadence().floor
        return Cadence(
            floor=floor, longest=max(5.0, 300 * share), authority=20 * share, walk=300 * share,
            tick=min(0.5, floor),
        )  # fmt: skip


def wait(track: Track, agrees: Agrees, cadence: Cadence, at: datetime) -> float:
    """Seconds from its last word until this resolver has something new to tell."""
    if track.last is None:
        return 0.0
    if not track.last.heard:
        return float(min(cadence.floor * 2 ** min(track.failures, 16), cadence.longest))
    alive = [said.expires for said in track.words if agrees(said.key) is False and said.expires > at]
    if any(said.stale for said in track.words if said is track.last):
        return _within(cadence.floor * STALE_FLOORS, cadence)  # its TTL tells nothing (RFC 8767 section 4)
    if alive:
        # one second more, as TTLs are whole seconds, cut off
        return _within((min(alive) - at).total_seconds() + 1.0, cadence)
    if agrees(track.last.key) is None:
        return _within(track.last.ttl + 1.0, cadence)
    many = len(track.recent) == SETTLED and all(agrees(key) for key in track.recent)
    return cadence.longest if many else cadence.floor


def _within(seconds: float, cadence: Cadence) -> float:
    return min(max(seconds, cadence.floor), cadence.longest)


class Watching:
    """One watch. ``show`` gets a picture every ``tick``; it ends with one that is over, or by ``stop``."""

    def __init__(
        self, survey: Survey, cadence: Cadence, show: Callable[[Picture], None], stop: asyncio.Event
    ) -> None:
        self._survey, self._known, self._cadence = survey, survey.known, cadence
        self._show, self._stop = show, stop
        self._loop = asyncio.get_running_loop()
        self._turned = asyncio.Event()
        self._agrees = agreement(self._known)

    async def run(self) -> Picture:
        """Raises what went wrong in a task, in a group: that is a fault of our own."""
        async with asyncio.TaskGroup() as group:
            work = [self._authorities(), self._exchanges(), self._survey.honest.follow(self._hear)]
            work += [self._resolver(resolver) for resolver in self._known.resolvers.values()]
            tasks = [group.create_task(one) for one in work]
            seen = await self._until_over()
            for task in tasks:
                task.cancel()
        return seen

    async def _until_over(self) -> Picture:
        while True:
            seen = picture(self._known, now())
            self._show(seen)
            if seen.over or self._stop.is_set():
                return seen
            self._look()
            await _within_time(self._stop, self._cadence.tick)

    def _look(self) -> None:
        """Whether what counts as right has changed: then everybody's next time is another."""
        before, self._agrees = self._agrees, agreement(self._known)
        tracks = self._known.of_resolvers.values()
        keys = {said.key for track in tracks for said in track.words}
        if any(before(key) != self._agrees(key) for key in keys):
            self._turned.set()
            self._turned = asyncio.Event()

    async def _authorities(self) -> None:
        walked = self._loop.time()
        while True:
            await asyncio.sleep(jittered(self._cadence.authority))
            if self._loop.time() - walked > self._cadence.walk:
                await self._survey.walk()
                walked = self._loop.time()
            await self._survey.authorities()
            await self._survey.exchanges()

    async def _hear(self, _: Observation) -> None:
        """Whether port 53 is to be believed is another thing than before; who must be asked again, is when
        its turn comes."""
        self._survey.disbelieve()

    async def _exchanges(self) -> None:
        while True:
            await asyncio.sleep(jittered(self._cadence.walk / 2))
            await self._survey.exchanges(again=True)

    async def _resolver(self, resolver: Resolver) -> None:
        track = self._known.of_resolvers[resolver.id]
        while True:
            asked, said_at, jitter = self._loop.time(), now(), jittered(1.0)
            while (left := asked + jitter * self._wait(track, said_at) - self._loop.time()) > 0:
                if not await _within_time(self._turned, left):
                    break
            await self._survey.resolver(resolver)

    def _wait(self, track: Track, at: datetime) -> float:
        return wait(track, self._agrees, self._cadence, at)


async def _within_time(event: asyncio.Event, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True
