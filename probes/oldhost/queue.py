"""How many messages wait in a host's queue, and since when: by whatever command lists its queue.

Read are ``postqueue -j`` and ``-p``, Sendmail's and Postfix's ``mailq``, ``exim -bp`` and ``-bpc``,
``smtpctl show queue`` (OpenSMTPD), ``qmail-qread`` and ``qmail-qstat``.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

import msgspec

from probes.observation import Queue, Side, Skip, from_ms, now, to_ms
from probes.oldhost.child import output
from probes.oldhost.stamps import Stamps

SECONDS = 60.0
LIMIT = 64 << 20  # bytes of a listing: some hundred thousand messages

_POSTFIX = re.compile(
    rb"[0-9A-Za-z]{5,24}[*!#]?\s+\d+ (?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) (\w{3} [ \d]\d [\d:]{5,8})\b"
)
_POSTFIX_HEAD = re.compile(rb"-+Q(?:ueue )?-?ID-+ ", re.I)
_POSTFIX_EMPTY = re.compile(rb"^\s*(?:Mail queue is empty|/\S+ is empty)", re.M)
_TOTAL = re.compile(rb"(?:^-- \d+ Kbytes in (\d+) Requests?\.|^\s*Total requests: (\d+))", re.M)
_EXIM = re.compile(rb"\s*(\d+)([mhd])\s+[\d.]+[KMG]? (?:\w{6}-\w{6}-\w\w|\w{6}-\w{11}-\w{4}) <")
_EXIM_AGE = {b"m": 60, b"h": 3600, b"d": 86400}
_SMTPCTL = re.compile(rb"([0-9a-f]{8})[0-9a-f]{8}\|")
_EPOCH = re.compile(rb"\|(\d{10})(?=\|)")
_QREAD = re.compile(rb"(\d{1,2}) (\w{3}) (\d{4}) (\d\d:\d\d:\d\d) GMT\s+#\d+\s+\d+\s+<")
_QSTAT = re.compile(rb"messages in queue: (\d+)\s*\n")


class Waiting(msgspec.Struct, frozen=True):
    """``oldest`` (ms): when the message came that has waited longest; None where the listing has no times."""

    messages: int
    oldest: int | None = None


class _Postqueue(msgspec.Struct):
    queue_id: str
    arrival_time: int


async def ask_queue(
    argv: Sequence[str], *, side: Side = "old", zone: str | None = None, seconds: float = SECONDS
) -> Queue | Skip:
    """One look. ``zone``: the host's IANA zone, for listings that name none (None: this machine's).

    A ``skip`` with the subject ``queue:SIDE`` where the command fails or its listing is not understood.
    ``oldest_at`` is the moment itself where nothing waits, or the listing has no times.
    """
    ran = await output(argv, seconds, LIMIT)
    moment = now()
    if ran.trouble is not None:
        return Skip(at=moment, subject=f"queue:{side}", reason=ran.trouble)
    found = await asyncio.to_thread(waiting, ran.text, to_ms(moment), zone)
    if found is None:
        reason = f"what {argv[0]} printed is no listing of a queue that is known"
        return Skip(at=moment, subject=f"queue:{side}", reason=reason)
    oldest = moment if found.oldest is None else min(moment, from_ms(found.oldest))
    return Queue(at=moment, side=side, messages=found.messages, oldest_at=oldest)


def waiting(listing: bytes, moment: int, zone: str | None = None) -> Waiting | None:
    """A listing made at ``moment`` (ms), or None where it is none that is known. Raises as :class:`Stamps`
    for a zone that there isn't."""
    if not listing.strip():
        return Waiting(0)  # postqueue -j, exim -bp and smtpctl print nothing then
    readers: tuple[Callable[[bytes, int, str | None], Waiting | None], ...] = (
        _json, _count, _qstat, _exim, _smtpctl, _qread, _mailq,
    )  # fmt: skip
    return next((found for read in readers if (found := read(listing, moment, zone)) is not None), None)


def _told(times: Iterable[int], messages: int | None = None) -> Waiting | None:
    known = list(times)
    return Waiting(len(known) if messages is None else messages, min(known)) if known else None


def _json(listing: bytes, moment: int, zone: str | None) -> Waiting | None:
    """postqueue(1), "JSON OBJECT FORMAT": an object a line; times in seconds since the epoch."""
    if not listing.lstrip().startswith(b"{"):
        return None
    try:
        decode = msgspec.json.Decoder(_Postqueue).decode
        rows = [decode(line) for line in listing.splitlines() if line.strip()]
        return _told(_past(row.arrival_time, moment) for row in rows)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


def _past(seconds: int, moment: int) -> int:
    return min(max(seconds, 0) * 1000, moment)


def _count(listing: bytes, moment: int, zone: str | None) -> Waiting | None:
    """``exim -bpc``: a number alone."""
    text = listing.strip()
    return Waiting(int(text)) if text.isdigit() and len(text) < 10 else None


def _qstat(listing: bytes, moment: int, zone: str | None) -> Waiting | None:
    found = _QSTAT.match(listing)
    return Waiting(int(found[1][:9])) if found else None


def _exim(listing: bytes, moment: int, zone: str | None) -> Waiting | None:
    """exim(8) -bp: age, size, message id (of 16 or, since 4.97, of 23 characters), sender."""
    rows = [found for line in listing.splitlines() if (found := _EXIM.match(line))]
    return _told(max(0, moment - int(row[1][:6]) * _EXIM_AGE[row[2]] * 1000) for row in rows)


def _smtpctl(listing: bytes, moment: int, zone: str | None) -> Waiting | None:
    """An envelope a line; the first eight digits of its id are the message's, the first time its creation."""
    messages: dict[bytes, int] = {}
    for line in listing.splitlines():
        found, created = _SMTPCTL.match(line), _EPOCH.search(line)
        if found and created:
            messages.setdefault(found[1], _past(int(created[1]), moment))
    return _told(messages.values())


def _qread(listing: bytes, moment: int, zone: str | None) -> Waiting | None:
    return _told(at for line in listing.splitlines() if (at := _dated(line, moment)) is not None)


def _dated(line: bytes, moment: int) -> int | None:
    found = _QREAD.match(line)
    if found is None:
        return None
    try:
        text = b" ".join(found.groups()).decode() + " +0000"
        return min(max(0, to_ms(datetime.strptime(text, "%d %b %Y %H:%M:%S %z"))), moment)
    except (ValueError, OverflowError):
        return None


def _mailq(listing: bytes, moment: int, zone: str | None) -> Waiting | None:
    """Postfix's and Sendmail's: a head, a line a message with a time that names neither year nor zone, and
    how many there are; Sendmail's leaves out the seconds."""
    if _POSTFIX_EMPTY.search(listing) and not _POSTFIX_HEAD.search(listing):
        return Waiting(0)
    if not _POSTFIX_HEAD.search(listing):
        return None
    stamps = Stamps(zone)
    rows = [found[1] for line in listing.splitlines() if (found := _POSTFIX.match(line))]
    times = [stamps.read(row + (b" " if len(row) > 12 else b":00 "), moment, 0) for row in rows]
    total = sum(int((one[0] or one[1])[:9]) for one in _TOTAL.findall(listing))
    known = [min(at, moment) for at in times if at is not None]
    return _told(known, max(total, len(rows))) or (Waiting(total or len(rows)) if rows or total else None)
