"""Text measured in terminal cells: cleaning, fitting, wrapping, and lines of styled parts.

A line is a list of parts, each a text and the name of a style in ``theme.STYLES``. Nothing here or
later reads markup, so a hostile name is only ever a name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Literal, TypeAlias

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from textual.strip import Strip

from monitor.dashboard.theme import STYLES
from monitor.printable import printable

Part: TypeAlias = tuple[str, str]
Line: TypeAlias = list[Part]
Align = Literal["left", "right"]

# Variation selectors change the width of the character before them in some terminals and not in others.
_SELECTORS = dict.fromkeys(range(0xFE00, 0xFE10))
# What a line may break between: a run without spaces, or one wide character (Japanese has no spaces).
_ATOMS = re.compile(r"\s+|[!-~\u00a1-\u10ff\u2010-\u206f]+|.", re.DOTALL)
_NOT_FIRST = frozenset("、。，．）」』】：；！？ー…")


def clean(text: str, limit: int = 500) -> str:
    """``text`` fit for a terminal: ``printable``, and of a width that every terminal agrees on."""
    shown = printable(text, limit)
    return shown if shown.isascii() else shown.translate(_SELECTORS)


@lru_cache(maxsize=8192)
def fit(text: str, width: int, align: Align = "left") -> str:
    """``text`` cleaned and exactly ``width`` cells wide: cut with an ellipsis, or padded."""
    if width <= 0:
        return ""
    shown = clean(text)
    room = width - cell_len(shown)
    if room < 0:
        return set_cell_size(shown, width - 1) + "…"
    return " " * room + shown if align == "right" else shown + " " * room


def width_of(line: Iterable[Part]) -> int:
    return sum(cell_len(text) for text, _ in line)


def crop(line: Iterable[Part], width: int) -> Line:
    """The line exactly ``width`` cells wide; what is cut off ends in an ellipsis."""
    cropped: Line = []
    for text, style in line:
        shown = clean(text, 10_000)
        size = cell_len(shown)
        if size > width:
            return [*cropped, (fit(shown, width), style)]
        cropped.append((shown, style))
        width -= size
    return [*cropped, (" " * width, "")] if width else cropped


def spread(left: Line, right: Line, width: int) -> Line:
    """``left`` at the left edge and ``right`` at the right one; ``right`` is kept when room is short."""
    room = max(0, width - width_of(right))
    return [*crop(left, room), *right]


def wrap(text: str, width: int, rows: int = 99) -> list[str]:
    """``text`` broken into at most ``rows`` lines of at most ``width`` cells, the last cut if need be."""
    lines = [""]
    for atom in _ATOMS.findall(clean(text, 4000)):
        joined = lines[-1] + atom
        if cell_len(joined) <= width or atom in _NOT_FIRST:
            lines[-1] = joined
        elif not atom.isspace():
            lines.extend(_broken(atom, width))
    lines = [line.strip() for line in lines if line.strip()] or [""]
    kept, rest = lines[:rows], lines[rows:]
    if rest:
        kept[-1] = fit(f"{kept[-1]} {rest[0]}", width).rstrip()
        kept[-1] = kept[-1] if kept[-1].endswith("…") else set_cell_size(kept[-1], width - 1).rstrip() + "…"
    return kept


def _broken(atom: str, width: int) -> list[str]:
    """One run without spaces, cut into pieces that fit."""
    pieces = []
    while cell_len(atom) > width > 1:
        size = len(set_cell_size(atom, width).rstrip()) or 1
        pieces.append(atom[:size])
        atom = atom[size:]
    return [*pieces, atom]


def strip_of(line: Iterable[Part], width: int) -> Strip:
    """The line as Textual draws it. The one gate: every part is cleaned here, whoever made it."""
    return Strip([Segment(text, STYLES[style]) for text, style in crop(line, width) if text], width)


def box(title: Line, rows: list[Line], width: int, height: int, note: str = "") -> list[Line]:
    """``rows`` in a frame of ``width`` x ``height`` with a title above and a note below, right."""
    inner = width - 4
    body = [
        [("│ ", "frame"), *crop(row, inner), (" │", "frame")] for row in (rows + [[]] * height)[: height - 2]
    ]
    return [top_edge(title, width), *body, bottom_edge(note, width)]


def top_edge(title: Line, width: int, style: str = "frame") -> Line:
    if not title:
        return [("╭" + "─" * (width - 2) + "╮", style)]
    size = min(width_of([(clean(text), name) for text, name in title]), width - 6)
    rule = "─" * (width - size - 5)
    return [("╭─ ", style), *crop(title, size), (" " + rule + "╮", style)]


def bottom_edge(note: str, width: int, style: str = "frame") -> Line:
    if not note or cell_len(note) > width - 6:
        return [("╰" + "─" * (width - 2) + "╯", style)]
    return [("╰" + "─" * (width - cell_len(note) - 5) + " ", style), (note, "dim"), (" ─╯", style)]


def beside(left: list[Line], right: list[Line]) -> list[Line]:
    """Two blocks of equal height, each line already of its full width, next to each other."""
    return [[*a, *b] for a, b in zip(left, right, strict=True)]
