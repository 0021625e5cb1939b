"""The files that a pattern names as one log: some that grow side by side, or a new one each day. Blocking."""

from __future__ import annotations

import time
from collections import deque
from fnmatch import fnmatchcase
from glob import has_magic
from pathlib import Path
from typing import ClassVar

from msgspec import Struct

from probes.oldhost.files import LogReader, Place, Segment, Step, rotated_from
from probes.oldhost.storage import OPENERS, Local, Storage

MOST = 500  # files; the oldest are left out
PARKED = 3600.0  # seconds without a change after which a file is closed, and looked at by its size alone
GONE = 60.0  # seconds that a file may be away, between two names
CANDIDATES = 20  # files that a new one is held against: it may be one of them under another name


class PatternPlace(Struct, frozen=True):
    """The place in each file, by its name."""

    files: dict[str, Place] = {}


class _Known(Struct):
    """One file that is followed. ``reader`` None: it is parked, and had ``size`` bytes."""

    reader: LogReader | None
    place: Place | None = None
    size: int = -1
    gap: bool = False
    away: float = 0.0


class PatternReader:
    """As :class:`LogReader`. ``pattern``: a folder, and a name with ``*``, ``?`` or ``[…]``.

    What belongs to another match as its rotated file is read as such.
    """

    PLACE: ClassVar[type[Struct]] = PatternPlace

    def __init__(self, pattern: Path, since: float, storage: Storage | None = None) -> None:
        self._folder, self._name = pattern.parent, pattern.name
        self._since = since
        self._storage = storage or Local()
        self._known: dict[str, _Known] = {}
        self._old: dict[str, Place] = {}  # places in files that are not there under their names
        self._round: deque[str] = deque()  # those that are still to be looked at
        self._away = self._gap = False  # one of this round is not there; one is given up
        self._lost = False  # a place was not found again

    def begin(self, place: PatternPlace | None, history: bool) -> bool:
        self._old = dict(place.files) if place is not None else {}
        self._scan(history or place is not None, place is None)
        return place is not None and not self._lost

    def close(self) -> None:
        self._storage.close()
        for one in self._known.values():
            if one.reader is not None:
                one.reader.shut()

    def place(self) -> PatternPlace:
        return PatternPlace(self._places())

    def _places(self) -> dict[str, Place]:
        return self._old | {name: one.place for name, one in self._known.items() if one.place is not None}

    def step(self, moment: int) -> Step:
        """One look at one of the files; the end is reached when all of them are at theirs."""
        if not self._round:
            self._scan(True, False)
            self._round.extend(name for name, one in self._known.items() if one.reader is not None)
            self._away = False
            if not self._round:
                return Step(near=moment, end=bool(self._known), missing=not self._known, live=True)
        name = self._round[0]
        found = self._one(name, moment)
        if found.end or found.missing:
            self._away = self._away or found.missing
            if self._round and self._round[0] == name:
                self._round.popleft()
            found.end, found.missing = not self._round and not self._away, False
            found.idle = not self._round and self._away
        return found

    def _one(self, name: str, moment: int) -> Step:
        one = self._known[name]
        assert one.reader is not None
        found = one.reader.step(moment)
        one.place = one.reader.place()
        found.gap = found.gap or one.gap or self._gap
        one.gap = self._gap = False
        one.away = (one.away or time.monotonic()) if found.missing else 0.0
        if one.away and time.monotonic() - one.away > GONE:
            self._leave(name)
            self._gap = True
        return found

    # -- which files there are --------------------------------------------------------------------------

    def _scan(self, history: bool, first: bool) -> None:
        """New files get a reader; one that has not changed for long is closed until it does."""
        now, there = time.time(), set[str]()
        for path, size, mtime in self._matches():
            there.add(path.name)
            one = self._known.get(path.name)
            if one is None:
                if not first or mtime >= self._since:
                    self._add(path, history, first)
            elif one.reader is None and size != one.size:
                one.reader = self._reader(path)
                one.gap = not one.reader.begin(one.place, True)
            elif one.reader is not None and now - mtime > PARKED and one.reader.done(size):
                one.reader.shut()
                one.reader, one.size = None, size
        for name in [n for n in self._known if n not in there]:
            if self._known[name].reader is None or rotated_from(name) in there:
                self._leave(name)

    def _matches(self) -> list[tuple[Path, int, float]]:
        """Path, size and time of each file, the one changed last at the end."""
        found: dict[str, tuple[float, int, Path]] = {}
        for path, listed in self._storage.entries(self._folder).items():
            if fnmatchcase(path.name, self._name):
                try:
                    seen = listed or self._storage.facts(path)
                except ConnectionError:
                    raise
                except OSError:
                    continue
                if seen.regular:
                    found[path.name] = (seen.mtime, seen.size, path)
        logs = found.keys() | self._known.keys() | self._old.keys()  # one may be away, between two names
        bases = [
            facts for name, facts in found.items()
            if rotated_from(name) not in logs and not (facts[2].suffix in OPENERS and facts[2].stem in found)
        ]  # fmt: skip
        return [(path, size, mtime) for mtime, size, path in sorted(bases)[-MOST:]]

    def _reader(self, path: Path) -> LogReader:
        kind = Packed if path.suffix in OPENERS else LogReader
        return kind(path, self._since, self._storage)

    def _add(self, path: Path, history: bool, first: bool) -> None:
        """A file that was not known under this name: what was read of it under another is not read again."""
        reader, own = self._reader(path), self._old.pop(path.name, None)
        if own is not None and reader.begin(own, True):
            self._known[path.name] = _Known(reader, own)
            return
        for name, place in self._elsewhere():
            found = reader.begin(place, True)
            if not found and not reader.copies(place):
                continue
            if rotated_from(name) != path.name and self._still(name, place):
                return  # it is a copy, made to truncate the file itself in a moment
            self._leave(name, keep=False)
            self._known[path.name] = _Known(reader, place, gap=not found)
            return
        self._lost = self._lost or own is not None
        reader.begin(own, history)
        self._known[path.name] = _Known(reader, own, gap=first or own is not None)

    def _still(self, name: str, place: Place) -> bool:
        """Whether the place is in the file of this name, too."""
        return self._reader(self._folder / name).copies(place)

    def _elsewhere(self) -> list[tuple[str, Place]]:
        return [(name, place) for name, place in self._places().items() if place.window][-CANDIDATES:]

    def _leave(self, name: str, keep: bool = True) -> None:
        """Its name is gone, or it has another one now."""
        one = self._known.pop(name, None)
        if one is not None and one.reader is not None:
            one.reader.shut()
        self._old.pop(name, None)
        if one is not None and one.place is not None and keep:
            self._old[name] = one.place
        while len(self._old) > MOST:
            self._old.pop(next(iter(self._old)))
        if name in self._round:
            self._round.remove(name)


class Packed(LogReader):
    """A compressed file that is no other's rotated one: it is read once, and gets no more."""

    packed: ClassVar[bool] = True

    def begin(self, place: Place | None, history: bool) -> bool:
        self._over = place is None and not history
        known = place is not None and self._holds(self._path, place, same_inode=False)
        start = place if known else None
        self._todo = deque([Segment(self._path, start.offset if start else 0)])
        return known

    def step(self, moment: int) -> Step:
        if self._over:
            return Step(near=moment, end=True, live=True)
        found = super().step(moment)
        self._over = self._file is None
        return found

    def done(self, size: int) -> bool:
        return self._over


def is_pattern(path: Path) -> bool:
    return has_magic(path.name)
