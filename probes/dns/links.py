"""Connections that carry many questions at a time, and the small pool of them.

A connection is opened when the first question needs it, is used again, and is closed when it has been
idle (RFC 7766 section 6.2.3, RFC 7858 section 3.4). All that can go wrong is a ``Failure``.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable

from msgspec import Struct

from probes.dns.sockets import Address
from probes.dns.udp import Arrival
from probes.dns.via import Via
from probes.dns.wire import Query
from probes.observation import DnsOutcome

LINKS = 64  # connections in all
PER_END = 2  # to one server by one way
IDLE = 10.0  # seconds
AGAIN = 1.0  # seconds before a connection is tried again that could not be opened
# What one connection may send us: for each question as much as an answer may be, and something beside it.
OCTETS = 70_000
SPARE = 256_000
LONGEST_DETAIL = 200


class Failure(Struct, frozen=True):
    """No answer, and why, for people. ``lost``: the connection ended first; a new one may do better."""

    outcome: DnsOutcome
    detail: str = ""
    lost: bool = False


class End(Struct, frozen=True):
    """Whom a connection is to: where it really is, by which way, and the name its certificate must have."""

    real: Address
    via: Via
    name: str


class Asked:
    """One question on a connection; ``body`` is what has come of its answer so far."""

    __slots__ = ("body", "future", "query", "sent")

    def __init__(self, query: Query, future: asyncio.Future[Arrival | Failure], sent: float) -> None:
        self.query, self.future, self.sent = query, future, sent
        self.body = bytearray()

    def resolve(self, event: Arrival | Failure) -> None:
        if not self.future.done():
            self.future.set_result(event)


class Link:
    """One connection. A subclass sends a question under a number of its own and finds its answer again."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.waiting: dict[int, Asked] = {}
        self.over: Failure | None = None
        self.heard = self.used = self._loop.time()
        self.changed: Callable[[], None] = lambda: None
        self._budget = SPARE

    @property
    def room(self) -> bool:
        """Whether it takes one more question now."""
        return self.over is None

    async def ask(self, query: Query) -> Arrival | Failure:
        sent = self.used = self._loop.time()
        self._budget += OCTETS
        asked = Asked(query, self._loop.create_future(), sent)
        try:
            number = self.send(asked)
        except Exception as error:  # the libraries below have each their own; the connection is no use then
            self.end(Failure("unreachable", shown(error), lost=True))
            return self.over or Failure("unreachable")
        try:
            return await asked.future
        finally:
            del self.waiting[number]
            if not asked.future.done() or asked.future.cancelled():
                self._given_up(number, asked)
            self.used = self._loop.time()
            self.changed()

    def _given_up(self, number: int, asked: Asked) -> None:
        """Nobody waits for it any more. Where nothing at all came since, the connection may be dead."""
        if self.over is None and self.heard < asked.sent:
            self.over = Failure("timeout", "the connection says nothing", lost=True)
        if self.over is None:
            self.drop(number)
        elif not self.waiting:
            self.close()

    def send(self, asked: Asked) -> int:
        """Put it into ``waiting`` under a number, and send it."""
        raise NotImplementedError

    def drop(self, number: int) -> None:
        """Tell the server that it is no longer waited for, where there is a way to say so."""

    def close(self) -> None:
        raise NotImplementedError

    def count(self, octets: int) -> bool:
        """What has come in; whether it is still within reason. If not, the connection has ended."""
        self.heard = self._loop.time()
        self._budget -= octets
        if self._budget < 0:
            self.end(Failure("malformed", "it says more than was asked"))
        return self.over is None or bool(self.waiting)

    def answered(self, asked: Asked, wire: bytes) -> None:
        asked.resolve(Arrival(wire, asked.sent, self._loop.time()))

    def end(self, failure: Failure) -> None:
        """It carries nothing any more; who waits is told."""
        self.over = self.over or failure
        for asked in self.waiting.values():
            asked.resolve(failure)
        self.close()
        self.changed()


Opening = Callable[[End], Awaitable[Link]]


class _Group:
    """The connections to one end; ``askers`` have a use for them now. ``failed``: why the last one could not
    be opened, as long (the loop's clock) as no other is tried."""

    __slots__ = ("askers", "failed", "links", "lock", "until")

    def __init__(self) -> None:
        self.askers = 0
        self.failed, self.until = Failure("unreachable"), 0.0
        self.links: list[Link] = []
        self.lock = asyncio.Lock()

    def open(self) -> list[Link]:
        self.links = [link for link in self.links if link.over is None or link.waiting]
        return self.links


