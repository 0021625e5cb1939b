"""Which probe runs when. A :class:`Watch` owns the tasks, their deadlines and their back-off."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

import msgspec

from monitor.exits import Failure
from monitor.folding import Fold
from monitor.journal import Journal, JournalReader
from monitor.plan.model import CutoverPlan
from monitor.plan.observed import plan_observation
from monitor.snapshot import Snapshot
from monitor.verdict.model import Judgement
from monitor.watch.asking import Asking, Server
from monitor.watch.clock import Clock
from monitor.watch.dns import DnsSchedule
from monitor.watch.intake import TOLD, Intake
from monitor.watch.known import Known
from monitor.watch.mail import MailSchedule
from probes.observation import CanarySent, Observation, Watcher, now
from probes.sight import nobody

FIRST_WALK = 15.0


class Watch:
    """One plan, one journal, one watch. ``on_change`` gets each judgement at which the verdict or a state
    changed, on the event loop; it must not block."""

    def __init__(
        self, plan: CutoverPlan, journal: Journal, fold: Fold, *,
        on_change: Callable[[Judgement], None], asking: Asking, servers: Sequence[Server] | None = None,
    ) -> None:  # fmt: skip
        self.plan, self.fold = plan, fold
        self._journal, self._asking, self._servers = journal, asking, servers
        self._known = Known(plan)
        self._intake = Intake(journal, fold, on_change, self._hear)
        self._pictures = Pictures(fold)
        self._ready = False

    async def run(self, stop: asyncio.Event) -> None:
        """Watch until ``stop`` is set or this task is cancelled; both leave a clean end in the record.

        Resumes what the journal holds. Raises ``Failure`` where the journal cannot be written (74).
        """
        history = await asyncio.to_thread(self._load)
        self._intake.tell(history, self._journal.positions().get(TOLD, -1))
        try:
            servers = await self._opened()
            self._ready = True
            await self._watch(stop, servers)
        except BaseExceptionGroup as group:
            raise _first_failure(group) from None
        finally:
            with suppress(Failure):
                self._intake.finish(Watcher(at=now(), event="stopped", detail=""))
            await self._asking.close()

    def snapshot(self) -> Snapshot | None:
        """The newest picture (a :class:`monitor.dashboard.feed.Feed` needs it); None while loading."""
        return self._pictures.newest(self._intake.serial) if self._ready else None

    def judgement(self) -> Judgement | None:
        return self.fold.judgement(now())

    def _hear(self, seen: Observation) -> None:
        self._known.hear(seen)
        if isinstance(seen, CanarySent):
            self._asking.sent(seen)

    async def _watch(self, stop: asyncio.Event, servers: Sequence[Server]) -> None:
        put, positions = self._intake.put, self._journal.positions()
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(work)
                for work in (
                    self._intake.run(),
                    Clock().run(put),
                    DnsSchedule(self.plan, self._asking, self._known, put, servers, self.fold.dns()).run(),
                    MailSchedule(self.plan, self._asking, self._known, put, positions).run(),
                )
            ]
            await stop.wait()
            for task in tasks:
                task.cancel()

    # Beginning

    def _load(self) -> list[Judgement]:
        """Fold what was kept before; most of its changes were reported then."""
        last: datetime | None = None
        with JournalReader(self._journal.path) as reader:
            for batch in reader.batches():
                self._intake.load(batch.observations)
                last = batch.kept_at
        return self.fold.advance(last) if last is not None else []

    async def _opened(self) -> list[Server]:
        """The plan as it is now, on record if it differs from the one there, and that the watch began."""
        found = self._servers if self._servers is not None else await first_servers(self.plan, self._asking)
        servers, before = list(found), self._known.plan
        if not servers and before is not None:
            servers = [Server("", address) for address in before.authorities]
        if self.plan.authorities is None:
            servers += [
                s for s in self._known.leaving(now()) if s.address not in {f.address for f in servers}
            ]
        current = plan_observation(self.plan, (s.address for s in servers), now())
        opening: list[Observation] = [Watcher(at=now(), event="started", detail="")]
        if before is None or msgspec.structs.replace(before, at=current.at) != current:
            opening.insert(0, current)
        await self._intake.put(*opening)
        return servers


class Pictures:
    """Makes a picture when there is something new, or a second has passed, and no more often than it is
    cheap: making one takes at most a tenth of the time."""

    def __init__(self, fold: Fold) -> None:
        self._fold = fold
        self._picture: Snapshot | None = None
        self._serial = -1
        self._next = now()

    def newest(self, serial: int) -> Snapshot | None:
        began = now()
        old = self._picture is None or serial != self._serial or began - self._picture.now >= _SECOND
        if old and began >= self._next:
            self._picture, self._serial = self._fold.snapshot(began), serial
            self._next = began + 10 * (now() - began)
        return self._picture


_SECOND = timedelta(seconds=1)


async def first_servers(plan: CutoverPlan, asking: Asking) -> list[Server]:
    """The plan's own list of authorities, else one walk of the delegation; empty when it fails."""
    found: Sequence[Server] = ()
    with suppress(TimeoutError):
        async with asyncio.timeout(FIRST_WALK):
            found = (await asking.discover(nobody)).servers
    if plan.authorities is None:
        return list(found)
    names = {server.address: server.name for server in found}
    return [Server(names.get(address, ""), address) for address in plan.authorities]


async def opened_journal(
    path: Path, plan: CutoverPlan, asking: Asking
) -> tuple[Journal, list[Server] | None]:
    """The journal at ``path`` to go on with, or a new one that begins with this plan."""
    if path.exists():  # noqa: ASYNC240 - a local file, looked at once
        return Journal.open(path, wait=2), None
    servers = await first_servers(plan, asking)
    return Journal.create(path, plan_observation(plan, (s.address for s in servers), now())), servers


def _first_failure(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """What a person can mend, if that is among the causes."""
    causes: list[BaseException] = [group]
    for cause in causes:
        if isinstance(cause, BaseExceptionGroup):
            causes.extend(cause.exceptions)
        elif isinstance(cause, Failure):
            return cause
    return group
