"""The one-line widgets at the top and the bottom of the screen."""

from __future__ import annotations

from textual.strip import Strip
from textual.widget import Widget

from monitor.dashboard.overview import badge
from monitor.dashboard.scene import Scene, age, tell
from monitor.dashboard.text import Line, clean, spread, strip_of, width_of
from monitor.wording import Language

VIEWS = ("overview", "dns", "canaries", "oldhost", "accounts", "log")


class Bar(Widget):
    """One line, set from outside; redrawn only when it reads differently."""

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self._line: Line = []

    def say(self, line: Line) -> None:
        if line != self._line:
            self._line = line
            self.refresh()

    def render_line(self, y: int) -> Strip:
        return strip_of(self._line, self.size.width).apply_style(self.rich_style)


class Words:
    """``ui`` texts of one language, for what is drawn without a scene."""

    def __init__(self, language: Language) -> None:
        self.language = language

    def __call__(self, code: str, /, **args: object) -> str:
        return tell(f"ui.{code}", args, self.language)


def header(scene: Scene, width: int, frozen_for: float | None) -> Line:
    """Whose move this is, the verdict, and how old the evidence is: on every view."""
    domain = scene.snapshot.plan.domain.rstrip(".")
    left: Line = [(" mxcutover ", "key"), (clean(domain) + " ", "bold"), *badge(scene)]
    return spread(
        left, [*_frozen(scene, frozen_for), *_age(scene), (f"  {scene.clock(scene.now)} ", "bold")], width
    )


def _frozen(scene: Scene, seconds: float | None) -> Line:
    if seconds is None:
        return []
    return [(f" {scene.ui('frozen', age=age(seconds))} ", "info.badge"), (" ", "")]


def _age(scene: Scene) -> Line:
    at = scene.snapshot.evidence_at
    if at is None:
        return [(f" ! {scene.ui('evidence.none')} ", "warn.badge")]
    text = scene.ui("evidence", age=scene.since(at))
    return [(f" ! {text} ", "warn.badge")] if scene.stale() else [(text, "dim")]


def footer(ui: Words, width: int, here: str, more: bool) -> Line:
    """The keys; the view one is in stands out in reverse."""
    line: Line = [(" ", "")]
    for number, name in enumerate(VIEWS, 1):
        label = ui(f"view.{name}")
        if name == here:
            line += [(f" {number} {label} ", "here")]
        else:
            line += [(f" {number}", "key"), (f" {label} ", "")]
    return spread(line, _keys(ui, width - width_of(line), more), width)


def _keys(ui: Words, room: int, more: bool) -> Line:
    """As many of the other keys as there is room for, help and quit before all others."""
    wanted = [
        ("q", "quit"),
        ("?", "help"),
        *([("↓", "more")] if more else []),
        ("/", "filter"),
        ("s", "freeze"),
    ]
    line: Line = []
    for key, name in wanted:
        part: Line = [(key, "key"), (f" {ui(f'do.{name}')} ", "dim")]
        if width_of(line) + width_of(part) > room:
            part = [(f"{key} ", "key")]
        if width_of(line) + width_of(part) <= room:
            line = [*part, *line]
    return line
