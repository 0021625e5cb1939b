"""The rehearsal's own small Internet on loopback: logical addresses (RFC 5737), ephemeral ports.

A server announces the logical address and standard port it plays; a client binds its socket and says
whom it plays before it connects, so that a server can tell its clients apart by logical address.
"""

from __future__ import annotations

import asyncio
import socket

HOST = "127.0.0.1"
# Who connects without having said who it is: the watch itself.
WATCHER = ("watch.monitor.example", "203.0.113.250")
REMEMBERED_CLIENTS = 4096


class Loopback:
    """Which loopback endpoint stands for which logical one, in both directions."""

    def __init__(self) -> None:
        self._servers: dict[tuple[str, int], int] = {}
        self._clients: dict[int, tuple[str, str]] = {}

    def announce(self, address: str, port: int, real_port: int) -> None:
        self._servers[address, port] = real_port

    def real(self, address: str, port: int) -> tuple[str, int]:
        """Where a logical endpoint is served. Raises ``OSError`` where nobody serves it."""
        try:
            return HOST, self._servers[address, port]
        except KeyError:
            raise ConnectionRefusedError(f"nobody serves {address} port {port}") from None

    def endpoints(self) -> dict[str, str]:
        """The plan's ``[endpoints]`` table."""
        return {f"{address}:{port}": f"{HOST}:{real}" for (address, port), real in self._servers.items()}

    async def connect(self, who: tuple[str, str], address: str, port: int) -> socket.socket:
        """A connected socket that the server will know as ``who`` (name, logical address)."""
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            sock.bind((HOST, 0))
            self._remember(sock.getsockname()[1], who)
            async with asyncio.timeout(5):
                await asyncio.get_running_loop().sock_connect(sock, self.real(address, port))
        except BaseException:
            sock.close()
            raise
        return sock

    def _remember(self, port: int, who: tuple[str, str]) -> None:
        self._clients.pop(port, None)
        self._clients[port] = who
        if len(self._clients) > REMEMBERED_CLIENTS:
            self._clients.pop(next(iter(self._clients)))

    def forget(self, port: int) -> None:
        """The client behind this port is gone: the port may be anybody's next."""
        self._clients.pop(port, None)

    def client(self, peer: object) -> tuple[str, str]:
        """Name and logical address of the client behind a server's peer address."""
        port = peer[1] if isinstance(peer, tuple) and len(peer) > 1 else None
        return self._clients.get(port, WATCHER) if isinstance(port, int) else WATCHER


class Pace:
    """How fast the story plays: every duration of a scenario is divided by ``speed``."""

    def __init__(self, speed: float = 1.0) -> None:
        self.speed = speed

    def real(self, seconds: float) -> float:
        return seconds / self.speed

    def ttl(self, seconds: float) -> int:
        """A TTL is a whole number of seconds, and 0 would mean: do not cache (RFC 1035 section 3.2.1)."""
        return max(1, round(seconds / self.speed))

    async def sleep(self, seconds: float) -> None:
        """Also ends a task whose cancellation was lost: ``asyncio.wait_for``, which the SMTP and DNS
        clients use, drops one that comes at the moment its work is done (before Python 3.12)."""
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise asyncio.CancelledError
        await asyncio.sleep(seconds / self.speed)
