"""The two widgets that draw: a table of rows rendered only where seen, and a sheet of lines.

Both use Textual's line API with a frame of their own. On a tick they compose the visible lines again
and repaint only those that came out different, so a quiet screen costs nothing on the wire.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from msgspec import Struct
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from monitor.dashboard.scene import Scene
from monitor.dashboard.text import (
    Align,
    Line,
    Part,
    bottom_edge,
    crop,
    fit,
    strip_of,
    top_edge,
    wrap,
)
from monitor.snapshot import Snapshot


class Pane(ScrollView, can_focus=True):
    """Scrolls ``lines()`` of content between a fixed top and bottom."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j", "scroll_down", show=False),
        Binding("k", "scroll_up", show=False),
        Binding("g", "scroll_home", show=False),
        Binding("G", "scroll_end", show=False),
        Binding("space", "page_down", show=False),
        Binding("left,h", "app.pane(-1)", show=False),
        Binding("right,l", "app.pane(1)", show=False),
    ]
    top, bottom = 0, 0  # fixed lines above and below what scrolls

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self.scene: Scene | None = None
        self._painted: dict[int, Strip] = {}
        self._painted_for: tuple[object, ...] = ()

    def show(self, scene: Scene) -> None:
        """Draw this picture; lines that look the same as before are left alone."""
        changed = self.scene is None or scene.snapshot is not self.scene.snapshot
        self.scene = scene
        if changed:
            self.take(scene)
        self.measure()
        self._drop_outdated()
        for y in range(self.size.height):
            strip = self._compose_line(y)
            if strip != self._painted.get(y):
                self._painted[y] = strip
                self.refresh(Region(0, y, self.size.width, 1))

    def take(self, scene: Scene) -> None:
        """Prepare for a snapshot that was not shown before."""

    def measure(self) -> None:
        """Tell Textual how much there is to scroll."""
        size = Size(self.size.width, self.lines() + self.top + self.bottom)
        if size != self.virtual_size:
            self.virtual_size = size

    def lines(self) -> int:
        """How many lines there are to scroll through."""
        return 0

    def line(self, index: int) -> Line:
        """One line of the content, by its place in the whole."""
        return []

    def edge(self, y: int) -> Line | None:
        """A fixed line at screen line ``y``, or None where content scrolls."""
        return None

    def more(self) -> bool:
        """Whether not everything fits on the screen."""
        return bool(self.max_scroll_y)

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        return self.lines() + self.top + self.bottom

    def on_resize(self) -> None:
        if self.scene is not None:
            self.show(self.scene)

    def _drop_outdated(self) -> None:
        key = (self.size, self.scroll_offset.y, self.has_focus)
        if key != self._painted_for:
            self._painted.clear()
            self._painted_for = key

    def _compose_line(self, y: int) -> Strip:
        width = self.size.width
        line: Line | None = []
        if self.scene is not None:
            line = self.edge(y)
            if line is None:
                line = self.line(y - self.top + self.scroll_offset.y)
        return strip_of(line or [], width).apply_style(self.rich_style)

    def render_line(self, y: int) -> Strip:
        self._drop_outdated()
        if y not in self._painted:
            self._painted[y] = self._compose_line(y)
        return self._painted[y]


class Sheet(Pane):
    """Lines from one drawing function; drawn anew on each tick, so it is for a screenful or two."""

    def __init__(self, draw: Callable[[Scene, int, int], list[Line]], *, id: str) -> None:
        super().__init__(id=id)
        self._draw = draw
        self._lines: list[Line] = []

    def measure(self) -> None:
        if self.scene is not None and self.size.width:
            self._lines = self._draw(self.scene, self.size.width, self.size.height)
        super().measure()

    def lines(self) -> int:
        return len(self._lines)

    def line(self, index: int) -> Line:
        return self._lines[index] if index < len(self._lines) else []


class Column(Struct, frozen=True, kw_only=True):
    """One column: its title's code, its width in cells, and what it shows of a row.

    ``flex``: its part of the room that is left over, up to ``most`` cells. ``keep``: dropped on screens
    narrower than this.
    """

    title: str
    width: int
    cell: Callable[[Any, Scene], Part]
    flex: int = 0
    most: int = 80
    keep: int = 0
    align: Align = "left"


