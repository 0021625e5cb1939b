"""``mxcutover cleanup``: the canaries out of the mailboxes again."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import click

from monitor.exits import Exit, Failure
from monitor.printable import printable
from probes.observation import stamp

if TYPE_CHECKING:
    from monitor.cleanup.running import Cleaned
    from monitor.plan.model import CutoverPlan


@click.command(epilog="Example: mxcutover cleanup    (then with --delete)")
@click.argument("file", metavar="[PLAN]", type=click.Path(path_type=Path), default=Path("cutover.toml"))
@click.option("-j", "--journal", type=click.Path(path_type=Path), help="Default: the plan's journal.")
@click.option("--account", "accounts", metavar="ADDRESS", multiple=True, help="Only this; may be repeated.")
@click.option("--delete", is_flag=True, help="Delete them, for good. Without it they are only listed.")
@click.option("--json", "as_lines", is_flag=True, help="One JSON object a canary.")
def cleanup(file: Path, journal: Path | None, accounts: tuple[str, ...], delete: bool, as_lines: bool) -> int:
    """List the canaries that lie in the mailboxes of both sides, and delete them with --delete.

    Only a message that is a canary through and through goes: both signatures by this journal's key
    (JOURNAL.key), its own recipient, date, subject and text. Exit 0; 10 when some had to stay, 69 when a
    mailbox is not to be had.
    """
    from monitor.cleanup.running import exit_code
    from monitor.plan.load import load

    rows = _rows(load(file), journal, accounts, delete=delete)
    for one in rows:
        click.echo(json.dumps(fields(one), ensure_ascii=False) if as_lines else line(one))
    if not as_lines:
        click.echo(total(rows))
    return exit_code(rows, delete=delete)


def _rows(plan: CutoverPlan, journal: Path | None, only: tuple[str, ...], *, delete: bool) -> list[Cleaned]:
    import asyncio

    from monitor.cleanup.running import Cleanup
    from monitor.journal import JournalReader
    from monitor.watch.vault import Vault
    from monitor.watch.world import signer_of
    from probes.observation import CanaryLanded, CanarySent

    path = journal or plan.journal
    there = {account.address.lower(): account for account in plan.accounts}
    for address in only:
        if address.lower() not in there:
            raise Failure(
                f"{address} is not an account of {plan.path}; write it as it stands there", Exit.USAGE
            )
    with JournalReader(path) as reader:
        sent = [one for one in reader.of_kind("canary.sent") if isinstance(one, CanarySent)]
        seen = [one for one in reader.of_kind("canary.landed") if isinstance(one, CanaryLanded)]
    wanted = {one.recipient.lower() for one in sent}
    if only:
        wanted &= {address.lower() for address in only}
    accounts = [account for address, account in there.items() if address in wanted]
    if not accounts:
        return []
    vault = Vault(plan)
    vault.prompt()
    landed: Counter[tuple[str, str]] = Counter((one.side, one.account.lower()) for one in seen)
    since = min(one.at for one in sent)
    work = Cleanup(plan, vault, signer_of(path), delete=delete, since=since, landed=dict(landed))
    return asyncio.run(work.run(accounts))


def line(one: Cleaned) -> str:
    when = f"{one.sent_at:%Y-%m-%d %H:%M:%SZ}" if one.sent_at else ""
    cells = (
        f"{one.outcome:<8}", f"{one.side}", one.account, one.folder, one.canary, one.route, when, one.detail,
    )  # fmt: skip
    return "  ".join(printable(cell, 200) for cell in cells if cell)


def total(rows: list[Cleaned]) -> str:
    counts = Counter(one.outcome for one in rows)
    return ", ".join(f"{n} {word}" for word, n in counts.items()) or "no canary lies in any mailbox"


def fields(one: Cleaned) -> dict[str, object]:
    """Text from outside as it came: JSON escapes it."""
    return {
        "outcome": one.outcome, "side": one.side, "account": one.account, "folder": one.folder,
        "canary": one.canary, "route": one.route, "sent_at": stamp(one.sent_at) if one.sent_at else None,
        "detail": one.detail,
    }  # fmt: skip
