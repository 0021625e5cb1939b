"""What is wrong in a plan: each mistake with its place and with what to write instead."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from msgspec import Struct

from monitor.printable import printable


class Mistake(Struct, frozen=True, kw_only=True):
    """One mistake. ``line`` counts from 1; ``key`` is the dotted key or the column; ``what`` says what is
    wrong and ``write`` what to write instead; ``nearest`` is the known key that an unknown one resembles.
    Never holds a secret's value."""

    file: str
    line: int
    key: str
    what: str
    write: str
    nearest: str | None = None

    def __str__(self) -> str:
        return f"{printable(self.file)}:{self.line}: {self.brief()}"

    def brief(self) -> str:
        """Without the place."""
        near = f" (did you mean {self.nearest}?)" if self.nearest else ""
        key = f"{printable(self.key)}: " if self.key else ""
        return f"{key}{printable(self.what)}{near}; {printable(self.write)}"


class Wrong(ValueError):
    """A value that does not do: ``what`` is wrong with it, and what to ``write`` instead."""

    def __init__(self, what: str, write: str) -> None:
        super().__init__(what)
        self.what = what
        self.write = write


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that ``word`` was probably meant to be (difflib), or None."""
    found = difflib.get_close_matches(word.lower(), list(known), n=1, cutoff=0.5)
    return found[0] if found else None