class Table(Struct, frozen=True, kw_only=True):
    """What a :class:`LineTable` shows. ``find``: the text of a row that a filter looks through."""

    columns: tuple[Column, ...]
    rows: Callable[[Snapshot], Sequence[Any]]
    title: Callable[[Scene], Line]
    find: Callable[[Any], str]
    empty: str


class LineTable(Pane):
    """A framed table. Only the rows on the screen are ever turned into text."""

    top, bottom = 2, 1

    def __init__(self, table: Table, *, id: str) -> None:
        super().__init__(id=id)
        self.table = table
        self.wanted = ""
        self._rows: Sequence[Any] = ()
        self._total = 0

    def take(self, scene: Scene) -> None:
        rows = self.table.rows(scene.snapshot)
        self._total = len(rows)
        find, wanted = self.table.find, self.wanted
        self._rows = [row for row in rows if wanted in find(row).casefold()] if wanted else rows

    def filter(self, wanted: str) -> None:
        """Show only rows with this text in them; "" shows all."""
        self.wanted = wanted.casefold()
        self.scroll_to(y=0, animate=False)
        if self.scene is not None:
            self.take(self.scene)
            self.show(self.scene)

    def lines(self) -> int:
        return max(1, len(self._rows))

    def line(self, index: int) -> Line:
        if index >= len(self._rows):
            return self._framed(self._nothing() if index == 0 else [])
        return self._framed(self.row_line(self._rows[index]))

    @property
    def _gap(self) -> str:
        return " " * gap(self.size.width - 4)

    def row_line(self, row: Any) -> Line:
        """One row's cells. The table's cost: called for visible rows only."""
        assert self.scene is not None
        line: Line = []
        for column, width in layout(self.table.columns, self.size.width - 4):
            text, style = column.cell(row, self.scene)
            line += [(fit(text, width, column.align), style), (self._gap, "")]
        return line[:-1]

    def edge(self, y: int) -> Line | None:
        width, style = self.size.width, "focus" if self.has_focus else "frame"
        assert self.scene is not None
        if y == 0:
            return top_edge(self._title(self.scene), width, style)
        if y == 1:
            return self._framed(self._head(self.scene))
        if y == self.size.height - 1:
            return bottom_edge(self._place(), width, style)
        return None

    def _title(self, scene: Scene) -> Line:
        mark: Line = [(f"  /{self.wanted}", "warn")] if self.wanted else []
        return [*self.table.title(scene), *mark]

    def _head(self, scene: Scene) -> Line:
        line: Line = []
        for column, width in layout(self.table.columns, self.size.width - 4):
            line += [(fit(scene.ui(column.title), width, column.align), "head"), (self._gap, "")]
        return line[:-1]

    def _framed(self, line: Line) -> Line:
        style = "focus" if self.has_focus else "frame"
        return [("│ ", style), *crop(line, self.size.width - 4), (" │", style)]

    def _nothing(self) -> Line:
        assert self.scene is not None
        code = "empty.filter" if self.wanted and self._total else self.table.empty
        return [(wrap(self.scene.ui(code), max(8, self.size.width - 4), 1)[0], "dim")]

    def _place(self) -> str:
        shown, rows = self.size.height - self.top - self.bottom, len(self._rows)
        if rows == self._total and rows <= shown:
            return ""
        first = self.scroll_offset.y + 1
        of = f"{rows}" if rows == self._total else f"{rows} ({self._total})"
        return f"{min(first, rows)}–{min(rows, first + shown - 1)} / {of}"


def layout(columns: Sequence[Column], width: int) -> list[tuple[Column, int]]:
    """The columns that have room, each with its width."""
    kept = [column for column in columns if width + 4 >= column.keep]
    spare = width + gap(width) - sum(column.width + gap(width) for column in kept)
    flex = sum(column.flex for column in kept) or 1
    return [(c, min(max(c.most, c.width), c.width + max(0, spare) * c.flex // flex)) for c in kept]


def gap(width: int) -> int:
    """Cells between two columns."""
    return 1 if width < 96 else 2


def heading(text: str, *notes: str | Part) -> Line:
    """A frame's title: the name, then notes in a quieter voice."""
    line: Line = [(text, "title")]
    for note in notes:
        text, style = (note, "dim") if isinstance(note, str) else note
        if text:
            line += [("  ", ""), (text, style)]
    return line
