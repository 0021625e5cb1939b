"""Spans and summaries: what views ask for, kept beside the evidence and rebuilt from it at any time.

A span is one answer seen again and again: ``first_ms`` to ``last_ms``, ``count`` times. It goes on while
the same cached record is seen (at + TTL stays within two seconds) or the TTL stands still (an authority,
or a cache that shows no countdown), and nothing else was answered in between. A summary counts
observations by hour and kind.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import sqlite_utils
from msgspec import Struct

from monitor.journal.compact import lane, template

TOLERANCE_MS = 2000
HOUR_MS = 3_600_000


class _Span(Struct):
    id: int
    answer: int
    first_ms: int
    last_ms: int
    count: int
    first_ttl: int
    last_ttl: int

    def goes_on(self, answer: int, at_ms: int, ttl: int) -> bool:
        expiry, now = self.last_ms + self.last_ttl * 1000, at_ms + ttl * 1000
        return self.answer == answer and (ttl == self.last_ttl or abs(now - expiry) <= TOLERANCE_MS)


class Derived:
    """Keeps both tables current. Works within the writer's transaction; :meth:`forget` after a rollback."""

    def __init__(self, database: sqlite_utils.Database) -> None:
        self._database = database
        self._latest: dict[tuple[str | None, ...], _Span] | None = None
        self._lanes: dict[int, tuple[str | None, ...]] = {}
        self._next = 1

    def forget(self) -> None:
        """Drop what was remembered; the tables say it all."""
        self._latest = None

    def add(self, samples: Iterable[tuple[int, str, int, int]], kinds: Iterable[tuple[int, str]]) -> None:
        """One batch: samples as (answer id, form, at in ms, TTL), and (at in ms, kind) of everything."""
        touched: dict[int, _Span] = {}
        for answer, form, at_ms, ttl in samples:
            span = self._extend(answer, form, at_ms, ttl)
            touched[span.id] = span
        self._write(touched.values())
        self._count(kinds)

    def _extend(self, answer: int, form: str, at_ms: int, ttl: int) -> _Span:
        latest = self._loaded()
        where = self._lane(answer, form)
        span = latest.get(where)
        if span is None or not span.goes_on(answer, at_ms, ttl):
            span = latest[where] = _Span(self._next, answer, at_ms, at_ms, 0, ttl, ttl)
            self._next += 1
        span.count += 1
        span.last_ms, span.last_ttl = at_ms, ttl
        return span

    def _lane(self, answer: int, form: str) -> tuple[str | None, ...]:
        if answer not in self._lanes:
            self._lanes[answer] = lane(template(form))
        return self._lanes[answer]

    def _loaded(self) -> dict[tuple[str | None, ...], _Span]:
        """The latest span of every lane: a lane's newest is the one with the highest id."""
        if self._latest is None:
            self._latest = {}
            rows = self._database.execute(
                "SELECT max(spans.id), answer, first_ms, last_ms, count, first_ttl, last_ttl, form "
                "FROM spans JOIN answers ON answers.id = answer GROUP BY answer ORDER BY 1"
            )
            for *span, form in rows:
                self._latest[self._lane(span[1], form)] = _Span(*span)
            self._next = self._database.execute("SELECT coalesce(max(id), 0) + 1 FROM spans").fetchone()[0]
        return self._latest

    def _write(self, spans: Iterable[_Span]) -> None:
        self._database.conn.executemany(
            "INSERT INTO spans VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET "
            "last_ms = excluded.last_ms, count = excluded.count, last_ttl = excluded.last_ttl",
            [(s.id, s.answer, s.first_ms, s.last_ms, s.count, s.first_ttl, s.last_ttl) for s in spans],
        )

    def _count(self, kinds: Iterable[tuple[int, str]]) -> None:
        hours = Counter((at_ms // HOUR_MS * HOUR_MS, kind) for at_ms, kind in kinds)
        self._database.conn.executemany(
            "INSERT INTO summaries VALUES (?, ?, ?) "
            "ON CONFLICT (hour_ms, kind) DO UPDATE SET count = count + excluded.count",
            [(hour, kind, count) for (hour, kind), count in hours.items()],
        )
