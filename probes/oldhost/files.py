"""A log and its rotated siblings as one stream of lines, with a place to go on from. Blocking."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import re
import stat
import time
import zlib
from collections import deque
from datetime import date
from hashlib import blake2b
from itertools import pairwise
from pathlib import Path
from typing import IO, Any, ClassVar, cast

import zstandard
from msgspec import Struct

from probes.oldhost.lines import CUT

CHUNK = 1 << 20  # bytes read at a time: what is made of them stays in the processor's cache
WINDOW = 256  # bytes before the place that must be there again


class _Zst:
    """A zstd file as :mod:`gzip` would open it; it can only be sought forwards."""

    def __init__(self, path: Path, mode: str = "rb") -> None:
        self._raw = path.open("rb")
        self._reader = zstandard.ZstdDecompressor().stream_reader(self._raw, read_across_frames=True)
        self.read, self.seek, self.fileno = self._reader.read, self._reader.seek, self._raw.fileno

    def close(self) -> None:
        self._raw.close()

    def __enter__(self) -> _Zst:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


OPENERS: dict[str, Any] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open, ".zst": _Zst}
BROKEN = (OSError, EOFError, zlib.error, lzma.LZMAError, zstandard.ZstdError)


class Place(Struct, frozen=True):
    """After which byte to go on: of the file with this inode, or of any with these bytes before it.

    ``mark``: BLAKE2 of the ``window`` bytes before ``offset``. ``skipping``: inside an over-long line.
    """

    inode: int
    offset: int
    window: int
    mark: str
    skipping: bool = False


class Step(Struct):
    """What one look found. ``text``: whole lines, each with its newline. ``near`` (ms): when the lines were
    written, or soon after. ``end``: the log was read to its end. ``gap``: lines may be missing before these.
    ``missing``: there is no such file. ``upto`` (ms): the end is known up to then only (0: not at all).
    ``idle``: there is nothing to read now, and nothing follows from that. ``said``: why, for people."""

    text: bytes = b""
    near: int = 0
    end: bool = False
    gap: bool = False
    missing: bool = False
    live: bool = False
    upto: int | None = None
    idle: bool = False
    said: str = ""


class Segment(Struct):
    """One file to read, from ``offset`` on (of what it holds uncompressed)."""

    path: Path
    offset: int = 0
    gap: bool = False
    live: bool = False
    skipping: bool = False


def readable(path: str | Path) -> str | None:
    """Why a log cannot be read now, in a few words; None where it can."""
    try:
        with _open(Path(path)) as file:
            mode = os.fstat(file.fileno()).st_mode
    except OSError as error:
        return (error.strerror or str(error)).lower()
    return None if stat.S_ISREG(mode) else "not a regular file"


def _open(path: Path) -> IO[bytes]:
    """Never waits for the other end of a pipe."""
    return cast("IO[bytes]", open(path, "rb", buffering=0, opener=_nonblocking))


def _nonblocking(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC)


# -- siblings -------------------------------------------------------------------------------------------

_NUMBER = re.compile(r"^\.(\d{1,4})$")
_DATE = re.compile(r"^[-.](\d{8})(?:[-T]?(\d{2,6}))?$")


class Sibling(Struct, frozen=True):
    """A rotated file: ``number`` counts back from the live one, ``label`` is its name's date."""

    path: Path
    mtime: float
    inode: int
    number: int | None
    label: str | None


def siblings(path: Path) -> list[Sibling]:
    """The rotated files of a log, oldest first; of one and its compressed twin only the first."""
    found: dict[str, Sibling] = {}
    try:
        entries = sorted(path.parent.iterdir())
    except OSError:
        return []
    for entry in entries:
        one = _sibling(path, entry)
        if one is not None and one[0] not in found:  # "mail.log.1" sorts before "mail.log.1.gz"
            found[one[0]] = one[1]
    return sorted(found.values(), key=_age)


def _sibling(path: Path, entry: Path) -> tuple[str, Sibling] | None:
    name = entry.name.removesuffix(entry.suffix) if entry.suffix in OPENERS else entry.name
    rest = name[len(path.name) :] if name.startswith(path.name) else _inner(path, name)
    number, dated = _NUMBER.match(rest), _DATE.match(rest)
    if not (number or dated):
        return None
    try:
        seen = entry.stat()
    except OSError:
        return None
    if not stat.S_ISREG(seen.st_mode):
        return None
    label = (dated[1] + (dated[2] or "")) if dated else None
    return rest, Sibling(entry, seen.st_mtime, seen.st_ino, int(number[1]) if number else None, label)


def _inner(path: Path, name: str) -> str:
    """logrotate's ``extension``: "mail-20261101.log" of "mail.log"."""
    if path.suffix and name.startswith(path.stem) and name.endswith(path.suffix):
        return name[len(path.stem) : -len(path.suffix)]
    return ""


