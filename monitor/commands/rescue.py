"""``mxcutover rescue``: what old took after the change and new lacks, copied to new."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from monitor.exits import Exit, Failure
from monitor.printable import printable
from probes.observation import stamp

if TYPE_CHECKING:
    from monitor.plan.model import CutoverPlan
    from monitor.rescue.model import Rescued

WORDS = {
    "copied": "copied", "would": "would copy", "there": "on new already", "earlier": "copied earlier",
    "gone": "taken away", "absent": "not found", "refused": "refused", "differs": "DIFFERS",
    "failed": "failed",
}  # fmt: skip


@click.command(epilog="Example: mxcutover rescue --dry-run    (then without it)")
@click.argument("file", metavar="[PLAN]", type=click.Path(path_type=Path), default=Path("cutover.toml"))
@click.option("-j", "--journal", type=click.Path(path_type=Path), help="Default: the plan's journal.")
@click.option(
    "--account", "accounts", metavar="ADDRESS", multiple=True, help="Only this one; may be repeated."
)
@click.option("--dry-run", "dry", is_flag=True, help="Copy nothing: list what would be copied.")
@click.option("--json", "as_lines", is_flag=True, help="One JSON object a message.")
def rescue(file: Path, journal: Path | None, accounts: tuple[str, ...], dry: bool, as_lines: bool) -> int:
    """Copy every message that old took after the change and new lacks from old to new.

    With its date and flags, into the folder where it lies on old; each is read back and never copied twice,
    even where a run is killed (JOURNAL.rescue remembers). The old copy is not touched. Exit 0 when all of
    them are on new, 10 when not, 69 when a host or login is not to be had, 30 when nobody knows which.
    """
    from monitor.plan.load import load
    from monitor.rescue.running import exit_code, summed

    plan = load(file)
    _known(plan, accounts)

    def told(one: Rescued) -> None:
        """At once, but for what another account may yet turn out to have."""
        if one.outcome != "absent":
            click.echo(json.dumps(fields(one), ensure_ascii=False) if as_lines else line(one))

    rows = summed(_rescued(plan, journal or plan.journal, accounts, dry=dry, told=told))
    for one in rows:
        if one.outcome == "absent":
            click.echo(json.dumps(fields(one), ensure_ascii=False) if as_lines else line(one))
    if not as_lines:
        click.echo(total(rows))
    return exit_code(rows)


def _known(plan: CutoverPlan, accounts: tuple[str, ...]) -> None:
    there = {account.address.lower() for account in plan.accounts}
    for address in accounts:
        if address.lower() not in there:
            raise Failure(
                f"{address} is not an account of {plan.path}; write it as it stands there", Exit.USAGE
            )
    for side, service in (("old", plan.old.mailboxes), ("new", plan.new.imap)):
        if service is None:
            raise Failure(f"{plan.path} has no [{side}.imap]: nothing can be copied", Exit.BAD_PLAN)


def _rescued(
    plan: CutoverPlan, journal: Path, accounts: tuple[str, ...], *, dry: bool, told: Callable[[Rescued], None]
) -> list[Rescued]:
    import asyncio

    from monitor.following import read
    from monitor.rescue.model import Rescued
    from monitor.rescue.running import Rescue, errands
    from monitor.watch.vault import Vault

    picture, _ = read(journal)
    state = next(f for f in picture.judgement.findings if f.name == "stragglers")
    if not picture.stragglers and state.state == "unknown":
        raise Failure(f"which messages new lacks is not known: {_reason(state.code)}", Exit.BLIND)
    todo, nobody = errands(plan, picture.stragglers, accounts)
    vault = Vault(plan)
    if todo:
        vault.prompt()
    work = Rescue(plan, vault, journal, dry=dry, told=told)
    found = asyncio.run(work.run(todo)) if todo else []
    for warning in work.warnings:
        click.echo(f"mxcutover: {printable(warning)}", err=True)
    why = "no account of the plan with a secret for both sides"
    return [*found, *(Rescued(straggler=s, account="", outcome="absent", detail=why) for s in nobody)]


def _reason(code: str) -> str:
    from monitor.wording import say

    return say(code, {})


def line(one: Rescued) -> str:
    """State, when, for whom, from whom, which, where to; and why."""
    row = one.straggler
    where = f"{one.source} → {one.target}" if one.target else one.source
    cells = (
        f"{WORDS[one.outcome]:<14}",
        f"{row.accepted_at:%Y-%m-%d %H:%M:%SZ}",
        one.account or row.recipient or "?",
        f"from {one.sender or row.client or '?'}",
        row.message_id or "?",
        where,
        one.detail,
    )
    return "  ".join(printable(cell, 200) for cell in cells if cell)


def total(rows: list[Rescued]) -> str:
    if not rows:
        return "nothing to copy: every message that old took since the change is on new"
    counts = {word: sum(one.outcome == key for one in rows) for key, word in WORDS.items()}
    return ", ".join(f"{n} {word}" for word, n in counts.items() if n)


def fields(one: Rescued) -> dict[str, object]:
    """Text from outside as it came: JSON escapes it."""
    row = one.straggler
    return {
        "outcome": one.outcome, "account": one.account, "recipient": row.recipient,
        "accepted_at": stamp(row.accepted_at), "message_id": row.message_id, "client": row.client,
        "from": one.sender, "folder": one.source, "to": one.target, "size": one.size,
        "date": stamp(one.date) if one.date else None, "detail": one.detail,
    }  # fmt: skip
