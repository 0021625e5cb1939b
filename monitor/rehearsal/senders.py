"""Who writes to the domain: outside senders by their resolver's MX, and a colleague."""

from __future__ import annotations

import asyncio
import random
import ssl
from datetime import datetime, timedelta
from email.utils import format_datetime

import aiosmtplib
from msgspec import Struct

from monitor.rehearsal.loopback import Loopback, Pace
from monitor.rehearsal.mailhost import Identity, exchange, hand_over, talking
from monitor.rehearsal.maillog import Arrival, MailLog, queue_id
from monitor.rehearsal.scenarios import ACCOUNTS, DOMAIN, HABITS
from monitor.rehearsal.store import Store
from monitor.rehearsal.truth import Refused, Sent, Truth, moment

INTERVAL = 9.0  # mean pause of one sender, in the scenario's seconds
COLLEAGUE_INTERVAL = 12.0
RETRIES = 6
RETRY_PAUSE = 4.0
HISTORY = 600.0  # how far the old host's log and mailboxes reach back, in the scenario's seconds
SPAM_SHARE = 0.1
HOME = DOMAIN.rstrip(".")
# The last but one as RFC 2047 encodes 見積書.
SUBJECTS = (
    "Offer 4711",
    "Minutes",
    "Re: dates",
    "Invoice",
    "Newsletter",
    "=?utf-8?b?6KaL56mN5pu4?=",
    "Lunch?",
)


class Sender(Struct, frozen=True, kw_only=True):
    """An outside mail host: its name, logical address, user and the resolver that it asks."""

    name: str
    address: str
    user: str
    resolver: str

    @property
    def client(self) -> tuple[str, str]:
        return self.name, self.address

    @property
    def envelope(self) -> str:
        return f"{self.user}@{self.name.partition('.')[2]}"


_PEOPLE = ("suga", "mori", "ines", "lars", "wanjiru", "chen")
SENDERS = tuple(
    Sender(
        name=f"mta.{user}.example",
        address=f"203.0.113.{101 + number}",
        user=user,
        resolver=HABITS[number % len(HABITS)].address,
    )
    for number, user in enumerate(_PEOPLE)
)


class Letter(Struct, frozen=True, kw_only=True):
    message_id: str
    recipient: str
    raw: bytes


class Post:
    """Writes letters: one random source, so that a story with the same seed has the same people in it."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self._number = 0
        self._mark = f"{self.random.getrandbits(48):012x}"

    def pause(self, mean: float) -> float:
        """Irregular, but neither a burst nor an endless wait."""
        return mean * min(max(self.random.expovariate(1), 0.3), 2.5)

    def letter(self, sender: str, at: datetime, but: str = "") -> Letter:
        self._number += 1
        recipient = self.random.choice([f"{a}@{HOME}" for a in ACCOUNTS if f"{a}@{HOME}" != but])
        message_id = f"<{self._number}.{self._mark}@{sender.rpartition('@')[2]}>"
        spam = self.random.random() < SPAM_SHARE
        lines = (
            f"From: {sender}", f"To: {recipient}", f"Subject: {self.random.choice(SUBJECTS)}",
            f"Date: {format_datetime(at)}", f"Message-ID: {message_id}", "MIME-Version: 1.0",
            "Content-Type: text/plain; charset=us-ascii", *(["X-Spam-Flag: YES"] if spam else []), "",
            f"Letter {self._number}.", "",
        )  # fmt: skip
        raw = "\r\n".join(lines).encode("ascii")
        return Letter(message_id=message_id, recipient=recipient, raw=raw)


async def write(sender: Sender, post: Post, net: Loopback, pace: Pace, truth: Truth) -> None:
    """Write letters for ever, each to the host that the sender's resolver names at that moment."""
    await pace.sleep(post.random.random() * INTERVAL)
    while True:
        letter = post.letter(sender.envelope, moment())
        await _deliver(sender, letter, net, pace, truth)
        await pace.sleep(post.pause(INTERVAL))


async def _deliver(sender: Sender, letter: Letter, net: Loopback, pace: Pace, truth: Truth) -> None:
    """As an MTA does: again after a while where it is put off, never after a 5xx (RFC 5321 section 4.2.1)."""
    said = "no route"
    for _ in range(RETRIES):
        target = await exchange(net, sender.resolver, DOMAIN)
        try:
            if target is not None:
                await hand_over(net, sender.client, target, sender.envelope, letter.recipient, letter.raw)
                _note_sent(truth, letter, sender.envelope, target[0])
                return
        except aiosmtplib.SMTPResponseException as error:
            said = f"{error.code} {error.message}"
            if error.code >= 500:
                break
        except (aiosmtplib.SMTPException, OSError, TimeoutError) as error:
            said = str(error)
        await pace.sleep(RETRY_PAUSE)
    refused = Refused(message_id=letter.message_id, recipient=letter.recipient, reply=said, at=moment())
    truth.refused.append(refused)


