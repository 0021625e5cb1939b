"""Where files lie, and how they are opened: here, or by another machine's file server. Blocking.

A lost connection is a :class:`ConnectionError` and nothing else is: it says nothing about a file.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import stat
import zlib
from pathlib import Path
from typing import IO, Any, Protocol, cast

import zstandard
from msgspec import Struct


class Facts(Struct, frozen=True):
    """Of a file. ``inode`` 0: not known. ``mtime`` in seconds since the epoch."""

    size: int
    mtime: float
    inode: int
    regular: bool


class Storage(Protocol):
    """Methods raise ``OSError`` for what is wrong with a file, ``ConnectionError`` for its machine."""

    def open(self, path: Path) -> IO[bytes]:
        """Unbuffered, for reading; never waits for the other end of a pipe."""
        ...

    def facts(self, path: Path) -> Facts: ...

    def facts_of(self, file: IO[bytes]) -> Facts: ...

    def pread(self, file: IO[bytes], size: int, offset: int) -> bytes: ...

    def entries(self, folder: Path) -> list[Path]: ...

    def same(self, file: IO[bytes], path: Path) -> bool:
        """Whether ``path`` names the file that ``file`` has open."""
        ...

    def close(self) -> None:
        """Nothing more will be read."""
        ...


class Local:
    """The files of this machine."""

    def open(self, path: Path) -> IO[bytes]:
        return cast("IO[bytes]", open(path, "rb", buffering=0, opener=_nonblocking))

    def facts(self, path: Path) -> Facts:
        return _facts(path.stat())

    def facts_of(self, file: IO[bytes]) -> Facts:
        return _facts(os.fstat(file.fileno()))

    def pread(self, file: IO[bytes], size: int, offset: int) -> bytes:
        return os.pread(file.fileno(), size, offset)

    def entries(self, folder: Path) -> list[Path]:
        return list(folder.iterdir())

    def same(self, file: IO[bytes], path: Path) -> bool:
        return os.fstat(file.fileno()).st_ino == path.stat().st_ino

    def close(self) -> None:
        return


def _nonblocking(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC)


def _facts(seen: os.stat_result) -> Facts:
    return Facts(seen.st_size, seen.st_mtime, seen.st_ino, stat.S_ISREG(seen.st_mode))


def readable(path: str | Path, storage: Storage | None = None) -> str | None:
    """Why a log cannot be read now, in a few words; None where it can."""
    storage = storage or Local()
    try:
        with storage.open(Path(path)) as file:
            regular = storage.facts_of(file).regular
    except OSError as error:
        return (error.strerror or str(error)).lower()
    return None if regular else "not a regular file"


# -- compressed files -------------------------------------------------------------------------------------


class _Zst:
    """A zstd file as :mod:`gzip` would open it; it can only be sought forwards."""

    def __init__(self, file: Path | IO[bytes], mode: str = "rb") -> None:
        self._raw = file.open("rb") if isinstance(file, Path) else file
        self._reader = zstandard.ZstdDecompressor().stream_reader(self._raw, read_across_frames=True)
        self.read, self.seek = self._reader.read, self._reader.seek

    def close(self) -> None:
        self._raw.close()

    def __enter__(self) -> _Zst:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


OPENERS: dict[str, Any] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open, ".zst": _Zst}
BROKEN = (OSError, EOFError, zlib.error, lzma.LZMAError, zstandard.ZstdError)


class Opened:
    """A file of a storage, and what is in it where it is compressed. Raises as :class:`Storage`."""

    def __init__(self, storage: Storage, path: Path, packed: bool) -> None:
        self.raw = storage.open(path)
        self.packed = packed
        opener = OPENERS[path.suffix] if packed else None
        self.file: Any = opener(self.raw, "rb") if opener else self.raw

    def __enter__(self) -> Opened:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.file.close()
        self.raw.close()
