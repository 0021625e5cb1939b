"""``mxcutover status``: the verdict, from the journal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from monitor.commands.replay import sentence
from monitor.exits import BY_VERDICT
from monitor.verdict.output import as_json
from probes.observation import stamp

if TYPE_CHECKING:
    from monitor.snapshot import StragglerRow


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
    if as_object:
        fields = as_json(judgement, loose_ends=True) | {
            "stragglers": list(map(_straggler, snapshot.stragglers))
        }
        print(json.dumps(fields, ensure_ascii=False))
    else:
        print(sentence(judgement))
    return BY_VERDICT[judgement.verdict]


def _straggler(row: StragglerRow) -> dict[str, str | None]:
    """A message that old took since the change and new lacks; text from outside as it came."""
    return {
        "accepted_at": stamp(row.accepted_at), "recipient": row.recipient, "message_id": row.message_id,
        "client": row.client, "helo": row.helo, "queue_id": row.queue_id,
    }  # fmt: skip
