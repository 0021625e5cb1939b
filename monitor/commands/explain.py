"""``mxcutover explain``: the evidence behind each state, what it takes, and what to do now."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from monitor.exits import BY_VERDICT, Exit, Failure
from monitor.verdict.model import REQUIREMENTS, RequirementName

if TYPE_CHECKING:
    from probes.observation import Observation

SENDERS = "senders"


class Moment(click.ParamType[datetime]):
    """RFC 3339, or a local time with or without its date."""

    name = "time"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        text = str(value).strip()
        for form in ("%H:%M", "%H:%M:%S"):
            try:
                clock = datetime.strptime(text, form).time()
            except ValueError:
                continue
            return datetime.combine(datetime.now().astimezone(), clock).astimezone(UTC)
        try:
            return datetime.fromisoformat(text).astimezone(UTC)
        except (ValueError, OverflowError):
            self.fail(
                f"{text!r} is no time: write 21:30, 2026-11-25 21:30 or 2026-11-25T12:30:00Z", param, ctx
            )


@click.command(epilog="Example: mxcutover explain quiet --at 21:30")
@click.argument("requirement", required=False)
@click.argument("journal", type=click.Path(path_type=Path), required=False)
@click.option("--at", type=Moment(), help="A moment of the past: 21:30, 2026-11-25 21:30.")
@click.option("--all", "everything", is_flag=True, help="Every observation, not the first few.")
@click.option("--json", "as_object", is_flag=True, help="One JSON object, with all of them.")
@click.option("--language", type=click.Choice(["en", "ja"]), default="en", show_default=True)
def explain(
    requirement: str | None, journal: Path | None, at: datetime | None, everything: bool, as_object: bool,
    language: Literal["en", "ja"],
) -> int:  # fmt: skip
    """Say why REQUIREMENT (default: each) is in its state, from JOURNAL.

    Shows what was seen, what it takes and what to do now. With --at: the verdict of that
    moment, and what would have been lost had the old server been switched off then.

    "senders" in place of REQUIREMENT lists earlier correspondents: on new, still on old,
    silent, and when each is due. JOURNAL (default: cutover.journal) may be an export.
    """
    from monitor.explain.build import explain as explained
    from monitor.explain.show import document, lines, senders
    from probes.observation import now

    names, journal = _wanted(requirement, journal)
    seen, live = _observations(journal)
    found = explained(seen, at or (now() if live or not seen else seen[-1].at), names)
    if found is None:
        when = "" if at is None else f" as of {at:%Y-%m-%d %H:%M:%SZ}"
        raise Failure(f"{journal} holds no plan{when}", Exit.BAD_DATA)
    if as_object:
        print(json.dumps(document(found), ensure_ascii=False))
    else:
        width = max(40, shutil.get_terminal_size((100, 24)).columns)
        if requirement == SENDERS:
            text = senders(found, language, width)
        else:
            text = lines(found, language, width, everything=everything)
        print("\n".join(text))
    return BY_VERDICT[found.judgement.verdict]


def _wanted(requirement: str | None, journal: Path | None) -> tuple[tuple[RequirementName, ...], Path]:
    """Which requirements, and the journal; a lone word that is no requirement is the journal."""
    if requirement is None or requirement == SENDERS:
        return (), journal or Path("cutover.journal")
    if requirement in REQUIREMENTS:
        names: tuple[RequirementName, ...] = (requirement,)
        return names, journal or Path("cutover.journal")
    if journal is None and Path(requirement).exists():
        return (), Path(requirement)
    raise click.UsageError(
        f"{requirement!r} is no requirement and no file: write {', '.join((*REQUIREMENTS, SENDERS))}"
    )


def _observations(path: Path) -> tuple[list[Observation], bool]:
    """In order of time, of a journal (which is judged at this moment) or of its export (at its end)."""
    from monitor.journal import JournalReader
    from monitor.recording import read

    if path.is_file():
        with path.open("rb") as file:
            if file.read(1).lstrip() in (b"{", b""):
                return read(path), False
    with JournalReader(path) as reader:
        seen = [one for batch in reader.batches() for one in batch.observations]
    return sorted(seen, key=lambda one: one.at), True
