"""One mailbox, followed from its position to the end of its connection."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import Future
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from probes.mail.connect import connected, resolved
from probes.mail.coverage import Ledger
from probes.mail.imap import BATCH, Gone, NoLogin, Session, State
from probes.mail.letter import observe
from probes.mail.pool import Box, Pool
from probes.mail.routes import Login, clean
from probes.observation import Observation, from_ms, now, to_ms
from probes.secret import Secret
from probes.sight import Sight

T = TypeVar("T")
INBOX = "INBOX"
HISTORY = timedelta(days=28)
MOST_HISTORY = 20_000  # messages of one folder
DEADLINE = 4  # round trips for one call of a worker, whatever the peer does
LEAST_GAP = 0.2  # between two looks, however often a server says that something is new
LOOK_FOR_JUNK = 300.0
TURNS = 3  # looks in a row while mail keeps coming in


class Follower:
    """The state of one connection. ``close`` may be called at any time, more than once."""

    def __init__(self, pool: Pool, box: Box, position: Any) -> None:
        self._pool, self._box = pool, box
        folders, untold = _position(position)
        self._next: dict[str, State] = folders
        self._ledger = Ledger(box.key, pool.coverage, untold)
        self._session: Session | None = None
        self._work: Future[Any] | None = None
        self._login: Login | None = None
        self._junk: str | None = None
        self._junk_looked_for = -LOOK_FOR_JUNK
        self._vanished = 0
        self._reading = False

    async def sights(self) -> AsyncGenerator[Sight, None]:
        """Ends when the connection does, after telling so."""
        try:
            async for sight in self._connected():
                if sight[0]:
                    yield sight
        except NoLogin as error:
            reply = clean(str(error), self._login)
            if self._login is not None:
                self._pool.hold(self._box, self._login.password, reply, error.missing)
            self._box.refused()
            yield self._pool.state(self._box, "missing" if error.missing else "refused", reply), None
        except Gone as error:
            last: list[Observation] = [*self._ledger.flush()]
            if not self._pool.closed:  # else it was this side that ended it
                last += self._pool.state(self._box, "unreachable", clean(str(error), self._login))
            if last:
                yield last, self._place_after()
        finally:
            self.close()

    async def _password(self) -> AsyncGenerator[Sight | Secret, None]:
        """The password, once it is not one that was turned down just now; states meanwhile."""
        while True:
            secret = await self._secret()
            refusal = self._pool.refusals.get(self._box.key)
            left = refusal.until - time.monotonic() if refusal and refusal.secret == secret else 0.0
            if refusal is None or left <= 0:
                yield secret
                return
            state = self._pool.state(self._box, "missing" if refusal.missing else "refused", refusal.reply)
            yield state, None
            await asyncio.sleep(min(left, 60.0))
            self._box.refused()

    async def _secret(self) -> Secret:
        try:
            return await self._box.secret()
        except Exception as error:
            raise Gone(f"no password: {error}") from None

    async def _connected(self) -> AsyncGenerator[Sight, None]:
        async for step in self._password():
            if isinstance(step, Secret):
                await self._open(step)
            else:
                yield step
        self._pool.refusals.pop(self._box.key, None)
        yield self._pool.state(self._box, "ok", ""), None
        while True:
            began = time.monotonic()
            async for sight in self._look():
                yield sight
            yield self._pool.state(self._box, "ok", ""), None
            await asyncio.sleep(LEAST_GAP - (time.monotonic() - began))
            await self._rest(began + self._pool.every)

    async def _open(self, secret: Secret) -> None:
        self._login = Login(self._box.login, secret)
        tried: list[str] = []
        service = self._box.service
        try:
            sock = await connected(await resolved(service), service.port, self._pool.endpoints, tried)
        except OSError as error:
            raise Gone(str(error)) from None
        self._session = Session(sock, service, self._pool.round_trip)
        await self._do(self._session.open, self._box.login, secret.reveal())

    async def _do(self, call: Callable[..., T], *args: Any) -> T:
        """Have a worker do what blocks. A call that outlives its deadline loses its connection."""
        async with self._pool.share(self._box.service):
            try:
                self._work = work = self._pool.workers.submit(call, *args)
            except RuntimeError:
                raise Gone("closed") from None
            try:
                async with asyncio.timeout(DEADLINE * self._pool.round_trip):
                    return await asyncio.wrap_future(work)
            except TimeoutError:
                self.close()
                raise Gone("timed out") from None

    def close(self) -> None:
        """The connection ends now; its descriptor is given back when nothing waits on it any more."""
        session, self._session = self._session, None
        if session is None:
            return
        session.close()
        if self._reading:
            return  # _rest does it
        if self._work is None or self._work.done():
            session.free()
        else:
            self._work.add_done_callback(lambda _: session.free())

    @property
    def _open_session(self) -> Session:
        if self._session is None:
            raise Gone("closed")
        return self._session

    # -- one look into both folders ------------------------------------------------------------------

    async def _look(self) -> AsyncGenerator[Sight, None]:
        """Everything that had arrived when it began has been shown when it ends; that time is covered."""
        at, self._vanished = now(), 0
        session = self._open_session
        await self._find_junk()
        for _ in range(TURNS):
            async for sight in self._look_at_junk():
                yield sight
            async for sight in self._read(INBOX, await self._do(session.examine, INBOX)):
                yield sight
            if not session.changed:
                break
        yield self._ledger.prove(at, self._vanished), self._place_after()

    async def _find_junk(self) -> None:
        if self._junk is None and time.monotonic() - self._junk_looked_for >= LOOK_FOR_JUNK:
            self._junk = await self._do(self._open_session.junk)
            self._junk_looked_for = time.monotonic()

    async def _look_at_junk(self) -> AsyncGenerator[Sight, None]:
        session = self._open_session
        if self._junk is None:
            return
        state = await self._do(session.status, self._junk)
        if state is None:
            self._junk, self._junk_looked_for = None, -LOOK_FOR_JUNK
        elif state != self._next.get(self._junk):
            async for sight in self._read(self._junk, await self._do(session.examine, self._junk)):
                yield sight

    async def _read(self, folder: str, state: State) -> AsyncGenerator[Sight, None]:
        """What is new in the examined folder; where it is not known yet, or another one under its name
        (RFC 3501 section 2.3.1.1: UIDVALIDITY), the mail of four weeks."""
        session = self._open_session
        known = self._next.get(folder)
        if known is not None and known.uid_validity == state.uid_validity:
            if state.uid_next <= known.uid_next:
                return
            uids = await self._do(session.uids, known.uid_next)
            expected = max([state.uid_next, *(u + 1 for u in uids)]) - known.uid_next
        else:
            if known is not None:
                self._ledger.forget()
            uids = (await self._do(session.uids_since, (datetime.now(UTC) - HISTORY).date()))[-MOST_HISTORY:]
            expected = 0
        found = 0
        for start in range(0, len(uids), BATCH):
            batch = uids[start : start + BATCH]
            seen: list[Observation] = await self._do(self._observe, session, folder, batch)
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
        session = self._open_session
        if not session.idles:
            await asyncio.sleep(until - time.monotonic())
            return
        await self._do(session.idle)
        if not (session.waiting or session.changed):
            self._reading = True
            try:
                await _readable(session.descriptor, until - time.monotonic())
            finally:
                self._reading = False
                if self._session is None:
                    session.free()
        await self._do(self._open_session.wake)


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
