"""Small servers on loopback that answer as a test says, and certificates that are wrong in one way each."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def serving(
    talk: Talk, context: ssl.SSLContext | None = None, host: str = "127.0.0.1"
) -> AsyncIterator[int]:
    """A server that does ``talk`` with each client; its port. Ended clients are no fault of the test."""
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await talk(reader, writer)
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(serve, host, 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def smtp(
    replies: dict[str, list[str | None]], context: ssl.SSLContext | None = None, banner: bytes = b"220 mx\r\n"
) -> Talk:
    """SMTP by rote: each verb's replies in turn, the last one again; None hangs up. ``DOT`` is the reply
    after the message. What is not given is answered with 250."""
    turns = {verb: list(given) for verb, given in replies.items()}

    def reply(verb: str) -> str | None:
        given = turns.get(verb, ["250 ok"])
        return given.pop(0) if len(given) > 1 else given[0]

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(banner)
        while line := await reader.readline():
            verb = line.split()[0].decode("latin-1").upper() if line.split() else ""
            if verb == "DATA" and "DATA" not in turns:
                writer.write(b"354 go on\r\n")
                while (await reader.readline()) not in (b".\r\n", b""):
                    pass
                verb = "DOT"
            said = reply(verb)
            if said is None:
                return
            writer.write(said.replace("\n", "\r\n").encode("latin-1") + b"\r\n")
            await writer.drain()
            if verb == "STARTTLS" and said.startswith("220") and context is not None:
                await writer.start_tls(context, ssl_handshake_timeout=5)
            if verb == "QUIT":
                return

    return talk


def certificate(directory: Path, name: str, days: tuple[int, int] = (-1, 2)) -> tuple[ssl.SSLContext, Path]:
    """A server's context whose self-signed certificate shows ``name`` and is valid in these days from now;
    the file to trust it by."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    begin, end = (datetime.now(UTC) + timedelta(days=d) for d in days)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(end)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    trusted = directory / f"{name}{days[0]}.crt"
    trusted.write_bytes(made.public_bytes(pem))
    both = directory / f"{name}{days[0]}.pem"
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    both.write_bytes(private + made.public_bytes(pem))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(both)
    return context, trusted
