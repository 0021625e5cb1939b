"""Who writes to the domain: outside hosts by their resolver's MX, and a colleague by submission."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import ssl
from collections.abc import Sequence
from datetime import UTC, datetime
from email.utils import format_datetime
from itertools import count, cycle
from typing import Any

import aiosmtplib
import dns.asyncquery
import dns.exception
import dns.message
import dns.rdatatype
from msgspec import Struct

from tests.servers.addresses import DNS, SMTP, Addresses
from tests.servers.host import USERS, MailHost
from tests.servers.zones import DOMAIN

TIMEOUT = 20.0
RETRY_PAUSE = 1.0
PEOPLE = ("suga", "mori", "ines", "lars")
COLLEAGUE = "carol"


class Sent(Struct, frozen=True, kw_only=True):
    """A message that a host said 250 to. ``client``: the address that the host's log shows for it."""

    message_id: str
    recipient: str
    address: str
    client: str
    submitted: bool
    at: datetime


class Truth:
    """What the senders themselves know: the test's own record, apart from anything that is tested."""

    def __init__(self) -> None:
        self.sent: list[Sent] = []
        self.refused: list[str] = []

    def taken_by(self, host: MailHost) -> list[Sent]:
        return [sent for sent in self.sent if sent.address in host.addresses]


class Outsider(Struct, frozen=True, kw_only=True):
    """An outside mail host. ``client``: whom it plays (RFC 5737); ``source``: where it connects from."""

    user: str
    client: str
    source: str
    resolver: str

    @property
    def name(self) -> str:
        return f"mta.{self.user}.example"

    @property
    def envelope(self) -> str:
        return f"{self.user}@{self.user}.example"


class Post:
    """Writes letters and hands them over. ``truth`` has each that was taken."""

    def __init__(self, addresses: Addresses, tls: ssl.SSLContext) -> None:
        self.truth = Truth()
        self._addresses = addresses
        self._tls = tls
        self._numbers = count(1)
        self._mark = f"{random.getrandbits(48):012x}"
        resolvers = (addresses.unbound, addresses.knot)
        self.outsiders = [
            Outsider(
                user=user, client=f"203.0.113.{101 + number}", source=addresses.outside(number),
                resolver=resolvers[number % 2],
            )
            for number, user in enumerate(PEOPLE)
        ]  # fmt: skip

    async def outside(self, sender: Outsider, recipient: str = USERS[0]) -> Sent:
        """One letter as an outside host sends it: asks its resolver, then talks to the host it names.

        Raises ``aiosmtplib.SMTPException`` or ``OSError`` where the letter is not taken.
        """
        return await self.to_host(sender, await self.exchange(sender.resolver), recipient)

    async def to_host(self, sender: Outsider, address: str, recipient: str = USERS[0]) -> Sent:
        """One letter from outside to this host, whatever DNS says."""
        smtp = aiosmtplib.SMTP(
            hostname=address, port=SMTP, source_address=(sender.source, 0), local_hostname=sender.name,
            timeout=TIMEOUT, start_tls=False,
        )  # fmt: skip
        async with smtp:
            await smtp.ehlo()
            said = await smtp.execute_command(b"XCLIENT", f"NAME={sender.name} ADDR={sender.client}".encode())
            assert said.code == 220, said
            await smtp.ehlo()
            return await self._hand_over(smtp, sender.envelope, recipient, address, sender.client)

    async def submit(self, host: MailHost, recipient: str = USERS[0]) -> Sent:
        """One letter of the colleague's, handed in at this host as a mail program does."""
        smtp = await self._secured(host)
        try:
            await smtp.login(host.login(COLLEAGUE), host.password(COLLEAGUE))
            sender = f"{COLLEAGUE}@{DOMAIN}"
            return await self._hand_over(smtp, sender, recipient, host.addresses[0], "127.0.0.1", True)
        finally:
            smtp.close()

    async def exchange(self, resolver: str) -> str:
        """The address that the domain's mail goes to, as this resolver has it (RFC 5321 section 5.1)."""
        found = [(rdata.preference, rdata.exchange) for rdata in await _answer(resolver, DOMAIN, "MX")]
        _, host = min(found, key=lambda pair: pair[0])
        return str((await _answer(resolver, host.to_text(), "A"))[0].address)

    async def _secured(self, host: MailHost) -> aiosmtplib.SMTP:
        sock = socket.create_connection((host.addresses[0], host.submission_port), timeout=TIMEOUT)
        sock.setblocking(False)
        smtp = aiosmtplib.SMTP(
            sock=sock, hostname=host.name, port=None, local_hostname="laptop.home.example", timeout=TIMEOUT,
            use_tls=host.implicit_tls, start_tls=not host.implicit_tls, tls_context=self._tls,
        )  # fmt: skip
        await smtp.connect()
        return smtp

    async def _hand_over(
        self, smtp: aiosmtplib.SMTP, sender: str, recipient: str, address: str, client: str,
        submitted: bool = False,
    ) -> Sent:  # fmt: skip
        message_id = f"<{next(self._numbers)}.{self._mark}@{sender.rpartition('@')[2]}>"
        to = f"{recipient}@{DOMAIN}"
        await smtp.sendmail(sender, [to], _letter(message_id, sender, to))
        sent = Sent(
            message_id=message_id, recipient=to, address=address, client=client, submitted=submitted,
            at=datetime.now(UTC),
        )  # fmt: skip
        self.truth.sent.append(sent)
        return sent


