"""The event log: what changed, newest first."""

from __future__ import annotations

from collections.abc import Sequence

from monitor.dashboard.pane import Column, Table, heading
from monitor.dashboard.scene import Scene
from monitor.dashboard.text import Line, Part, fit
from monitor.dashboard.theme import LEVELS
from monitor.snapshot import EventRow, Snapshot


def event_line(scene: Scene, event: EventRow) -> Line:
    """One event on one line, for the first view."""
    sign, style = LEVELS[event.level]
    said = scene.tell(event.code, event.args)
    return [(fit(scene.clock(event.at), 12), "dim"), (f"{sign} ", style), (said, _voice(event))]


def _voice(event: EventRow) -> str:
    return {"info": "dim", "good": "", "warn": "warn", "bad": "bad"}[event.level]


def _rows(snapshot: Snapshot) -> Sequence[EventRow]:
    return snapshot.events[::-1]


def _level(event: EventRow, scene: Scene) -> Part:
    sign, style = LEVELS[event.level]
    return f"{sign} {scene.ui(f'level.{event.level}')}", style


def _title(scene: Scene) -> Line:
    return heading(scene.ui("title.log"), scene.ui("newest.first"))


def _find(event: EventRow) -> str:
    return f"{event.level} {event.code} {' '.join(str(v) for v in event.args.values())}"


LOG = Table(
    columns=(
        Column(title="col.time", width=11, cell=lambda e, s: (s.clock(e.at), "dim")),
        Column(title="col.ago", width=6, align="right", cell=lambda e, s: (s.since(e.at), "dim")),
        Column(title="col.level", width=6, cell=_level),
        Column(
            title="col.event",
            width=30,
            flex=1,
            most=200,
            cell=lambda e, s: (s.tell(e.code, e.args), _voice(e)),
        ),
    ),
    rows=_rows,
    title=_title,
    find=_find,
    empty="empty.log",
)
