"""Log lines as Postfix writes them, and what to compare of what comes out of them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from probes.observation import Coverage, Mail, Observation, to_ms
from probes.oldhost.reader import MailLog

LAB = Path(__file__).parent / "lab"
WRITTEN = to_ms(datetime(2026, 11, 22, 22, tzinfo=UTC))  # soon after the lab's logs were
OLD = "192.0.2.10"
T0 = datetime(2026, 11, 22, 12, tzinfo=UTC)


def canary(message_id: str) -> str | None:
    return "c-1" if message_id.startswith("<canary.") else None


def parser(domain: str = "example.com.") -> MailLog:
    return MailLog(domain, canary, own=[OLD], zone="UTC")


def log(*said: str | tuple[float, str], start: datetime = T0) -> list[bytes]:
    """Lines of ``postfix/PROGRAM[#PID]`` (the first word), a tenth of a second apart, or at the given one."""
    lines, at = [], start
    for one in said:
        at += timedelta(seconds=0.1)
        if isinstance(one, tuple):
            at, one = start + timedelta(seconds=one[0]), one[1]
        first, _, text = one.partition(" ")
        program, _, pid = first.partition("#")
        name = program if "/" in program or program in ("MailScanner", "rsyslogd") else f"postfix/{program}"
        lines.append(f"{at.isoformat()} oldhost {name}[{pid or 99}]: {text}".encode())
    return lines


def outside(queue_id: str, message_id: str = "<m1@sender.example>", nrcpt: int = 1) -> tuple[str, ...]:
    return (
        f"smtpd {queue_id}: client=mx.sender.example[203.0.113.77]",
        f"cleanup {queue_id}: message-id={message_id}",
        f"qmgr {queue_id}: from=<alice@sender.example>, size=300, nrcpt={nrcpt} (queue active)",
    )


def to(queue_id: str, recipient: str, how: str, *, agent: str = "local", relay: str = "local",
       orig: str = "", dsn: str = "2.0.0") -> str:  # fmt: skip
    orig = f" orig_to=<{orig}>," if orig else ""
    return (
        f"{agent} {queue_id}: to=<{recipient}>,{orig} relay={relay}, delay=0.1, delays=0/0/0/0.1, "
        f"dsn={dsn}, status={how}"
    )


def gone(queue_id: str) -> str:
    return f"qmgr {queue_id}: removed"


def mails(seen: Iterable[Observation]) -> list[Mail]:
    return [one for one in seen if isinstance(one, Mail)]


def hits(seen: Iterable[Observation]) -> list[tuple[str, str, str]]:
    """(recipient, origin, disposition) of what was taken, canaries among them."""
    return [(m.recipient, m.origin, m.disposition) for m in mails(seen) if m.disposition != "rejected"]


def facts(seen: Iterable[Observation]) -> list[tuple[object, ...]]:
    """All of each mail but when it was seen, in an order of their own."""
    return sorted(
        (
            str(m.queue_id), m.recipient, m.disposition, str(m.message_id), str(m.client), str(m.helo),
            m.origin, str(m.reply), m.accepted_at,
        )
        for m in mails(seen)
    )  # fmt: skip


def unread(seen: Iterable[Observation]) -> int:
    return sum(one.not_understood for one in seen if isinstance(one, Coverage))
