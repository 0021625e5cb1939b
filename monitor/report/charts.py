"""Charts as inline SVG, drawn by hand from a snapshot: no script, no font, no file of their own.

Colours are classes of the page's style, so that they follow light, dark and paper. No series or state
is told apart by colour alone: lines differ by dash, fills by hatch, and each carries its word. Each
chart has a title and a description for those who do not see it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

from monitor.report.axis import LEFT, RIGHT, WIDTH, Axis, axis_of, markers, time_labels
from monitor.report.html import Html, el, join, leaf
from monitor.report.parts import SIGNS, TONES
from monitor.report.words import Words, percent
from monitor.snapshot import SharePoint, Snapshot
from monitor.verdict.model import REQUIREMENTS, Judgement

_BAND = 30.0  # height of the verdict's row
_ROW = 19.0  # height of a requirement's row
_LETTER = 7.4  # width that a letter takes at most in a band (a CJK character counts twice)


def share_chart(snapshot: Snapshot, words: Words) -> Html | None:
    """The share of DNS answers and of mail on new over time; None where nothing was seen."""
    seen = [p for p in snapshot.shares if p.dns is not None or p.mail is not None]
    if not seen:
        return None
    axis, top, height = axis_of(snapshot), 34.0, 190.0
    ends = {"dns": _last(snapshot.shares, "dns"), "mail": _last(snapshot.shares, "mail")}
    body = [
        _share_grid(top, height),
        time_labels(axis, top + height, height),
        markers(axis, snapshot, words, top - 14, top + height),
        *(_series(name, snapshot.shares, axis, top, height) for name in ("dns", "mail")),
        _series_labels(ends, words, top, height),
    ]
    about = words("chart.share.desc", dns=_share_words(ends["dns"]), mail=_share_words(ends["mail"]))
    return _svg("share", top + height + 40, words("chart.share"), about, body)


def _last(points: Iterable[SharePoint], name: str) -> float | None:
    values = [v for p in points if (v := getattr(p, name)) is not None]
    return values[-1] if values else None


def _share_words(share: float | None) -> str:
    return "–" if share is None else percent(share)


def _share_grid(top: float, height: float) -> Html:
    parts = []
    for quarter in range(0, 5, 2):
        y = top + height * (1 - quarter / 4)
        parts.append(leaf("line", x1=LEFT, x2=WIDTH - RIGHT, y1=y, y2=y, class_="grid"))
        parts.append(el("text", f"{quarter * 25} %", x=LEFT - 10, y=y + 4, class_="tick end"))
    return join(parts)


def _series(name: str, points: tuple[SharePoint, ...], axis: Axis, top: float, height: float) -> Html:
    """One line, broken where nothing was seen; a slot that stands alone is a dot."""
    half = _slot(points) / 2
    runs: list[list[tuple[float, float]]] = [[]]
    for point in points:
        share = getattr(point, name)
        if share is None:
            runs.append([])
        else:
            runs[-1].append((axis.x(point.at + half), top + height * (1 - min(1.0, max(0.0, share)))))
    drawn = " ".join("M" + " L".join(f"{x:.1f} {y:.1f}" for x, y in run) for run in runs if len(run) > 1)
    dots = [
        leaf("circle", cx=x, cy=y, r=3, class_=f"dot {name}")
        for ((x, y),) in (r for r in runs if len(r) == 1)
    ]
    return join([leaf("path", d=drawn, class_=f"series {name}") if drawn else None, dots])


def _series_labels(ends: dict[str, float | None], words: Words, top: float, height: float) -> Html:
    """The name at each line's end, pushed apart where the lines meet."""
    places = {n: top + height * (1 - v) + 4 for n, v in ends.items() if v is not None}
    if len(places) == 2 and abs(places["dns"] - places["mail"]) < 15:
        low = max(places.values())
        places = {"dns": low - 8, "mail": low + 8}
    x = WIDTH - RIGHT + 6
    return join(
        el("text", words(f"series.{n}"), x=x, y=y, class_=f"serieslabel {n}") for n, y in places.items()
    )


def _slot(points: tuple[SharePoint, ...]) -> timedelta:
    """The length of one slot; slots are equal."""
    return points[1].at - points[0].at if len(points) > 1 else timedelta()


