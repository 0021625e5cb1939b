"""A service's addresses, and a connected socket to one of them."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Sequence
from typing import Any

from probes.endpoints import Endpoints
from probes.service import Service

CONNECT = 20.0  # seconds for one address
MOST_ADDRESSES = 4


async def resolved(service: Service) -> list[str]:
    """The logical addresses of a service, at most four. Raises ``OSError`` where its name leads nowhere."""
    if service.address is not None:
        return [service.address]
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(CONNECT):
            found = await loop.getaddrinfo(service.host.rstrip("."), service.port, type=socket.SOCK_STREAM)
    except UnicodeError:
        raise OSError(f"{service.host!r} is no host name") from None
    except TimeoutError:
        raise OSError(f"looking up {service.host} timed out") from None
    except socket.gaierror as error:
        raise OSError(f"looking up {service.host}: {error.strerror}") from None
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))[:MOST_ADDRESSES]


def addresses_of(name: str) -> list[str]:
    """By the machine's own resolver; blocking. None where it knows none."""
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return []
    return [str(entry[4][0]) for entry in found]


async def connected(
    addresses: Sequence[str], port: int, endpoints: Endpoints, tried: list[str]
) -> socket.socket:
    """A socket to the first address that takes the connection; each one tried is appended to ``tried``.

    Raises ``OSError`` of the last one where none does.
    """
    problem: OSError = OSError("no address to connect to")
    for address in addresses:
        tried.append(address)
        real = endpoints.real(address, port)
        try:
            async with asyncio.timeout(CONNECT):
                return await _open(real)
        except TimeoutError:
            problem = OSError(f"connecting to {address} port {port} timed out")
        except OSError as error:
            # asyncio's own text names the endpoint in place of the reason.
            reason = os.strerror(error.errno) if error.errno else str(error)
            problem = OSError(f"{address} port {port}: {reason}")
    raise problem


async def _open(real: tuple[str, int]) -> socket.socket:
    family = socket.AF_INET6 if ":" in real[0] else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        _keep_alive(sock)
        await asyncio.get_running_loop().sock_connect(sock, real)
    except BaseException:
        sock.close()
        raise
    return sock


def _keep_alive(sock: socket.socket) -> None:
    """A peer that went away without a word is noticed within two minutes (RFC 9293 section 3.8.4)."""
    options: tuple[tuple[int, str, Any], ...] = (
        (socket.SOL_SOCKET, "SO_KEEPALIVE", 1),
        (socket.IPPROTO_TCP, "TCP_KEEPIDLE", 60),
        (socket.IPPROTO_TCP, "TCP_KEEPINTVL", 15),
        (socket.IPPROTO_TCP, "TCP_KEEPCNT", 4),
    )
    for level, name, value in options:
        if hasattr(socket, name):
            sock.setsockopt(level, getattr(socket, name), value)
