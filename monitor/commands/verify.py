"""``mxcutover verify``: was the evidence ever changed after it was written?"""

from __future__ import annotations

from pathlib import Path

import click

from monitor.journal import verify as walk
from monitor.printable import printable
from probes.observation import stamp


@click.command(epilog="Example: mxcutover verify cutover.journal")
@click.argument("journal", type=click.Path(path_type=Path), default=Path("cutover.journal"))
def verify(journal: Path) -> None:
    """Recompute the chain of SHA-256 digests over all evidence in JOURNAL.

    Prints ok with the counts and the last digest: whoever noted that digest earlier can tell that
    nothing before it has changed since. Works while a watch writes.
    Exit 65 names the first batch that does not fit.
    """
    found = walk(journal)
    name = printable(str(journal))
    print(f"{name}: ok, {found.batches} batches, {found.observations} observations")
    if found.first_kept is not None and found.last_kept is not None:
        print(f"kept from {stamp(found.first_kept)} to {stamp(found.last_kept)}")
        print(f"batch {found.batches} {found.digest}")
