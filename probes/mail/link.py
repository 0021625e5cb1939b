"""One mailbox's connection: opened with its secret, used through the workers, ended at any time."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import Future
from typing import Any, Generic, Protocol, TypeVar

from probes.mail.connect import connected, resolved
from probes.mail.imap import Gone, NoLogin
from probes.mail.pool import Box, Pool
from probes.mail.routes import Login, clean
from probes.mail.seats import known, refusal
from probes.observation import AccountState
from probes.secret import Secret, Token
from probes.service import Service
from probes.sight import Sight

T = TypeVar("T")
REFUSALS = 4  # for the number of connections, in a row, before it is told
CROWDED_PAUSE = 5.0
DEADLINE = 4  # round trips for one call of a worker, whatever the peer does


class Blocking(Protocol):
    """A session of either protocol, as far as its connection is concerned."""

    def open(self, login: str, secret: Secret) -> None: ...

    def close(self) -> None: ...

    def free(self) -> None: ...


S = TypeVar("S", bound=Blocking)


class Link(Generic[S]):
    """At most one session at a time. ``close`` may be called at any time, more than once.

    ``held``: somebody waits on the descriptor in the event loop, and frees the session afterwards.
    """

    def __init__(self, pool: Pool, box: Box, make: Callable[[socket.socket, Service, float], S]) -> None:
        self._pool, self._box, self._make = pool, box, make
        self._session: S | None = None
        self._work: Future[Any] | None = None
        self._login: Login | None = None
        self._seats = pool.seats(box)
        self._seated = False
        self.held = False

    @property
    def session(self) -> S:
        """Raises :class:`Gone` where there is none."""
        if self._session is None:
            raise Gone("closed")
        return self._session

    @property
    def closed(self) -> bool:
        return self._session is None

    async def opened(self) -> AsyncGenerator[Sight, None]:
        """Logs in, once there is a password that was not turned down just now; states meanwhile. Raises
        :class:`Gone` and :class:`NoLogin`."""
        async for step in self._password():
            if not isinstance(step, Secret):
                yield step
                continue
            try:
                await self._seated_open(step)
            except NoLogin:
                # A token may be revoked, or end before its time: one new one is worth a try.
                fresh = await self._another(step)
                if fresh is None:
                    raise
                await self._seated_open(fresh)
        self._pool.refusals.pop(self._box.key, None)

    async def _password(self) -> AsyncGenerator[Sight | Secret, None]:
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

    async def _another(self, refused: Secret) -> Token | None:
        if not isinstance(refused, Token):
            return None
        self.close()
        self._box.refused()
        fresh = await self._secret()
        return fresh if isinstance(fresh, Token) and fresh != refused else None

    async def _secret(self) -> Secret:
        try:
            return await self._box.secret()
        except Exception as error:
            raise Gone(f"no password: {error}") from None

    async def _seated_open(self, secret: Secret) -> None:
        """Open it when there is a seat. What the host refuses for their number is learnt, and waited for."""
        for again in range(REFUSALS):
            await self._sit()
            try:
                async with self._pool.opening(self._box.service):
                    await self._open(secret)
                return
            except (Gone, NoLogin) as error:
                of = refusal(str(error), known(self._box.service))
                if of is None:
                    raise
                if again == REFUSALS - 1:
                    raise Gone(str(error)) from None
                self._seats[of == "host"].learn()
                self.close()
                await asyncio.sleep(min(CROWDED_PAUSE, self._pool.every))

    async def _sit(self) -> None:
        if self._seated:
            return
        of_login, of_host = self._seats
        await of_login.take()
        try:
            await of_host.take()
        except BaseException:
            of_login.give()
            raise
        self._seated = True

    def _stand(self) -> None:
        if self._seated:
            self._seated = False
            for seats in self._seats:
                seats.give()

    @property
    def crowded(self) -> bool:
        """Whether others wait for this connection's seat."""
        return any(seats.crowded for seats in self._seats)

    async def _open(self, secret: Secret) -> None:
        self._login = Login(self._box.login, secret)
        service = self._box.service
        try:
            sock = await connected(await resolved(service), service.port, self._pool.endpoints, [])
        except OSError as error:
            raise Gone(str(error)) from None
        self._session = self._make(sock, service, self._pool.round_trip)
        await self.do(self._session.open, self._box.login, secret)

    async def do(self, call: Callable[..., T], *args: Any) -> T:
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
        self._stand()
        if session is None:
            return
        session.close()
        if self.held:
            return
        if self._work is None or self._work.done():
            session.free()
        else:
            self._work.add_done_callback(lambda _: session.free())

    def ended(self, error: Gone | NoLogin) -> Sequence[AccountState]:
        """What is to be told of the mailbox when its connection or its login came to an end."""
        reply = clean(str(error), self._login)
        if isinstance(error, Gone):
            # Else it was this side that ended it.
            return [] if self._pool.closed else self._pool.state(self._box, "unreachable", reply)
        if self._login is not None:
            self._pool.hold(self._box, self._login.password, reply, error.missing)
        self._box.refused()
        return self._pool.state(self._box, "missing" if error.missing else "refused", reply)
