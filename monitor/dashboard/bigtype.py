"""The verdict's word in letters three rows high, drawn with half blocks."""

from __future__ import annotations

# Five rows of pixels a letter, only the letters that the seven verdicts need.
_FONT = {
    "A": ("###", "# #", "###", "# #", "# #"),
    "B": ("## ", "# #", "## ", "# #", "## "),
    "D": ("## ", "# #", "# #", "# #", "## "),
    "E": ("###", "#  ", "## ", "#  ", "###"),
    "F": ("###", "#  ", "## ", "#  ", "#  "),
    "G": ("###", "#  ", "# #", "# #", "###"),
    "I": ("#", "#", "#", "#", "#"),
    "L": ("#  ", "#  ", "#  ", "#  ", "###"),
    "M": ("#   #", "## ##", "# # #", "#   #", "#   #"),
    "N": ("#  #", "## #", "# ##", "#  #", "#  #"),
    "O": ("###", "# #", "# #", "# #", "###"),
    "P": ("###", "# #", "###", "#  ", "#  "),
    "R": ("## ", "# #", "## ", "# #", "# #"),
    "S": ("###", "#  ", "###", "  #", "###"),
    "T": ("###", " # ", " # ", " # ", " # "),
}
_HALVES = {"  ": " ", "# ": "▀", " #": "▄", "##": "█"}


def big(word: str) -> list[str]:
    """Three rows of equal length; empty when a letter has no shape here."""
    glyphs = [_FONT.get(letter) for letter in word.upper()]
    known = [glyph for glyph in glyphs if glyph]
    if not known or len(known) < len(glyphs):
        return []
    rows = [" ".join(glyph[i] for glyph in known) for i in range(5)]
    rows.append(" " * len(rows[0]))
    return ["".join(_HALVES[a + b] for a, b in zip(*rows[i : i + 2], strict=True)) for i in (0, 2, 4)]
