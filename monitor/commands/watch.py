"""``mxcutover watch``: probe, keep, judge and show, until told to stop."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from monitor.exits import Exit, Failure

if TYPE_CHECKING:
    from monitor.plan.model import CutoverPlan
    from monitor.watch.vault import Vault


@click.command(epilog="Example: mxcutover watch --headless cutover.toml    (a systemd unit's ExecStart)")
@click.argument("file", metavar="[PLAN]", type=click.Path(path_type=Path), default=Path("cutover.toml"))
@click.option("-j", "--journal", type=click.Path(path_type=Path), help="Default: the plan's journal.")
@click.option("--headless", is_flag=True, help="No screen: print one line a change.")
@click.option("--anyway", is_flag=True, help="Begin even though a host, a login or the log is not to be had.")
def watch(file: Path, journal: Path | None, headless: bool, anyway: bool) -> int:
    """Watch the move that PLAN describes (default: cutover.toml), on the dashboard.

    A journal that is there already is gone on with. A new one is begun only when every host and login
    of the plan can be reached, as `mxcutover check` says. Headless, SIGTERM ends it with status's code.
    """
    from monitor.plan.load import load
    from monitor.watch.running import run
    from monitor.watch.vault import Vault
    from monitor.watch.world import RealWorld

    plan = load(file)
    path = journal or plan.journal
    if not headless and not sys.stdout.isatty():
        raise Failure("standard output is no terminal; write: mxcutover watch --headless", Exit.USAGE)
    vault = Vault(plan)
    vault.prompt()
    if not (anyway or path.exists()):
        _ready(plan, vault)
    return run(plan, path, lambda: RealWorld(plan, vault, path), headless=headless)


def _ready(plan: CutoverPlan, vault: Vault) -> None:
    """Raise what stands in the way of a first start, in one line."""
    import asyncio

    from monitor.watch.readiness import examine

    found = asyncio.run(examine(plan, vault))
    wrong = [(checked.line, checked.code) for checked in found if checked.code is not None]
    if wrong:
        line, code = wrong[0]
        more = f" (and {len(wrong) - 1} more: mxcutover check)" if len(wrong) > 1 else ""
        raise Failure(f"{line}{more}; or begin with --anyway", code)