def old_chart(snapshot: Snapshot, words: Words) -> Html | None:
    """Mail taken by the old host over time, the quiet time hatched, the watched time as a strip below."""
    if not snapshot.shares:
        return None
    axis, top, height = axis_of(snapshot), 34.0, 130.0
    bars = [(p.at, p.old_hits) for p in snapshot.shares]
    body = [
        _hatches("quiet"),
        _quiet(snapshot, axis, words, top, height),
        _bars(bars, axis, _slot(snapshot.shares), "old", top, height),
        time_labels(axis, top + height + 22, 0),
        markers(axis, snapshot, words, top - 8, top + height),
        _watched(snapshot, axis, words, top + height + 8),
    ]
    about = words("chart.old.desc", n=sum(n for _, n in bars), quiet=words.span(snapshot.quiet_seconds))
    return _svg("oldhits", top + height + 62, words("chart.old"), about, body)


def new_chart(snapshot: Snapshot, words: Words) -> Html | None:
    """Real mail taken by the new host over time."""
    bars = [(p.at, p.new_mail) for p in snapshot.shares]
    if not any(n for _, n in bars):
        return None
    axis, top, height = axis_of(snapshot), 34.0, 90.0
    body = [
        _bars(bars, axis, _slot(snapshot.shares), "new", top, height),
        time_labels(axis, top + height, 0),
        markers(axis, snapshot, words, top - 8, top + height),
    ]
    about = words("chart.new.desc", n=sum(n for _, n in bars))
    return _svg("newmail", top + height + 40, words("chart.new"), about, body)


def _bars(
    counts: list[tuple[datetime, int]], axis: Axis, slot: timedelta, kind: str, top: float, height: float
) -> Html:
    most = max((n for _, n in counts), default=0)
    scale = height / most if most else 0.0
    base = top + height
    parts = [
        leaf("line", x1=LEFT, x2=WIDTH - RIGHT, y1=base, y2=base, class_="base"),
        el("text", "0", x=LEFT - 10, y=base + 4, class_="tick end"),
    ]
    if most:
        parts.append(leaf("line", x1=LEFT, x2=WIDTH - RIGHT, y1=top, y2=top, class_="grid"))
        parts.append(el("text", str(most), x=LEFT - 10, y=top + 4, class_="tick end"))
    for at, n in counts:
        if n:
            left, right = axis.x(at), axis.x(at + slot)
            gap = 1.0 if right - left > 3 else 0.0
            wide = max(1.5, right - left - gap)
            parts.append(
                leaf("rect", x=left, y=base - n * scale, width=wide, height=n * scale, class_=f"bar {kind}")
            )
    return join(parts)


def _quiet(snapshot: Snapshot, axis: Axis, words: Words, top: float, height: float) -> Html | None:
    """The quiet time that counts now: hatched, framed and named."""
    if snapshot.quiet_since is None:
        return None
    left, right = axis.x(snapshot.quiet_since), axis.x(axis.end)
    wide = right - left
    area = leaf("rect", x=left, y=top, width=wide, height=height, class_="quiet", fill="url(#h-quiet)")
    label = words("mark.quiet", quiet=words.span(snapshot.quiet_seconds))
    inside = _width(label) < wide
    x = (left + right) / 2 if inside else right + 8
    side = "mid" if inside else "start"
    return join([area, el("text", label, x=x, y=top + height / 2, class_=f"mark quietlabel {side}")])


def _watched(snapshot: Snapshot, axis: Axis, words: Words, y: float) -> Html | None:
    """The strip of covered time, from every source that watches the old host."""
    rows = [row for row in snapshot.coverage if ":old" in row.source]
    if not rows:
        return None
    parts = [
        el("text", words("mark.watched"), x=LEFT - 10, y=y + 8, class_="tick end"),
        leaf("rect", x=LEFT, y=y, width=WIDTH - LEFT - RIGHT, height=8, class_="unwatched"),
    ]
    for row in rows:
        for span in row.spans:
            if span.end > axis.begin:
                left, right = axis.x(span.begin), axis.x(span.end)
                parts.append(
                    leaf("rect", x=left, y=y, width=max(0.5, right - left), height=8, class_="watched")
                )
    return join(parts)


def verdict_chart(snapshot: Snapshot, words: Words) -> Html:
    """The verdict as a band over time, and below it the state of each requirement."""
    axis, top = axis_of(snapshot), 34.0
    judged = snapshot.changes or (snapshot.judgement,)
    rows_top = top + _BAND + 10
    bottom = rows_top + _ROW * len(REQUIREMENTS)
    body = [
        _hatches("unmet", "unknown"),
        el("text", words("mark.verdict"), x=LEFT - 10, y=top + 20, class_="tick end strong"),
        _verdicts(judged, axis, words, top),
        *(_states(name, judged, axis, words, rows_top + i * _ROW) for i, name in enumerate(REQUIREMENTS)),
        time_labels(axis, bottom, 0),
        markers(axis, snapshot, words, top - 8, bottom),
        _states_key(words, bottom + 54),
    ]
    last = words(f"word.{snapshot.judgement.verdict}")
    about = words("chart.verdict.desc", n=len(snapshot.changes), last=last)
    return _svg("verdicts", bottom + 66, words("chart.verdict"), about, body)


