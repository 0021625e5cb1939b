"""Writes the report: one self-contained HTML file and one JSON file, each whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from monitor.exits import Exit, Failure
from monitor.report.document import document, text_of
from monitor.report.exceptions import TlsException
from monitor.report.page import Content, Seal, page
from monitor.report.words import Words
from monitor.snapshot import Snapshot
from monitor.wording import Language

__all__ = ["Seal", "write_report"]


def write_report(
    snapshot: Snapshot,
    directory: Path,
    *,
    language: Language = "en",
    seal: Seal | None = None,
    exceptions: tuple[TlsException, ...] | None = None,
) -> tuple[Path, Path]:
    """Write ``report.html`` and ``report.json`` into ``directory``, made if need be.

    ``seal``: the journal's last batch and chained hash; None where there is no journal.
    ``exceptions``: the plan's TLS exceptions (``tls_exceptions``); None where its file is not at hand.
    An older report is replaced only by a whole new one. Returns both paths. Raises
    :class:`Failure` (exit 74) when the disk is full or the directory can't be written.
    """
    words = Words(language=language, now=snapshot.now)
    html = page(Content(snapshot=snapshot, words=words, seal=seal, exceptions=exceptions))
    json = text_of(document(snapshot, words, seal, exceptions))
    paths = directory / "report.html", directory / "report.json"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for path, content in zip(paths, (html, json), strict=True):
            _write(path, content)
    except OSError as error:
        where = error.filename or directory
        raise Failure(
            f"cannot write the report to {where}: {error.strerror or error}; free space or choose another -o",
            Exit.IO,
        ) from None
    return paths


def _write(path: Path, content: str) -> None:
    with _replacing(path) as file:
        file.write(content.encode("utf-8", "backslashreplace"))


@contextmanager
def _replacing(path: Path) -> Iterator[IO[bytes]]:
    """A temporary file beside ``path`` that takes its name once it is on disk, or is removed."""
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
            os.fchmod(file.fileno(), 0o644 & ~_umask())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
