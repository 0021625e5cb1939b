"""The old host: mail that it still takes, over time, by client, and one by one."""

from __future__ import annotations

from monitor.dashboard.charts import Axis, bars, columns, meter, total
from monitor.dashboard.overview import axis
from monitor.dashboard.pane import Column, Table, heading
from monitor.dashboard.scene import Scene
from monitor.dashboard.text import Line, Part, box, fit, spread, width_of
from monitor.snapshot import ClientRow, HitRow, Span
from monitor.wording import rate as per_hour

_LABEL = 9


def hits_chart(scene: Scene, width: int, height: int) -> list[Line]:
    """Bars of hits a slot; under them the quiet time that counts and when the host was watched."""
    rows = [_sum(scene, width - 4), *_bars(scene, width - 4, height - 3)]
    since = sum(row.since for row in scene.snapshot.clients)
    title: Line = [(scene.ui("title.hits"), "title"), ("  ", ""), (scene.ui("hits.since", n=since), "dim")]
    return box(title, rows, width, height)


def _sum(scene: Scene, width: int) -> Line:
    """The quiet time against what is asked for, and the baseline."""
    snapshot = scene.snapshot
    need = snapshot.plan.policy.quiet_for
    rate = snapshot.baseline_per_hour
    known = scene.ui("baseline.none") if rate is None else scene.ui("baseline", rate=per_hour(rate))
    words = scene.ui("quiet", done=float(snapshot.quiet_seconds), need=float(need)) + " "
    since = scene.ui("quiet.since", t=scene.clock(snapshot.quiet_since)) if snapshot.quiet_since else ""
    right: Line = [(" " + (f"{since} · " if since and width > 90 else "") + known, "dim")]
    room = width - width_of(right) - width_of([(words, "")])
    full, rest = meter(snapshot.quiet_seconds / need if need else 1.0, max(0, min(40, room)))
    return spread([(words, ""), (full, "good"), (rest, "frame")], right, width)


def _bars(scene: Scene, width: int, height: int) -> list[Line]:
    shares = scene.snapshot.shares
    if not shares:
        return [[(scene.ui("empty.hits"), "dim")]]
    label = max(_LABEL, *(width_of([(scene.ui(f"row.{r}"), "")]) + 1 for r in ("quiet", "watched")))
    plot = width - label - 1
    times = Axis(shares, scene.now, plot)
    values = columns([float(p.old_hits) for p in shares], plot, total)
    peak = max((v for v in values if v), default=0.0)
    rows = max(1, height - 3)
    drawn = bars(values, rows, peak or 1.0)
    marks = [fit(f"{peak:.0f}" if i == 0 else "", label - 1, "right") for i in range(rows)]
    lines: list[Line] = [
        [(f"{marks[i]} ", "dim"), ("┤" if i == 0 else "│", "frame"), (drawn[i], "warn")] for i in range(rows)
    ]
    return [*lines, *_stretches(scene, times, label), axis(scene, times, label)]


def _stretches(scene: Scene, times: Axis, label: int) -> list[Line]:
    """When it was quiet (the time that counts now), and when somebody was watching."""
    snapshot = scene.snapshot
    begin = snapshot.quiet_since
    quiet = [Span(begin=begin, end=scene.now)] if begin else []
    watched = [span for row in snapshot.coverage if ":old" in row.source for span in row.spans]
    return [
        [(fit(scene.ui("row.quiet"), label), "dim"), ("│", "frame"), (times.stretch(quiet, "━"), "good")],
        [
            (fit(scene.ui("row.watched"), label), "dim"),
            ("│", "frame"),
            (times.stretch(watched, "─", "×"), "dim"),
        ],
    ]


def _client(row: ClientRow, scene: Scene) -> Part:
    return (row.client, "dim") if row.waived is not None else (row.client, "bold")


def _since(row: ClientRow, scene: Scene) -> Part:
    if row.waived is not None:
        return f"– {row.since}", "dim"
    return str(row.since), "bad" if row.since else "dim"


CLIENTS = Table(
    columns=(
        Column(title="col.client", width=15, flex=1, most=39, cell=_client),
        Column(title="col.helo", width=14, flex=3, most=40, cell=lambda r, s: (r.helo or "–", "")),
        Column(title="col.since", width=6, align="right", cell=_since),
        Column(title="col.before", width=6, align="right", cell=lambda r, s: (str(r.before), "dim")),
        Column(title="col.last", width=6, align="right", cell=lambda r, s: (s.since(r.last_at), "")),
    ),
    rows=lambda snapshot: snapshot.clients,
    title=lambda scene: heading(scene.ui("title.clients")),
    find=lambda r: f"{r.client} {r.helo}",
    empty="empty.clients",
)


def _what(row: HitRow, scene: Scene) -> Part:
    said = f"{scene.ui(f'origin.{row.origin}')}, {scene.ui(f'disposition.{row.disposition}')}"
    return (f"✗ {said}", "warn") if row.counts else (f"– {said}", "dim")


HITS = Table(
    columns=(
        Column(title="col.ago", width=6, align="right", cell=lambda r, s: (s.since(r.accepted_at), "dim")),
        Column(title="col.client", width=15, flex=1, most=39, cell=lambda r, s: (r.client or "–", "bold")),
        Column(title="col.recipient", width=16, flex=2, most=40, cell=lambda r, s: (r.recipient or "?", "")),
        Column(title="col.what", width=21, flex=1, most=28, cell=_what),
        Column(title="col.queue", width=11, keep=100, cell=lambda r, s: (r.queue_id or "–", "dim")),
        Column(
            title="col.message",
            width=12,
            flex=3,
            most=60,
            keep=100,
            cell=lambda r, s: (r.message_id or "–", "dim"),
        ),
    ),
    rows=lambda snapshot: snapshot.hits,
    title=lambda scene: heading(scene.ui("title.tail"), scene.ui("newest.first")),
    find=lambda r: (
        f"{r.client} {r.helo} {r.recipient} {r.origin} {r.disposition} {r.message_id} {r.queue_id}"
    ),
    empty="empty.tail",
)
