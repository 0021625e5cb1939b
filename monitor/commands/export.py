"""``mxcutover export``: the evidence as JSON Lines, for replay and for other tools."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import click

from monitor.exits import Exit, Failure
from monitor.journal import JournalReader
from probes.observation import encode


@click.command(epilog="Example: mxcutover export cutover.journal | mxcutover replay /dev/stdin")
@click.argument("journal", type=click.Path(path_type=Path), default=Path("cutover.journal"))
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write this file, whole or not at all.")
def export(journal: Path, output: Path | None) -> None:
    """Write JOURNAL as JSON Lines, one observation a line, in the order in which they were kept.

    No secret is in it. `mxcutover replay` reaches the same verdicts from it. Works while a watch writes.
    """
    with JournalReader(journal) as reader:
        if output is None:
            _write(reader, sys.stdout.buffer)
        else:
            _to_file(reader, output)


def _write(reader: JournalReader, to: BinaryIO) -> None:
    for batch in reader.batches():
        to.write(b"".join(encode(seen) + b"\n" for seen in batch.observations))
    to.flush()


def _to_file(reader: JournalReader, output: Path) -> None:
    part = output.with_name(f".{output.name}.{os.getpid()}")
    try:
        # The record holds people's addresses: like the journal, it is its owner's only.
        with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:  # noqa: PTH123
            _write(reader, file)
            os.fsync(file.fileno())
        part.replace(output)
    except OSError as error:
        raise Failure(f"{output} cannot be written: {error.strerror}", Exit.IO) from error
    finally:
        with suppress(OSError):
            part.unlink()
