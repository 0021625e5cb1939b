"""Servers of encrypted transports that do as they are told, badly too: DoT, DoH and DoQ."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import h2.config
import h2.connection
import h2.events
from aioquic.asyncio import serve
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import QuicEvent, StreamDataReceived

from monitor.rehearsal.certificates import CertificateAuthority
from probes.dns.exchange import Exchange
from probes.endpoints import Endpoints
from tests.dns.scripted import ADDRESS, OnTcp, framed, tcp_query

NAME = "dns.test"
Answer = Callable[[bytes], bytes]  # a query to its answer


class Cipher:
    """A certificate authority and the certificate of ``NAME``."""

    def __init__(self, directory: Path) -> None:
        authority = CertificateAuthority(directory)
        self.context = authority.server_context(NAME)
        self.ca = authority.path
        self.pem = directory / f"{NAME}.pem"


class Counted:
    """How many connections a server has had; ``tasks`` serve those that are open."""

    def __init__(self) -> None:
        self.connections = 0
        self.tasks: set[asyncio.Task[None]] = set()


@contextlib.asynccontextmanager
async def streams(
    cipher: Cipher | None, on_stream: OnTcp, port: int, alpn: str = "", **options: int
) -> AsyncIterator[tuple[Counted, Exchange]]:
    """A server of streams, in TLS if there is a ``cipher``, at ``port`` of ``ADDRESS``."""
    counted = Counted()

    def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        counted.connections += 1
        task = asyncio.ensure_future(serve_one(reader, writer))
        counted.tasks.add(task)
        task.add_done_callback(counted.tasks.discard)

    async def serve_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                await on_stream(reader, writer)
        finally:
            writer.close()

    context = None
    if cipher is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cipher.pem)
        if alpn:
            context.set_alpn_protocols([alpn])
    server = await asyncio.start_server(accepted, "127.0.0.1", 0, ssl=context)
    real = server.sockets[0].getsockname()[1]
    async with asking(port, real, cipher, **options) as exchange:
        yield counted, exchange
    server.close()
    for task in counted.tasks:
        task.cancel()
    await asyncio.gather(*counted.tasks, return_exceptions=True)


@contextlib.asynccontextmanager
async def asking(port: int, real: int, cipher: Cipher | None, **options: int) -> AsyncIterator[Exchange]:
    exchange = Exchange(
        Endpoints({f"{ADDRESS}:{port}": f"127.0.0.1:{real}"}),
        ca_file=cipher.ca if cipher else None,
        **options,
    )
    try:
        yield exchange
    finally:
        await exchange.close()


def dot_server(answer: Answer) -> OnTcp:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(framed(answer(await tcp_query(reader))))

    return talk


# What is sent for a request: the connection, the stream, the method, the path and the body.
Respond = Callable[[h2.connection.H2Connection, int, dict[bytes, bytes], bytes], Awaitable[None]]


def doh_server(respond: Respond, most: int = 100) -> OnTcp:
    """``most``: streams that it takes at a time."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        http = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding=None))
        http.local_settings.max_concurrent_streams = most
        http.initiate_connection()
        writer.write(http.data_to_send())
        requests: dict[int, tuple[dict[bytes, bytes], bytearray]] = {}
        while data := await reader.read(65536):
            for event in http.receive_data(data):
                if isinstance(event, h2.events.RequestReceived):
                    requests[event.stream_id] = (dict(event.headers), bytearray())
                elif isinstance(event, h2.events.DataReceived):
                    requests[event.stream_id][1].extend(event.data)
                elif isinstance(event, h2.events.StreamEnded):
                    headers, body = requests.pop(event.stream_id)
                    await respond(http, event.stream_id, headers, bytes(body))
                writer.write(http.data_to_send())
                await writer.drain()

    return talk


class _Quic(QuicConnectionProtocol):
    answer: Callable[[bytes], bytes | None]
    connections = 0

    def quic_event_received(self, event: QuicEvent) -> None:
        if isinstance(event, StreamDataReceived) and event.end_stream:
            said = self.answer(event.data[2:])
            if said is not None:
                self._quic.send_stream_data(event.stream_id, said, end_stream=True)
                self.transmit()


@contextlib.asynccontextmanager
async def quic(
    cipher: Cipher, answer: Callable[[bytes], bytes | None], alpn: str = "doq"
) -> AsyncIterator[Exchange]:
    """``answer``: what goes back on the stream, with its length in front; None for nothing."""

    class Speaking(_Quic):
        pass

    Speaking.answer = staticmethod(answer)
    configuration = QuicConfiguration(is_client=False, alpn_protocols=[alpn])
    configuration.load_cert_chain(cipher.pem, cipher.pem)
    server = await serve("127.0.0.1", 0, configuration=configuration, create_protocol=Speaking)
    real = server._transport.get_extra_info("sockname")[1]
    try:
        async with asking(853, real, cipher) as exchange:
            yield exchange
    finally:
        server.close()
