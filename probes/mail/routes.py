"""Handing a canary over: submitted with a login, or to port 25 as an outside sender's MTA does it."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Sequence

import aiosmtplib
from aiosmtplib import SMTP, SMTPAuthenticationError, SMTPException, SMTPResponseException
from msgspec import Struct

from probes.endpoints import Endpoints
from probes.mail.connect import connected, resolved
from probes.mail.smtpauth import authenticate
from probes.observation import CanarySent, SendOutcome, now
from probes.secret import Secret
from probes.service import Service, tls_context
from probes.sight import Target, Tell, nobody

SMTP_PORT = 25
ATTEMPT = 60.0  # the longest that one attempt takes, in seconds
MOST_REPLY = 500
# Before a message that was put off is offered again: twice or more in the first hour (RFC 5321 section
# 4.5.4.1), soon enough to pass greylisting (RFC 6647 section 4.4) when its usual minutes are over.
PAUSES = (60.0, 300.0, 600.0, 1200.0, 1800.0)


class Outgoing(Struct, frozen=True, kw_only=True):
    """One canary ready to go. ``message`` is what ``canary.compose`` made."""

    canary: str
    route: str
    sender: str
    recipient: str
    message: bytes


class Login(Struct, frozen=True):
    name: str
    password: Secret


class Handed(Struct, frozen=True, kw_only=True):
    """Every attempt, the last one last. ``login_refused``: the server turned the password down for good;
    ``detail`` is then its reply."""

    attempts: tuple[CanarySent, ...]
    login_refused: bool = False
    detail: str = ""


class _End(Struct, frozen=True, kw_only=True):
    """How one attempt ended; ``reply`` is the server's words, or why there are none."""

    outcome: SendOutcome
    reply: str
    address: str | None = None
    login_refused: bool = False


async def send(
    canary: Outgoing, to: Target | Service, endpoints: Endpoints, helo: str, deadline: float,
    login: Login | None = None, pauses: Sequence[float] = PAUSES, port: int = SMTP_PORT,
    tell: Tell = nobody,
) -> Handed:  # fmt: skip
    """Hand one canary over within ``deadline`` seconds.

    ``to``: a :class:`Target` is spoken to on ``port``, with STARTTLS where it is offered, whoever's the
    certificate is; a :class:`Service` over verified TLS, with ``login``. What is put off (4yz) is offered
    again after each of ``pauses``, as far as the deadline allows. ``tell`` hears each attempt at once.
    Nothing that the world does is raised.
    """
    end_at = asyncio.get_running_loop().time() + deadline
    attempts: list[CanarySent] = []
    for pause in (0.0, *pauses):
        if attempts and asyncio.get_running_loop().time() + pause + 1 > end_at:
            break
        await asyncio.sleep(pause)
        left = end_at - asyncio.get_running_loop().time()
        end = await _attempt(canary, to, port, endpoints, helo, max(0.1, min(ATTEMPT, left)), login)
        attempts.append(_told(canary, to, end))
        await tell(attempts[-1])
        if end.outcome != "deferred":
            break
    return Handed(attempts=tuple(attempts), login_refused=end.login_refused, detail=end.reply)


def _told(canary: Outgoing, to: Target | Service, end: _End) -> CanarySent:
    return CanarySent(
        at=now(), canary=canary.canary, route=canary.route, recipient=canary.recipient,
        outcome=end.outcome, host=to.host, address=end.address, reply=end.reply,
    )  # fmt: skip


async def _attempt(
    canary: Outgoing, to: Target | Service, port: int, endpoints: Endpoints, helo: str, seconds: float,
    login: Login | None,
) -> _End:  # fmt: skip
    tried: list[str] = []
    try:
        async with asyncio.timeout(seconds):
            if isinstance(to, Service):
                reply = await _submit(canary, to, endpoints, helo, login, tried)
            else:
                reply = await _deliver(canary, to, port, endpoints, helo, tried)
            end = _End(outcome="accepted", reply=reply)
    except Exception as error:
        end = _failed(error)
    return _End(
        outcome=end.outcome, reply=clean(end.reply, login), address=tried[-1] if tried else None,
        login_refused=end.login_refused,
    )  # fmt: skip


def _failed(error: Exception) -> _End:
    """RFC 5321 section 4.2.1: 4yz is put off, 5yz is refused. Whoever gave no such answer is unreachable."""
    if isinstance(error, TimeoutError):
        return _End(outcome="unreachable", reply=str(error) or "timed out")
    if not isinstance(error, SMTPResponseException):
        return _End(outcome="unreachable", reply=_reason(error))
    reply = f"{error.code} {error.message}"
    if 400 <= error.code < 500:
        return _End(outcome="deferred", reply=reply)
    if isinstance(error, SMTPAuthenticationError):
        # The canary was not refused: it never got so far. 500 to 504 speak of the command, not of the login.
        return _End(outcome="unreachable", reply=reply, login_refused=error.code > 504)
    return _End(outcome="rejected" if 500 <= error.code < 600 else "unreachable", reply=reply)


