"""On which line each key of a TOML document stands: ``tomllib`` reads values and forgets where.

Only for text that ``tomllib`` has accepted: this walks its structure (TOML 1.0) and judges nothing.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import Counter

Path = tuple[str | int, ...]

_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_GAP = re.compile(r"[ \t]*")
_STRING = re.compile(
    r'"""(?:\\.|[^\\])*?"{3,5}|\'\'\'.*?\'{3,5}|"(?:\\.|[^"\\])*"|\'[^\']*\'', re.DOTALL
)  # fmt: skip
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_SCALAR = re.compile(r"[^,\]}#\n]+")
_ESCAPE = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|(.))")
_SHORT = {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r"}


class Positions:
    """Lines (from 1) of the keys and array elements of ``text``, by their path from the root."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._starts = [0, *(m.end() for m in re.finditer("\n", text))]
        self._lines: dict[Path, int] = {}
        self._tables: Counter[Path] = Counter()
        self._at = 0
        self._document()

    def line(self, path: Path) -> int:
        """The line of ``path``, else of the nearest part of it that is written down, else 1."""
        while path and path not in self._lines:
            path = path[:-1]
        return self._lines.get(path, 1)

    def _mark(self, path: Path) -> None:
        for end in range(1, len(path) + 1):
            self._lines.setdefault(path[:end], bisect_right(self._starts, self._at))

    def _skip(self, pattern: re.Pattern[str] = _BLANK) -> str:
        found = pattern.match(self._text, self._at)
        assert found is not None
        self._at = found.end()
        return found.group()

    def _next(self, length: int = 1) -> str:
        return self._text[self._at : self._at + length]

    def _document(self) -> None:
        table: Path = ()
        self._skip()
        while self._at < len(self._text):
            if self._next() == "[":
                table = self._header()
            else:
                self._assignment(table)
            self._skip()

    def _header(self) -> Path:
        """``[a.b]`` or ``[[a.b]]``; a part that names an array of tables means its last element."""
        brackets = 2 if self._next(2) == "[[" else 1
        self._at += brackets
        *parents, last = self._dotted()
        path: Path = ()
        for part in parents:
            path = self._inside((*path, part))
        path = (*path, last)
        if brackets == 2:
            self._tables[path] += 1
        path = self._inside(path)
        self._mark(path)
        self._at += brackets
        return path

    def _inside(self, path: Path) -> Path:
        return (*path, self._tables[path] - 1) if self._tables[path] else path

    def _assignment(self, table: Path) -> None:
        path = (*table, *self._dotted())
        self._mark(path)
        self._at += 1  # the equals sign
        self._skip(_GAP)
        self._value(path)

    def _dotted(self) -> tuple[str, ...]:
        parts = []
        while True:
            self._skip(_GAP)
            quoted = self._next() in "\"'"
            word = self._skip(_STRING if quoted else _BARE_KEY)
            parts.append(_unquoted(word) if quoted else word)
            self._skip(_GAP)
            if self._next() != ".":
                return tuple(parts)
            self._at += 1

    def _value(self, path: Path) -> None:
        if self._next() == "[":
            self._list(path)
        elif self._next() == "{":
            self._inline(path)
        elif self._next() in ('"', "'"):
            self._skip(_STRING)
        else:
            self._skip(_SCALAR)

    def _list(self, path: Path) -> None:
        index = 0
        while self._opened("]"):
            self._mark((*path, index))
            self._value((*path, index))
            index += 1

    def _inline(self, path: Path) -> None:
        while self._opened("}"):
            self._assignment(path)

    def _opened(self, end: str) -> bool:
        """Past the bracket or the comma; False, and past the end, where nothing more follows."""
        self._skip()
        if self._next() != end:
            self._at += 1
            self._skip()
        if self._next() != end:
            return True
        self._at += 1
        return False


def _unquoted(word: str) -> str:
    if word[0] == "'":
        return word[1:-1]
    return _ESCAPE.sub(
        lambda m: chr(int(m[1] or m[2], 16)) if m[1] or m[2] else _SHORT.get(m[3], m[3]), word[1:-1]
    )
