"""DNS over QUIC (RFC 9250), as the aioquic library speaks it: for who has installed the extra ``doq``."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from typing import Any

from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.quic import events
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection

from probes.dns.links import IDLE, Asked, End, Failure, Link, shown
from probes.dns.tcp import fits
from probes.dns.tls import Trust

ALPN = "doq"  # RFC 9250 section 4.1.1
_LENGTH = 2
LARGEST = _LENGTH + 65535
_NO_ERROR = 0  # RFC 9250 section 4.3
# RFC 9001 section 4.8: a TLS alert, here of those that are about certificates (RFC 8446 section 6.2)
_CERTIFICATE = range(0x100 + 42, 0x100 + 49)

# The library's own log of every connection that fails has no place on anybody's screen.
logging.getLogger("quic").addHandler(logging.NullHandler())


class _Connection(QuicConnectionProtocol):
    """What the library calls; whatever it raises for hostile octets ends the connection."""

    link: DoqLink

    def quic_event_received(self, event: events.QuicEvent) -> None:
        self.link.happened(event)

    def datagram_received(self, data: bytes | str, addr: Any) -> None:
        if not self.link.count(len(data)):
            return
        try:
            super().datagram_received(data, addr)
        except Exception as error:  # its own, and any that a bug of its may let out
            self.link.end(Failure("malformed", f"QUIC: {shown(error)}"))

    def transmit(self) -> None:
        if self.link.gone:
            return
        try:
            super().transmit()
        except Exception as error:
            self.link.end(Failure("unreachable", shown(error), lost=True))

    def error_received(self, exc: Exception) -> None:
        self.link.end(Failure("unreachable", shown(exc), lost=True))

    def connection_lost(self, exc: Exception | None) -> None:
        self.link.end(Failure("unreachable", shown(exc or "closed"), lost=True))


class DoqLink(Link):
    """One QUIC connection; each question is a stream (RFC 9250 section 4.2)."""

    def __init__(self, end: End, trust: Trust) -> None:
        super().__init__()
        self._quic = QuicConnection(configuration=_configuration(end, trust))
        self.connection = _Connection(self._quic)
        self.connection.link = self
        self._transport: asyncio.DatagramTransport | None = None
        self._ready: asyncio.Future[None] = self._loop.create_future()

    @property
    def gone(self) -> bool:
        return self._transport is None

    async def start(self, transport: asyncio.DatagramTransport) -> None:
        """Raises ``OSError`` where the server is not there, or is not whom its name says."""
        self._transport = transport
        try:
            self.connection.connect(transport.get_extra_info("peername"))
            await self._ready
        except BaseException:
            self.close()
            raise

    def send(self, asked: Asked) -> int:
        # RFC 9250 section 4.2.1: the id is 0; section 4.2: the length comes first, and no second question
        wire, _ = asked.query.patched(b"\0\0", b"")
        stream = self._quic.get_next_available_stream_id()
        self._quic.send_stream_data(stream, len(wire).to_bytes(_LENGTH, "big") + wire, end_stream=True)
        self.waiting[stream] = asked
        self.connection.transmit()
        return stream

    def happened(self, event: events.QuicEvent) -> None:
        if isinstance(event, events.HandshakeCompleted):
            if not self._ready.done():
                self._ready.set_result(None)
        elif isinstance(event, events.ConnectionTerminated):
            self.end(_ended(event))
        elif isinstance(event, events.StreamReset | events.StopSendingReceived):
            self._resolve(event.stream_id, Failure("unreachable", f"QUIC reset, code {event.error_code}"))
        elif isinstance(event, events.StreamDataReceived):
            self._came(event)

    def _came(self, event: events.StreamDataReceived) -> None:
        asked = self.waiting.get(event.stream_id)
        if asked is None:
            return
        asked.body += event.data
        if len(asked.body) > LARGEST:
            self._resolve(event.stream_id, Failure("malformed", "more than a message"))
        elif event.end_stream:
            wire = bytes(asked.body[_LENGTH:])
            whole = int.from_bytes(asked.body[:_LENGTH], "big") == len(wire)
            if whole and wire[:2] == b"\0\0" and fits(wire, asked.query):
                self.answered(asked, wire)
            else:
                asked.resolve(Failure("malformed", "an answer to something else"))

    def _resolve(self, stream: int, failure: Failure) -> None:
        asked = self.waiting.get(stream)
        if asked is not None:
            asked.resolve(failure)

    def end(self, failure: Failure) -> None:
        if not self._ready.done():
            self._ready.set_exception(OSError(failure.detail))
        super().end(failure)

    def close(self) -> None:
        if self._transport is None:
            return
        with contextlib.suppress(Exception):  # the connection is over, whatever the library says to that
            self.connection.close(_NO_ERROR)
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.abort()


def _configuration(end: End, trust: Trust) -> QuicConfiguration:
    configuration = QuicConfiguration(
        is_client=True, alpn_protocols=[ALPN], server_name=end.name, idle_timeout=2 * IDLE
    )
    paths = ssl.get_default_verify_paths()
    configuration.load_verify_locations(
        paths.cafile, paths.capath, trust.ca_file.read_bytes() if trust.ca_file is not None else None
    )
    return configuration


def _ended(event: events.ConnectionTerminated) -> Failure:
    if event.error_code in _CERTIFICATE:
        return Failure("unreachable", f"certificate: {shown(event.reason_phrase)}")
    said = shown(event.reason_phrase or f"QUIC ended, code {event.error_code}")
    return Failure("unreachable", said, lost=True)


async def open_doq(end: End, trust: Trust) -> Link:
    link = DoqLink(end, trust)
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: link.connection, remote_addr=end.real)
    await link.start(transport)
    return link