def _note_sent(truth: Truth, letter: Letter, sender: str, host: str) -> None:
    truth.sent.append(
        Sent(message_id=letter.message_id, sender=sender, recipient=letter.recipient, host=host, at=moment())
    )


class Colleague:
    """A user of the domain who submits through the host that the mail program is set to."""

    def __init__(self, host: Identity, login: tuple[str, str], tls: ssl.SSLContext) -> None:
        self.address = f"carol@{HOME}"
        self._client = ("laptop.home.example", "203.0.113.150")
        self._tls = tls
        self.set_to(host, login)

    def set_to(self, host: Identity, login: tuple[str, str]) -> None:
        self._setting = host, login

    async def write(self, post: Post, net: Loopback, pace: Pace, truth: Truth) -> None:
        """Write to colleagues for ever; what is refused is noted and not tried again."""
        while True:
            await pace.sleep(post.pause(COLLEAGUE_INTERVAL))
            letter = post.letter(self.address, moment(), but=self.address)
            host, login = self._setting
            try:
                await self._submit(letter, net, host, login)
                _note_sent(truth, letter, self.address, host.name)
            except (aiosmtplib.SMTPException, OSError, TimeoutError) as error:
                refused = Refused(
                    message_id=letter.message_id, recipient=letter.recipient, reply=str(error), at=moment()
                )
                truth.refused.append(refused)

    async def _submit(self, letter: Letter, net: Loopback, host: Identity, login: tuple[str, str]) -> None:
        implicit = host.submission_tls == "implicit"
        sock = await net.connect(self._client, host.addresses[0], host.submission_port)
        smtp = aiosmtplib.SMTP(
            sock=sock, hostname=host.name, port=None, local_hostname=self._client[0], timeout=10,
            use_tls=implicit, start_tls=not implicit, tls_context=self._tls,
        )  # fmt: skip
        async with talking(smtp):
            await smtp.login(*login)
            await smtp.sendmail(self.address, [letter.recipient], letter.raw)


def write_history(post: Post, log: MailLog, old: Store, new: Store, pace: Pace, end: datetime) -> int:
    """What the old host took before the story: log lines and mailboxes, and the first copy of these on
    the new host (as imapsync leaves it). Returns the number of messages."""
    moments: list[tuple[datetime, Sender]] = []
    for sender in SENDERS:
        back = post.random.random() * INTERVAL + 1
        while back < HISTORY:
            moments.append((end - timedelta(seconds=pace.real(back)), sender))
            back += post.pause(INTERVAL)
    for at, sender in sorted(moments, key=lambda entry: entry[0]):
        _past_letter(post.letter(sender.envelope, at), sender, at, log, old, new)
    log.flush()
    return len(moments)


def _past_letter(letter: Letter, sender: Sender, at: datetime, log: MailLog, old: Store, new: Store) -> None:
    arrival = Arrival(
        queue_id=queue_id(), client=sender.client, login=None, message_id=letter.message_id,
        sender=sender.envelope, size=len(letter.raw), recipients=(letter.recipient,),
    )  # fmt: skip
    log.past(arrival, at)
    received = (
        f"Return-Path: <{sender.envelope}>\r\n"
        f"Received: from {sender.name} ({sender.name} [{sender.address}])\r\n"
        f"\tby mail.old.example (Postfix) with ESMTP id {arrival.queue_id}\r\n"
        f"\tfor <{letter.recipient}>; {format_datetime(at)}\r\n"
    ).encode()
    for store in (old, new):
        mailbox = store.of(letter.recipient)
        if mailbox is not None:
            spam = b"\r\nX-Spam-Flag: YES\r\n" in letter.raw
            mailbox.folders["Junk" if spam else "INBOX"].append(received + letter.raw, at)


async def run_all(post: Post, colleague: Colleague, net: Loopback, pace: Pace, truth: Truth) -> None:
    """All senders, until cancelled."""
    async with asyncio.TaskGroup() as group:
        for sender in SENDERS:
            group.create_task(write(sender, post, net, pace, truth))
        group.create_task(colleague.write(post, net, pace, truth))
