"""One call of ``mxcutover dns`` from its first question to its exit code."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import click
from msgspec import Struct

from monitor.exits import Exit
from monitor.glance.document import document
from monitor.glance.document import line as json_line
from monitor.glance.following import Cadence, Watching
from monitor.glance.judge import picture
from monitor.glance.known import Known, Resolver
from monitor.glance.picture import Picture
from monitor.glance.question import Asked
from monitor.glance.show import JsonLines, Lines, Out, Progress, Screen, screen, whole
from monitor.glance.survey import Survey
from monitor.watch.pace import PLATFORM_GAP
from monitor.wording import Language, say
from probes.dns.catalogue import entries_of, public
from probes.dns.exchange import Exchange
from probes.endpoints import Endpoints
from probes.observation import now

BY_RESULT = {"holds": Exit.OK, "differs": Exit.NOT_YET, "unknown": Exit.BLIND}


class Wanted(Struct, frozen=True, kw_only=True):
    """What the command line says. ``floor``: seconds between two questions to one address at least;
    ``timeout``: seconds for one question."""

    asked: Asked
    resolvers: tuple[Resolver, ...]
    quorum: float
    watch: bool
    as_json: bool
    language: Language
    floor: float
    timeout: float
    hints: tuple[str, ...]
    endpoints: Mapping[str, str]
    ca_file: Path | None


def chosen(more: Sequence[str], only: Sequence[str]) -> tuple[Resolver, ...]:
    """The bundled list's default and ``more``, or ``only`` these: ids as a plan has them."""
    ids = dict.fromkeys([*(only or [entry.id for entry in public()]), *more])
    return tuple(map(resolver_of, ids))


def resolver_of(id_: str) -> Resolver:
    """With what the bundled list knows of it. Whose caches a stranger's are is not known: it counts as a
    platform of its own."""
    entry = next(iter(entries_of(id_)), None)
    if entry is None:
        return Resolver(id=id_, platform=id_, operator="")
    return Resolver(
        id=id_, platform=entry.platform, operator=entry.operator, country=entry.country,
        filtering=entry.filtering,
    )  # fmt: skip


def run(wanted: Wanted) -> int:
    """Ask, print, and return the exit code."""
    return asyncio.run(_run(wanted))


async def _run(wanted: Wanted) -> int:
    known = Known(wanted.asked, wanted.resolvers, wanted.quorum)
    endpoints = Endpoints(wanted.endpoints)
    exchange = Exchange(endpoints, ca_file=wanted.ca_file)
    gap = min(PLATFORM_GAP, wanted.floor / 4)
    try:
        survey = Survey(known, exchange, endpoints, wanted.hints, gap=gap, timeout=wanted.timeout)
        return await (_watch(wanted, survey) if wanted.watch else _once(wanted, survey))
    finally:
        await exchange.close()


async def _once(wanted: Wanted, survey: Survey) -> int:
    await _first(wanted, survey)
    seen = picture(survey.known, now())
    return _end(wanted, seen, _code(wanted, seen), say("dns.hint.once", {}, wanted.language))


async def _first(wanted: Wanted, survey: Survey) -> None:
    """Everybody once, with a line of progress where somebody waits."""
    progress = Progress(wanted.language, survey.known)
    survey.told = progress.told
    progress.told()
    try:
        await survey.once()
    finally:
        progress.end()


def _code(wanted: Wanted, seen: Picture) -> Exit:
    if wanted.asked.expected is None and not wanted.watch:
        heard = seen.counts.authorities_heard + seen.counts.addresses_heard
        return Exit.OK if heard else Exit.BLIND
    return BY_RESULT[seen.result]


def _end(wanted: Wanted, seen: Picture, code: Exit, hint: str) -> int:
    """The whole of it on standard output."""
    click.echo(json_line(document(seen, code)) if wanted.as_json else whole(seen, wanted.language, hint))
    return code


async def _watch(wanted: Wanted, survey: Survey) -> int:
    stop, got = asyncio.Event(), list[int]()
    with _signals(stop, got):
        first = asyncio.ensure_future(_first(wanted, survey))
        stopped = asyncio.ensure_future(stop.wait())
        await asyncio.wait([first, stopped], return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if not first.done():
            first.cancel()
            await asyncio.gather(first, return_exceptions=True)
        else:
            first.result()
        seen = await _follow(wanted, survey, stop)
    code = Exit.INTERRUPTED if signal.SIGINT in got else _at_end(seen)
    hint = "" if seen.over else say("dns.stopped", {}, wanted.language)
    return _end(wanted, seen, code, hint)


def _at_end(seen: Picture) -> Exit:
    """Of a watch that was told to end before everybody agreed, it can't be said that it holds."""
    code = BY_RESULT[seen.result]
    return Exit.BLIND if code is Exit.OK and not seen.over else code


async def _follow(wanted: Wanted, survey: Survey, stop: asyncio.Event) -> Picture:
    """Raises ``OSError`` where its output goes nowhere any more."""
    out = Out(stop)
    with contextlib.ExitStack() as stack:
        shown = _shown(wanted, survey.known, out, stack)
        survey.told = shown.told
        seen = await Watching(survey, Cadence.faster(wanted.floor), shown.show, stop).run()
    if out.error is not None:
        raise out.error
    return seen


def _shown(wanted: Wanted, known: Known, out: Out, stack: contextlib.ExitStack) -> Lines | JsonLines | Screen:
    if wanted.as_json:
        return JsonLines(out)
    if not screen():
        return Lines(wanted.language, out)
    shown = Screen(wanted.language, known, out)
    stack.enter_context(shown.open())
    return shown


@contextlib.contextmanager
def _signals(stop: asyncio.Event, got: list[int]) -> Iterator[None]:
    """SIGINT and SIGTERM end the watch in good order."""
    loop = asyncio.get_running_loop()

    def told(number: int) -> None:
        got.append(number)
        stop.set()

    numbers = (signal.SIGINT, signal.SIGTERM)
    for number in numbers:
        loop.add_signal_handler(number, told, number)
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)
