"""``mxcutover replay``: a recorded cutover, judged again without any network."""

from __future__ import annotations

import json
from pathlib import Path

import click

from monitor import recording
from monitor.verdict.model import Judgement
from monitor.verdict.output import as_json
from monitor.wording import SIGNS, say
from probes.observation import stamp


@click.command(epilog="Example: mxcutover replay cutover.jsonl --json | tail -1")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--json", "as_lines", is_flag=True, help="One JSON object a line.")
def replay(file: Path, as_lines: bool) -> None:
    """Judge the record in FILE (JSON Lines) again.

    Prints the verdict whenever it or a requirement's state changes, and once more at the end.
    Exit 0 when the whole file was read, whatever the verdict; 65 names the first bad line.
    """
    for judgement in recording.replay(file):
        print(json.dumps(as_json(judgement), ensure_ascii=False) if as_lines else sentence(judgement))


def sentence(judgement: Judgement) -> str:
    """One judgement as a person reads it: the word, then each requirement with its reason."""
    said = say(judgement.code, judgement.args, "en", judgement.at)
    head = f"{stamp(judgement.at)}  {judgement.verdict}: {said}"
    rows = (
        f"  {SIGNS[f.state]} {f.state:<7} {f.name:<10} {say(f.code, f.args, 'en', judgement.at)}"
        for f in judgement.findings
    )
    return "\n".join((head, *rows))
