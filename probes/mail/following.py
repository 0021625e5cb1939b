"""One mailbox, followed from its position to the end of its connection."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta
from typing import Any

from probes.mail.coverage import Ledger
from probes.mail.imap import BATCH, INBOX, Gone, NoLogin, Session, State
from probes.mail.letter import observe
from probes.mail.link import Link
from probes.mail.pool import Box, Pool
from probes.observation import Observation, from_ms, now, to_ms
from probes.sight import Sight

HISTORY = timedelta(days=28)
MOST_HISTORY = 20_000  # messages of one folder
LEAST_GAP = 0.2  # between two looks, however often a server says that something is new
LOOK_FOR_FOLDERS = 300.0
CROWDED, LONGEST_AWAY = 4, 240.0  # times the usual pause, and seconds, where connections are few
TURNS = 3  # looks in a row while mail keeps coming in


class Follower:
    """The state of one connection. ``close`` may be called at any time, more than once."""

    def __init__(self, pool: Pool, box: Box, position: Any) -> None:
        self._pool, self._box = pool, box
        folders, untold = _position(position)
        self._next: dict[str, State] = folders
        self._ledger = Ledger(box.key, pool.coverage, untold)
        self._link = Link(pool, box, Session)
        self._folders: list[str] = []  # beside INBOX, as far as they are there
        self._lacking: list[str] = []
        self._looked_for = -LOOK_FOR_FOLDERS
        self._vanished = 0

    async def sights(self) -> AsyncGenerator[Sight, None]:
        """Ends when the connection does, after telling so."""
        try:
            async for sight in self._connected():
                if sight[0]:
                    yield sight
        except NoLogin as error:
            yield self._link.ended(error), None
        except Gone as error:
            last: list[Observation] = [*self._ledger.flush(), *self._link.ended(error)]
            if last:
                yield last, self._place_after()
        finally:
            self.close()

    async def _connected(self) -> AsyncGenerator[Sight, None]:
        while True:
            began = time.monotonic()
            if self._link.closed:
                async for sight in self._link.opened():
                    yield sight
                yield self._pool.state(self._box, "ok", self._wanting), None
                self._looked_for = -LOOK_FOR_FOLDERS
            async for sight in self._look():
                yield sight
            yield self._pool.state(self._box, "ok", self._wanting), None
            if self._link.crowded:
                # Others wait for a connection: this one comes again later. UIDNEXT tells of the time between.
                self.close()
                await asyncio.sleep(min(CROWDED * self._pool.every, LONGEST_AWAY))
            else:
                await asyncio.sleep(LEAST_GAP - (time.monotonic() - began))
                await self._rest(began + self._pool.every)

    @property
    def _wanting(self) -> str:
        """What the plan names and the mailbox has not."""
        return f"no folder {', '.join(self._lacking)}" if self._lacking else ""

    def close(self) -> None:
        self._link.close()

    # -- one look into all folders --------------------------------------------------------------------

    async def _look(self) -> AsyncGenerator[Sight, None]:
        """Everything that had arrived when it began has been shown when it ends; that time is covered."""
        at, self._vanished = now(), 0
        session = self._link.session
        for _ in range(TURNS):
            found = await self._pulse()
            inbox = found.pop(INBOX)
            changed = [name for name, state in found.items() if not self._knows(name, state)]
            for folder in changed:
                async for sight in self._look_at(folder, found[folder]):
                    yield sight
            if changed or inbox is None:  # another folder was examined in between
                inbox = await self._link.do(session.examine, INBOX)
            async for sight in self._read(INBOX, inbox):
                yield sight
            if not session.changed:
                break
        yield self._ledger.prove(at, self._vanished), self._place_after()

    async def _pulse(self) -> dict[str, State | None]:
        """Now and then with a new look at which folders there are."""
        session = self._link.session
        if time.monotonic() - self._looked_for < LOOK_FOR_FOLDERS:
            return await self._link.do(session.pulse, self._folders)
        self._folders, found = await self._link.do(session.first, self._box.folders)
        self._lacking, self._looked_for = [], time.monotonic()
        return found

    def _knows(self, folder: str, state: State | None) -> bool:
        """Whether nothing in it is new; an empty folder needs no look."""
        if state is None:
            return False
        known = self._next.get(folder)
        if known is None and state.messages == 0:
            self._next[folder] = known = state
        return known is not None and known.same(state)

    async def _look_at(self, folder: str, state: State | None) -> AsyncGenerator[Sight, None]:
        if state is None:
            self._folders.remove(folder)
            if folder in self._box.folders:
                self._lacking.append(folder)
            return
        async for sight in self._read(folder, await self._link.do(self._link.session.examine, folder)):
            yield sight

    async def _read(self, folder: str, state: State) -> AsyncGenerator[Sight, None]:
        """What is new in the examined folder; where it is not known yet, or another one under its name
        (RFC 3501 section 2.3.1.1: UIDVALIDITY), the mail of four weeks."""
        session = self._link.session
        if self._knows(folder, state):
            return
        known = self._next.get(folder)
        if known is not None and known.uid_validity == state.uid_validity:
            if state.uid_next <= known.uid_next:
                return
            few = state.uid_next - known.uid_next <= BATCH  # asked for by number, there or not
            uids = (
                list(range(known.uid_next, state.uid_next))
                if few
                else await self._link.do(session.uids, known.uid_next)
            )
            expected = max([state.uid_next, *(u + 1 for u in uids[-1:])]) - known.uid_next
        else:
            if known is not None:
                self._ledger.forget()
            since = (datetime.now(UTC) - HISTORY).date()
            uids = (await self._link.do(session.uids_since, since))[-MOST_HISTORY:]
            expected = 0
        found = 0
        for start in range(0, len(uids), BATCH):
            batch = uids[start : start + BATCH]
            seen: list[Observation] = await self._link.do(self._observe, session, folder, batch)
            found += len(seen)
            self._next[folder] = State(state.uid_validity, batch[-1] + 1)
            yield seen, self._place_after()
        self._next[folder] = State(state.uid_validity, max([state.uid_next, *(u + 1 for u in uids[-1:])]))
        self._vanished += max(0, expected - found)

    def _observe(self, session: Session, folder: str, uids: list[int]) -> list[Observation]:
        box = self._box
        return [
            observe(
                one.header, one.internal_date, folder, box.side, box.account, box.place, self._pool.signer
            )
            for one in session.headers(uids)
        ]

    def _place_after(self) -> tuple[str, Any]:
        folders = {name: [s.uid_validity, s.uid_next - 1] for name, s in self._next.items()}
        untold = self._ledger.untold
        return self._box.key, {"folders": folders, "untold": None if untold is None else to_ms(untold)}

    # -- waiting for the next one -----------------------------------------------------------------------

    async def _rest(self, until: float) -> None:
        """Until the next look is due, or the server tells of something. Each look is a round trip, so no IDLE
        lasts longer than the coverage cadence (RFC 2177 asks for less than 29 minutes)."""
        session = self._link.session
        if not session.idles:
            await asyncio.sleep(until - time.monotonic())
            return
        await self._link.do(session.idle)
        if session.waiting or session.changed:
            return
        self._link.held = True
        try:
            await _readable(session.descriptor, until - time.monotonic())
        finally:
            self._link.held = False
            if self._link.closed:
                session.free()


async def _readable(descriptor: int, seconds: float) -> None:
    """Until there is something to read, or ``seconds`` have passed."""
    loop = asyncio.get_running_loop()
    if descriptor < 0:
        raise Gone("closed")
    ready: asyncio.Future[None] = loop.create_future()

    def tell() -> None:
        if not ready.done():
            ready.set_result(None)

    loop.add_reader(descriptor, tell)
    try:
        await asyncio.wait({ready}, timeout=max(0.0, seconds))
    finally:
        loop.remove_reader(descriptor)


def _position(kept: Any) -> tuple[dict[str, State], datetime | None]:
    """What :meth:`Follower._place_after` wrote; what is no such thing is no position."""
    if not isinstance(kept, dict) or not isinstance(kept.get("folders"), dict):
        return {}, None
    folders = {
        str(name): State(pair[0], pair[1] + 1)
        for name, pair in kept["folders"].items()
        if isinstance(pair, list) and len(pair) == 2 and all(isinstance(n, int) for n in pair)
    }
    untold = kept.get("untold")
    return folders, from_ms(untold) if isinstance(untold, int) else None
