"""Follows the old host's log: history first, then each new line, across rotation, stops and restarts."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Collection
from pathlib import Path
from typing import Any

import msgspec

from probes.logformat import LogFormat
from probes.logsource import Files, Source
from probes.observation import Coverage, Observation, Side, Skip, from_ms, now, to_ms
from probes.oldhost.files import Step, readable
from probes.oldhost.opening import opened, source_of
from probes.oldhost.reader import MailLog
from probes.oldhost.stream import HEARTBEAT
from probes.sight import Sight

__all__ = ["follow_log", "readable"]

HISTORY = 28 * 86_400_000  # ms: the baseline is at most four weeks (verdict.md)
LONGEST = 300_000  # ms of one coverage interval
MISSING = 10_000  # ms that a log may be missing, between two names, and its followers not be blind
EDGE = 1 << 17  # bytes of a piece in which its first and last stamp are looked for
_MOMENT = 5_000  # ms


class Ledger:
    """When the log was really read: intervals that join each other, cut into pieces. Times in ms."""

    def __init__(self, source: str) -> None:
        self._source = source
        self.begin: int | None = None  # of what was covered and not reported yet
        self.upto = 0

    def cover(self, begin: int, end: int) -> None:
        """All lines up to ``end`` were read; where nothing is covered yet it starts at ``begin``."""
        if self.begin is None:
            self.begin = self.upto = begin
        self.upto = max(self.upto, end)

    def pieces(self, limit: int) -> list[Observation]:
        """What is covered up to ``limit`` and was not reported yet."""
        found: list[Observation] = []
        while self.begin is not None and self.begin < min(self.upto, limit):
            end = min(self.begin + LONGEST, self.upto, limit)
            found.append(Coverage(at=now(), source=self._source, from_=from_ms(self.begin), to=from_ms(end)))
            self.begin = end
        return found

    def cut(self) -> list[Observation]:
        """Lines may be missing here: what follows begins anew."""
        found = self.pieces(self.upto)
        self.begin = None
        return found


async def follow_log(
    where: str | Path | Source, *, domain: str, recognise: Callable[[str], str | None] = lambda _: None,
    zone: str | None = None, history: bool = True, own: Collection[str] = (),
    others: Collection[str] = (), watcher: Collection[str] = (), poll: float = 1.0,
    coverage: float = 60.0, heartbeat: float = HEARTBEAT, position: Any = None, side: Side = "old",
    format: LogFormat = "auto",
    queued: Callable[[str, int], str | None] = lambda _, __: None,
) -> AsyncIterator[Sight]:  # fmt: skip
    """Sights of one log, each with the place after it under the key ``log:SIDE``.

    ``position`` is the last such place (None: from the beginning; anything else that is no place
    counts as None). ``poll`` and ``coverage`` in seconds: how often to look, and to report that one
    looked. ``heartbeat``: seconds of silence after which a program is started again, to prove that it is
    one. Ends after a ``skip`` where the log can't be read, or where there is no such zone.
    """
    try:
        log = MailLog(
            domain, recognise, side=side, own=own, others=others, watcher=watcher, zone=zone, format=format,
            queued=queued,
        )  # fmt: skip
        source = source_of(where)
        reason = await asyncio.to_thread(readable, source.path) if isinstance(source, Files) else None
    except (ValueError, LookupError, OSError):
        reason = f"{zone} is no time zone"
    if reason is not None:
        yield [Skip(at=now(), subject=f"log:{side}", reason=f"{where}: {reason}")], None
        return
    follower = Follower(source, log, side, coverage, history, position, heartbeat)
    try:
        while True:
            seen, waits = await asyncio.to_thread(follower.look)
            if seen is not None:
                yield seen, (f"log:{side}", follower.position())
            if waits:
                await asyncio.sleep(poll)
    except OSError as error:
        reason = f"{where}: {(error.strerror or str(error)).lower()}"
        yield [Skip(at=now(), subject=f"log:{side}", reason=reason)], None
    finally:
        follower.close()


class Follower:
    """The blocking half of :func:`follow_log`."""

    def __init__(
        self, where: str | Path | Source, log: MailLog, side: Side, coverage: float, history: bool,
        position: Any, heartbeat: float = HEARTBEAT,
    ) -> None:  # fmt: skip
        moment = to_ms(now())
        self._source = source_of(where)
        self._log = log
        self._every = int(coverage * 1000)
        self._side = side
        self._ledger = Ledger(f"log:{side}")
        self._reader = opened(self._source, (moment - HISTORY) / 1000, log.stamp, heartbeat)
        self._caught_up = False
        self._reported = 0  # when coverage was last reported
        self._present = moment  # when the log was last there
        self._told_missing = False
        self._begun = False
        self._start = (position, history)

    def close(self) -> None:
        self._reader.close()

    def position(self) -> dict[str, Any]:
        return {
            "place": msgspec.to_builtins(self._reader.place()),
            "covered": self._ledger.begin,
            "upto": self._ledger.upto,
            "log": msgspec.json.encode(self._log.state()).decode(),
        }

    def _begin(self, moment: int) -> None:
        """Go on from the position, or begin anew after the last line that was read."""
        position, history = self._start
        self._begun = True
        place = None
        with contextlib.suppress(ValueError, TypeError, KeyError, msgspec.MsgspecError):
            place = msgspec.convert(position["place"], self._reader.PLACE)
            self._log.restore(msgspec.json.decode(position["log"]))
            self._ledger.begin, self._ledger.upto = position["covered"], int(position["upto"])
        goes_on = self._reader.begin(place, history)
        self._log.not_before = moment - HISTORY
        if place is not None and not goes_on:
            self._log.not_before = max(self._log.not_before, self._log.clock)
            self._ledger.begin = None

    def look(self) -> tuple[list[Observation] | None, bool]:
        """One look: what is to be kept (None: nothing), and whether there is time until the next."""
        moment = to_ms(now())
        if not self._begun:
            self._begin(moment)
        step = self._reader.step(moment)
        out: list[Observation] = self._ledger.cut() if step.gap else []
        if step.text:
            out += self._feed(step)
            if not self._told_missing:  # where the log was away, coverage begins when it is there again
                self._cover_lines(step, moment)
        if step.missing:
            out += self._missing(moment)
        elif step.end:
            out += self._at_end(moment, step.upto)
        elif not step.idle:
            out += self._ledger.pieces(moment - LONGEST - _MOMENT)
        if step.said:
            out.append(Skip(at=now(), subject=f"log:{self._side}", reason=f"{self._source}: {step.said}"))
        keep = bool(out) or (bool(step.text) and not step.live)
        return (out if keep else None), step.end or step.missing or step.idle

    def _feed(self, step: Step) -> list[Observation]:
        if step.live and self._caught_up:
            return self._log.feed(step.text.split(b"\n")[:-1], step.near, live=True)
        return self._log.feed_text(step.text, step.near)

    def _cover_lines(self, step: Step, moment: int) -> None:
        """From the first stamp to the last: as far as the lines themselves show."""
        if self._ledger.begin is None:
            head = step.text[:EDGE].split(b"\n", 100)[:100]
            stamps = (self._log.stamp(line, step.near) for line in head)
            first = next((s for s in stamps if s is not None), None)
            if first is None or first > moment:
                return
            first = max(first, self._log.not_before, min(self._ledger.upto, moment))
            self._ledger.cover(first, first)
        tail = step.text[-EDGE:].split(b"\n")[-101:-1]
        stamps = (self._log.stamp(line, step.near) for line in reversed(tail))
        last = next((s for s in stamps if s is not None), None)
        if last is not None and last <= moment:
            self._ledger.cover(last, last)

    def _at_end(self, moment: int, upto: int | None) -> list[Observation]:
        """The log is there, and every line in it was read; as far as is known those up to ``upto``."""
        out = self._log.tick(moment)
        self._present, self._told_missing = moment, False
        upto = moment if upto is None else upto
        if upto:
            self._ledger.cover(upto, upto)
        if not self._caught_up or moment - self._reported >= self._every:
            self._caught_up, self._reported = True, moment
            out += self._ledger.pieces(moment)
        return out

    def _missing(self, moment: int) -> list[Observation]:
        """No file of that name: a rotation takes a moment; longer, and nothing is covered."""
        out = self._log.tick(moment)
        if moment - self._present <= MISSING or self._told_missing:
            return out
        self._told_missing = True
        out += self._ledger.cut()
        out.append(Skip(at=now(), subject=f"log:{self._side}", reason="the log is missing"))
        return out
