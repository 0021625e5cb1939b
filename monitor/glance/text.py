"""Lines of styled parts, measured in a terminal's cells, and the one place where they become text."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import TypeAlias

from monitor.printable import printable

Part: TypeAlias = tuple[str, str]  # the text, and the name of a style
Line: TypeAlias = list[Part]

STYLES = {"": "", "bold": "1", "dim": "2", "good": "32", "bad": "31", "warn": "33", "title": "1;36",
          "good.bold": "1;32", "bad.bold": "1;31", "warn.bold": "1;33"}  # fmt: skip
_RESET = "\x1b[0m"
_LONGEST = 4000
# What a line may break between: a run without spaces, or one wide character (Japanese has no spaces).
_ATOMS = re.compile(r"\s+|[!-~\u00a0-\u10ff\u2010-\u206f]+|.", re.DOTALL)
_NOT_FIRST = frozenset("、。，．）」』】：；！？ー…)")
# Variation selectors change the width of the character before them in some terminals and not in others.
_SELECTORS = dict.fromkeys(range(0xFE00, 0xFE10))


@lru_cache(maxsize=8192)
def cells(text: str) -> int:
    """How wide a terminal shows it (UAX 11: W and F take two cells, marks none)."""
    if text.isascii():
        return len(text)
    return sum(_width(char) for char in text)


def _width(char: str) -> int:
    if unicodedata.combining(char) or unicodedata.category(char) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def clean(text: str) -> str:
    return printable(text, _LONGEST).translate(_SELECTORS)


def fit(text: str, width: int) -> str:
    """Exactly so wide: padded, or cut with an ellipsis."""
    shown = clean(text)
    if cells(shown) <= width:
        return shown + " " * (width - cells(shown))
    kept = ""
    for char in shown:
        if cells(kept + char) > width - 1:
            break
        kept += char
    return kept + "…" + " " * (width - 1 - cells(kept))


def wrap(text: str, width: int) -> list[str]:
    """Lines of at most ``width`` cells; a run that is longer than a line is cut into several."""
    lines = [""]
    for atom in _ATOMS.findall(clean(text)):
        if cells(lines[-1] + atom) <= width or atom in _NOT_FIRST:
            lines[-1] += atom
            continue
        lines[-1] = lines[-1].rstrip()
        for piece in _pieces(atom.strip(), width):
            if lines[-1]:
                lines.append("")
            lines[-1] += piece
    return lines if lines != [""] else []


def _pieces(atom: str, width: int) -> Iterable[str]:
    """ASCII runs are the only long ones: a cell each."""
    return [atom[i : i + width] for i in range(0, len(atom), max(1, width))]


def width_of(line: Iterable[Part]) -> int:
    return sum(cells(clean(text)) for text, _ in line)


def crop(line: Line, width: int) -> Line:
    """At most so wide."""
    left, cropped = width, Line()
    for text, style in line:
        shown = clean(text)
        if cells(shown) > left:
            return [*cropped, (fit(shown, left), style)] if left > 0 else cropped
        cropped.append((shown, style))
        left -= cells(shown)
    return cropped


def spread(left: Line, right: Line, width: int) -> list[Line]:
    """One at the left edge and one at the right; below each other where they don't fit side by side."""
    room = width - width_of(left) - width_of(right)
    if room >= 2:
        return [[*left, (" " * room, ""), *right]]
    return [left, [(" " * max(0, width - width_of(right)), ""), *right]]


def paint(lines: Sequence[Line], width: int, colour: bool) -> list[str]:
    """As text; what comes from outside holds no control characters after this."""
    return ["".join(_painted(part, colour) for part in crop(line, width)).rstrip() for line in lines]


def _painted(part: Part, colour: bool) -> str:
    text, style = clean(part[0]), STYLES[part[1]]
    return f"\x1b[{style}m{text}{_RESET}" if colour and style and text.strip() else text
