"""Canaries: where the test messages of each route came out, and the latest of them."""

from __future__ import annotations

from collections.abc import Callable

from monitor.dashboard.pane import Column, Table, heading
from monitor.dashboard.scene import Scene
from monitor.dashboard.text import Line, Part
from monitor.dashboard.theme import FATES
from monitor.snapshot import CanaryRow, RouteRow

_DIAGNOSTIC = ("to-old", "to-new")


def latency(ms: float | None) -> str:
    """``820 ms``, ``2.2 s``, ``48 s``, ``12 min``."""
    if ms is None:
        return "–"
    if ms < 1000:
        return f"{ms:.0f} ms"
    return (
        f"{ms / 1000:.1f} s"
        if ms < 10_000
        else f"{ms / 1000:.0f} s"
        if ms < 120_000
        else f"{ms / 60000:.0f} min"
    )


def _count(style: str, *fates: str) -> Callable[[RouteRow, Scene], Part]:
    def cell(row: RouteRow, scene: Scene) -> Part:
        n = sum(row.counts.get(fate, 0) for fate in fates)
        return (str(n), style) if n else ("·", "frame")

    return cell


def _streak(row: RouteRow, scene: Scene) -> Part:
    if row.waived is not None:
        return f"– {scene.ui('state.waived')}", "dim"
    need = scene.snapshot.plan.policy.canary_streak
    if row.route in _DIAGNOSTIC:
        return scene.ui("diagnostic"), "dim"
    done = row.streak >= need
    return f"{'✓' if done else '✗'} {min(row.streak, need)}/{need}", "good" if done else "bad"


def _planned(row: RouteRow, scene: Scene) -> Part:
    return (scene.ui("yes"), "") if row.planned else (scene.ui("no"), "dim")


def _matrix_title(scene: Scene) -> Line:
    code = "since.change" if scene.snapshot.change_at else "before.change"
    return heading(scene.ui("title.routes"), scene.ui(code))


def _column(title: str, width: int, style: str, *fates: str) -> Column:
    return Column(title=title, width=width, align="right", flex=1, most=11, cell=_count(style, *fates))


ROUTES = Table(
    columns=(
        Column(title="col.route", width=11, flex=3, most=36, cell=lambda r, s: (r.route, "bold")),
        Column(title="col.planned", width=5, keep=90, cell=_planned),
        Column(title="col.streak", width=9, cell=_streak),
        _column("col.inbox", 5, "good", "new"),
        _column("col.junk", 4, "warn", "new-junk"),
        _column("col.old", 3, "bad", "old", "old-junk"),
        _column("col.lost", 4, "bad", "lost"),
        _column("col.late", 4, "warn", "late"),
        _column("col.refused", 4, "bad", "refused"),
        _column("col.deferred", 4, "warn", "deferred"),
        _column("col.unreachable", 4, "warn", "unreachable"),
        _column("col.travelling", 4, "info", "travelling"),
        Column(title="col.median", width=6, align="right", cell=lambda r, s: (latency(r.median_ms), "")),
    ),
    rows=lambda snapshot: snapshot.routes,
    title=_matrix_title,
    find=lambda r: r.route,
    empty="empty.routes",
)


def _fate(row: CanaryRow, scene: Scene) -> Part:
    sign, style = FATES[row.fate]
    return f"{sign} {scene.ui(f'fate.{row.fate}')}", style


def _came_out(row: CanaryRow, scene: Scene) -> Part:
    """The folder it landed in, else the server's own reply."""
    if row.folder:
        return row.folder, "" if row.folder.upper() == "INBOX" else "warn"
    return row.reply or "", "dim"


def _auth(row: CanaryRow, scene: Scene) -> Part:
    """Sender authentication as the host it landed on judged it (RFC 8601): what failed, else what passed."""
    found = row.auth or {}
    if failed := [method for method, result in found.items() if result not in ("pass", "none", "neutral")]:
        return f"✗ {' '.join(failed)}", "bad"
    passed = [method for method, result in found.items() if result == "pass"]
    if passed:
        return f"✓ {' '.join(passed)}", "good"
    return ("· none", "warn") if found else ("–", "dim")


LATEST = Table(
    columns=(
        Column(title="col.sent", width=6, align="right", cell=lambda r, s: (s.since(r.sent_at), "dim")),
        Column(title="col.route", width=11, flex=1, most=30, cell=lambda r, s: (r.route, "bold")),
        Column(title="col.fate", width=12, cell=_fate),
        Column(title="col.latency", width=7, align="right", cell=lambda r, s: (latency(r.latency_ms), "")),
        Column(title="col.where", width=14, flex=3, most=60, cell=_came_out),
        Column(title="col.auth", width=12, flex=1, most=22, keep=100, cell=_auth),
        Column(title="col.recipient", width=18, flex=2, most=40, cell=lambda r, s: (r.recipient, "")),
        Column(
            title="col.host", width=20, flex=2, most=40, keep=110, cell=lambda r, s: (r.host or "–", "dim")
        ),
        Column(
            title="col.hops",
            width=16,
            flex=3,
            most=60,
            keep=140,
            cell=lambda r, s: (" → ".join(r.hops), "dim"),
        ),
    ),
    rows=lambda snapshot: snapshot.canaries,
    title=lambda scene: heading(scene.ui("title.canaries"), scene.ui("newest.first")),
    find=lambda r: f"{r.route} {r.fate} {r.recipient} {r.folder} {r.host} {r.reply} {r.canary} {r.auth}",
    empty="empty.canaries",
)
