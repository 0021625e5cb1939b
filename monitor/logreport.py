"""Who still sends to a host for a domain, as its log tells: counted, and as a table for a terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta, tzinfo
from itertools import dropwhile

from monitor.glance.text import cells, fit, wrap
from probes.observation import Coverage, Mail, Observation

MOST = 40  # rows of a table; --all shows every one
HOURS = 24
DAYS = 31
_BLOCK = "█"


class Sender:
    """One client, under the name that it gave last. Times of its first and last message."""

    def __init__(self, at: datetime) -> None:
        self.helo: str | None = None
        self.messages = 0
        self.origins: Counter[str] = Counter()
        self.first = self.last = at

    def add(self, seen: Mail) -> None:
        self.helo = seen.helo or self.helo
        self.messages += 1
        self.origins[seen.origin] += 1
        self.first, self.last = min(self.first, seen.accepted_at), max(self.last, seen.accepted_at)


class Tally:
    """What one domain's observations come to. Rejected mail is counted apart: it was not taken."""

    def __init__(self, domain: str) -> None:
        self.domain = domain
        self.senders: dict[str, Sender] = {}
        self.recipients: Counter[str] = Counter()
        self.dispositions: Counter[str] = Counter()
        self.hours: Counter[datetime] = Counter()
        self.unread = 0

    def add(self, found: Iterable[Observation]) -> None:
        for seen in found:
            if isinstance(seen, Mail):
                self._mail(seen)
            elif isinstance(seen, Coverage):
                self.unread += seen.not_understood

    def _mail(self, seen: Mail) -> None:
        self.dispositions[seen.disposition] += 1
        if seen.disposition == "rejected":
            return
        who = seen.client or f"({seen.origin})"
        self.senders.setdefault(who, Sender(seen.accepted_at)).add(seen)
        self.recipients[seen.recipient.lower()] += 1
        self.hours[seen.accepted_at.replace(minute=0, second=0, microsecond=0)] += 1

    @property
    def taken(self) -> int:
        return sum(sender.messages for sender in self.senders.values())


def lines(tally: Tally, end: datetime, width: int, most: int | None = MOST) -> Iterator[str]:
    """The table. ``end``: the log's last stamp; ``most`` None: every row."""
    yield from wrap(_sum(tally), width)
    if tally.unread:
        yield from wrap(
            f"! {tally.unread} lines name {tally.domain} or may, and could not be read (--json has each one's"
            " second): they may hide mail",
            width,
        )
    if not tally.senders:
        return
    yield ""
    yield from _clients(tally, width, most)
    yield ""
    yield from _recipients(tally, width, most)
    yield from _hours(tally, end, width)


def _sum(tally: Tally) -> str:
    d = tally.dispositions
    parts = [f"{d['delivered']:,} delivered", f"{d['relayed']:,} passed on"]
    refused = f"; {d['rejected']:,} refused" if d["rejected"] else ""
    last = max((s.last for s in tally.senders.values()), default=None)
    since = "" if last is None else f"; the last at {_moment(last)}"
    return f"{tally.domain}: {tally.taken:,} messages taken ({', '.join(parts)}){refused}{since}"


def _clients(tally: Tally, width: int, most: int | None) -> Iterator[str]:
    wide = max(0, width - 78)
    widths = (18 + wide // 3, 23 + wide - wide // 3, 6, 11, 11)
    yield _row(("client", "HELO", "mails", "since", "last"), widths)
    senders = sorted(tally.senders.items(), key=lambda item: (-item[1].messages, item[0]))
    for who, sender in senders[:most]:
        origin = sender.origins.most_common(1)[0][0]
        name = sender.helo or ("" if origin == "outside" else f"({origin})")
        yield _row((who, name, f"{sender.messages:,}", _short(sender.first), _short(sender.last)), widths)
    yield from _left_out(len(senders), most, "clients")


def _recipients(tally: Tally, width: int, most: int | None) -> Iterator[str]:
    widths = (max(30, width - 36), 6)
    yield _row(("recipient", "mails"), widths)
    for recipient, count in tally.recipients.most_common(most):
        yield _row((recipient, f"{count:,}"), widths)
    yield from _left_out(len(tally.recipients), most, "recipients")


def _left_out(count: int, most: int | None, what: str) -> Iterator[str]:
    if most is not None and count > most:
        yield f"… and {count - most:,} more {what} (--all)"


def _hours(tally: Tally, end: datetime, width: int) -> Iterator[str]:
    """Each day, where there are several, then each of the log's last 24 hours."""
    days: Counter[datetime] = Counter()
    for hour, count in tally.hours.items():
        days[_local(hour).replace(hour=0)] += count
    if len(days) > 1:
        first, last = min(days), _local(end).replace(hour=0, minute=0, second=0, microsecond=0)
        shown = [last - timedelta(days=n) for n in range(min(DAYS, (last - first).days + 1))]
        yield from _bars("by day", [(f"{d:%m-%d %a}", _of_day(days, d)) for d in reversed(shown)], width)
    top = end.replace(minute=0, second=0, microsecond=0)
    hours = [top - timedelta(hours=n) for n in reversed(range(HOURS))]
    hours = list(dropwhile(lambda hour: not tally.hours[hour], hours))
    rows = [(f"{_local(h):%m-%d %H}h", tally.hours[h]) for h in hours]
    if rows:
        yield from _bars(f"by hour, the last {HOURS} ({_zone(end)})", rows, width)


def _of_day(days: Counter[datetime], day: datetime) -> int:
    return sum(count for d, count in days.items() if d.date() == day.date())


def _bars(title: str, rows: list[tuple[str, int]], width: int) -> Iterator[str]:
    yield ""
    yield title
    peak = max((count for _, count in rows), default=0)
    for label, count in rows:
        bar = _BLOCK * -(-count * (width - 24) // peak) if peak else ""
        yield f"  {label}  {count:>6,}  {bar}".rstrip()


def _row(values: tuple[str, ...], widths: tuple[int, ...]) -> str:
    """Figures stand at the right of their column."""
    made = []
    for value, width in zip(values, widths, strict=True):
        figure = value.replace(",", "").isdigit() or value == "mails"
        made.append(" " * max(0, width - cells(value)) + value if figure else fit(value, width))
    return "  ".join(made).rstrip()


def _local(t: datetime) -> datetime:
    return t.astimezone()


def _zone(t: datetime) -> str:
    zone: tzinfo | None = t.astimezone().tzinfo
    return zone.tzname(t) or "local time" if zone else "local time"


def _moment(t: datetime) -> str:
    return f"{_local(t):%Y-%m-%d %H:%M:%S}"


def _short(t: datetime) -> str:
    return f"{_local(t):%m-%d %H:%M}"
