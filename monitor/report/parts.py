"""The report's building blocks: tables, lists of facts, signs, figures."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from monitor.report.html import Child, Html, el, join, text
from monitor.report.words import Words
from probes.observation import stamp

CELL = 160  # characters that a cell shows of a text from outside

SIGNS = {
    "met": "✓", "unmet": "✗", "unknown": "?", "waived": "–",
    "before": "○", "propagating": "◐", "draining": "◑", "safe": "✓",
    "regressed": "✗", "blind": "?", "alarm": "!",
    "new": "✓", "differs": "≠", "old": "✗", "mixed": "±", "other": "!", "none": "∅",
    "silent": "…",
    "lost": "✗", "late": "◷", "refused": "✗", "deferred": "◷", "unreachable": "?",
    "travelling": "→",
    "good": "✓", "warn": "△", "bad": "!", "info": "·",
    "ok": "✓", "missing": "✗", "unwatched": "–",
}  # fmt: skip

TONES = {
    "met": "good", "unmet": "bad", "unknown": "warn", "waived": "calm",
    "before": "info", "propagating": "warn", "draining": "warn", "safe": "good",
    "regressed": "bad", "blind": "warn", "alarm": "bad",
    "new": "good", "differs": "warn", "old": "bad", "mixed": "warn", "other": "bad", "none": "bad",
    "silent": "calm", "lost": "bad", "late": "warn", "refused": "warn", "deferred": "warn",
    "unreachable": "warn", "travelling": "calm",
    "good": "good", "warn": "warn", "bad": "bad", "info": "calm",
    "ok": "good", "missing": "bad", "unwatched": "calm",
}  # fmt: skip


def clip(raw: str | None, limit: int = CELL) -> Html:
    """Text from outside in a cell; "–" where there is none."""
    return text(raw, limit) if raw else text("–")


def sign(key: str, label: str, tone: str | None = None, *, long: bool = False) -> Html:
    """A sign and its word; the colour only repeats them."""
    mark = el("span", SIGNS.get(key, "·"), class_="sign", aria_hidden="true")
    return el(
        "span", mark, " ", label, class_=f"is {tone or TONES.get(key, 'calm')}{' long' if long else ''}"
    )


def moment(words: Words, t: datetime | None) -> Html:
    """A time in a cell, kept on one line."""
    return text("–") if t is None else el("time", words.when(t), datetime=stamp(t))


def table(
    caption: str, heads: Sequence[str], rows: Sequence[Sequence[Child]], numbers: Iterable[int] = ()
) -> Html:
    """A table whose first column heads its row; ``numbers`` are columns set flush right."""
    right = set(numbers)
    head = el("tr", [el("th", h, scope="col", class_=_side(i, right)) for i, h in enumerate(heads)])
    body = el("tbody", [_row(row, right) for row in rows])
    made = el("table", el("caption", caption), el("thead", head), body)
    return el("div", made, class_="scroll", role="region", aria_label=caption, tabindex=0)


def _row(cells: Sequence[Child], right: set[int]) -> Html:
    first, *rest = cells
    return el(
        "tr",
        el("th", first, scope="row", class_=_side(0, right)),
        [el("td", cell, class_=_side(i, right)) for i, cell in enumerate(rest, 1)],
    )


def _side(column: int, right: set[int]) -> str | None:
    return "n" if column in right else None


def listed(
    words: Words,
    caption: str,
    heads: Sequence[str],
    rows: Sequence[Sequence[Child]],
    *,
    most: int = 100,
    numbers: Iterable[int] = (),
) -> Html:
    """A table of at most ``most`` rows, with a word on what it leaves to report.json."""
    made = table(f"{caption} ({len(rows)})", heads, rows[:most], numbers)
    if len(rows) <= most:
        return made
    return join([made, el("p", words("more", shown=most, n=len(rows)), class_="note")])


def facts(pairs: Iterable[tuple[str, Child]], class_: str = "facts") -> Html:
    """Names and values."""
    return el("dl", [el("div", el("dt", k), el("dd", v)) for k, v in pairs], class_=class_)


def figure(chart: Html, caption: str) -> Html:
    """A chart with a sentence that says the same."""
    return el("figure", chart, el("figcaption", caption))


def nothing(sentence: str) -> Html:
    return el("p", sentence, class_="none")


def lines(values: Iterable[str]) -> Child:
    """Values one below the other."""
    shown = [clip(v) for v in values]
    return join([c for v in shown for c in (Html("<br/>"), v)][1:]) if shown else clip(None)
