"""Colours and signs. Every state has a sign and a word; colour only repeats what they say.

Contrast against the background is at least 4.5:1 for text (WCAG 2.2, 1.4.3). Under ``NO_COLOR`` the
terminal's own two colours, bold and reverse remain.
"""

from __future__ import annotations

from rich.style import Style
from textual.theme import Theme

BACKGROUND = "#0f141b"
TEXT, DIM, FRAME = "#d3dae4", "#8794a6", "#3d4b5e"
GOOD, BAD, WARN, INFO, ACCENT = "#6ccf8e", "#ff8076", "#e9bd5b", "#82b6f7", "#5fc9c4"

STYLES: dict[str, Style] = {
    "": Style(color=TEXT),
    "bold": Style(color="#f2f5f9", bold=True),
    "dim": Style(color=DIM),
    "frame": Style(color=FRAME),
    "focus": Style(color=ACCENT),
    "title": Style(color=ACCENT, bold=True),
    "head": Style(color=DIM, bold=True),
    "key": Style(color=ACCENT, bold=True),
    "here": Style(color=ACCENT, bold=True, reverse=True),
    "good": Style(color=GOOD),
    "bad": Style(color=BAD, bold=True),
    "warn": Style(color=WARN),
    "info": Style(color=INFO),
    "good.bold": Style(color=GOOD, bold=True),
    "bad.bold": Style(color=BAD, bold=True),
    "warn.bold": Style(color=WARN, bold=True),
    "info.bold": Style(color=INFO, bold=True),
    "good.badge": Style(color=GOOD, bold=True, reverse=True),
    "bad.badge": Style(color=BAD, bold=True, reverse=True),
    "warn.badge": Style(color=WARN, bold=True, reverse=True),
    "info.badge": Style(color=INFO, bold=True, reverse=True),
    "dns": Style(color=ACCENT),
    "mail": Style(color=INFO),
}

# Sign and style of a requirement's state.
STATES = {"met": ("✓", "good"), "unmet": ("✗", "bad"), "unknown": ("?", "warn"), "waived": ("–", "dim")}

# Sign and base style of a verdict.
VERDICTS = {
    "before": ("○", "info"),
    "propagating": ("◐", "warn"),
    "draining": ("◑", "warn"),
    "safe": ("✓", "good"),
    "regressed": ("✗", "bad"),
    "blind": ("?", "warn"),
    "alarm": ("!", "bad"),
}

# Where an answer leads.
LEADS = {
    "new": ("✓", "good"),
    "differs": ("≠", "warn"),
    "old": ("✗", "bad"),
    "mixed": ("±", "warn"),
    "other": ("!", "bad"),
    "none": ("∅", "bad"),
    "silent": ("?", "dim"),
}

FATES = {
    "new": ("✓", "good"),
    "old": ("✗", "bad"),
    "lost": ("!", "bad"),
    "late": ("~", "warn"),
    "refused": ("✗", "bad"),
    "deferred": ("~", "warn"),
    "unreachable": ("?", "warn"),
    "travelling": ("→", "info"),
}

LEVELS = {"info": ("·", "dim"), "good": ("✓", "good"), "warn": ("!", "warn"), "bad": ("✗", "bad")}

MAILBOXES = {
    "ok": ("✓", "good"),
    "missing": ("✗", "bad"),
    "refused": ("✗", "bad"),
    "unreachable": ("?", "warn"),
    "unwatched": ("–", "dim"),
}

THEME = Theme(
    name="mxcutover",
    primary=ACCENT,
    secondary=INFO,
    warning=WARN,
    error=BAD,
    success=GOOD,
    accent=ACCENT,
    foreground=TEXT,
    background=BACKGROUND,
    surface=BACKGROUND,
    panel=BACKGROUND,
    dark=True,
)
