"""One mail host of the rehearsal: SMTP on port 25 and submission, delivery, relaying, and IMAP beside it."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from email.parser import BytesHeaderParser
from email.utils import format_datetime
from typing import Any, Literal

import aiosmtplib
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from msgspec import Struct

from monitor.rehearsal.imap import ImapServer
from monitor.rehearsal.loopback import HOST, Loopback, Pace
from monitor.rehearsal.maillog import Arrival, MailLog, queue_id
from monitor.rehearsal.resolver import lookup
from monitor.rehearsal.store import JUNK, Store
from monitor.rehearsal.truth import Landed, Refused, Truth, moment

RELAY_ATTEMPTS = 20
RELAY_PAUSE = 3.0  # of the scenario's seconds
LEAST_PAUSE = 0.1  # real seconds: TTLs do not get shorter than one
QUEUE_LIMIT = 500
SIZE_LIMIT = 1_000_000
TIMEOUT = 30.0


class Identity(Struct, frozen=True, kw_only=True):
    """Who a host is. ``name`` is its MX name without the dot; ``resolver`` the one it asks itself."""

    side: Literal["old", "new"]
    name: str
    addresses: tuple[str, ...]
    domain: str
    resolver: str
    submission_tls: Literal["implicit", "starttls"]
    imap_tls: Literal["implicit", "starttls"]

    @property
    def submission_port(self) -> int:
        return 465 if self.submission_tls == "implicit" else 587  # RFC 8314 section 3.3, RFC 6409

    @property
    def imap_port(self) -> int:
        return 993 if self.imap_tls == "implicit" else 143

    @property
    def client(self) -> tuple[str, str]:
        return self.name, self.addresses[0]


class MailHost:
    """``local``: whether it believes that the domain is its own; if not, it relays to ``transport`` (name,
    address) or, where that is None, by its resolver's MX. ``refuses``: an account's reply to RCPT."""

    def __init__(
        self, who: Identity, store: Store, context: ssl.SSLContext, net: Loopback, pace: Pace, truth: Truth,
        log: MailLog | None = None,
    ) -> None:  # fmt: skip
        self.who = who
        self.store = store
        self.log = log
        self.local = True
        self.transport: tuple[str, str] | None = None
        self.refuses: dict[str, str] = {}
        self.net = net
        self.imap = ImapServer(who.name, store, context, who.imap_tls)
        self.context = context
        self._pace = pace
        self._truth = truth
        self._servers: list[asyncio.Server] = []
        self._open: set[asyncio.BaseTransport] = set()
        self._queue: set[asyncio.Task[None]] = set()

    # -- servers --------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Serve port 25, submission and IMAP, and announce them under every address of this host."""
        loop = asyncio.get_running_loop()
        implicit = self.context if self.who.submission_tls == "implicit" else None
        smtp = await loop.create_server(lambda: _Protocol(self, submission=False), HOST, 0)
        submission = await loop.create_server(lambda: _Protocol(self, submission=True), HOST, 0, ssl=implicit)
        self._servers = [smtp, submission]
        roles = {
            25: smtp.sockets[0].getsockname()[1],
            self.who.submission_port: submission.sockets[0].getsockname()[1],
            self.who.imap_port: await self.imap.start(),
        }
        for address in self.who.addresses:
            for port, real in roles.items():
                self.net.announce(address, port, real)

    async def close(self) -> None:
        for server in self._servers:
            server.close()
        for transport in tuple(self._open):
            transport.close()
        for task in tuple(self._queue):
            task.cancel()
        await asyncio.gather(*self._queue, return_exceptions=True)
        await self.imap.close()
        if self.log is not None:
            self.log.close()

    def connected(self, transport: asyncio.BaseTransport, peer: tuple[str, int] | None) -> None:
        self._open.add(transport)
        if self.log is not None:
            self.log.connect(self.net.client(peer))

    def disconnected(self, transport: asyncio.BaseTransport, peer: tuple[str, int]) -> None:
        self._open.discard(transport)
        if self.log is not None:
            self.log.disconnect(self.net.client(peer))
        self.net.forget(peer[1])

    # -- taking mail ----------------------------------------------------------------------------------

    def verdict_on(self, recipient: str, submission: bool) -> str:
        """The reply to RCPT (RFC 5321 section 4.3.2, enhanced codes RFC 3463)."""
        address = recipient.lower()
        ours = address.endswith("@" + self.who.domain.rstrip("."))
        if not ours:
            return "250 2.1.5 Ok" if submission else f"454 4.7.1 <{recipient}>: Relay access denied"
        if self.local and self.store.of(address) is None:
            return (
                f"550 5.1.1 <{recipient}>: Recipient address rejected: User unknown in local recipient table"
            )
        if self.local and address in self.refuses:
            return self.refuses[address].format(recipient=recipient)
        return "250 2.1.5 Ok"

    def take(self, arrival: Arrival, raw: bytes, helo: str, secure: bool) -> None:
        """A message that was answered with 250: deliver it here, or queue it for where it belongs."""
        if self.log is not None:
            self.log.accepted(arrival)
        message = self._stamped(arrival, raw, helo, secure)
        if self.local:
            for recipient in arrival.recipients:
                self.deliver(arrival, recipient, message)
            if self.log is not None:
                self.log.removed(arrival.queue_id)
            return
        task = asyncio.ensure_future(self._relay(arrival, message))
        self._queue.add(task)
        task.add_done_callback(self._queue.discard)

    @property
    def queued(self) -> int:
        """Messages that wait to be relayed."""
        return len(self._queue)

    def _stamped(self, arrival: Arrival, raw: bytes, helo: str, secure: bool) -> bytes:
        """With the trace lines of RFC 5321 section 4.4; ``with`` as RFC 3848 names it."""
        protocol = "ESMTP" + "S" * secure + "A" * bool(arrival.login)
        who = f"{arrival.client[0]} [{arrival.client[1]}]"
        lines = (
            f"Received: from {helo} ({who})",
            f"\tby {self.who.name} (Postfix) with {protocol} id {arrival.queue_id}",
            f"\tfor <{arrival.recipients[0]}>; {format_datetime(moment())}",
        )
        return "\r\n".join(lines).encode("ascii", "replace") + b"\r\n" + raw

    def deliver(self, arrival: Arrival, recipient: str, message: bytes) -> None:
        """Into INBOX, or the junk folder where a filter has marked it."""
        mailbox = self.store.of(recipient)
        if mailbox is None:
            return
        spam = BytesHeaderParser().parsebytes(message).get("X-Spam-Flag", "").upper() == "YES"
        folder = mailbox.folders[JUNK if spam else "INBOX"]
        path = f"Return-Path: <{arrival.sender}>\r\nDelivered-To: {recipient}\r\n"
        with contextlib.suppress(OverflowError):
            folder.append(path.encode("ascii", "replace") + message, moment())
            self._landed(arrival.message_id, mailbox.address, folder.name)
        if self.log is not None:
            self.log.delivered(arrival.queue_id, recipient)

    def _landed(self, message_id: str, account: str, folder: str) -> None:
        self._truth.landed.append(
            Landed(message_id=message_id, side=self.who.side, account=account, folder=folder, at=moment())
        )

    def adopt(self, account: str, raw: bytes, message_id: str, folder: str, at: Any) -> None:
        """A copy made by the administrator (imapsync): as it was, with the date it had."""
        mailbox = self.store.of(account)
        if mailbox is not None:
            mailbox.folders[folder].append(raw, at)
            self._landed(message_id, account, folder)

    # -- passing it on --------------------------------------------------------------------------------

    async def _relay(self, arrival: Arrival, message: bytes) -> None:
        for recipient in arrival.recipients:
            await self._pass_on(arrival, recipient, message)
        if self.log is not None:
            self.log.removed(arrival.queue_id)

    async def _pass_on(self, arrival: Arrival, recipient: str, message: bytes) -> None:
        for _ in range(RELAY_ATTEMPTS):
            if self.local:  # taken back in the meantime
                self.deliver(arrival, recipient, message)
                return
            relay, dsn, status = await self._hand_over(arrival.sender, recipient, message)
            if self.log is not None:
                self.log.relayed(arrival.queue_id, recipient, relay, dsn, status)
            if not status.startswith("deferred"):
                if status.startswith("bounced"):
                    self._refused(arrival.message_id, recipient, status)
                return
            await self._pace.sleep(max(RELAY_PAUSE, LEAST_PAUSE * self._pace.speed))
        self._refused(arrival.message_id, recipient, "expired in the queue")

    def _refused(self, message_id: str, recipient: str, reply: str) -> None:
        self._truth.refused.append(
            Refused(message_id=message_id, recipient=recipient, reply=reply, at=moment())
        )

    async def _hand_over(self, sender: str, recipient: str, message: bytes) -> tuple[str, str, str]:
        """One attempt: the relay, DSN and status that Postfix would log for it."""
        target = self.transport or await exchange(self.net, self.who.resolver, recipient.rpartition("@")[2])
        if target is None:
            return "none", "4.4.3", "deferred (Host or domain name not found. Name service error)"
        relay = f"{target[0]}[{target[1]}]:25"
        if target[1] in self.who.addresses:
            return relay, "4.4.6", f"deferred (mail for {self.who.domain.rstrip('.')} loops back to myself)"
        try:
            reply = await hand_over(self.net, self.who.client, target, sender, recipient, message)
        except aiosmtplib.SMTPResponseException as error:
            status = "bounced" if error.code >= 500 else "deferred"
            said = f"host {relay.removesuffix(':25')} said: {error.code} {error.message}"
            return relay, "5.0.0" if error.code >= 500 else "4.0.0", f"{status} ({said})"
        except (aiosmtplib.SMTPException, OSError, TimeoutError) as error:
            return relay, "4.4.1", f"deferred (connect to {relay}: {error})"
        return relay, "2.0.0", f"sent (250 {reply})"


