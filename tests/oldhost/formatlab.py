"""The lab's log of each mail server, and what really happened in it: the steps that count, as
GROUND-TRUTH.tsv has them, told apart by Message-ID, or by the queue id that the server's reply named."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

from probes.observation import Mail, Observation, now
from probes.oldhost.reader import MailLog
from tests.oldhost.loglines import LAB, OLD, canary, mails

Hit: TypeAlias = tuple[str, str, str]  # recipient, origin, disposition
Steps: TypeAlias = dict[int, list[Hit]]

EXAMPLE: Steps = {
    1: [("bob", "outside", "delivered")],
    2: [("bob", "outside", "delivered"), ("carol", "outside", "delivered")],
    5: [("bob", "canary", "delivered")],
    6: [("bob", "outside", "delivered")],
    7: [("fwd", "outside", "relayed")],
    12: [("bob", "outside", "delivered"), ("carol", "outside", "delivered")],
    13: [("bob", "outside", "delivered")],
    14: [("bob", "outside", "delivered")],
}
SPLIT: Steps = {
    11: [("dave", "outside", "relayed")],
    16: [("nosuch", "outside", "delivered")],
}
CRON: Steps = {17: [("bob", "local", "delivered")]}
# Where aliases are resolved before the first line, step 7 has a recipient whom no line names: it may be of
# either domain, and counts for both.
UNNAMED: Steps = {7: [("", "outside", "relayed")]}
BOUNCED = ("nosuchuser", "outside", "delivered")  # qmail takes it and bounces it


@dataclass(frozen=True)
class Lab:
    """``files``: logs of one run (merged by time). ``steps``: whose steps.txt tells queue ids, where the log
    names no Message-IDs."""

    name: str
    files: tuple[str, ...]
    example: Steps
    split: Steps
    rejected: tuple[str, ...]  # recipients of the domain who were refused, in order
    steps: str = ""
    runs: int = 1  # how often the log has every step


HARAKA = {k: [(u, o, "delivered") for u, o, _ in v] for k, v in EXAMPLE.items() if k != 12}
HARAKA_NO = ("nosuchuser", "bob", "nosuchuser", "carol")
ROOT: Steps = {17: [("root", "local", "delivered")]}
TWO_REFUSED = ("nosuchuser", "nosuchuser")

LABS = (
    Lab("postfix-short", ("postfix-short.syslog.log",), EXAMPLE, SPLIT, TWO_REFUSED),
    Lab("postfix-long", ("postfix-long.syslog.log",), EXAMPLE, SPLIT, TWO_REFUSED),
    Lab("postfix-3339", ("postfix-short.rfc3339.log",), EXAMPLE, SPLIT, TWO_REFUSED),
    Lab("exim", ("exim-mainlog-default.log",), EXAMPLE | ROOT, SPLIT, TWO_REFUSED),
    Lab("exim-all", ("exim-mainlog-logselector-all.log",), EXAMPLE | ROOT, SPLIT, TWO_REFUSED),
    Lab("exim-rejectlog", ("exim-rejectlog.log",), {}, {}, (*TWO_REFUSED, "bob")),
    Lab("exim-syslog", ("exim-syslog.syslog.log",), EXAMPLE | ROOT, SPLIT, (*TWO_REFUSED, "bob") * 2, runs=2),
    Lab("sendmail", ("sendmail.syslog.log",), EXAMPLE | UNNAMED, SPLIT | UNNAMED, TWO_REFUSED),
    Lab("sendmail-3339", ("sendmail.rfc3339.log",), EXAMPLE | UNNAMED, SPLIT | UNNAMED, TWO_REFUSED),
    Lab(
        "qmail",
        ("qmail-send.tai64n.log", "qmail-tcpserver.tai64n.log"),
        EXAMPLE | CRON | {3: [BOUNCED], 12: [*EXAMPLE[12], BOUNCED]},
        SPLIT,
        (),
        "qmail",
    ),
    Lab("opensmtpd", ("opensmtpd.syslog.log",), EXAMPLE, SPLIT, TWO_REFUSED, "opensmtpd"),
    Lab(
        "courier", ("courier.syslog.log",), EXAMPLE | UNNAMED | CRON, SPLIT | UNNAMED, TWO_REFUSED, "courier"
    ),
    Lab("haraka", ("haraka-default.log",), HARAKA, {11: [("dave", "outside", "delivered")]}, HARAKA_NO),
    Lab("haraka-logfmt", ("haraka-logfmt.log",), HARAKA, {11: [("dave", "outside", "delivered")]}, HARAKA_NO),
)

_REPLY = re.compile(r"(?:qp |\()?([0-9A-Fa-f.-]{4,})\)?(?: Message accepted.*)?$")
_NUMBER = re.compile(r"(?:real|dsn|list|spoof|spam|out|canary\.tok)-?(\d+)@")


def lines(lab: Lab) -> list[bytes]:
    found = [one for name in lab.files for one in (LAB / name).read_bytes().splitlines()]
    return sorted(found) if len(lab.files) > 1 else found


def queue_ids(lab: Lab) -> dict[str, int]:
    """The queue id that the reply to each step's DATA named -> the step."""
    found: dict[str, int] = {}
    step = 0
    for line in (LAB / f"{lab.steps}.steps.txt").read_text().splitlines():
        if line.startswith("STEP "):
            step = int(line.split()[1])
        elif line.startswith("  data (250"):
            reply = _REPLY.search(
                line.removeprefix("  data (250, b'").removesuffix("')").removeprefix("2.0.0 ")
            )
            assert reply is not None
            found[reply[1]] = step
    return found


