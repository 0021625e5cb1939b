"""Questions by UDP: sent from a random port with a random id, and matched to what comes back.

An answer is taken only from the address and port that were asked, with the id and the question as they
were sent (RFC 5452 section 9.1), letter for letter where the server keeps the case of names (0x20).
All of it is done in the loop's own calls: a question needs no task of its own.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections import Counter
from collections.abc import Callable
from typing import Any, Literal

from msgspec import Struct

from probes.dns.deadlines import Deadlines
from probes.dns.gates import Gates
from probes.dns.noise import Noise
from probes.dns.sockets import Address, Port, Ports
from probes.dns.wire import HEADER, Query, same_question

FIRST_SHARE = 0.4  # of the time, for the first of two questions
MOST_SOURCES = 8  # addresses that answered in place of one server, and are remembered
_ONE = b"\0\1"  # question
_NOWHERE: set[Any] = set()  # always empty
_LOST = (errno.EAGAIN, errno.ENOBUFS)
_NO_ROUTE = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EINVAL)

Silence = Literal["timeout", "unreachable", "malformed"]


class Arrival(Struct, frozen=True):
    """An answer's octets; when its question was sent and when it came (the loop's clock)."""

    wire: bytes
    sent: float
    came: float


class Server:
    """What is known of one address: where it really is, what it can't do, what came that was not asked for.

    ``unmatched``: datagrams from it that answered no question under way, or were forged in its name;
    ``sources``: other addresses from which questions that were put to it have been answered, and how often.
    """

    __slots__ = ("edns", "elsewhere", "family", "gates", "keeps_case", "real", "sources", "unmatched")

    def __init__(self, real: Address, gates: Gates) -> None:
        self.real, self.gates = real, gates
        self.family = socket.AF_INET6 if ":" in real[0] else socket.AF_INET
        self.keeps_case = True
        self.edns = True
        self.elsewhere: dict[str, float] = {}
        self.unmatched = 0
        self.sources: Counter[str] = Counter()

    def answered_from(self, source: str) -> None:
        if source in self.sources or len(self.sources) < MOST_SOURCES:
            self.sources[source] += 1
        else:
            self.unmatched += 1


class Asked(Struct, eq=False):
    """One question on its way, and what was sent for it.

    ``settle`` is called once with what came of it; ``about`` is the asker's own.
    """

    server: Server
    query: Query
    deadline: float
    settle: Callable[[Asked, Arrival | Silence], None]
    about: Any
    port: Port | None = None  # from which it was sent last, and the id it had
    id: bytes = b""
    earlier: tuple[tuple[Port, bytes], ...] = ()
    tries: int = 0
    slot: set[Any] = _NOWHERE


def _resolve(asked: Asked, event: Arrival | Silence) -> None:
    """For a coroutine that waits."""
    if not asked.about.done():
        asked.about.set_result(event)


class Udp:
    """``dropped`` counts datagrams that answered nothing that was asked; ``server``: whose they may be."""

    def __init__(self, ports: int, server: Callable[[Address], Server | None] = lambda real: None) -> None:
        self._loop = asyncio.get_running_loop()
        self._time = self._loop.time
        self._server = server
        self._noise = Noise()
        self._deadlines: Deadlines[Asked] = Deadlines(self._loop, self._late)
        self._ports = {
            family: Ports(family, ports, self._arrived, self._refused)
            for family in (socket.AF_INET, socket.AF_INET6)
        }
        self._closed = False
        self.dropped = 0

    def renew_ports(self) -> None:
        for ports in self._ports.values():
            ports.renew()

    async def ask(self, server: Server, query: Query, deadline: float) -> Arrival | Silence:
        """The answer, or why there is none by ``deadline`` (the loop's clock)."""
        future: asyncio.Future[Arrival | Silence] = self._loop.create_future()
        asked = Asked(server, query, deadline, _resolve, future)
        self.start(asked, self._time())
        try:
            return await future
        finally:
            self._forget(asked)

    def start(self, asked: Asked, now: float) -> None:
        """Ask ``now``; ``asked`` is settled by its deadline, or before this returns if it can't be sent.

        One retry, in lower case (some old servers take no other); late answers to the first count.
        A server that changes the letters is asked again with plain ones, and from then on.
        """
        if self._closed:
            return asked.settle(asked, "unreachable")
        return self._try(asked, asked.server.keeps_case, now, now + (asked.deadline - now) * FIRST_SHARE)

    def _try(self, asked: Asked, cased: bool, now: float, until: float) -> None:
        server, query = asked.server, asked.query
        asked.tries += 1
        noise = self._noise.take(4 + query.length)
        try:
            port = self._ports[server.family].take(noise[0] << 8 | noise[1])
        except OSError:
            return self._finish(asked, "unreachable")
        waiting, id_ = port.waiting, noise[2:4]
        if id_ in waiting:
            id_ = port.free_id()
        wire, question = query.patched(id_, noise[4:] if cased else b"")
        waiting[id_] = (asked, question, cased, now)
        if asked.port is not None:
            asked.earlier += ((asked.port, asked.id),)
        asked.port, asked.id = port, id_
        self._deadlines.add(asked, until)
        try:
            port.sock.sendto(wire, server.real)
        except OSError as error:
            if not self._sent_after_all(error, port, wire, server.real) and asked.port:
                self._finish(asked, "unreachable")
        return None

    def _sent_after_all(self, error: OSError, port: Port, wire: bytes, real: Address) -> bool:
        """Whether it may have got away, if not at the first attempt."""
        for _ in range(2):
            if error.errno in _LOST:
                return True
            if error.errno in _NO_ROUTE or not port.drain():
                return False
            try:  # it was another query's refusal that the kernel told us of
                port.sock.sendto(wire, real)
            except OSError as again:
                error = again
            else:
                return True
        return False

    def _late(self, asked: Asked) -> None:
        now = self._time()
        if asked.tries == 1 and now < asked.deadline and not self._closed:
            self._try(asked, False, now, asked.deadline)
        else:
            self._finish(asked, "timeout")

    def _finish(self, asked: Asked, event: Arrival | Silence) -> None:
        self._forget(asked)
        asked.settle(asked, event)

    def _forget(self, asked: Asked) -> None:
        asked.slot.discard(asked)
        port = asked.port
        if port is None:
            return
        asked.port = None
        _leave(port, asked.id)
        for port, id_ in asked.earlier:
            _leave(port, id_)

    def _arrived(self, port: Port, wire: bytes, sender: Address, now: float) -> None:
        found = port.waiting.get(wire[:2]) if len(wire) >= HEADER else None
        # What is no response (QR) or to no query (opcode) answers nothing, either.
        if found is None or wire[2] & 0xF8 != 0x80:
            return self._drop(self._server(sender))
        asked, question, cased, at = found
        server = asked.server
        exact = wire.startswith(question, HEADER) and wire[4:6] == _ONE
        if server.real != sender:
            return self._from_another(server, sender, exact)
        if exact or is_bare(wire):
            return self._finish(asked, Arrival(wire, at, now))
        if not (cased and server.keeps_case and _changed(wire, asked.query)):
            return self._drop(server)
        server.keeps_case = False
        return self._again(asked, now)

    def _again(self, asked: Asked, now: float) -> None:
        """With plain letters."""
        asked.slot.discard(asked)
        self._try(asked, False, now, asked.deadline)

    def _drop(self, server: Server | None) -> None:
        self.dropped += 1
        if server is not None:
            server.unmatched += 1

    def _from_another(self, server: Server, sender: Address, exact: bool) -> None:
        """Not taken. But who repeats id, port and letters has most likely been passed the question."""
        if exact:
            self.dropped += 1
            server.answered_from(sender[0])
        else:
            self._drop(server)

    def _refused(self, port: Port, wire: bytes, target: Address) -> None:
        """ICMP says that a query did not get there."""
        found = port.waiting.get(wire[:2])
        if found is not None and found[0].server.real == target:
            self._finish(found[0], "unreachable")

    def close(self) -> None:
        self._closed = True
        for ports in self._ports.values():
            for asked in {found[0] for port in ports.all() for found in port.waiting.values()}:
                self._finish(asked, "unreachable")
            ports.close()
        self._deadlines.close()


def _leave(port: Port, id_: bytes) -> None:
    del port.waiting[id_]
    if port.leaving and not port.waiting:
        port.close()


def _changed(wire: bytes, query: Query) -> bool:
    """Whether it repeats the question but for the case of its letters."""
    said = wire[HEADER : HEADER + query.length]
    return wire[4:6] == _ONE and len(said) == query.length and same_question(said, query.plain)


def is_bare(wire: bytes) -> bool:
    """A mere header with an error in it: how some old servers refuse what they don't understand."""
    return len(wire) == HEADER and not any(wire[4:]) and bool(wire[3] & 0x0F)