def _age(one: Sibling) -> tuple[float, str]:
    """Oldest first: by number, then by date, as a log has them that changed from one kind to the other."""
    return (-one.number, "") if one.number is not None else (1.0, one.label or "")


def _gaps(files: list[Sibling], today: str) -> list[bool]:
    """Before which of these, and of the live file, one is missing: numbers tell, or days between dates."""
    live = Sibling(Path(), 0, 0, 0, today)
    steps = [_step(a, b) for a, b in pairwise([*files, live])]
    usual = min((s for s in steps[:-1] if s is not None and s > 0), default=1)
    if files and files[-1].number is not None:
        steps[-1] = 1 if files[-1].number <= 1 else 2  # newsyslog counts from 0
    return [True] + [s is None or s > usual for s in steps]


def _step(a: Sibling, b: Sibling) -> int | None:
    if a.number is not None and b.number is not None:
        return a.number - b.number
    if a.label is None or b.label is None:
        return None
    return _days(b.label) - _days(a.label)


def _days(label: str) -> int:
    try:
        return date(int(label[:4]), int(label[4:6]), int(label[6:8])).toordinal()
    except ValueError:
        return 0


# -- reading --------------------------------------------------------------------------------------------


class LogReader:
    """Reads ``path`` and what became of it. ``since`` (seconds since the epoch): no older files.

    Every method blocks and raises ``OSError`` where the log itself cannot be opened.
    """

    PLACE: ClassVar[type[Struct]] = Place

    def __init__(self, path: Path, since: float) -> None:
        self._path = path
        self._since = since
        self._todo: deque[Segment] = deque()
        self._file: IO[bytes] | None = None
        self._now: Segment = Segment(path)
        self._inode = 0
        self._near = 0
        self._offset = 0  # of the next byte to read
        self._placed = 0  # of the byte after the last whole line
        self._carry = b""  # what lies between
        self._window = b""  # the bytes before _placed
        self._skipping = False
        self._nul = False

    def begin(self, place: Place | None, history: bool) -> bool:
        """Where to start; whether that is just where ``place`` was."""
        if place is not None:
            found = self._locate(place)
            if found is not None:
                self._todo = deque(found)
                return True
        if history or place is not None:
            files = [one for one in siblings(self._path) if one.mtime >= self._since]
            self._todo = deque(self._segments(files))
        else:
            self._todo = deque([Segment(self._path, offset=-1, live=True, gap=True)])
        return False

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def place(self) -> Place:
        mark = blake2b(self._window, digest_size=8).hexdigest()
        return Place(self._inode, self._placed, len(self._window), mark, self._skipping)

    def step(self, moment: int) -> Step:
        """One look at ``moment`` (ms)."""
        gap = False
        if self._file is None:
            gap = self._next()
        if self._now.live and not self._intact():
            return self._truncated()
        data = self._read()
        near = moment if self._now.live else self._near
        if data:
            return Step(self._whole(data), near, gap=gap, live=self._now.live)
        if not self._now.live:
            return Step(self._finish(), near, gap=gap)
        return self._at_end(near, gap)

    def _next(self) -> bool:
        """Open the next file; whether a gap lies before it."""
        segment = self._todo.popleft() if self._todo else Segment(self._path, live=True)
        opener = None if segment.live else OPENERS.get(segment.path.suffix)
        try:
            self._file = opener(segment.path, "rb") if opener else _open(segment.path)
            seen = os.fstat(self._file.fileno())
        except OSError:
            if segment.live or not self._todo:
                raise
            self._todo[0].gap = True
            return self._next()
        self._now = segment
        self._inode, self._near = seen.st_ino, int(seen.st_mtime * 1000)
        self._carry, self._nul, self._skipping = b"", False, segment.skipping
        self._seek(segment.offset)
        return segment.gap

    def _seek(self, offset: int) -> None:
        """To ``offset``, or to the end of the last whole line for -1, with the bytes before it in mind."""
        assert self._file is not None
        if offset < 0:
            end = self._file.seek(0, os.SEEK_END)
            self._file.seek(max(0, end - CUT))
            offset = end - len(self._file.read(CUT).rpartition(b"\n")[2])
        begin = max(0, offset - WINDOW)
        try:
            self._file.seek(begin)
            self._window = self._file.read(offset - begin) if offset else b""
            self._file.seek(offset)
        except BROKEN:
            self._window = b""
        self._offset = self._placed = offset

    def _read(self) -> bytes:
        assert self._file is not None
        try:
            data = self._file.read(CHUNK) or b""
        except BROKEN:
            if self._todo:
                self._todo[0].gap = True
            return b""
        self._offset += len(data)
        return data

    def _whole(self, data: bytes) -> bytes:
        """Whole lines, each with its newline; the rest waits for its own."""
        end = data.rfind(b"\n") + 1
        if not end:
            self._carry += data
            return self._bound()
        text = b"".join((self._carry, memoryview(data)[:end]))
        self._window = (self._window + text[-WINDOW:])[-WINDOW:]
        self._carry = data[end:]
        self._placed = self._offset - len(self._carry)
        if self._skipping:  # the end of an over-long line, which was counted already
            text = text[text.index(b"\n") + 1 :]
            self._skipping = False
        elif self._nul:
            text = b"\0" + text
        self._nul = False
        bounded = self._bound()
        return text + bounded if bounded else text

    def _bound(self) -> bytes:
        """An over-long line is handed on as far as it is known, and its rest is passed over."""
        if len(self._carry) <= CUT:
            return b""
        head = self._carry.lstrip(b"\0")
        if len(head) <= CUT:
            self._nul = True
            self._forward(len(self._carry) - len(head))
            return b""
        told = b"" if self._skipping else head[:CUT] + b"\n"
        self._forward(len(self._carry))
        self._skipping = True
        return told

    def _forward(self, count: int) -> None:
        self._window = (self._window + self._carry[:count])[-WINDOW:]
        self._carry = self._carry[count:]
        self._placed += count

    def _finish(self) -> bytes:
        """The end of a file that gets no more: what it ends with is a line."""
        rest = self._carry + b"\n" if self._carry and not self._skipping else b""
        self._forward(len(self._carry))
        self.close()
        return rest

    # -- the live file ------------------------------------------------------------------------------

    def _intact(self) -> bool:
        """Whether the bytes that were read last are still there."""
        assert self._file is not None
        seen = os.fstat(self._file.fileno())
        if seen.st_size < self._offset:
            return False
        known = (self._window + self._carry)[-WINDOW:]
        return os.pread(self._file.fileno(), len(known), self._offset - len(known)) == known

    def _truncated(self) -> Step:
        """copytruncate: what was not read yet is in the copy, if anywhere."""
        found = self._locate(self.place(), copied=True)
        self.close()
        self._todo = deque(found or [Segment(self._path, live=True)])
        self._todo[0].gap = True
        return Step()

    def _at_end(self, near: int, gap: bool) -> Step:
        try:
            seen = self._path.stat()
        except OSError:
            return Step(b"", near, gap=gap, missing=True, live=True)
        if seen.st_ino == self._inode or not seen.st_size:
            return Step(b"", near, end=True, gap=gap, live=True)
        late = self._read()  # written while the new file already had its first line
        text = self._whole(late) if late else b""
        self._todo = deque(self._newer() or [Segment(self._path, live=True)])
        return Step(text + self._finish(), near, gap=gap, live=True)

    def _newer(self) -> list[Segment]:
        """What was rotated after the file that was live until now, and the live one."""
        files = siblings(self._path)
        places = [i for i, one in enumerate(files) if one.inode == self._inode]
        later = files[places[0] + 1 :] if places else []
        return [*(Segment(one.path) for one in later), Segment(self._path, live=True)]

    def _locate(self, place: Place, copied: bool = False) -> list[Segment] | None:
        """The files to read to go on from ``place``, or None where it is nowhere to be found."""
        if not copied and self._holds(self._path, place, same_inode=True):
            return [Segment(self._path, place.offset, live=True, skipping=place.skipping)]
        files = siblings(self._path)
        for index in range(len(files) - 1, -1, -1):
            if self._holds(files[index].path, place, same_inode=not place.window):
                first, *later = self._segments(files[index:])
                first.offset, first.skipping, first.gap = place.offset, place.skipping, False
                return [first, *later]
        return None

    def _segments(self, files: list[Sibling]) -> list[Segment]:
        """These and the live file, to be read from their beginning."""
        gaps = _gaps(files, time.strftime("%Y%m%d"))
        parts = [Segment(f.path, gap=gap) for f, gap in zip(files, gaps, strict=False)]
        return [*parts, Segment(self._path, live=True, gap=gaps[-1])]

    def _holds(self, path: Path, place: Place, same_inode: bool) -> bool:
        opener = OPENERS.get(path.suffix) if path != self._path else None
        begin = place.offset - place.window
        try:
            with opener(path, "rb") if opener else _open(path) as file:
                seen = os.fstat(file.fileno())
                if same_inode and seen.st_ino != place.inode:
                    return False
                if opener is None and seen.st_size < place.offset:
                    return False
                file.seek(begin)
                before = file.read(place.window) if place.window else b""
        except BROKEN:
            return False
        return len(before) == place.window and blake2b(before, digest_size=8).hexdigest() == place.mark