class _Session(Session):
    # aiosmtpd sets its own deprecated property of this name and then warns about it.
    login_data = None


class _Protocol(SMTP):
    """aiosmtpd's server for one connection, with the host's log around it."""

    def __init__(self, host: MailHost, submission: bool) -> None:
        implicit = submission and host.who.submission_tls == "implicit"
        hooks = _Handler(host, submission)
        super().__init__(
            hooks,
            data_size_limit=SIZE_LIMIT,
            hostname=host.who.name,
            ident="ESMTP Postfix",
            tls_context=None if implicit else host.context,
            require_starttls=submission and not implicit,
            timeout=TIMEOUT * 4,
            auth_required=submission,
            authenticator=hooks.authenticate,
            loop=asyncio.get_running_loop(),
        )
        # aiosmtpd knows of TLS only what STARTTLS did; on the implicit port the socket has it already.
        self._auth_require_tls = not implicit
        self._host = host
        self._first: asyncio.BaseTransport | None = None
        self._peer: tuple[str, int] | None = None

    def _create_session(self) -> Session:
        return _Session(self.loop)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if self._first is None:  # not the second time, after STARTTLS
            self._first = transport
            self._peer = transport.get_extra_info("peername")
            self._host.connected(transport, self._peer)
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        if self._first is not None and self._peer is not None:
            self._host.disconnected(self._first, self._peer)
            self._peer = None
        super().connection_lost(error)