def parser(lab: Lab, domain: str = "example.com") -> MailLog:
    """Knows the canary by its Message-ID, or by the reply to its DATA."""
    step5 = {q for q, step in queue_ids(lab).items() if step == 5} if lab.steps else set()

    def queued(name: str, _: int) -> str | None:
        return "c-1" if name.removeprefix("qp ") in step5 else None

    return MailLog(domain, canary, own=[OLD], zone="UTC", queued=queued)


def steps(lab: Lab, seen: Iterable[Observation], domain: str) -> Steps:
    """What was taken, by step; 17 is what the host posted itself, 0 what no step explains."""
    ids = queue_ids(lab) if lab.steps else {}
    found: Steps = {}
    for mail in mails(seen):
        if mail.disposition != "rejected":
            user = mail.recipient.removesuffix(f"@{domain}")
            found.setdefault(_step(mail, ids), []).append((user, mail.origin, mail.disposition))
    return {step: sorted(hits) for step, hits in found.items()}


def clients(lab: Lab, seen: Iterable[Observation]) -> dict[int, set[str | None]]:
    """By step, from where its messages came."""
    ids = queue_ids(lab) if lab.steps else {}
    found: dict[int, set[str | None]] = {}
    for mail in mails(seen):
        if mail.disposition != "rejected":
            found.setdefault(_step(mail, ids), set()).add(mail.client)
    return found


def names(lab: Lab, seen: Iterable[Observation]) -> dict[int, set[str | None]]:
    """By step, the queue ids of what was taken."""
    ids = queue_ids(lab) if lab.steps else {}
    found: dict[int, set[str | None]] = {}
    for mail in mails(seen):
        if mail.disposition != "rejected":
            found.setdefault(_step(mail, ids), set()).add(mail.queue_id)
    return found


def truth() -> dict[int, dict[str, str]]:
    with (LAB / "GROUND-TRUTH.tsv").open(encoding="utf-8") as file:
        return {int(row["step"]): row for row in csv.DictReader(file, delimiter="\t")}


def _step(mail: Mail, ids: dict[str, int]) -> int:
    number = _NUMBER.search(mail.message_id or "")
    if number is not None:
        return int(number[1])
    tail = (mail.queue_id or "").partition(".")[2] or mail.queue_id or ""
    return ids.get(tail, 17 if mail.origin == "local" else 0)


def refused(seen: Iterable[Observation], domain: str = "example.com") -> list[str]:
    return [m.recipient.removesuffix(f"@{domain}") for m in mails(seen) if m.disposition == "rejected"]


_STAMPS = (
    (re.compile(rb"^@[0-9a-f]{24}", re.M), "tai"),
    (re.compile(rb"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?"), "iso"),
    (re.compile(rb"^[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d", re.M), "syslog"),
)


def recent(lab: Lab, seconds_ago: float = 2) -> bytes:
    """The lab's log as if it had just been written, and in a twentieth of the time: nothing in it is so old
    that a reader would rightly give up on it."""
    raw = b"".join(line + b"\n" for line in lines(lab))
    found = [_read(kind, m[0]) for form, kind in _STAMPS for m in form.finditer(raw)]
    last, end = max(found), now() - timedelta(seconds=seconds_ago)
    for form, kind in _STAMPS:
        raw = form.sub(
            lambda m, kind=kind: _write(kind, m[0], end - (last - _read(kind, m[0])) / 20),  # type: ignore[misc]
            raw,
        )
    return raw


def _read(kind: str, written: bytes) -> datetime:
    if kind == "tai":
        return datetime.fromtimestamp(int(written[1:17], 16) - 2**62 - 10 + int(written[17:], 16) / 1e9, UTC)
    if kind == "iso":
        return datetime.fromisoformat(written.decode()).replace(tzinfo=UTC)
    return datetime.strptime(f"2026 {written.decode()}", "%Y %b %d %H:%M:%S").replace(tzinfo=UTC)


def _write(kind: str, written: bytes, at: datetime) -> bytes:
    if kind == "tai":
        seconds = int(at.timestamp())
        return f"@{seconds + 2**62 + 10:016x}{at.microsecond * 1000:08x}".encode()
    if kind == "iso":
        return at.strftime(f"%Y-%m-%d{chr(written[10])}%H:%M:%S.%f")[:-3].encode()
    return at.strftime("%b %e %H:%M:%S").encode()
