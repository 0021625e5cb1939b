"""A message's header block as its fields, whatever the bytes are (RFC 5322 section 2.2).

Real header blocks hold bare LF, 8-bit text, NUL and lines without a colon. Nothing here raises on any of
it, and nothing reads further than its limits.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from msgspec import Struct

MOST_BYTES = 256 * 1024
MOST_FIELDS = 2000
MOST_VALUE = 16 * 1024

_SPACE = re.compile(r"\s+")


class Field(Struct, frozen=True):
    """One field: its name in lower case, its value unfolded (RFC 5322 section 2.2.3), not decoded."""

    name: str
    value: str


def fields(header: bytes) -> tuple[Field, ...]:
    """The fields from the top to the first empty line. Bytes that are no UTF-8 become U+FFFD."""
    found: list[tuple[str, list[str]]] = []
    for raw in header[:MOST_BYTES].split(b"\n"):
        line = raw.rstrip(b"\r")
        if not line:
            break
        text = line[:MOST_VALUE].decode("utf-8", "replace")
        if text[0] in " \t":
            if found:
                found[-1][1].append(text)
            continue
        name, colon, value = text.partition(":")
        if colon and len(found) < MOST_FIELDS:
            found.append((name.strip().lower(), [value]))
    return tuple(Field(name, "".join(parts)[:MOST_VALUE].strip()) for name, parts in found)


def first(those: Iterable[Field], name: str) -> str | None:
    """The value of the topmost field of this name (lower case)."""
    return next((f.value for f in those if f.name == name), None)


def every(those: Iterable[Field], name: str) -> list[str]:
    return [f.value for f in those if f.name == name]


def squeezed(value: str) -> str:
    """With every run of white space as one space: folding differs between hosts, words do not."""
    return _SPACE.sub(" ", value).strip()