def _letter(message_id: str, sender: str, to: str) -> bytes:
    lines = (
        f"From: {sender}", f"To: {to}", "Subject: Minutes", f"Date: {format_datetime(datetime.now(UTC))}",
        f"Message-ID: {message_id}", "MIME-Version: 1.0", "Content-Type: text/plain; charset=us-ascii", "",
        "See you there.", "",
    )  # fmt: skip
    return "\r\n".join(lines).encode("ascii")


async def _answer(resolver: str, name: str, kind: str) -> list[Any]:
    """The rdatas of one answer. Raises ``OSError`` where there is none."""
    question = dns.message.make_query(name, dns.rdatatype.from_text(kind))
    try:
        response = await dns.asyncquery.udp(question, resolver, port=DNS, timeout=3)
    except dns.exception.DNSException as error:
        raise OSError(f"{resolver} gives no {kind} of {name}: {error}") from None
    found = [
        rdata for rrset in response.answer if rrset.rdtype == question.question[0].rdtype for rdata in rrset
    ]
    if not found:
        raise OSError(f"{resolver} knows no {kind} of {name}")
    return found


class Writing:
    """``async with Writing(…) as writing: …``: everybody writes, each at a pace of their own, until ``stop``.
    ``colleague_at`` is the host that the colleague's mail program is set to, None while the colleague is
    away; letters go to ``users`` in turn. Letters that are under way are handed over to their
    ends: a cancellation may be lost on the way (asyncio.wait_for before Python 3.12, in
    the libraries that send and ask)."""

    def __init__(
        self, post: Post, colleague_at: MailHost | None, pause: float, users: Sequence[str] = USERS
    ) -> None:
        self.colleague_at = colleague_at
        self._post = post
        self._pause = pause
        self._recipients = cycle(users)
        self._over = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Writing:
        everybody = [*map(self._outside, self._post.outsiders), self._colleague()]
        self._tasks = [asyncio.create_task(one) for one in everybody]
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.stop()

    async def stop(self) -> None:
        """Returns when nobody writes any more. Raises what one of them died of."""
        self._over.set()
        await asyncio.gather(*self._tasks)

    async def _outside(self, sender: Outsider) -> None:
        while await self._rested(self._pause * random.uniform(0.5, 1.5)):
            await self._until_taken(sender, next(self._recipients))

    async def _until_taken(self, sender: Outsider, recipient: str) -> None:
        """As an MTA does: again after a while, by what DNS says then; never after a 5xx."""
        taken = False
        while not taken:
            try:
                await self._post.outside(sender, recipient)
                taken = True
            except aiosmtplib.SMTPResponseException as error:
                if error.code >= 500:
                    self._post.truth.refused.append(f"{sender.name}: {error.code} {error.message}")
                    return
            except (aiosmtplib.SMTPException, OSError):
                pass
            if not taken and not await self._rested(RETRY_PAUSE):
                return

    async def _colleague(self) -> None:
        while await self._rested(self._pause * random.uniform(0.5, 1.5)):
            if (host := self.colleague_at) is None:
                continue
            try:
                await self._post.submit(host, next(self._recipients))
            except (aiosmtplib.SMTPException, OSError) as error:
                self._post.truth.refused.append(f"submission to {host.name}: {error}")

    async def _rested(self, seconds: float) -> bool:
        """After this time, or as soon as it is over; whether to go on."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._over.wait()
        return not self._over.is_set()
