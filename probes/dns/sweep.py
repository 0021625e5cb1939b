"""Very many questions by UDP in one go, without a task for each: only what is unusual gets one."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING

from probes.dns.gates import Gates, enter, leave
from probes.dns.reply import Reply, silent
from probes.dns.udp import Arrival, Asked, Server, Silence
from probes.dns.via import How
from probes.dns.wire import TC, Query, Question

if TYPE_CHECKING:
    from probes.dns.exchange import Exchange

WINDOW = 512  # questions of one sweep under way
HELD = 2048  # that wait for a place at their server, while others are asked
_FORMERR, _NOTIMP = 1, 4

Told = Callable[[str, Question, Reply], None]
_Pair = tuple[str, Question, Server, Gates]


class Sweep:
    """See :meth:`Exchange.sweep`; ``run`` it once."""

    def __init__(
        self, exchange: Exchange, pairs: Iterable[tuple[str, Question]], told: Told, how: How,
        timeout: float, platforms: Mapping[str, str],
    ) -> None:  # fmt: skip
        self._exchange, self._told, self._how = exchange, told, how
        self._pairs: Iterator[tuple[str, Question]] | None = iter(pairs)
        self._timeout, self._platforms = timeout, platforms
        self._loop = asyncio.get_running_loop()
        self._done: asyncio.Future[None] = self._loop.create_future()
        self._under_way = self._held = 0
        self._ready: deque[_Pair] = deque()  # they have their places
        self._tasks: set[asyncio.Task[None]] = set()
        self._filling = False
        self._last: Query | None = None  # pairs that follow each other often have the question in common

    async def run(self) -> None:
        self._fill()
        try:
            await self._done
        finally:
            # What is still under way runs out by itself, and nobody is told.
            self._done.cancel()
            self._pairs = None
            for task in self._tasks:
                task.cancel()
            while self._ready:
                leave(self._ready.popleft()[3])

    def _fill(self) -> None:
        self._filling = False
        if self._done.done():
            return
        try:
            self._take(WINDOW - self._under_way)
        except Exception as error:  # the caller's own, from its pairs or from being told
            self._done.set_exception(error)
            return
        if self._pairs is None and not self._under_way and not self._held:
            self._done.set_result(None)
        elif self._ready or (self._pairs is not None and self._under_way < WINDOW and self._held < HELD):
            self._soon()

    def _take(self, many: int) -> None:
        for _ in range(many):
            if self._ready:
                self._held -= 1
                self._start(self._ready.popleft())
            elif self._pairs is None or self._held >= HELD:
                return
            else:
                pair = next(self._pairs, None)
                if pair is None:
                    self._pairs = None
                    return
                self._begin(*pair)

    def _soon(self) -> None:
        if not self._filling:
            self._filling = True
            self._loop.call_soon(self._fill)

    def _begin(self, address: str, question: Question) -> None:
        server = self._exchange.server(address)
        if server is None:
            return self._told(address, question, silent("unreachable"))
        platform = self._platforms.get(address)
        gates = self._exchange.gates(server, platform) if platform else server.gates
        full = enter(gates)
        if full is None:
            return self._start((address, question, server, gates))
        self._held += 1
        full.waiting.append(partial(self._again, (address, question, server, gates)))
        return None

    def _again(self, pair: _Pair) -> None:
        """A place that it waits for has become free."""
        if self._done.done():
            return
        full = enter(pair[3])
        if full is None:
            self._ready.append(pair)
            self._soon()
        else:
            full.waiting.append(partial(self._again, pair))

    def _start(self, pair: _Pair) -> None:
        address, question, server, gates = pair
        query = self._last
        if query is None or query.question is not question or query.edns is not server.edns:
            query = self._last = self._exchange.query(question, self._how, server.edns)
        if query is None:
            leave(gates)
            return self._told(address, question, silent("malformed"))
        self._under_way += 1
        now = self._loop.time()
        asked = Asked(server, query, now + self._timeout, self._settled, pair)
        return self._exchange.start(asked, now)

    def _settled(self, asked: Asked, event: Arrival | Silence) -> None:
        if self._done.done():
            leave(asked.about[3])
        elif isinstance(event, str):
            self._tell(asked.about, silent(event))
        elif event.wire[2] & TC or event.wire[3] & 0x0F in (_FORMERR, _NOTIMP):
            self._ask_on(asked, event)
        else:
            self._tell(asked.about, self._exchange.read(event, asked.query, "udp"))

    def _tell(self, pair: _Pair, reply: Reply) -> None:
        address, question, _, gates = pair
        self._under_way -= 1
        leave(gates)
        try:
            self._told(address, question, reply)
        except Exception as error:
            if not self._done.done():
                self._done.set_exception(error)
        if not self._filling:
            self._soon()

    def _ask_on(self, asked: Asked, event: Arrival) -> None:
        task = asyncio.ensure_future(self._asked_on(asked, event))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _asked_on(self, asked: Asked, event: Arrival) -> None:
        address, question, server, gates = asked.about
        try:
            reply = await self._exchange.talk(address, server, question, self._how, asked.deadline, event)
        except BaseException:
            leave(gates)
            raise
        self._tell(asked.about, reply)
