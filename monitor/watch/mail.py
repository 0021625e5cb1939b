"""When which canary is sent, and which mailboxes and logs are followed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from itertools import count
from typing import Any

from monitor.plan.model import Account, CutoverPlan
from monitor.watch.asking import Asking, Sight, Target
from monitor.watch.known import Known
from monitor.watch.pace import Allowance, Backoff, Skipped, again_and_again, fault, heed, jittered, rest
from probes.observation import Side, Skip, now

CANARY_DEADLINE = 4500.0  # what is put off is offered again meanwhile
TRAVELLING = 16  # canaries of one route that are put off: then it waits for one of them
_FRESH = 3  # a canary goes where an answer points that is not older than three rounds

Put = Callable[..., Awaitable[None]]


class MailSchedule:
    """Canaries by route, mailboxes by side and account, the old host's log and queue."""

    def __init__(
        self, plan: CutoverPlan, asking: Asking, known: Known, put: Put, positions: dict[str, Any]
    ) -> None:
        self._plan, self._asking, self._known, self._put = plan, asking, known, put
        self._positions = positions
        self._allowance = Allowance(plan.daily_canaries)

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for index, route in enumerate(self._plan.routes):
                group.create_task(self._route(route, index))
            for account in self._plan.accounts:
                for side in sides(self._plan, account):
                    group.create_task(self._mailbox(side, account))
            if self._plan.old.log is not None:
                group.create_task(self._log())
            if self._plan.old.queue_command:
                group.create_task(self._queue())

    # Canaries

    async def _route(self, route: str, index: int) -> None:
        """One canary each ``cadence.canary``, over rotating accounts; routes take turns in time."""
        senders = recipients(self._plan, route)
        if not senders:
            reason = "no account of the plan can send and be read on this route"
            await self._put(Skip(at=now(), subject=f"route:{route}", reason=reason))
            return
        every = self._plan.cadence.canary
        turns = count(index)
        await asyncio.sleep(every * index / len(self._plan.routes) / 4)

        async with asyncio.TaskGroup() as group:
            travelling = asyncio.Semaphore(TRAVELLING)

            async def send() -> None:
                while True:
                    await rest(self._allowance.take(time.monotonic()))
                    await travelling.acquire()
                    group.create_task(self._one(route, senders, next(turns), travelling))
                    await rest(jittered(every))

            await again_and_again(f"route:{route}", send, self._put)

    async def _one(
        self, route: str, senders: list[Account], turn: int, travelling: asyncio.Semaphore
    ) -> None:
        """One canary until it is taken or refused, beside those that come after it: one that is put off is
        offered again for an hour."""
        try:
            await self._canary(route, senders, turn)
        except Exception as error:
            await self._put(fault(f"route:{route}", error))
        finally:
            travelling.release()

    async def _canary(self, route: str, senders: list[Account], turn: int) -> None:
        target = None
        if route == "mx" or route.startswith("mx:"):
            target = await self._named(route, turn)
            if target is None:
                reason = "no fresh MX answer of a resolver names a host and its address"
                await self._put(Skip(at=now(), subject=f"route:{route}", reason=reason))
                return
        async with asyncio.timeout(CANARY_DEADLINE):
            await self._asking.canary(route, senders[turn % len(senders)], target, self._put)

    async def _named(self, route: str, turn: int) -> Target | None:
        """The host that a resolver's answer names; at the start the answers may need a moment."""
        for _ in range(20):
            found = self._look(route, turn)
            if found is not None:
                return found
            await asyncio.sleep(min(1.0, self._plan.cadence.canary / 20))
        return None

    def _look(self, route: str, turn: int) -> Target | None:
        one = route.removeprefix("mx:")
        resolvers = self._plan.resolvers if route == "mx" else (one,)
        after = now() - timedelta(seconds=_FRESH * self._plan.cadence.resolver + 30)
        for step in range(len(resolvers)):
            found = self._known.target(resolvers[(turn + step) % len(resolvers)], after)
            if found is not None:
                return found
        return None

    # Mailboxes and the log

    async def _mailbox(self, side: Side, account: Account) -> None:
        key = f"mailbox:{side}:{account.address}"

        async def follow() -> None:
            await self._take(key, self._asking.mailbox(side, account, self._positions.get(key)))

        await again_and_again(key, follow, self._put)

    async def _log(self) -> None:
        async def follow() -> None:
            await self._take("log:old", self._asking.log(self._positions.get("log:old")))

        await again_and_again("log:old", follow, self._put)

    async def _queue(self) -> None:
        """What waits in the old host's queue; one that cannot be listed is asked for less often."""
        backoff, skipped = Backoff(self._plan.cadence.queue), Skipped()

        async def ask() -> None:
            while True:
                seen = await self._asking.queue()
                first = not backoff.failures
                backoff.note(isinstance(seen, Skip))
                if first or not isinstance(seen, Skip):
                    await self._put(seen)
                elif (reason := skipped.reason(backoff, seen.reason)) is not None:
                    await self._put(Skip(at=now(), subject="queue:old", reason=reason))
                await rest(jittered(backoff.pause))

        await again_and_again("queue:old", ask, self._put)

    async def _take(self, key: str, sights: AsyncIterator[Sight]) -> None:
        """Each sight goes to the record together with the place after it, so none is lost or taken twice."""
        async for seen, position in sights:
            await self._put(*seen, position=position)
            heed()
            if position is not None:
                self._positions[key] = position[1]


def sides(plan: CutoverPlan, account: Account) -> list[Side]:
    """The sides on which this account's mailbox can be opened."""
    found: list[Side] = []
    if plan.old.mailboxes is not None and account.old_secret is not None:
        found.append("old")
    if plan.new.mailboxes is not None and account.new_secret is not None:
        found.append("new")
    return found


def recipients(plan: CutoverPlan, route: str) -> list[Account]:
    """Accounts whose canaries on this route can be seen to land somewhere, and be submitted where needed."""
    return [account for account in plan.accounts if sides(plan, account) and _submits(plan, account, route)]


def _submits(plan: CutoverPlan, account: Account, route: str) -> bool:
    """Whether this account can log in where the route begins; the others begin without a login."""
    if route == "via-old":
        return plan.old.submission is not None and account.old_secret is not None
    if route == "via-new":
        return plan.new.submission is not None and account.new_secret is not None
    return True
