"""Where it is shown: whole at the end; while watching, as lines for a pipe or on a whole terminal."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import sys
from collections.abc import Iterator

import click

from monitor.glance.document import change as change_document
from monitor.glance.document import line as json_line
from monitor.glance.known import Known, Resolver
from monitor.glance.page import headline, page, sentence
from monitor.glance.picture import Picture
from monitor.glance.said import Change, Said, Track
from monitor.glance.text import Line, paint, wrap
from monitor.printable import printable
from monitor.wording import Language, say
from probes.observation import now, stamp
from probes.sight import Server

LEAST, USUAL, MOST = 60, 80, 200
_CLEAR_LINE, _CLEAR_BELOW, _HOME = "\x1b[K", "\x1b[J", "\x1b[H"
_ENTER, _LEAVE = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"


def coloured() -> bool:
    """Whether standard output may have colour (https://no-color.org)."""
    return screen() and not os.environ.get("NO_COLOR")


def screen() -> bool:
    """Whether standard output is a terminal that can be written to anywhere."""
    return sys.stdout.isatty() and os.environ.get("TERM", "dumb") not in ("dumb", "")


def width() -> int:
    columns = shutil.get_terminal_size((USUAL, 24)).columns if sys.stdout.isatty() else USUAL
    return min(max(columns, LEAST), MOST)


def whole(picture: Picture, language: Language, hint: str) -> str:
    """All of it, for a terminal or a pipe."""
    lines = page(picture, width(), language)
    if hint:
        lines += [[], *([(line, "dim")] for line in wrap(hint, width()))]
    return "\n".join(paint(lines, width(), coloured()))


class Out:
    """Standard output while watching. Where it can't be written to any more, that is kept in ``error`` and
    ``stop`` is set: a task that asks is no place to fail in."""

    def __init__(self, stop: asyncio.Event) -> None:
        self._stop = stop
        self.error: OSError | None = None

    def write(self, text: str, *, nl: bool = True) -> None:
        try:
            click.echo(text, nl=nl)
        except OSError as error:
            self.error = error
            self._stop.set()


class Lines:
    """A watch on a pipe: one line a change, and one whenever the whole is judged otherwise."""

    def __init__(self, language: Language, out: Out) -> None:
        self._language, self._out = language, out
        self._result = ""

    def told(self, who: Server | Resolver, change: Change | None) -> None:
        if change is not None and worth_a_line(who, change):
            self._out.write(f"{stamp(now())} {called(who, change.after)}: {self._was(change)}")

    def show(self, picture: Picture) -> None:
        if picture.result != self._result:
            self._result = picture.result
            reasons = "; ".join(sentence(r, picture.at, self._language) for r in picture.reasons)
            self._out.write(f"{stamp(picture.at)} {headline(picture, self._language)}: {reasons}")

    def _was(self, change: Change) -> str:
        before = f"{self._word(change.before)} -> " if change.before is not None else ""
        return before + self._word(change.after)

    def _word(self, said: Said) -> str:
        if not said.heard or said.outcome in ("nodata", "nxdomain"):
            return say(f"dns.outcome.{said.outcome}", {}, self._language)
        if said.outcome == "alias":
            return say("dns.alias.of", {"name": said.alias}, self._language)
        return f"{printable(', '.join(said.rrset))} ({say('dns.ttl', {'ttl': said.ttl}, self._language)})"


class JsonLines:
    """The same as JSON Lines."""

    def __init__(self, out: Out) -> None:
        self._out = out

    def told(self, who: Server | Resolver, change: Change | None) -> None:
        if change is not None and worth_a_line(who, change):
            self._out.write(json_line(change_document(now(), who, change.before, change.after)))

    def show(self, picture: Picture) -> None:
        """What is judged of it all comes at the end."""


def worth_a_line(who: Server | Resolver, change: Change) -> bool:
    """A resolver that falls silent or speaks again without saying anything new is no change."""
    if isinstance(who, Server):
        return True
    return change.after.heard and (change.before is None or change.before.key != change.after.key)


def called(who: Server | Resolver, said: Said) -> str:
    name, at = (who.name, who.address) if isinstance(who, Server) else (who.operator, who.id)
    cache = f" ({said.cache})" if said.cache else ""
    return printable(f"{name} {at}{cache}".strip())


class Screen:
    """A watch on a terminal: the page as large as the screen, drawn anew when something is different."""

    def __init__(self, language: Language, known: Known, out: Out) -> None:
        self._language, self._known, self._out = language, known, out
        self._drawn: list[str] = []

    def told(self, who: Server | Resolver, change: Change | None) -> None:
        """It is all in the next picture."""

    def show(self, picture: Picture) -> None:
        size = shutil.get_terminal_size((USUAL, 24))
        across, down = max(size.columns, 20), max(size.lines, 4)
        body = page(picture, across, self._language, down - 1)
        body += [Line()] * (down - 1 - len(body))
        asked = sum(track.asked for track in self._tracks())
        counts = picture.counts
        settled = {"asked": asked, "settled": counts.addresses_settled, "of": counts.addresses_heard}
        hint = say("dns.hint.watch", settled, self._language)
        lines = paint([*body, [(hint, "dim")]], across, coloured())
        if lines != self._drawn:
            self._drawn = lines
            # cleared before and not after: a full line's last character would go with it
            text = "\n".join(_CLEAR_LINE + line for line in lines)
            self._out.write(_HOME + text + _CLEAR_BELOW, nl=False)

    def _tracks(self) -> list[Track]:
        return [*self._known.of_authorities.values(), *self._known.of_resolvers.values()]

    @contextlib.contextmanager
    def open(self) -> Iterator[None]:
        """The terminal's other screen, without a cursor and without echo; at the end all as it was."""
        with _no_echo():
            self._out.write(_ENTER, nl=False)
            try:
                yield
            finally:
                self._out.write(_LEAVE, nl=False)


@contextlib.contextmanager
def _no_echo() -> Iterator[None]:
    """What is typed is not shown; signals stay as they are."""
    try:
        import termios

        before = termios.tcgetattr(sys.stdin.fileno())
    except (ImportError, OSError, ValueError):
        yield
        return
    quiet = [*before[:3], before[3] & ~(termios.ECHO | termios.ICANON), *before[4:]]
    termios.tcsetattr(sys.stdin.fileno(), termios.TCSADRAIN, quiet)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin.fileno(), termios.TCSAFLUSH, before)


class Progress:
    """One line on standard error while a person waits, and nothing of it in the end."""

    def __init__(self, language: Language, known: Known) -> None:
        self._language, self._known = language, known
        self._on = sys.stderr.isatty() and os.environ.get("TERM", "dumb") not in ("dumb", "")

    def told(self, who: Server | Resolver | None = None, change: Change | None = None) -> None:
        if not self._on:
            return
        known = self._known
        heard = sum(track.last is not None for track in known.of_resolvers.values())
        args = {"name": known.asked.name, "authorities": len(known.of_authorities), "heard": heard,
                "of": len(known.resolvers)}  # fmt: skip
        code = "dns.asking" if known.hops else "dns.walking"
        columns = shutil.get_terminal_size((USUAL, 24)).columns - 1
        text = paint([[(say(code, args, self._language), "")]], columns, False)[0]
        click.echo(f"\r{text}{_CLEAR_LINE}", nl=False, err=True)

    def end(self) -> None:
        if self._on:
            click.echo(f"\r{_CLEAR_LINE}", nl=False, err=True)
