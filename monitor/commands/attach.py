"""``mxcutover attach``: the dashboard on a journal that another process writes."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from monitor.exits import Exit


@click.command(epilog="Example: mxcutover attach cutover.journal")
@click.argument("journal", type=click.Path(path_type=Path), default=Path("cutover.journal"))
@click.option("--language", type=click.Choice(["en", "ja"]), default="en", help="Of the screens.")
def attach(journal: Path, language: Literal["en", "ja"]) -> int:
    """Open the dashboard on JOURNAL, read-only (default: cutover.journal)."""
    from monitor.dashboard.app import Dashboard
    from monitor.following import JournalFeed
    from monitor.journal import JournalReader

    with JournalReader(journal) as reader:
        reader.plan()  # what cannot be read is said here, not on a screen
    Dashboard(JournalFeed(journal), language=language).run()
    return Exit.OK
