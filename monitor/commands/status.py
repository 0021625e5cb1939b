"""``mxcutover status``: the verdict, from the journal."""

from __future__ import annotations

import json
from pathlib import Path

import click

from monitor.commands.replay import sentence
from monitor.exits import BY_VERDICT
from monitor.verdict.output import as_json


@click.command(epilog="Example: mxcutover status && echo retire it")
@click.argument("journal", type=click.Path(path_type=Path), default=Path("cutover.journal"))
@click.option("--json", "as_object", is_flag=True, help="One JSON object.")
def status(journal: Path, as_object: bool) -> int:
    """Print the verdict of now, from JOURNAL (default: cutover.journal).

    Exit 0 only when it is safe; 10 not yet, 20 alarm or regressed, 30 blind.
    """
    from monitor.following import read

    snapshot, _ = read(journal)
    judgement = snapshot.judgement
    print(
        json.dumps(as_json(judgement, loose_ends=True), ensure_ascii=False)
        if as_object
        else sentence(judgement)
    )
    return BY_VERDICT[judgement.verdict]
