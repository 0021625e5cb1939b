"""When a log line was written: RFC 3339 stamps, syslog's, which name neither year nor zone, Exim's and
tai64nlocal's, which name no zone, and multilog's TAI64N labels."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from probes.observation import from_ms, to_ms

_MONTHS = {
    name: number
    for number, name in enumerate(
        (b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"), 1
    )
}
_AHEAD = timedelta(days=2)  # a stamp may be this far past the moment it is read at: clocks differ
_CACHED = 4096
_MINUTE = 12  # len(b"Nov 22 21:22")
_PLAIN = re.compile(rb"(\d{4}-\d\d-\d\d \d\d:\d\d):(\d\d)(\.\d+)?(?: ([+-]\d{4})(?= |$))?")
_TAI = 2**62 + 10  # multilog's label of the epoch: TAI64 as daemontools writes it, ten seconds ahead of UTC
_LAST = 253_402_300_799_000  # ms: the end of the year 9999


class Stamps:
    """Reads stamps into milliseconds since the epoch.

    ``zone`` is the log host's IANA name (None: this machine's). Raises ``ZoneInfoNotFoundError`` or
    ``ValueError`` where there is no such zone.
    """

    def __init__(self, zone: str | None) -> None:
        self._zone = ZoneInfo(zone) if zone else None
        self._minutes: dict[bytes, int] = {}
        self._near_day = 0

    def read(self, line: bytes, near: int, last: int) -> int | None:
        """The stamp at the start of ``line``, or None where it bears none.

        ``near``: a moment (ms) at or soon after which the line was written (now, or its file's mtime):
        the year is the latest that does not lie past it. ``last``: the stamp before it (ms); it decides
        in the hour that the end of summer time repeats.
        """
        if line[:2].isdigit():
            if line[10:11] == b" ":
                return self._plain(line, near, last)
            return _rfc3339(line.partition(b" ")[0]) or _rfc3339(line[:40].partition(b",")[0])
        if line[:1] == b"@":
            return _tai64n(line)
        return self._syslog(line, near, last)

    def _plain(self, line: bytes, near: int, last: int) -> int | None:
        """ "2026-11-22 21:25:41.674", with or without an offset behind it."""
        found = _PLAIN.match(line)
        if found is None:
            return None
        if found[4] is not None:
            return _rfc3339(b"T".join(found[0].split(b" ", 1)).replace(b" ", b""))
        minute = self._minutes.get(found[1])
        if minute is None:
            minute = self._minute(found[1], near, last)
        return None if minute is None else minute + int(found[2]) * 1000 + _fraction(found[3] or b"")

    def _minute(self, written: bytes, near: int, last: int) -> int | None:
        try:
            local = datetime.fromisoformat(written.decode("ascii"))
            early, late = self._utc(local), self._utc(local.replace(fold=1))
        except (ValueError, OverflowError):
            return None
        if early >= late:
            if len(self._minutes) > _CACHED:
                self._minutes.clear()
            self._minutes[written] = early
            return early
        return _repeated(early, late, near, last)

    def _syslog(self, line: bytes, near: int, last: int) -> int | None:
        """RFC 3164 section 4.1.2: "Mmm dd hh:mm:ss"."""
        if near // 86_400_000 != self._near_day or len(self._minutes) > _CACHED:
            self._near_day = near // 86_400_000
            self._minutes.clear()
        minute, seconds = line[:_MINUTE], line[_MINUTE + 1 : _MINUTE + 3]
        known = self._minutes.get(minute)
        if known is not None and seconds.isdigit() and line[_MINUTE + 3 : _MINUTE + 4] == b" ":
            return known + int(seconds) * 1000
        return self._worked_out(line, near, last)

    def _worked_out(self, line: bytes, near: int, last: int) -> int | None:
        fields = line[:32].split(None, 3)
        if len(fields) < 3 or fields[0] not in _MONTHS:
            return None
        try:
            day = int(fields[1])
            clock = datetime.strptime(fields[2].decode("ascii").partition(".")[0], "%H:%M:%S")
        except (ValueError, UnicodeDecodeError):
            return None
        local = self._dated(_MONTHS[fields[0]], day, clock, near)
        if local is None:
            return None
        early, late = self._utc(local), self._utc(local.replace(fold=1))
        if early == late and line[3:4] == b" " and len(fields[2]) == 8 and line[7:15] == fields[2]:
            self._minutes[line[:_MINUTE]] = early - local.second * 1000
        if early >= late:  # an hour that summer time's begin leaves out has them the other way round
            return early
        return _repeated(early, late, near, last) + _fraction(fields[2])

    def _dated(self, month: int, day: int, clock: datetime, near: int) -> datetime | None:
        """The latest such day that lies no more than two days past ``near``."""
        limit = from_ms(near).astimezone(self._zone).replace(tzinfo=None) + _AHEAD
        for year in (limit.year, limit.year - 1, limit.year - 2, limit.year - 3, limit.year - 4):
            try:
                found = clock.replace(year=year, month=month, day=day)
            except ValueError:  # 29 February
                continue
            if found <= limit:
                return found
        return None

    def _utc(self, local: datetime) -> int:
        aware = local.replace(tzinfo=self._zone) if self._zone else local
        return to_ms(aware.astimezone(UTC))


def _repeated(early: int, late: int, near: int, last: int) -> int:
    """Of the two moments that one wall clock time stands for: none in the future, none before the last
    line; where both may be, the later one if it is read soon after it, for that is the unsafe one."""
    if late > near + 60_000:
        return early
    return late if early < last - 60_000 or near - late < 3_600_000 else early


def _fraction(clock: bytes) -> int:
    digits = clock.partition(b".")[2][:3]
    return int(digits.ljust(3, b"0")) if digits.isdigit() else 0


def _rfc3339(text: bytes) -> int | None:
    """RFC 3339 section 5.6; journald's short-iso leaves the colon out of the offset."""
    try:
        found = datetime.fromisoformat(text.decode("ascii").replace(",", "."))
        return to_ms(found) if found.tzinfo else None
    except (ValueError, OverflowError):
        return None


def _tai64n(line: bytes) -> int | None:
    """ "@" and 24 hexadecimal digits: seconds, then nanoseconds (https://cr.yp.to/libtai/tai64.html)."""
    try:
        found = (int(line[1:17], 16) - _TAI) * 1000 + int(line[17:25], 16) // 1_000_000
    except ValueError:
        return None
    return found if 0 <= found <= _LAST else None
