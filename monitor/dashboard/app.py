"""The dashboard: draws the newest snapshot twice a second, and does nothing else.

The feed works beside it; whatever becomes of the feed, the screen stays readable and ``q`` quits.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from datetime import timedelta
from typing import ClassVar

from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.events import Resize
from textual.widgets import ContentSwitcher, Input

from monitor.dashboard.accounts import ACCOUNTS
from monitor.dashboard.bars import VIEWS, Bar, Words, footer, header
from monitor.dashboard.canaries import LATEST, ROUTES
from monitor.dashboard.dns import AUTHORITIES, RESOLVERS
from monitor.dashboard.feed import Feed, cause
from monitor.dashboard.helpsheet import help_lines
from monitor.dashboard.logbook import LOG
from monitor.dashboard.oldhost import CLIENTS, HITS, hits_chart
from monitor.dashboard.overview import overview
from monitor.dashboard.pane import LineTable, Pane, Sheet
from monitor.dashboard.scene import Scene, age
from monitor.dashboard.theme import THEME
from monitor.printable import printable
from monitor.snapshot import Snapshot
from monitor.wording import Language

TICK = 0.5  # seconds between two looks at the feed
STALLED = 60.0  # seconds without a new picture before the screen says so
LAST_WORDS = 10.0  # seconds that the feed has to end in when the screen is closed


class Dashboard(App[None]):
    """The Textual app. ``clock`` gives monotonic seconds. ``failure``: what the feed died of, if it did."""

    CSS_PATH = "dashboard.tcss"
    TITLE = "mxcutover"
    ENABLE_COMMAND_PALETTE = False
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (130, "-wide")]  # noqa: RUF012
    VERTICAL_BREAKPOINTS = [(0, "-low"), (34, "-tall")]  # noqa: RUF012
    BINDINGS: ClassVar[list[BindingType]] = [
        *(Binding(str(i), f"view({name!r})", show=False) for i, name in enumerate(VIEWS, 1)),
        Binding("tab", "step(1)", show=False, priority=True),
        Binding("shift+tab", "step(-1)", show=False, priority=True),
        Binding("question_mark", "help", show=False),
        Binding("slash", "filter", show=False),
        Binding("escape", "leave", show=False),
        Binding("s", "freeze", show=False),
        Binding("q", "quit", show=False),
        Binding("ctrl+c", "quit", show=False, priority=True),
    ]

    def __init__(
        self, feed: Feed, *, language: Language = "en", clock: Callable[[], float] = time.monotonic
    ) -> None:
        # With ANSI colours Textual's NO_COLOR filter removes every colour; without, it leaves greys.
        super().__init__(ansi_color=True if os.environ.get("NO_COLOR") else None)
        self.failure: BaseException | None = None
        self._feed, self._clock, self._words = feed, clock, Words(language)
        self._task: asyncio.Task[None] | None = None
        self._ended: str | None = None
        self._snapshot: Snapshot | None = None
        self._taken = clock()
        self._frozen: float | None = None
        self._before_help = VIEWS[0]

    # Building

    def compose(self) -> ComposeResult:
        yield Bar(id="header")
        yield Bar(id="notice")
        with ContentSwitcher(initial=VIEWS[0]):
            with Container(id="overview"):
                yield Sheet(overview, id="overview-sheet")
            with Container(id="dns"):
                yield LineTable(AUTHORITIES, id="authorities")
                yield LineTable(RESOLVERS, id="resolvers")
            with Container(id="canaries"):
                yield LineTable(ROUTES, id="routes")
                yield LineTable(LATEST, id="latest")
            with Container(id="oldhost"):
                yield Sheet(hits_chart, id="hits-chart")
                with Container(id="hits"):
                    yield LineTable(CLIENTS, id="clients")
                    yield LineTable(HITS, id="tail")
            with Container(id="accounts"):
                yield LineTable(ACCOUNTS, id="accounts-table")
            with Container(id="log"):
                yield LineTable(LOG, id="log-table")
            with Container(id="help"):
                yield Sheet(help_lines, id="help-sheet")
        yield Bar(id="footer")
        yield Input(id="filter", compact=True, select_on_focus=False, max_length=200)

    def on_mount(self) -> None:
        self.register_theme(THEME)
        self.theme = THEME.name
        self.animation_level = "none"
        self._task = asyncio.create_task(self._run_feed(), name="feed")
        self.set_interval(TICK, self.tick)
        self.call_after_refresh(self.action_view, VIEWS[0])

    # The feed

    async def _run_feed(self) -> None:
        try:
            await self._feed.run()
        except Exception as error:
            self.failure = error
            self._ended = cause(error)
        else:
            self._ended = ""
        self.tick()

    async def action_quit(self) -> None:
        await self._stop_feed()
        self.exit()

    async def on_unmount(self) -> None:
        await self._stop_feed()

    async def _stop_feed(self) -> None:
        """Cancel the feed and let it end in order: a live watch closes its journal here."""
        task = self._task
        if task is not None and not task.done():
            task.cancel()
            await asyncio.wait({task}, timeout=LAST_WORDS)

    # Drawing

    def tick(self) -> None:
        """Take the newest picture unless frozen, and draw what changed."""
        if not self.is_running:
            return
        self._take()
        scene = self.scene()
        self._notice(scene)
        more = False
        if scene is not None:
            for pane in self.panes():
                pane.show(scene)
                more = more or pane.more()
            frozen = None if self._frozen is None else self._clock() - self._frozen
            self.query_one("#header", Bar).say(header(scene, self.size.width, frozen))
        self.query_one("#footer", Bar).say(footer(self._words, self.size.width, self.here, more))

    def _take(self) -> None:
        if self._frozen is not None:
            return
        try:
            newest = self._feed.snapshot()
        except Exception as error:  # the screen outlives its feed
            self.failure = self.failure or error
            self._ended = cause(error)
            return
        if newest is not None and newest is not self._snapshot:
            self._snapshot, self._taken = newest, self._clock()

    def scene(self) -> Scene | None:
        """The picture and this moment: its own time plus what has passed since it was taken."""
        if self._snapshot is None:
            return None
        until = self._clock() if self._frozen is None else self._frozen
        now = self._snapshot.now + timedelta(seconds=max(0.0, until - self._taken))
        return Scene(snapshot=self._snapshot, now=now, language=self._words.language)

    def _notice(self, scene: Scene | None) -> None:
        """What the reader must know about the picture itself; the line is there only when needed."""
        bar, text = self.query_one("#notice", Bar), self._trouble(scene)
        bar.say([(f" {text}", "info" if scene is None and self._ended is None else "warn.badge"), (" ", "")])
        bar.display = bool(text)

    def _trouble(self, scene: Scene | None) -> str:
        waited = self._clock() - self._taken
        if self._ended is not None:
            code = "feed.failed" if self._ended else "feed.ended"
            return self._words(code, why=self._ended, age=age(waited))
        if scene is None:
            return self._words("waiting", age=age(waited))
        if self._frozen is None and waited > STALLED:
            return self._words("feed.stalled", age=age(waited))
        since = scene.snapshot.intercepted
        return "" if since is None else self._words("intercepted", t=scene.clock(since))

    def on_resize(self, event: Resize) -> None:
        self.call_after_refresh(self.tick)

    # Views

    @property
    def here(self) -> str:
        return self.query_one(ContentSwitcher).current or VIEWS[0]

    def panes(self) -> list[Pane]:
        """The panes of the view on the screen, in reading order."""
        return list(self.query_one(f"#{self.here}").query(Pane))

    def action_view(self, name: str) -> None:
        self.query_one(ContentSwitcher).current = name
        self.panes()[-1 if name in ("dns", "oldhost") else 0].focus()
        self.call_after_refresh(self.tick)

    def action_step(self, by: int) -> None:
        if isinstance(self.focused, Input):
            return
        place = VIEWS.index(self.here) if self.here in VIEWS else -1
        self.action_view(VIEWS[(place + by) % len(VIEWS)])

    def action_pane(self, by: int) -> None:
        """Move to the next pane of this view, so that the arrows scroll it."""
        panes = [pane for pane in self.panes() if pane.id != "hits-chart"]
        place = panes.index(self.focused) if self.focused in panes else 0
        panes[(place + by) % len(panes)].focus()

    def action_help(self) -> None:
        if self.here == "help":
            self.action_view(self._before_help)
        else:
            self._before_help = self.here
            self.action_view("help")

    def action_freeze(self) -> None:
        self._frozen = self._clock() if self._frozen is None else None
        self.tick()

    # Filter

    def action_filter(self) -> None:
        """Ask for a text; the tables of this view show only rows that have it."""
        tables = [pane for pane in self.panes() if isinstance(pane, LineTable)]
        if tables:
            box = self.query_one("#filter", Input)
            box.placeholder = self._words("filter.ask")
            box.value = tables[-1].wanted
            box.display = True
            box.focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        if event.input.display:
            self._narrow(event.value)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        self._close_filter()

    def action_leave(self) -> None:
        """Escape: out of the filter and rid of it, or out of help."""
        if self.here == "help":
            return self.action_help()
        self._close_filter()
        return self._narrow("")

    def _close_filter(self) -> None:
        box = self.query_one("#filter", Input)
        if box.display:
            box.display = False
            self.panes()[-1].focus()

    def _narrow(self, text: str) -> None:
        for pane in self.panes():
            if isinstance(pane, LineTable):
                pane.filter(printable(text, 200))