class _Handler:
    """aiosmtpd's hooks. ``name`` and ``address`` of the client come from the loopback's own map."""

    def __init__(self, host: MailHost, submission: bool) -> None:
        self._host = host
        self._submission = submission

    def authenticate(
        self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any
    ) -> AuthResult:
        if isinstance(data, LoginPassword):
            login, password = data.login.decode("utf-8", "replace"), data.password.decode("utf-8", "replace")
            if self._host.store.login(login, password) is not None:
                return AuthResult(success=True, auth_data=login)
        return AuthResult(success=False, handled=False, message="535 5.7.8 Error: authentication failed")

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        reply = self._host.verdict_on(address, self._submission)
        if reply.startswith("250"):
            envelope.rcpt_tos.append(address)
        elif self._host.log is not None:
            client = self._host.net.client(session.peer)
            helo = session.host_name or ""
            self._host.log.rejected(client, envelope.mail_from or "", address, reply, helo)
        return reply

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        if self._host.queued >= QUEUE_LIMIT:
            return "452 4.3.1 Insufficient system storage"
        content = envelope.content
        raw = content if isinstance(content, bytes) else (content or "").encode()
        headers = BytesHeaderParser().parsebytes(raw)
        arrival = Arrival(
            queue_id=queue_id(),
            client=self._host.net.client(session.peer),
            login=session.auth_data if self._submission else None,
            message_id=str(headers.get("Message-ID", "")).strip(),
            sender=envelope.mail_from or "",
            size=len(raw),
            recipients=tuple(envelope.rcpt_tos),
        )
        secure = session.ssl is not None or (self._submission and self._host.who.submission_tls == "implicit")
        self._host.take(arrival, raw, session.host_name or "unknown", secure)
        return f"250 2.0.0 Ok: queued as {arrival.queue_id}"


async def exchange(net: Loopback, resolver: str, domain: str) -> tuple[str, str] | None:
    """Name and address of the domain's best exchange, as ``resolver`` answers now (RFC 5321 section 5.1)."""
    records = await lookup(net, resolver, domain.rstrip(".") + ".", "MX")
    for record in sorted(records, key=lambda r: int(r.split()[0])):
        name = record.split()[1]
        for address in await lookup(net, resolver, name, "A"):
            return name.rstrip("."), address
    return None


async def hand_over(
    net: Loopback, who: tuple[str, str], target: tuple[str, str], sender: str, recipient: str, raw: bytes
) -> str:
    """Give one message to port 25 of ``target`` (name, address); its last reply.

    Raises ``aiosmtplib.SMTPException``, ``OSError`` and ``TimeoutError``.
    """
    sock = await net.connect(who, target[1], 25)
    client = aiosmtplib.SMTP(
        sock=sock, hostname=None, port=None, local_hostname=who[0], start_tls=False, timeout=TIMEOUT
    )
    async with talking(client):
        await client.ehlo()
        await client.mail(sender)
        await client.rcpt(recipient)
        response = await client.data(raw)
    return str(response.message)


@contextlib.asynccontextmanager
async def talking(client: aiosmtplib.SMTP) -> AsyncIterator[None]:
    """Connected, and said goodbye to; after any failure simply closed (aiosmtplib's own context waits for
    the answer to a QUIT even where the wait for an earlier answer was cancelled)."""
    try:
        await client.connect()
        yield
        await client.quit()
    finally:
        client.close()