def _verdicts(judged: tuple[Judgement, ...], axis: Axis, words: Words, top: float) -> Html:
    """Boxes named where there is room, signed where there is a little; the last one's name at the end."""
    parts = []
    for word, begin, end in _runs((j.at, j.verdict) for j in judged):
        left, right = axis.x(begin), axis.x(end or axis.end)
        wide = max(1.5, right - left - 1)
        label = words(f"word.{word}")
        box = leaf("rect", x=left, y=top, width=wide, height=_BAND, rx=3, class_=f"v v-{word}")
        parts.append(el("g", el("title", f"{label} {words.when(begin)}"), box))
        inside = label if _width(label) < wide - 8 else SIGNS[word] if wide > 16 else None
        if inside:
            parts.append(el("text", inside, x=left + wide / 2, y=top + 20, class_="bandlabel mid"))
    last = judged[-1].verdict
    now = f"{SIGNS[last]} {words(f'word.{last}')}"
    parts.append(el("text", now, x=WIDTH - RIGHT + 8, y=top + 20, class_=f"bandlabel {TONES[last]}"))
    return join(parts)


def _states(name: str, judged: tuple[Judgement, ...], axis: Axis, words: Words, top: float) -> Html:
    """One requirement: solid where met, hatched where unmet, dotted where unknown, a line where waived."""
    known = ((j.at, next((f.state for f in j.findings if f.name == name), "unknown")) for j in judged)
    parts = [el("text", words(f"req.{name}.short"), x=LEFT - 10, y=top + 12, class_="tick end")]
    for state, begin, end in _runs(known):
        left, right = axis.x(begin), axis.x(end or axis.end)
        parts.append(_state_box(state, left, top + 3, max(1.0, right - left), words(f"state.{state}")))
    return join(parts)


def _state_box(state: str, x: float, y: float, wide: float, label: str) -> Html:
    high = {"met": 12.0, "waived": 3.0}.get(state, 12.0)
    fill = f"url(#h-{state})" if state in ("unmet", "unknown") else None
    box = leaf("rect", x=x, y=y + (12 - high) / 2, width=wide, height=high, class_=f"s s-{state}", fill=fill)
    return el("g", el("title", label), box)


def _states_key(words: Words, y: float) -> Html:
    parts, x = [], LEFT
    for state in ("met", "unmet", "unknown", "waived"):
        label = words(f"state.{state}")
        parts.append(_state_box(state, x, y - 10, 26, label))
        parts.append(el("text", label, x=x + 32, y=y, class_="tick"))
        x += 32 + _width(label) + 22
    return join(parts)


def _runs(points: Iterable[tuple[datetime, str]]) -> Iterator[tuple[str, datetime, datetime | None]]:
    """(value, begin, end) for each stretch of the same value; the last one is open."""
    value: str | None = None
    begin: datetime | None = None
    for at, now in points:
        if now == value:
            continue
        if value is not None and begin is not None:
            yield value, begin, at
        value, begin = now, at
    if value is not None and begin is not None:
        yield value, begin, None


def _width(label: str) -> float:
    return sum(_LETTER if c.isascii() else 2 * _LETTER for c in label)


def _hatches(*names: str) -> Html:
    """Fills that are told apart without colour: lines one way for each."""
    turn = {"quiet": 45, "unmet": -45, "unknown": 0}
    return el("defs", [_hatch(name, turn[name]) for name in names])


def _hatch(name: str, angle: int) -> Html:
    mark = (
        leaf("circle", cx=3, cy=3, r=1, class_="hatch dots")
        if name == "unknown"
        else leaf("line", x1=0, x2=0, y1=0, y2=8, class_=f"hatch {name}")
    )
    return el(
        "pattern",
        mark,
        id=f"h-{name}",
        width=5 if name != "quiet" else 8,
        height=6 if name == "unknown" else 8,
        patternUnits="userSpaceOnUse",
        patternTransform=f"rotate({angle})",
    )


def _svg(ident: str, height: float, title: str, about: str, body: Iterable[Html | None]) -> Html:
    return el(
        "svg",
        el("title", title, id=f"{ident}-t"),
        el("desc", about, id=f"{ident}-d"),
        list(body),
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {WIDTH:g} {height:g}",
        role="img",
        aria_labelledby=f"{ident}-t {ident}-d",
        class_="chart",
    )
