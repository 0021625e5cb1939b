"""DNS over TLS (RFC 7858): pipelined by id over one verified connection; whose word certificates rest on."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar, cast

from probes.dns.links import Asked, End, Failure, Link
from probes.dns.tcp import fits
from probes.dns.wire import HEADER

_LENGTH = 2


class Trust:
    """The certificate authorities: the machine's own and those of ``ca_file``. One context for each use."""

    def __init__(self, ca_file: Path | None = None) -> None:
        self.ca_file = ca_file
        self._contexts: dict[str, ssl.SSLContext] = {}

    def context(self, alpn: str = "") -> ssl.SSLContext:
        """Raises ``OSError`` (of which ``ssl.SSLError`` is one) where the file can't be read."""
        context = self._contexts.get(alpn)
        if context is None:
            context = ssl.create_default_context()
            if self.ca_file is not None:
                context.load_verify_locations(self.ca_file)
            if alpn:
                context.set_alpn_protocols([alpn])
            self._contexts[alpn] = context
        return context


class StreamLink(Link, asyncio.Protocol):
    """A connection over TCP and TLS; a subclass takes what comes apart in ``received``."""

    transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self.end(Failure("unreachable", str(exc or "the server closed the connection")[:200], lost=True))

    def pause_writing(self) -> None:
        """Some small questions fill no buffer of a server that reads."""
        self.end(Failure("unreachable", "the server reads nothing", lost=True))

    def data_received(self, data: bytes) -> None:
        if self.count(len(data)):
            self.received(data)

    def received(self, data: bytes) -> None:
        raise NotImplementedError

    def close(self) -> None:
        self.transport.abort()  # no waiting for the peer's part of closing TLS


Stream = TypeVar("Stream", bound=StreamLink)


async def connected(make: Callable[[], Stream], end: End, context: ssl.SSLContext) -> Stream:
    """Raises ``OSError`` where there is no such connection, verified, to be had."""
    loop = asyncio.get_running_loop()
    _, link = await loop.create_connection(make, *end.real, ssl=context, server_hostname=end.name)
    return link


class DotLink(StreamLink):
    """Messages with their length in front (RFC 7858 section 3.3), answered in any order (RFC 7766)."""

    def __init__(self) -> None:
        super().__init__()
        self._buffer = bytearray()

    def send(self, asked: Asked) -> int:
        id_ = int.from_bytes(os.urandom(2), "big")
        while id_ in self.waiting:
            id_ = (id_ + 1) & 0xFFFF
        wire, _ = asked.query.patched(id_.to_bytes(2, "big"), b"")
        self.waiting[id_] = asked
        self.transport.write(len(wire).to_bytes(_LENGTH, "big") + wire)
        return id_

    def received(self, data: bytes) -> None:
        self._buffer += data
        while len(self._buffer) >= _LENGTH:
            end = _LENGTH + int.from_bytes(self._buffer[:_LENGTH], "big")
            if len(self._buffer) < end:
                return
            wire = bytes(self._buffer[_LENGTH:end])
            del self._buffer[:end]
            if not self._message(wire):
                return

    def _message(self, wire: bytes) -> bool:
        """Whether the connection makes sense still. What answers nothing that is waited for may be late."""
        if len(wire) < HEADER:
            self.end(Failure("malformed", "a message without a header"))
            return False
        asked = self.waiting.get(wire[0] << 8 | wire[1])
        if asked is None:
            return True
        if fits(wire, asked.query):
            self.answered(asked, wire)
        else:
            asked.resolve(Failure("malformed", "an answer to something else"))
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        if self._buffer:
            self.end(Failure("malformed", "the connection ended within a message"))
        super().connection_lost(exc)


async def open_dot(end: End, trust: Trust) -> Link:
    return await connected(DotLink, end, trust.context())
