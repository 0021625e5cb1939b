"""UDP sockets shared by all queries: random ports, non-blocking, read by the loop's own readiness calls.

asyncio's datagram endpoints ask the kernel for 256 KiB a packet; a plain ``recvfrom`` costs a third.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import sys
from collections.abc import Callable
from typing import Any

READ = 4096  # octets of one datagram; we ask for 1232 at most
READS = 64  # datagrams taken before the loop has its turn again
# A port that has served so often is changed for another: ports stay unpredictable (RFC 5452 section 9.2), and
# most ids free.
USES = 5000
_BUFFER = 1 << 20
_IP_RECVERR, _IPV6_RECVERR = 11, 25  # linux/in.h, linux/in6.h; Python names neither

Address = tuple[str, int]
# The socket, the datagram, who is at the other end, and when it came (the loop's clock).
Arrived = Callable[["Port", bytes, Address, float], None]
# The socket, the query that was refused, and whom it was for.
Refused = Callable[["Port", bytes, Address], None]


class Port:
    """One socket and the queries that wait for an answer at it, by id (2 octets).

    ``leaving``: it takes no more of them, and is to be closed when the last has gone.
    """

    __slots__ = ("_loop", "_refused", "leaving", "open", "sock", "uses", "waiting")

    def __init__(self, sock: socket.socket, refused: Refused) -> None:
        self.sock = sock
        self.open, self.leaving = True, False
        self.uses = 0
        self.waiting: dict[bytes, Any] = {}
        self._refused = refused
        self._loop = asyncio.get_running_loop()

    def free_id(self) -> bytes:
        """A random id that no waiting query has (RFC 5452 section 9.2)."""
        while True:
            id_ = os.urandom(2)
            if id_ not in self.waiting:
                return id_

    def drain(self) -> bool:
        """Take the refusals that the kernel keeps for this socket; whether there were any."""
        if sys.platform != "linux":
            return False
        some = False
        for _ in range(READS):
            try:
                data, ancillary, _, target = self.sock.recvmsg(READ, 512, socket.MSG_ERRQUEUE)
            except OSError:
                return some
            some = True
            if not _too_big(ancillary):
                self._refused(self, data, target[:2])
        return some

    def close(self) -> None:
        if self.open:
            self.open = False
            self._loop.remove_reader(self.sock.fileno())
            self.sock.close()


class Ports:
    """A few sockets of one address family, opened when first needed."""

    def __init__(self, family: socket.AddressFamily, size: int, arrived: Arrived, refused: Refused) -> None:
        self._family, self._size = family, size
        self._arrived, self._refused = arrived, refused
        self._loop = asyncio.get_running_loop()
        self._ports: list[Port] = []
        self._leaving: list[Port] = []

    def take(self, number: int) -> Port:
        """The port to ask from that a random ``number`` means. Raises ``OSError`` where none is to be had."""
        if len(self._ports) < self._size:
            self._add()
        index = number % len(self._ports)
        port = self._ports[index]
        port.uses += 1
        if port.uses > USES:
            port = self._changed(index)
        return port

    def _add(self) -> None:
        try:
            self._ports.append(self._open())
        except OSError:  # out of descriptors: those that are open must do
            if not self._ports:
                raise

    def _changed(self, index: int) -> Port:
        port = self._ports[index]
        try:
            fresh = self._ports[index] = self._open()
        except OSError:
            return port
        self._leaving = [old for old in self._leaving if old.open]
        if port.waiting:
            port.leaving = True
            self._leaving.append(port)
        else:
            port.close()
        return fresh

    def renew(self) -> None:
        """Ask from other ports from now on."""
        for index in range(len(self._ports)):
            self._changed(index)

    def all(self) -> list[Port]:
        return [*self._ports, *self._leaving]

    def close(self) -> None:
        for port in self.all():
            port.close()
        self._ports.clear()
        self._leaving.clear()

    def _open(self) -> Port:
        sock = socket.socket(self._family, socket.SOCK_DGRAM)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
            self._options(sock)
            sock.bind(("::" if self._family == socket.AF_INET6 else "0.0.0.0", 0))
            port = Port(sock, self._refused)
            self._loop.add_reader(sock.fileno(), self._read, port)
        except BaseException:
            sock.close()
            raise
        return port

    def _options(self, sock: socket.socket) -> None:
        """Also have ICMP's refusals reported, with the datagram that they are about (ip(7), IP_RECVERR)."""
        if self._family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if sys.platform == "linux":
            level = (socket.IPPROTO_IPV6, _IPV6_RECVERR), (socket.IPPROTO_IP, _IP_RECVERR)
            with contextlib.suppress(OSError):
                sock.setsockopt(*level[self._family == socket.AF_INET], 1)

    def _read(self, port: Port) -> None:
        """All that has come first, then what it means: a third less work than one by one."""
        recvfrom, came = port.sock.recvfrom, list[tuple[bytes, Any]]()
        take = came.append
        try:
            for _ in range(READS):
                take(recvfrom(READ))
        except (BlockingIOError, InterruptedError):
            pass
        except OSError:
            port.drain()
        now, arrived = self._loop.time(), self._arrived
        for data, sender in came:
            arrived(port, data, sender if len(sender) == 2 else sender[:2], now)


def _too_big(ancillary: list[tuple[int, int, bytes]]) -> bool:
    """A report about the path's MTU refuses nothing (struct sock_extended_err begins with the errno)."""
    return any(int.from_bytes(data[:4], sys.byteorder) == errno.EMSGSIZE for _, _, data in ancillary)
