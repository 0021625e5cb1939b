"""A mail log of any size, with the truth of what is in it: Postfix's lines as a busy host writes them.

Most of it is other domains' mail; a given share of the lines belongs to messages for the domain. Between them
stand what a log holds besides: refusals, logins, retries of mail that waits, statistics, warnings.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from heapq import heappop, heappush
from pathlib import Path

from msgspec import Struct

DOMAIN = "example.com"
BEGIN = int(datetime(2026, 11, 2, tzinfo=UTC).timestamp() * 1000)
HOST = "oldhost"
RATE = 8  # messages a second of the log's own time
NEW = "mx1.new.example[198.51.100.20]:25"
_BLOCK = 1 << 20

Lines = list[tuple[int, str]]  # (ms after the message began, what stands behind the host's name)
Hit = tuple[str, str]  # (client, disposition)


class Truth(Struct):
    """``hits``: accepted mail for the domain by (client, disposition), one a recipient."""

    bytes: int = 0
    lines: int = 0
    of_the_domain: int = 0
    hits: dict[Hit, int] = {}

    @property
    def share(self) -> float:
        """Of all lines, those of messages for the domain."""
        return self.of_the_domain / max(1, self.lines)


class Writing:
    """Makes messages one by one; the same ``seed`` makes the same log."""

    def __init__(self, share: float, seed: int) -> None:
        self._chance = random.Random(seed)
        self._share = share
        self._number = 0
        self._senders = [f"203.0.{self._chance.randrange(256)}.{n % 254 + 1}" for n in range(400)]
        self.hits: Counter[Hit] = Counter()
        self.ours = 0

    def message(self) -> Lines:
        """The lines of one message or of one event."""
        chance = self._chance.random
        if chance() < 0.12:
            return self._besides()
        ours = chance() < self._share * 1.07  # what stands between the messages has no share
        made = self._mail(ours, waits=chance() < 0.02)
        self.ours += len(made) if ours else 0
        return made

    def _queue_id(self) -> str:
        self._number += 1
        return f"{(self._number * 0x9E3779B1) % (1 << 24):06X}{self._number % (1 << 16):04X}"

    def _pid(self) -> int:
        """A process serves one client at a time."""
        self._number += 1
        return 1000 + self._number % 400

    def _mail(self, ours: bool, waits: bool) -> Lines:
        roll, queue_id, pid = self._chance.random, self._queue_id(), self._pid()
        client = self._chance.choice(self._senders)
        name = f"mail{int(client.rpartition('.')[2])}.sender{pid % 50}.example"
        user = f"user{self._chance.randrange(10_000)}"
        recipients = [f"{user}@{DOMAIN if ours else f'customer{pid % 90}.example'}"]
        if roll() < 0.06:
            recipients.append(f"second.{recipients[0]}")
        relayed = roll() < 0.3
        smtpd, number = f"postfix/smtpd[{pid}]: ", self._number
        lines = [
            (0, f"{smtpd}connect from {name}[{client}]"),
            (40, f"{smtpd}{queue_id}: client={name}[{client}]"),
            (90, f"postfix/cleanup[{pid + 7}]: {queue_id}: message-id=<{number}.{pid:x}.{user}@{name}>"),
            (110, f"postfix/qmgr[811]: {queue_id}: from=<news{pid}@{name}>, size={2000 + pid * 7}, "
                  f"nrcpt={len(recipients)} (queue active)"),
            (150, f"{smtpd}disconnect from {name}[{client}] ehlo=2 starttls=1 mail=1 rcpt=1 data=1 quit=1 "
                  "commands=7"),
        ]  # fmt: skip
        at = 400 + int(roll() * 2000)
        if waits:
            lines += [(at, self._delivery(queue_id, one, relayed, put_off=True)) for one in recipients]
            at += 300_000 + int(roll() * 900_000)
            lines.append((at - 200, f"postfix/qmgr[811]: {queue_id}: from=<news{pid}@{name}>, size=9000, "
                                    f"nrcpt={len(recipients)} (queue active)"))  # fmt: skip
        lines += [(at, self._delivery(queue_id, one, relayed)) for one in recipients]
        lines.append((at + 1, f"postfix/qmgr[811]: {queue_id}: removed"))
        if ours:
            self.hits[client, "relayed" if relayed else "delivered"] += len(recipients)
        return lines

    def _delivery(self, queue_id: str, recipient: str, relayed: bool, put_off: bool = False) -> str:
        pid = self._chance.randrange(2000, 2100)
        head = f"postfix/{'smtp' if relayed else 'lmtp'}[{pid}]: {queue_id}: to=<{recipient}>, relay="
        times = f"delay={pid % 7}.{pid % 10}, delays=0.1/0.01/0.{pid % 9}/0.3, dsn="
        if put_off:
            return f"{head}none, {times}4.4.1, status=deferred (connect to {NEW}: Connection refused)"
        if relayed:
            return f"{head}{NEW}, {times}2.0.0, status=sent (250 2.0.0 Ok: queued as 4F{pid}KQ)"
        told = "250 2.0.0 Saved"
        return f"{head}{HOST}[private/dovecot-lmtp], {times}2.0.0, status=sent ({told})"

    def _besides(self) -> Lines:
        pid, client = self._pid(), self._chance.choice(self._senders)
        user = f"user{self._chance.randrange(10_000)}@customer{pid % 90}.example"
        smtpd = f"postfix/smtpd[{pid}]: "
        kinds: list[Lines] = [
            [(0, f"{smtpd}connect from unknown[{client}]"),
             (50, f"{smtpd}NOQUEUE: reject: RCPT from unknown[{client}]: 554 5.7.1 <{user}>: Relay access "
                  f"denied; from=<a{pid}@spam.example> to=<{user}> proto=ESMTP helo=<spam{pid}.example>"),
             (90, f"{smtpd}disconnect from unknown[{client}] ehlo=1 mail=1 rcpt=0/1 quit=1 commands=3/4")],
            [(0, f"dovecot: imap-login: Login: user=<{user}>, method=PLAIN, rip={client}, lip=192.0.2.10, "
                 f"mpid={pid}, TLS, session=<{pid}abcdef>")],
            [(0, f"{smtpd}warning: hostname host{pid}.example does not resolve to address {client}")],
            [(0, f"postfix/anvil[900]: statistics: max connection rate 3/60s for (smtp:{client}) at Nov  2 "
                 "00:00:00")],
            [(0, f"{smtpd}lost connection after AUTH from unknown[{client}]"),
             (1, f"{smtpd}disconnect from unknown[{client}] ehlo=1 auth=0/1 commands=1/2")],
        ]  # fmt: skip
        return self._chance.choice(kinds)


def write(path: Path, size: int, share: float, seed: int = 1) -> Truth:
    """A log of about ``size`` bytes, in which ``share`` of the lines are of messages for the domain."""
    writing = Writing(share, seed)
    truth = Truth()
    with path.open("wb") as file:
        for block, count in _blocks(writing, size):
            file.write(block)
            truth.bytes += len(block)
            truth.lines += count
    truth.of_the_domain, truth.hits = writing.ours, dict(writing.hits)
    return truth


def _blocks(writing: Writing, size: int) -> Iterator[tuple[bytes, int]]:
    """All lines in the order of their times, in pieces of about a mebibyte."""
    waiting: list[tuple[int, int, str]] = []
    out: list[str] = []
    moment = order = length = done = 0
    while waiting or done + length < size:
        if done + length < size:
            for ms, said in writing.message():
                heappush(waiting, (moment + ms, order, said))
                order += 1
            moment += 1000 // RATE
        limit = moment if done + length < size else 1 << 62
        while waiting and waiting[0][0] < limit:
            at, _, said = heappop(waiting)
            out.append(f"{_stamp(at // 1000)} {HOST} {said}\n")
            length += len(out[-1])
        if length >= _BLOCK or not waiting:
            yield "".join(out).encode("ascii"), len(out)
            done, length = done + length, 0
            out.clear()


_MINUTES: dict[int, str] = {}


def _stamp(second: int) -> str:
    """RFC 3164 section 4.1.2."""
    minute = second // 60
    if minute not in _MINUTES:
        _MINUTES.clear()
        at = datetime.fromtimestamp(BEGIN / 1000 + minute * 60, UTC)
        _MINUTES[minute] = at.strftime("%b %e %H:%M:")
    return f"{_MINUTES[minute]}{second % 60:02d}"
