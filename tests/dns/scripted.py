"""Name servers that do as they are told, badly too: one loopback port for UDP and TCP."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from types import TracebackType

import dns.flags
import dns.message
import dns.rrset

from probes.dns.exchange import Exchange
from probes.endpoints import Endpoints

Send = Callable[[bytes], None]  # a datagram back to where the query came from
OnUdp = Callable[[bytes, Send], None]
OnTcp = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
ADDRESS = "192.0.2.53"
NAME = "example.jp."
MX = ("10 mail.example.jp.", "20 backup.example.net.")


class Scripted:
    """``async with Scripted(on_udp, on_tcp) as server``; ``queries`` are the datagrams that came."""

    def __init__(self, on_udp: OnUdp, on_tcp: OnTcp | None = None) -> None:
        self._on_udp, self._on_tcp = on_udp, on_tcp
        self._tcp: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.queries: list[bytes] = []
        self.tcp_connections = 0

    async def __aenter__(self) -> Scripted:
        for _ in range(50):
            self._tcp = await asyncio.start_server(self._stream, "127.0.0.1", 0)
            self.port = self._tcp.sockets[0].getsockname()[1]
            self.sock = socket.socket(type=socket.SOCK_DGRAM)
            try:
                self.sock.bind(("127.0.0.1", self.port))
                break
            except OSError:
                self.sock.close()
                self._tcp.close()
        self.sock.setblocking(False)
        asyncio.get_running_loop().add_reader(self.sock, self._read)
        if self._on_tcp is None:
            self._tcp.close()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.get_running_loop().remove_reader(self.sock)
        self.sock.close()
        assert self._tcp is not None
        self._tcp.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def endpoints(self) -> Endpoints:
        return Endpoints({f"{ADDRESS}:53": f"127.0.0.1:{self.port}"})

    def _read(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                wire, peer = self.sock.recvfrom(4096)
                self.queries.append(wire)
                self._on_udp(wire, lambda data, peer=peer: self._send(data, peer))  # type: ignore[misc]

    def _send(self, data: bytes, peer: object) -> None:
        self.sock.sendto(data, peer)  # type: ignore[arg-type]

    async def _stream(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.tcp_connections += 1
        task = asyncio.ensure_future(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert self._on_tcp is not None
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                await self._on_tcp(reader, writer)
        finally:
            writer.close()


@contextlib.asynccontextmanager
async def scripted(
    on_udp: OnUdp, on_tcp: OnTcp | None = None, per_server: int = 32
) -> AsyncIterator[tuple[Scripted, Exchange]]:
    """Such a server, and an exchange that finds it at ``ADDRESS``."""
    async with Scripted(on_udp, on_tcp) as server:
        exchange = Exchange(server.endpoints, per_server=per_server)
        try:
            yield server, exchange
        finally:
            await exchange.close()


def response(
    query: bytes, *records: tuple[str, int, str, tuple[str, ...]], flags: int = dns.flags.AA, tc: bool = False
) -> bytes:
    """An answer to ``query``; records are owner, TTL, type and rdata."""
    message = dns.message.make_response(dns.message.from_wire(query))
    message.flags |= flags
    if tc:
        message.flags |= dns.flags.TC
    message.answer = [dns.rrset.from_text_list(o, ttl, "IN", kind, list(r)) for o, ttl, kind, r in records]
    return message.to_wire(max_size=65535)


def mx_of(query: bytes, ttl: int = 300) -> bytes:
    return response(query, (NAME, ttl, "MX", MX))


async def tcp_query(reader: asyncio.StreamReader) -> bytes:
    return await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))


def framed(wire: bytes) -> bytes:
    return len(wire).to_bytes(2, "big") + wire