class Links:
    """Asks by connections, at most ``LINKS`` in all and ``PER_END`` to one end; idle ones are closed."""

    def __init__(self, opening: Opening) -> None:
        self._open, self._most, self._idle = opening, LINKS, IDLE
        self._loop = asyncio.get_running_loop()
        self._groups: dict[End, _Group] = {}
        self._opening = 0
        self._changed = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    async def ask(self, end: End, query: Query, deadline: float) -> Arrival | Failure:
        """``deadline`` is of the loop's clock; it holds for connecting and asking together."""
        group = self._groups.setdefault(end, _Group())
        group.askers += 1
        try:
            async with asyncio.timeout_at(deadline):
                return await self._ask(end, group, query)
        except TimeoutError:
            return Failure("timeout")
        finally:
            group.askers -= 1
            self._forget(end, group)

    async def _ask(self, end: End, group: _Group, query: Query) -> Arrival | Failure:
        """Again by another connection, where a used one turns out to have been closed."""
        for last in (False,) * PER_END + (True,):
            found = await self._link(end, group)
            if isinstance(found, Failure):
                return found
            link, used = found
            event = await link.ask(query)
            if last or not (used and isinstance(event, Failure) and event.lost):
                break
        return event

    async def _link(self, end: End, group: _Group) -> tuple[Link, bool] | Failure:
        """A connection with room for one more; whether it has been used before."""
        async with group.lock:
            while not self._closed:
                link = next((link for link in group.open() if link.room), None)
                if link is not None:
                    return link, True
                if self._loop.time() < group.until:
                    return group.failed
                if len(group.links) < PER_END and self._space():
                    return await self._opened(end, group)
                self._changed.clear()
                await self._changed.wait()
            return Failure("unreachable", "closed")

    async def _opened(self, end: End, group: _Group) -> tuple[Link, bool] | Failure:
        self._opening += 1
        try:
            link = await self._open(end)
        except (TimeoutError, asyncio.CancelledError):
            raise
        except Exception as error:  # each transport's library has its own
            group.failed, group.until = failed(error), self._loop.time() + AGAIN
            self._arm()
            return group.failed
        finally:
            self._opening -= 1
            self._changed.set()
        group.links.append(link)
        link.changed = self._changed.set
        if self._closed:
            link.end(Failure("unreachable", "closed"))
        self._arm()
        return link, False

    def _arm(self) -> None:
        if self._timer is None and not self._closed:
            self._timer = self._loop.call_later(self._idle / 4, self._sweep)

    def _space(self) -> bool:
        """Whether one more may be opened; the one that has been idle for longest makes way."""
        links = self._all()
        if len(links) + self._opening < self._most:
            return True
        idle = [link for link in links if not link.waiting]
        if not idle:
            return False
        min(idle, key=lambda link: link.used).end(Failure("unreachable", "closed", lost=True))
        return True

    def _all(self) -> list[Link]:
        return [link for group in self._groups.values() for link in group.open()]

    def _sweep(self) -> None:
        self._timer = None
        then = self._loop.time() - self._idle
        for link in self._all():
            if not link.waiting and link.used <= then:
                link.end(Failure("unreachable", "closed", lost=True))
        for end, group in list(self._groups.items()):
            self._forget(end, group)
        if self._groups:
            self._arm()

    def _forget(self, end: End, group: _Group) -> None:
        if not group.askers and not group.open() and self._loop.time() >= group.until:
            self._groups.pop(end, None)

    def close(self) -> None:
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        for link in self._all():
            link.end(Failure("unreachable", "closed"))
        self._changed.set()


def failed(error: Exception) -> Failure:
    """What kept a connection from being opened."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return Failure("unreachable", f"certificate: {shown(error.verify_message)}")
    if isinstance(error, ssl.SSLError):
        return Failure("unreachable", f"TLS: {shown(error.reason or error)}")
    return Failure("unreachable", shown(error))


def shown(said: object) -> str:
    """Some words of somebody else's, bounded."""
    return (str(said) or type(said).__name__)[:LONGEST_DETAIL]
