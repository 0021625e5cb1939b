"""The chain over the batches of evidence, so that no later change goes unseen.

The digest of a batch is SHA-256 over: the digest before it (32 zero bytes for the first); the line
``NUMBER KEPT_MS COUNT``; then each row in order, preceded by its length in bytes as four bytes, big
endian. A row of ``observations`` is ``SEQ LINE``; a row of ``samples`` is ``SEQ AT_MS TTL RTT FORM`` with
the form of the answer it names and ``-`` where there is no RTT. A whole-number RTT is in microseconds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

START = bytes(32)


def digest(previous: bytes, number: object, kept_ms: object, rows: Iterable[bytes]) -> bytes:
    """The digest of one batch; ``rows`` as :func:`sample_row` and :func:`line_row` write them."""
    parts = list(rows)
    sha = hashlib.sha256(previous)
    sha.update(b"%s %s %d\n" % (_text(number), _text(kept_ms), len(parts)))
    for part in parts:
        sha.update(len(part).to_bytes(4, "big"))
        sha.update(part)
    return sha.digest()


def line_row(seq: object, line: object) -> bytes:
    return b"%s %s" % (_text(seq), _text(line))


def sample_row(seq: object, at_ms: object, ttl: object, rtt: object, form: object) -> bytes:
    return b" ".join((_text(seq), _text(at_ms), _text(ttl), _text("-" if rtt is None else rtt), _text(form)))


def _text(value: object) -> bytes:
    """Any value that SQLite can hold; a tampered row may hold one of another type than it should."""
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogateescape")
