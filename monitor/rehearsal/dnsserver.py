"""The socket side of a small DNS server: UDP and TCP on one ephemeral loopback port."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import cast

from monitor.rehearsal.loopback import HOST

# Gets the query's wire and whether it came by TCP; returns the answer's wire, or None to stay silent.
Answer = Callable[[bytes, bool], Awaitable[bytes | None]]
IN_FLIGHT = 256
TCP_IDLE = 10.0
PORT_ATTEMPTS = 20


class _Udp(asyncio.DatagramProtocol):
    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._tasks: set[asyncio.Task[None]] = set()
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # asyncio's own datagram transport is no subclass of asyncio.DatagramTransport before 3.12
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if len(self._tasks) < IN_FLIGHT:
            task = asyncio.ensure_future(self._reply(data, addr))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _reply(self, data: bytes, addr: tuple[str, int]) -> None:
        wire = await self._answer(data, False)
        if wire is not None and self._transport is not None and not self._transport.is_closing():
            self._transport.sendto(wire, addr)

    def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        if self._transport is not None:
            self._transport.close()


class DnsServer:
    """Serves ``answer`` until closed; ``port`` is known once started."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._udp: _Udp | None = None
        self._tcp: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self.port = 0

    async def start(self) -> int:
        """Bind one port for both transports. Raises ``OSError`` when none can be had."""
        for _ in range(PORT_ATTEMPTS):
            self._tcp = await asyncio.start_server(self._stream, HOST, 0)
            self.port = self._tcp.sockets[0].getsockname()[1]
            try:
                _, self._udp = await asyncio.get_running_loop().create_datagram_endpoint(
                    lambda: _Udp(self._answer), local_addr=(HOST, self.port)
                )
                return self.port
            except OSError:  # the UDP port of that number is somebody else's
                self._tcp.close()
        raise OSError("no port is free for both UDP and TCP")

    async def _stream(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
                while await self._exchange(reader, writer):
                    pass
        finally:
            self._connections.discard(task)
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One query and its answer, each behind its length (RFC 1035 section 4.2.2)."""
        async with asyncio.timeout(TCP_IDLE):
            size = int.from_bytes(await reader.readexactly(2), "big")
            query = await reader.readexactly(size)
        wire = await self._answer(query, True)
        if wire is None:
            return False
        writer.write(len(wire).to_bytes(2, "big") + wire)
        await writer.drain()
        return True

    async def close(self) -> None:
        if self._udp is not None:
            self._udp.close()
        if self._tcp is not None:
            self._tcp.close()
        for task in self._connections:
            task.cancel()
