"""The time axis that the charts share, so that they can be read one below the other."""

from __future__ import annotations

from datetime import datetime, timedelta

from msgspec import Struct

from monitor.report.html import Html, el, join, leaf
from monitor.report.words import Words
from monitor.snapshot import Snapshot

LEFT, RIGHT, WIDTH = 116.0, 100.0, 960.0
MINUTE, HOUR, DAY = 60, 3600, 86400
_STEPS = (
    5, 10, 30, MINUTE, 2 * MINUTE, 5 * MINUTE, 10 * MINUTE, 30 * MINUTE,
    HOUR, 2 * HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR, DAY, 2 * DAY, 7 * DAY, 14 * DAY, 28 * DAY,
)  # fmt: skip


class Axis(Struct, frozen=True):
    """Times from ``begin`` to ``end`` on the drawing's width."""

    begin: datetime
    end: datetime

    @property
    def seconds(self) -> float:
        return (self.end - self.begin).total_seconds()

    def x(self, t: datetime) -> float:
        """Where ``t`` is, held inside the drawing."""
        part = (t - self.begin).total_seconds() / self.seconds
        return LEFT + min(1.0, max(0.0, part)) * (WIDTH - LEFT - RIGHT)

    def holds(self, t: datetime | None) -> bool:
        return t is not None and self.begin <= t <= self.end


def axis_of(snapshot: Snapshot) -> Axis:
    """From the first sight to now; never shorter than a second."""
    starts = [t for t in (snapshot.began_at, snapshot.change_at) if t is not None]
    starts += [p.at for p in snapshot.shares[:1]] + [j.at for j in snapshot.changes[:1]]
    begin = min(starts, default=snapshot.now)
    return Axis(min(begin, snapshot.now - timedelta(seconds=1)), snapshot.now)


def ticks(axis: Axis, most: int = 8) -> list[datetime]:
    """Round local times inside the axis, at most ``most`` or so."""
    step = next((s for s in _STEPS if axis.seconds / s <= most), _STEPS[-1])
    first = axis.begin.astimezone()
    midnight = first.replace(hour=0, minute=0, second=0, microsecond=0)
    count = int((first - midnight).total_seconds() // step) + 1
    found: list[datetime] = []
    while (tick := midnight + timedelta(seconds=count * step)) <= axis.end and len(found) < 4 * most:
        found.append(tick)
        count += 1
    return found


def time_labels(axis: Axis, y: float, height: float) -> Html:
    """Ticks below ``y``: thin lines upwards over ``height``, the clock, the date where it changes."""
    parts: list[Html] = []
    day = None
    for tick in ticks(axis):
        x = axis.x(tick)
        local = tick.astimezone()
        parts.append(leaf("line", x1=x, x2=x, y1=y - height, y2=y + 4, class_="grid"))
        clock = local.strftime("%H:%M:%S" if axis.seconds < 20 * MINUTE else "%H:%M")
        if axis.seconds < 14 * DAY:
            parts.append(el("text", clock, x=x, y=y + 17, class_="tick mid"))
        if local.date() != day:
            parts.append(el("text", local.strftime("%m-%d"), x=x, y=y + 31, class_="tick mid strong"))
            day = local.date()
    return join(parts)


def markers(axis: Axis, snapshot: Snapshot, words: Words, top: float, bottom: float) -> Html:
    """Lines at the change (solid) and at the horizon (dotted), each with its word above."""
    places = {
        kind: axis.x(t)
        for kind, t in (("change", snapshot.change_at), ("horizon", snapshot.horizon))
        if t is not None and axis.holds(t)
    }
    close = len(places) == 2 and abs(places["change"] - places["horizon"]) < 90
    parts = []
    for kind, x in places.items():
        before = x == min(places.values()) if close else x > WIDTH - 118
        parts.append(leaf("line", x1=x, x2=x, y1=top - 6, y2=bottom, class_=f"marker {kind}"))
        side = "end" if before else "start"
        parts.append(
            el("text", words(f"mark.{kind}"), x=x + (-5 if before else 5), y=top, class_=f"mark {side}")
        )
    return join(parts)
