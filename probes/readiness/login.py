"""One attempt to reach a service and log in there, told as a person would say it. Nothing is retried."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator
from typing import Literal

import aiosmtplib
from msgspec import Struct

from probes.endpoints import Endpoints
from probes.mail.connect import connected, resolved
from probes.mail.imap import Gone, NoLogin, Session
from probes.mail.pop import Pop
from probes.mail.routes import Login, clean
from probes.mail.smtpauth import authenticate
from probes.service import Service, tls_context

SECONDS = 20.0


class Trouble(Struct, frozen=True):
    """Why a service cannot be used. ``login``: it was reached, and turned the login away."""

    text: str
    login: bool = False


async def try_submission(service: Service, login: Login | None, endpoints: Endpoints) -> Trouble | None:
    """TLS and, with a ``login``, AUTH (RFC 8314, RFC 4954). None: it works. Never raises for the world."""
    try:
        async with asyncio.timeout(SECONDS), _talking(service, endpoints) as smtp:
            if login is not None:
                await smtp.ehlo()
                await authenticate(smtp, login.name, login.password, service)
        return None
    except aiosmtplib.SMTPAuthenticationError as error:
        reply = clean(f"{error.code} {error.message}", login)
        name = login.name if login is not None else ""
        return Trouble(f"the login {name} is refused: {reply}", login=True)
    except (aiosmtplib.SMTPException, OSError, TimeoutError, ValueError) as error:
        return Trouble(clean(_said(service, error), login))


async def try_mailbox(
    service: Service, protocol: Literal["imap", "pop3"], login: Login, endpoints: Endpoints
) -> Trouble | None:
    """TLS, the login and what the watch needs of the server. None: it works. Never raises for the world."""
    try:
        async with asyncio.timeout(SECONDS):
            sock = await connected(await resolved(service), service.port, endpoints, [])
        sock.setblocking(True)
        sock.settimeout(SECONDS)
        session = Pop(sock, service, SECONDS) if protocol == "pop3" else Session(sock, service, SECONDS)
        try:
            await asyncio.to_thread(session.open, login.name, login.password)
            if isinstance(session, Pop):
                await asyncio.to_thread(_readable, session)
        finally:
            session.close()
            session.free()
        return None
    except NoLogin as error:
        return Trouble(f"the login {login.name} is refused: {clean(str(error), login)}", login=True)
    except (Gone, OSError, TimeoutError, ValueError) as error:
        return Trouble(clean(_said(service, error), login))


def _readable(session: Pop) -> None:
    """UIDL and TOP, which a POP3 server may lack (RFC 1939 section 7). Raises ``Gone`` where it does."""
    session.headers([number for number, _ in session.listing()[-1:]])
    session.quit()


@contextlib.asynccontextmanager
async def _talking(service: Service, endpoints: Endpoints) -> AsyncIterator[aiosmtplib.SMTP]:
    context = tls_context(service.ca_file, service.verify)
    sock = await connected(await resolved(service), service.port, endpoints, [])
    smtp = aiosmtplib.SMTP(
        hostname=service.shown_name, port=None, sock=sock, use_tls=service.tls == "implicit",
        start_tls=service.tls == "starttls", tls_context=context, timeout=SECONDS,
    )  # fmt: skip
    try:
        await smtp.connect()
        yield smtp
    finally:
        transport = smtp.transport
        smtp.close()
        if isinstance(transport, asyncio.WriteTransport):
            transport.abort()


def _said(service: Service, error: BaseException) -> str:
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, ssl.SSLCertVerificationError):
            return f"its certificate does not verify for {service.shown_name}: {seen.verify_message}"
        if isinstance(seen, socket.gaierror):
            return f"there is no host {service.host.rstrip('.')}"
        seen = seen.__cause__ or seen.__context__
    if isinstance(error, TimeoutError):
        return f"no answer within {SECONDS:.0f} s"
    return str(error) or type(error).__name__
