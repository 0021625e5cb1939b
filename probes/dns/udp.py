"""Questions by UDP: sent from a random port with a random id, and matched to what comes back.

An answer is taken only from the address and port that were asked, with the id and the question as they
were sent (RFC 5452 section 9.1), letter for letter where the server keeps the case of names (0x20).
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from typing import Literal

from msgspec import Struct

from probes.dns.deadlines import Deadlines
from probes.dns.sockets import Address, Port, Ports
from probes.dns.wire import HEADER, Query, same_question

FIRST_SHARE = 0.4  # of the time, for the first of two questions
_LOST = (errno.EAGAIN, errno.ENOBUFS)
_NO_ROUTE = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EINVAL)

Silence = Literal["timeout", "unreachable", "malformed"]


class Arrival(Struct, frozen=True):
    """An answer's octets; when its question was sent and when it came (the loop's clock).

    ``exact``: it repeats the question as it was sent, letter for letter if the letters were mixed.
    """

    wire: bytes
    sent: float
    came: float
    exact: bool = True


class Server:
    """What is known of one address: where it really is, and what it can't do."""

    __slots__ = ("edns", "elsewhere", "family", "gate", "keeps_case", "real")

    def __init__(self, real: Address, limit: int) -> None:
        self.real = real
        self.family = socket.AF_INET6 if ":" in real[0] else socket.AF_INET
        self.gate = asyncio.Semaphore(limit)
        self.keeps_case = True
        self.edns = True
        self.elsewhere: dict[str, float] = {}


class _Asked:
    """One question on its way: what was sent for it, and the future of who waits."""

    __slots__ = ("future", "query", "sent", "server", "slot")

    def __init__(self, server: Server, query: Query, future: asyncio.Future[Arrival | Silence]) -> None:
        self.server, self.query, self.future = server, query, future
        self.sent: list[tuple[Ports, Port, int]] = []
        self.slot = 0

    def resolve(self, event: Arrival | Silence) -> None:
        if not self.future.done():
            self.future.set_result(event)

    def expire(self) -> None:
        self.resolve("timeout")


class _Waiting:
    """One datagram that was sent: its question as sent, whether its letters were mixed, when."""

    __slots__ = ("asked", "at", "cased", "question")

    def __init__(self, asked: _Asked, question: bytes, cased: bool, at: float) -> None:
        self.asked, self.question, self.cased, self.at = asked, question, cased, at


class Udp:
    """``dropped`` counts datagrams that answered nothing that was asked."""

    def __init__(self, ports: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._deadlines = Deadlines(self._loop)
        self._ports = {
            family: Ports(family, ports, self._arrived, self._refused)
            for family in (socket.AF_INET, socket.AF_INET6)
        }
        self._asked: set[_Asked] = set()
        self._closed = False
        self.dropped = 0

    async def ask(self, server: Server, query: Query, deadline: float) -> Arrival | Silence:
        """The answer, or why there is none by ``deadline`` (the loop's clock)."""
        if self._closed:
            return "unreachable"
        asked = _Asked(server, query, self._loop.create_future())
        self._asked.add(asked)
        try:
            return await self._persist(asked, deadline)
        finally:
            self._asked.discard(asked)
            for ports, port, id_ in asked.sent:
                port.waiting.pop(id_, None)
                ports.left(port)

    async def _persist(self, asked: _Asked, deadline: float) -> Arrival | Silence:
        """One retry, in lower case (some old servers take no other); late answers to the first count.

        A server that changes the letters is asked again with plain ones, and from then on.
        """
        now = self._loop.time()
        event = await self._once(asked, asked.server.keeps_case, now + (deadline - now) * FIRST_SHARE)
        if event == "timeout":
            event = await self._once(asked, False, deadline)
        if isinstance(event, Arrival) and not event.exact:
            asked.server.keeps_case = False
            event = await self._once(asked, False, deadline)
        return event

    async def _once(self, asked: _Asked, cased: bool, until: float) -> Arrival | Silence:
        if asked.future.done():
            asked.future = self._loop.create_future()
        if not self._send(asked, cased):
            return "unreachable"
        self._deadlines.add(asked, until)
        try:
            return await asked.future
        finally:
            self._deadlines.drop(asked)

    def _send(self, asked: _Asked, cased: bool) -> bool:
        """Whether it may have got away."""
        ports = self._ports[asked.server.family]
        try:
            port = ports.take()
        except OSError:
            return False
        noise = os.urandom(2 + asked.query.length)
        id_ = noise[0] << 8 | noise[1]
        if id_ in port.waiting:
            id_ = port.free_id()
        wire, question = asked.query.patched(id_, noise[2:] if cased else b"")
        port.waiting[id_] = _Waiting(asked, question, cased, self._loop.time())
        asked.sent.append((ports, port, id_))
        return self._sendto(ports, port, wire, asked.server.real)

    def _sendto(self, ports: Ports, port: Port, wire: bytes, real: Address) -> bool:
        for _ in range(3):
            try:
                port.sock.sendto(wire, real)
            except OSError as error:
                if error.errno in _LOST:
                    return True
                if error.errno in _NO_ROUTE or not ports.drain(port):
                    return False
                continue  # it was another query's refusal that the kernel told us of
            return True
        return False

    def _arrived(self, port: Port, wire: bytes, sender: Address) -> None:
        waiting: _Waiting | None = port.waiting.get(wire[0] << 8 | wire[1]) if len(wire) >= HEADER else None
        if waiting is None or waiting.asked.server.real != sender or wire[2] & 0xF8 != 0x80:
            self.dropped += 1  # also what is no response (QR), or to no query (opcode)
            return
        exact = _answers(wire, waiting)
        if exact is None or not (exact or waiting.asked.server.keeps_case):
            self.dropped += 1
            return
        waiting.asked.resolve(Arrival(wire, waiting.at, self._loop.time(), exact))

    def _refused(self, port: Port, wire: bytes, target: Address) -> None:
        """ICMP says that a query did not get there."""
        waiting: _Waiting | None = port.waiting.get(int.from_bytes(wire[:2], "big"))
        if waiting is not None and waiting.asked.server.real == target:
            waiting.asked.resolve("unreachable")

    def close(self) -> None:
        self._closed = True
        for asked in self._asked:
            asked.resolve("unreachable")
        self._deadlines.close()
        for ports in self._ports.values():
            ports.close()


def _answers(wire: bytes, waiting: _Waiting) -> bool | None:
    """Whether it repeats the question exactly; None: it answers something else."""
    query = waiting.asked.query
    said = wire[HEADER : HEADER + query.length]
    if said == waiting.question and wire[4:6] == b"\0\1":
        return True
    if is_bare(wire):
        return True
    if wire[4:6] == b"\0\1" and len(said) == query.length and same_question(said, query.plain):
        return not waiting.cased
    return None


def is_bare(wire: bytes) -> bool:
    """A mere header with an error in it: how some old servers refuse what they don't understand."""
    return len(wire) == HEADER and not any(wire[4:]) and bool(wire[3] & 0x0F)
