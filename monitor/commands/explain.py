"""``mxcutover explain``: why the verdict is what it is, down to the observations."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import click

from monitor.exits import Exit, Failure
from monitor.printable import printable
from monitor.verdict.model import REQUIREMENTS
from probes.observation import Observation

TOPICS = (*REQUIREMENTS, "senders")
SQLITE = b"SQLite format 3\x00"
JOURNAL = Path("cutover.journal")


@click.command(epilog="Example: mxcutover explain quiet --at 2026-11-21T06:00Z")
@click.argument("words", nargs=-1, metavar="[REQUIREMENT] [FILE]")
@click.option("--at", "moment", metavar="TIME", help="As it was then (RFC 3339; without a zone: UTC).")
@click.option("--json", "as_one", is_flag=True, help="One JSON object.")
@click.option("--language", type=click.Choice(("en", "ja")), default="en", show_default=True)
def explain(words: tuple[str, ...], moment: str | None, as_one: bool, language: str) -> None:
    """Say why: each state with its evidence, what would meet it, and what to do now.

    REQUIREMENT: authority, horizon, resolvers, canaries, quiet, stragglers, arrivals, or senders for the
    ledger of correspondents. FILE: a journal, a plan or a record (default: cutover.journal). Also tells
    which messages would have been lost, had the old server been switched off then (else: at the change).
    """
    from monitor.explain.build import explain as build
    from monitor.explain.text import as_object, lines

    topic, path = _which(words)
    at = _moment(moment)
    found = build(_observations(path), at)
    if found is None:
        then = f" as of {moment}" if moment else ""
        raise Failure(f"{path} holds no plan{then}; its first observation must be one", Exit.BAD_DATA)
    if as_one:
        print(json.dumps(as_object(found, topic, language), ensure_ascii=False))  # type: ignore[arg-type]
    else:
        print("\n".join(lines(found, topic, language)))  # type: ignore[arg-type]


def _which(words: tuple[str, ...]) -> tuple[str | None, Path]:
    topics = [word for word in words[:1] if word in TOPICS]
    rest = words[len(topics) :]
    if len(rest) > 1:
        raise click.UsageError(
            f"{printable(rest[0])!r} is no requirement: name one of {', '.join(TOPICS)}, then one file"
        )
    if rest and not topics and not Path(rest[0]).exists() and not os.path.splitext(rest[0])[1]:  # noqa: PTH122
        raise click.UsageError(
            f"{printable(rest[0])!r} is neither a file nor one of {', '.join(TOPICS)}; name one of them"
        )
    return (topics[0] if topics else None), (Path(rest[0]) if rest else JOURNAL)


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text)
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise click.BadParameter(
            f"{printable(text)!r} is no time; write 2026-11-21T06:00:00Z", param_hint="--at"
        ) from None


def _observations(path: Path) -> Iterator[Observation]:
    """In order of time. Raises ``Failure`` 65, 74 or 78."""
    if path.suffix == ".toml":
        from monitor.plan.load import journal_of

        path = journal_of(path)
    if _is_record(path):
        from monitor.recording import ordered

        yield from ordered(path)
        return
    from monitor.journal import JournalReader
    from monitor.recording import by_time

    with JournalReader(path) as reader:
        yield from by_time(reader.observations())


def _is_record(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return not file.read(len(SQLITE)).startswith(SQLITE[:6])
    except FileNotFoundError:
        raise Failure(f"there is no {path}; mxcutover watch starts a journal", Exit.IO) from None
    except OSError as error:
        raise Failure(f"{path} cannot be read: {error.strerror}", Exit.IO) from None
