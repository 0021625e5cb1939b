"""``mxcutover rehearse``: a whole cutover on embedded servers, watched for real."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path
from typing import Literal

import click

SCENARIOS = ("smooth", "slow-secondary", "local-trap", "serve-stale", "lost-on-new")


@click.command(epilog="Example: mxcutover rehearse --scenario local-trap")
@click.option("--scenario", type=click.Choice(SCENARIOS), default="smooth", show_default=True)
@click.option("--speed", type=click.FloatRange(0.1, 50), default=1.0, show_default=True,
              help="Play so many times faster.")  # fmt: skip
@click.option("--headless", is_flag=True, help="No screen: print the story as lines.")
@click.option("-o", "--output", "directory", metavar="DIR", type=click.Path(path_type=Path, file_okay=False),
              help="Where report and journal go (default: a new temporary directory).")  # fmt: skip
@click.option("--language", type=click.Choice(["en", "ja"]), default="en", show_default=True)
def rehearse(
    scenario: str, speed: float, headless: bool, directory: Path | None, language: Literal["en", "ja"]
) -> int:
    """Play a whole cutover on embedded servers and watch it, in two to three minutes.

    Name servers, resolvers, an old and a new mail host and people who write mail run on loopback, with
    no privilege; the watch is the real one. Writes the report and exits as `mxcutover status` does.
    """
    from monitor.rehearsal.running import Chosen
    from monitor.rehearsal.running import rehearse as play
    from monitor.rehearsal.scenarios import SCENARIOS as KNOWN

    out = _output(directory)
    with tempfile.TemporaryDirectory(prefix="mxcutover-rehearsal-") as temporary:
        chosen = Chosen(
            scenario=KNOWN[scenario], speed=speed, directory=Path(temporary), out=out,
            language=language, screen=sys.stdout.isatty() and not headless,
        )  # fmt: skip
        return asyncio.run(play(chosen, click.echo))


def _output(directory: Path | None) -> Path:
    """An existing journal is evidence of something: it is never written over."""
    from monitor.exits import Exit, Failure

    try:
        out = directory or Path(tempfile.mkdtemp(prefix="mxcutover-"))
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Failure(f"cannot make {directory}: {error.strerror}; choose another -o", Exit.IO) from None
    if (out / "cutover.journal").exists():
        raise Failure(f"{out / 'cutover.journal'} is there already; choose another -o", Exit.USAGE)
    return out
