"""The one gate between text from outside and a display.

A banner, a subject or a host name may hold terminal control sequences or characters that reorder
what is read. Everything shown passes here; the record itself keeps the raw text.
"""

from __future__ import annotations

import unicodedata

# Bidi controls and the invisible ones by which text can be disguised (Unicode UAX 9, UTR 36).
_HIDDEN = set("\u200b\u200c\u200d\u200e\u200f\u061c\u2028\u2029\ufeff") | {
    chr(c) for c in (*range(0x202A, 0x202F), *range(0x2060, 0x2070))
}


def printable(text: str, limit: int = 500) -> str:
    """``text`` with every control (C0, C1, bidi, surrogate) as U+FFFD, at most ``limit`` characters."""
    cut = text[:limit]
    shown = cut if cut.isascii() and cut.isprintable() else "".join(map(_shown, cut))
    return shown if len(text) <= limit else shown[:-1] + "…"


def _shown(char: str) -> str:
    if char in "\t\r\n":
        return " "
    bad = char in _HIDDEN or unicodedata.category(char) in ("Cc", "Cs", "Co", "Cn", "Cf")
    return "\N{REPLACEMENT CHARACTER}" if bad else char
