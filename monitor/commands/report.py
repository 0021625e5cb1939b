"""``mxcutover report``: the proof to hand on, from the journal."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

if TYPE_CHECKING:
    from monitor.plan.model import CutoverPlan
    from monitor.report.build import Seal
    from monitor.snapshot import Snapshot

DEFAULT_PLAN = Path("cutover.toml")


def moment(context: click.Context, parameter: click.Parameter, value: str | None) -> datetime | None:
    """An RFC 3339 time with its zone."""
    if value is None:
        return None
    try:
        found = datetime.fromisoformat(value)
    except ValueError:
        raise click.BadParameter(f"{value!r} is no time; write 2026-11-20T21:14:07Z") from None
    if found.tzinfo is None:
        raise click.BadParameter(f"{value!r} names no zone; end it with Z or an offset such as +09:00")
    return found.astimezone(UTC)


@click.command(epilog="Example: mxcutover report -o proof && xdg-open proof/report.html")
@click.argument("journal", type=click.Path(path_type=Path), default=Path("cutover.journal"))
@click.option("-o", "--output", "directory", metavar="DIR", type=click.Path(path_type=Path),
              default=Path("report"), show_default=True, help="Where both files go.")  # fmt: skip
@click.option("--language", type=click.Choice(["en", "ja"]), help="Default: the plan's, else English.")
@click.option("--plan", "plan_file", metavar="FILE", type=click.Path(path_type=Path),
              help="The plan, for its TLS exceptions. Default: cutover.toml beside the journal.")  # fmt: skip
@click.option("--at", metavar="TIME", callback=moment, help="Judge as of this time instead of now.")
def report(
    journal: Path,
    directory: Path,
    language: Literal["en", "ja"] | None,
    plan_file: Path | None,
    at: datetime | None,
) -> None:
    """Write the proof from JOURNAL (default: cutover.journal).

    Two files: report.html, one page that asks nobody for anything when opened, and report.json with
    everything the page had to leave out. Prints both paths. Works while a watch writes.
    """
    from monitor.report.build import write_report
    from monitor.report.exceptions import tls_exceptions

    snapshot, seal = pictured(journal, at)
    plan = plan_of(journal, plan_file)
    paths = write_report(
        snapshot,
        directory,
        language=language or (plan.language if plan else "en"),
        seal=seal,
        exceptions=None if plan is None else tls_exceptions(plan),
    )
    for path in paths:
        click.echo(str(path))


def pictured(journal: Path, at: datetime | None) -> tuple[Snapshot, Seal]:
    """The picture at ``at`` (None: now) and the last batch it rests on. Raises ``Failure`` 65 or 74."""
    from monitor.following import read
    from monitor.report.build import Seal

    snapshot, last = read(journal, at)
    return snapshot, Seal(batches=last.number, sha256=last.digest.hex())


def plan_of(journal: Path, plan_file: Path | None) -> CutoverPlan | None:
    """The plan file that was named, or the journal's own beside it; None where that is not to be read."""
    from monitor.exits import Failure
    from monitor.plan.load import journal_of, load

    if plan_file is not None:
        return load(plan_file)
    beside = journal.parent / DEFAULT_PLAN
    try:
        if beside.is_file() and journal_of(beside).resolve() == journal.resolve():
            return load(beside)
    except Failure as failure:
        click.echo(f"mxcutover: the report leaves out the TLS exceptions: {failure}", err=True)
    return None
