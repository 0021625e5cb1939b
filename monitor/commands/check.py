"""``mxcutover check``: is everything that the plan needs to be had?"""

from __future__ import annotations

from pathlib import Path

import click

from monitor.exits import Exit
from monitor.printable import printable


@click.command(epilog="Example: mxcutover check cutover.toml && mxcutover watch")
@click.argument("file", metavar="[PLAN]", type=click.Path(path_type=Path), default=Path("cutover.toml"))
def check(file: Path) -> int:
    """Reach every host, log in and open the log that PLAN names (default: cutover.toml).

    One line each, what is wrong first: unknown hosts, certificates that do not verify, refused logins.
    And whether port 53 reaches whom it is sent to. It sends no mail. Exit 0 when ready, 69 when a host or
    login is not to be had, 74 for the log.
    """
    import asyncio

    from monitor.plan.load import load
    from monitor.watch.readiness import examine, port53
    from monitor.watch.vault import Vault

    plan = load(file)
    vault = Vault(plan)
    vault.prompt()
    found = [*asyncio.run(examine(plan, vault)), *asyncio.run(port53(plan))]
    found.sort(key=lambda checked: checked.code is None)
    for checked in found:
        click.echo(f"{'✓' if checked.code is None else '✗'} {printable(checked.line)}")
    wrong = [checked.code for checked in found if checked.code is not None]
    return wrong[0] if wrong else Exit.OK
