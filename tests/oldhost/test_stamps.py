"""Stamps that name no year, no zone, or an hour that there is twice."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.observation import from_ms, to_ms
from probes.oldhost.stamps import Stamps


def ms(*when: int) -> int:
    return to_ms(datetime(*when, tzinfo=UTC))


def read(zone: str | None, text: bytes, near: int, last: int = 0) -> str | None:
    found = Stamps(zone).read(text + b" old postfix/smtpd[1]: x", near, last)
    return None if found is None else from_ms(found).isoformat()


TABLE = [
    ("UTC", b"Nov 22 21:22:56", ms(2026, 11, 22, 22), "2026-11-22T21:22:56+00:00"),
    ("UTC", b"Nov  2 21:22:56", ms(2026, 11, 22, 22), "2026-11-02T21:22:56+00:00"),
    ("UTC", b"Nov 2 21:22:56", ms(2026, 11, 22, 22), "2026-11-02T21:22:56+00:00"),
    ("Asia/Tokyo", b"Nov 22 21:22:56", ms(2026, 11, 22, 22), "2026-11-22T12:22:56+00:00"),
    # December's lines read in January, and January's by a clock that is late.
    ("UTC", b"Dec 31 23:59:59", ms(2027, 1, 1), "2026-12-31T23:59:59+00:00"),
    ("UTC", b"Jan  1 00:00:01", ms(2026, 12, 31, 23, 59), "2027-01-01T00:00:01+00:00"),
    ("Asia/Tokyo", b"Jan  1 00:00:01", ms(2026, 12, 31, 15, 1), "2026-12-31T15:00:01+00:00"),
    ("UTC", b"Feb 29 10:00:00", ms(2027, 3, 1), "2024-02-29T10:00:00+00:00"),
    (None, b"2026-11-22T21:22:56.123456+09:00", 0, "2026-11-22T12:22:56.123000+00:00"),
    (None, b"2026-11-22T21:22:56Z", 0, "2026-11-22T21:22:56+00:00"),
    (None, b"2026-11-22T21:22:56+0900", 0, "2026-11-22T12:22:56+00:00"),
    (None, b"2026-11-22T21:22:56", 0, None),
    ("UTC", b"Nov 31 10:00:00", ms(2026, 12, 1), None),
    ("UTC", b"Nov 22 25:00:00", ms(2026, 12, 1), None),
    ("UTC", b"garbage", ms(2026, 12, 1), None),
    ("UTC", b"\xff\xfe", ms(2026, 12, 1), None),
]


@pytest.mark.parametrize(("zone", "text", "near", "expected"), TABLE)
def test_stamps(zone: str | None, text: bytes, near: int, expected: str | None) -> None:
    assert read(zone, text, near) == expected


TWICE = [
    # Berlin, 25 October 2026: 02:00 to 03:00 is 00:00 to 01:00 UTC and again 01:00 to 02:00.
    (ms(2026, 10, 25, 0, 30), ms(2026, 10, 25, 0, 29), "2026-10-25T00:30:00+00:00"),  # read live, first
    (ms(2026, 10, 25, 1, 30), ms(2026, 10, 25, 1, 29), "2026-10-25T01:30:00+00:00"),  # read live, again
    (ms(2026, 11, 1), ms(2026, 10, 25, 0, 29), "2026-10-25T00:30:00+00:00"),  # in history, in order
    (ms(2026, 11, 1), ms(2026, 10, 25, 0, 59), "2026-10-25T00:30:00+00:00"),
    (ms(2026, 11, 1), ms(2026, 10, 25, 1, 0), "2026-10-25T01:30:00+00:00"),
]


@pytest.mark.parametrize(("near", "last", "expected"), TWICE[:3] + TWICE[4:])
def test_the_hour_that_the_end_of_summer_time_repeats(near: int, last: int, expected: str) -> None:
    assert read("Europe/Berlin", b"Oct 25 02:30:00", near, last) == expected


@given(
    when=st.datetimes(datetime(2024, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC)),
    late=st.integers(-3600, 300 * 86400),
    zone=st.sampled_from(["UTC", "Asia/Tokyo", "Asia/Kathmandu", "America/New_York", "Pacific/Auckland"]),
)
def test_any_moment_comes_back_from_its_stamp(when: datetime, late: int, zone: str) -> None:
    when = when.replace(microsecond=0)
    local = when.astimezone(ZoneInfo(zone))
    text = local.strftime("%b %e %H:%M:%S").encode()
    stamps = Stamps(zone)
    near = to_ms(when + timedelta(seconds=late))
    first = stamps.read(text + b" h p[1]: x", near, to_ms(when) - 1000)
    again = stamps.read(text + b" h p[1]: x", near, to_ms(when) - 1000)  # from its cache
    assert first == again
    shift = abs((first or 0) - to_ms(when))
    repeated = local.replace(fold=0).utcoffset() != local.replace(fold=1).utcoffset()
    assert shift == 0 or (repeated and shift == 3_600_000)


def test_an_unknown_zone_is_an_error() -> None:
    with pytest.raises((ValueError, LookupError)):
        Stamps("Mars/Olympus")
