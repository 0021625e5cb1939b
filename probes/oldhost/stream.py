"""A log as a program prints it: ``ssh old tail -F …``, or ``journalctl``. Blocking.

The program is started again when it ends, and when it has been silent for long: a connection that hangs looks
like a quiet log. What it shows then begins with lines that were read before, so they are looked for: once the
last one is found, nothing is missing and nothing is taken twice, and all time up to the start is proven to be
quiet or read. Time in which it is merely silent is not.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from hashlib import blake2b
from typing import ClassVar

from msgspec import Struct

from probes.oldhost.child import CannotRun, Child
from probes.oldhost.files import CHUNK, Step
from probes.oldhost.lines import CUT

HEARTBEAT = 300.0  # seconds of silence after which it is started again
SETTLED = 1.0  # seconds without a line after which what it shows at its start is over
KEPT = 32  # lines that are looked for
MOST_HELD = 200_000  # lines of one second, or out of order, that wait for it to be known whether they are new
SAID_AGAIN = 3600.0
_FIRST_PAUSE, _LONGEST_PAUSE, _RAN_WELL = 1.0, 300.0, 60.0
_PATIENCE = 0.2
_SHOWS_NOTHING = "shows none of the log's last lines when it is started, so silence proves nothing"
_DAY = 86_400_000  # ms: a stamp that lies further ahead is none
_MUTE = 3  # times the heartbeat that a program is given that shows nothing at all


class StreamPlace(Struct, frozen=True):
    """After which line to go on: the keys of the last ones, oldest first, and the latest stamp (ms)."""

    keys: tuple[str, ...] = ()
    clock: int = 0


class Line(Struct, frozen=True):
    """A line of the log, and what tells it from all others."""

    text: bytes
    key: str


class Dialect(Struct, frozen=True):
    """How a program is asked and read. ``argv``: for a place (None: from the beginning), and whether older
    lines are wanted. ``line``: from what it printed to a line of the log, or None where that is none."""

    argv: Callable[[StreamPlace | None, bool], tuple[str, ...]]
    line: Callable[[bytes], Line | None]
    kept: int = KEPT


def plain(argv: tuple[str, ...]) -> Dialect:
    """A program that prints the lines themselves."""
    return Dialect(lambda place, history: argv, _plain_line)


def _plain_line(raw: bytes) -> Line:
    return Line(raw, blake2b(raw, digest_size=8).hexdigest())


class StreamReader:
    """As :class:`probes.oldhost.files.LogReader`. ``stamp``: when a line was written (ms), if it says so.

    Its steps bear ``upto``: up to when (ms) nothing is missing, 0 where that is not known.
    """

    PLACE: ClassVar[type[Struct]] = StreamPlace

    def __init__(
        self, dialect: Dialect, stamp: Callable[[bytes, int], int | None], *,
        heartbeat: float = HEARTBEAT,
    ) -> None:  # fmt: skip
        self._dialect, self._stamp = dialect, stamp
        self._heartbeat = heartbeat
        self._lock = threading.Lock()
        self._child: Child | None = None
        self._closed = False
        self._keys: deque[str] = deque(maxlen=dialect.kept)
        self._clock = 0
        self._history = True
        self._retry = 0.0
        self._pause = _FIRST_PAUSE
        self._said: dict[str, float] = {}
        self._proven = 0
        self._fresh_start()

    def _fresh_start(self) -> None:
        """What is known of a program that has just been started."""
        self._carry, self._skipping = b"", False
        self._shown: deque[str] = deque(maxlen=self._dialect.kept)
        self._held: list[tuple[Line, int | None]] = []
        self._found = self._sure = False  # the last line that was read before; as many as are kept
        self._searching = bool(self._keys)
        self._beginning = True  # what it shows at its start is not over
        self._any = False
        self._started_ms, self._started = 0, 0.0
        self._heard = 0.0

    # -- the reader -----------------------------------------------------------------------------------

    def begin(self, place: StreamPlace | None, history: bool) -> bool:
        self._history = history or place is not None
        if place is not None:
            self._keys.extend(place.keys)
            self._clock = place.clock
        self._searching = bool(self._keys)
        return place is not None

    def place(self) -> StreamPlace:
        return StreamPlace(tuple(self._keys), self._clock)

    def close(self) -> None:
        """From any thread."""
        self._closed = True
        child = self._child
        if child is not None:
            child.kill()
        with self._lock:
            self._stop()

    def step(self, moment: int) -> Step:
        with self._lock:
            if self._closed or (self._child is None and time.monotonic() < self._retry):
                return self._idle()
            if self._child is None:
                trouble = self._start(moment)
                if trouble is not None:
                    return self._down(trouble)
            assert self._child is not None
            data = self._child.read(CHUNK, _PATIENCE if self._beginning or self._carry else 0)
            if data is None:
                return self._ended(moment)
            if data:
                return self._take(self._lines(data), moment)
            return self._silent(moment)

    # -- the program ----------------------------------------------------------------------------------

    def _start(self, moment: int) -> str | None:
        self._fresh_start()
        known = StreamPlace(tuple(self._keys), self._clock) if self._keys else None
        try:
            self._child = Child(self._dialect.argv(known, self._history))
        except CannotRun as error:
            return str(error)
        self._started_ms = moment
        self._started = self._heard = time.monotonic()
        return None

    def _stop(self) -> tuple[int, str]:
        child, self._child = self._child, None
        return child.close() if child is not None else (0, "")

    def _ended(self, moment: int) -> Step:
        """It is started again after a pause. One that ended well has shown all that there is."""
        ran = time.monotonic() - self._started
        code, how = self._stop()
        self._pause = _FIRST_PAUSE if ran >= _RAN_WELL else min(self._pause * 2, _LONGEST_PAUSE)
        self._retry = time.monotonic() + self._pause
        if code == 0 and self._any and self._beginning:
            return self._over(moment)
        if self._beginning:
            return self._down(how)
        return self._idle()

    def _down(self, why: str) -> Step:
        """Nothing is covered now; that is said once an hour."""
        if self._child is None and self._retry <= time.monotonic():
            self._pause = min(self._pause * 2, _LONGEST_PAUSE)
            self._retry = time.monotonic() + self._pause
        step = self._idle()
        step.said = self._once(why)
        return step

    def _once(self, why: str) -> str:
        last = self._said.get(why)
        if last is not None and time.monotonic() - last < SAID_AGAIN:
            return ""
        if len(self._said) > 50:
            self._said.clear()
        self._said[why] = time.monotonic()
        return why

    def _idle(self) -> Step:
        return Step(idle=True, live=True, upto=self._proven)

    def _silent(self, moment: int) -> Step:
        """Nothing came. Silence is proven by starting it again, not by waiting."""
        quiet = time.monotonic() - self._heard
        if self._beginning:
            if self._any and quiet >= SETTLED:
                return self._over(moment)
            if quiet >= self._heartbeat * _MUTE:
                self._stop()
            told = self._any or quiet < self._heartbeat / 10
            return self._idle() if told else self._down(_SHOWS_NOTHING)
        if quiet >= self._heartbeat:
            self._stop()
        return Step(b"", moment, end=True, live=True, upto=self._proven)

    def _over(self, moment: int) -> Step:
        """What it showed at its start is over: all that the log held then is known."""
        lines, gap = self._decide() if self._searching else ([], False)
        self._beginning = False
        self._proven = self._started_ms
        return Step(_text(lines), moment, end=True, gap=gap, live=True, upto=self._proven)

    # -- its lines --------------------------------------------------------------------------------------

    def _lines(self, data: bytes) -> list[Line]:
        """Whole lines; an over-long one is handed on as far as it is known, and its rest is passed over."""
        self._heard = time.monotonic()
        *whole, rest = (self._carry + data).split(b"\n")
        if whole and self._skipping:
            whole, self._skipping = whole[1:], False
        raw = [line[:CUT] for line in whole]
        if len(rest) > CUT:
            if not self._skipping:
                raw.append(rest[:CUT])
            rest, self._skipping = b"", True
        self._carry = rest
        lines = [line for one in raw if (line := self._dialect.line(one.removesuffix(b"\r"))) is not None]
        self._any = self._any or bool(lines)
        return lines

    def _take(self, lines: list[Line], moment: int) -> Step:
        """Those of them that are new."""
        if not self._searching:
            return self._told(self._new(lines, moment), moment)
        for place, line in enumerate(lines):
            at = self._when(line, moment)
            if self._sure or (at is not None and at > self._clock) or len(self._held) >= MOST_HELD:
                found, gap = self._decide()
                return self._told([*found, *self._new(lines[place:], moment)], moment, gap=gap)
            self._hold(line, at)
        return Step(live=True)

    def _told(self, lines: list[bytes], moment: int, gap: bool = False) -> Step:
        return Step(_text(lines), moment, gap=gap, live=not self._beginning)

    def _new(self, lines: list[Line], moment: int) -> list[bytes]:
        self._keys.extend(line.key for line in lines[-self._dialect.kept :] if line.key)
        self._clock = max(self._clock, self._latest(lines, moment))
        if self._beginning and not self._history and not self._proven:
            return []
        return [line.text for line in lines]

    def _latest(self, lines: list[Line], moment: int) -> int:
        """The latest stamp among these; lines may be a little out of order."""
        stamps = (self._when(line, moment) for line in lines)
        return max((at for at in stamps if at is not None), default=0)

    def _when(self, line: Line, moment: int) -> int | None:
        at = self._stamp(line.text, moment)
        return at if at is not None and at <= moment + _DAY else None

    def _hold(self, line: Line, at: int | None) -> None:
        """No later than what was read before: it may be one of those, or follow the last of them."""
        self._shown.append(line.key)
        if line.key == self._keys[-1] and self._again():
            self._found = True
            self._held.clear()
        elif self._found or at is None or at >= self._clock - self._clock % 1000:
            self._held.append((line, at))

    def _again(self) -> bool:
        """Whether the lines shown last are those that were read last."""
        shown, known = list(self._shown), list(self._keys)
        both = min(len(shown), len(known))
        self._sure = both == self._dialect.kept and shown == known
        return shown[-both:] == known[-both:]

    def _decide(self) -> tuple[list[bytes], bool]:
        """All that was read before was shown again, or is not to be found: then lines may be missing."""
        held, self._held, self._searching = self._held, [], False
        self._keys.extend(line.key for line, _ in held if line.key)
        return [line.text for line, _ in held], not self._found


def _text(lines: list[bytes]) -> bytes:
    """Whole lines, each with its newline, as a file has them."""
    # A journal entry may hold newlines: what follows one is no line of its own.
    return b"".join(line.replace(b"\n", b" ") + b"\n" for line in lines)