def _reason(error: Exception) -> str:
    while isinstance(error, SMTPException) and isinstance(error.__cause__, ssl.SSLError):
        error = error.__cause__
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate does not verify: {error.verify_message}"
    return str(error) or type(error).__name__


def clean(text: str, login: Login | None) -> str:
    """A server's words, bounded and encodable, and without the password, should a server repeat it."""
    text = text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    secret = login.password.reveal() if login is not None else ""
    if login is not None and secret:
        plain = f"\0{login.name}\0{secret}"
        bearer = f"user={login.name}\1auth=Bearer {secret}\1\1"
        # The longest first: one holds another.
        for form in (*(base64.b64encode(x.encode()).decode() for x in (bearer, plain, secret)), secret):
            text = text.replace(form, "***")
    return text[:MOST_REPLY]


# -- the two ways ------------------------------------------------------------------------------------


async def _submit(
    canary: Outgoing, to: Service, endpoints: Endpoints, helo: str, login: Login | None, tried: list[str]
) -> str:
    """RFC 6409 and RFC 8314: TLS first, with the name that was meant, then the login."""
    context = tls_context(to.ca_file, to.verify)
    sock = await connected(await resolved(to), to.port, endpoints, tried)
    client = SMTP(
        sock=sock, hostname=to.shown_name, port=None, local_hostname=helo, timeout=ATTEMPT,
        use_tls=to.tls == "implicit", start_tls=False, tls_context=context,
    )  # fmt: skip
    async with _talking(client):
        if to.tls == "starttls":
            await client.starttls()
            _heed()
        if login is not None:
            await _greet(client)
            await authenticate(client, login.name, login.password, to)
            _heed()
        return await _transact(client, canary)


async def _deliver(
    canary: Outgoing, to: Target, port: int, endpoints: Endpoints, helo: str, tried: list[str]
) -> str:
    """To port 25; without TLS where the offered TLS fails (RFC 7435 section 3, RFC 3207 section 4.1)."""
    try:
        sock = await connected([to.address], port, endpoints, tried)
        return await _over(sock, canary, to, helo, encrypted=True)
    except _NoTls:
        sock = await connected([to.address], port, endpoints, tried)
        return await _over(sock, canary, to, helo, encrypted=False)


async def _over(sock: socket.socket, canary: Outgoing, to: Target, helo: str, encrypted: bool) -> str:
    client = SMTP(
        sock=sock, hostname=to.host.rstrip("."), port=None, local_hostname=helo, timeout=ATTEMPT,
        start_tls=False,
    )  # fmt: skip
    async with _talking(client):
        if encrypted:
            await _encrypt(client)
        return await _transact(client, canary)


class _NoTls(Exception):
    """TLS was offered and came to nothing: this connection is of no more use."""


async def _encrypt(client: SMTP) -> None:
    await _greet(client)
    if not client.supports_extension("starttls"):
        return
    try:
        await client.starttls(tls_context=tls_context(None, False))
    except SMTPResponseException as error:
        # RFC 3207 section 4: 454 is "not available just now"; the session may go on.
        if not (400 <= error.code < 600 and client.is_connected):
            raise _NoTls from error
    except (SMTPException, OSError) as error:
        raise _NoTls from error
    _heed()


async def _transact(client: SMTP, canary: Outgoing) -> str:
    """MAIL, RCPT, DATA; the reply to the final dot. Raises what ``aiosmtplib`` raises."""
    await _greet(client)
    wide = not (canary.sender + canary.recipient).isascii()
    if wide and not client.supports_extension("smtputf8"):
        raise SMTPException("this server takes no address outside of ASCII (SMTPUTF8, RFC 6531)")
    options, encoding = (["SMTPUTF8"], "utf-8") if wide else ([], "ascii")
    await client.mail(canary.sender, options=options, encoding=encoding)
    _heed()
    await client.rcpt(canary.recipient, encoding=encoding)
    _heed()
    response = await client.data(canary.message)
    return f"{response.code} {response.message}"


async def _greet(client: SMTP) -> None:
    """EHLO, or HELO where the server knows no EHLO (RFC 5321 section 3.2)."""
    if not client.is_ehlo_or_helo_needed:
        return
    try:
        await client.ehlo()
    except aiosmtplib.SMTPHeloError as error:
        if not 500 <= error.code < 600 or not client.is_connected:
            raise
        await client.helo()
    _heed()


@contextlib.asynccontextmanager
async def _talking(client: SMTP) -> AsyncIterator[None]:
    """Connected, and said goodbye to; whatever becomes of the goodbye, the message's end stands."""
    try:
        await client.connect()
        _heed()
        yield
        with contextlib.suppress(SMTPException, OSError):
            await client.quit(timeout=5)
    finally:
        transport = client.transport
        client.close()
        if isinstance(transport, asyncio.WriteTransport):
            transport.abort()  # no waiting for the peer's part of closing TLS


def _heed() -> None:
    """End at a cancellation that ``asyncio.wait_for``, which aiosmtplib uses, lost (before Python 3.12)."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
