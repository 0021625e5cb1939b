"""``mxcutover plan check``: every mistake at once, or what will be watched."""

from __future__ import annotations

import glob
from pathlib import Path

import click

from monitor.exits import Exit
from monitor.plan.load import DEFAULT, examine
from monitor.plan.model import Account, CutoverPlan, Host
from monitor.printable import printable
from monitor.wording import span
from probes.logsource import Files
from probes.service import Service


@click.group(epilog="Example: mxcutover plan check cutover.toml")
def plan() -> None:
    """Work on a plan (cutover.toml)."""


@plan.command(epilog="Example: mxcutover plan check cutover.toml")
@click.argument("file", metavar="[PLAN]", type=click.Path(path_type=Path), default=DEFAULT)
def check(file: Path) -> int:
    """Report every mistake in PLAN (default: cutover.toml) at once.

    Each is one line: file, line, key, what is wrong, what to write instead. Without a mistake it prints
    what will be watched. It asks no network. Exit 0 or 78.
    """
    found, mistakes = examine(file)
    for mistake in mistakes:
        click.echo(str(mistake), err=True)
    if mistakes or found is None:
        count = "1 mistake" if len(mistakes) == 1 else f"{len(mistakes)} mistakes"
        click.echo(f"mxcutover: {printable(str(file))}: {count}", err=True)
        return Exit.BAD_PLAN
    click.echo("\n".join(summary(found)))
    return Exit.OK


def summary(plan: CutoverPlan) -> list[str]:
    """What will be watched, a line a subject."""
    rows = {
        "domain": plan.domain[:-1],
        "old": _host(plan.old),
        "new": _host(plan.new),
        "planned MX": ", ".join(plan.expected_mx),
        "DNS": f"{_authorities(plan)}, {len(plan.resolvers)} resolvers",
        "routes": ", ".join(plan.routes),
        "accounts": _accounts(plan),
        "relays": ", ".join(plan.relays) or "none",
        "old log": str(plan.old.log.source) if plan.old.log else "none: only mailboxes show mail on old",
        "proof": f"{span(plan.policy.quiet_for)} quiet, {plan.policy.canary_streak} canaries a route",
        "journal": str(plan.journal),
    }
    lines = [f"{printable(str(plan.path))}: no mistake. Watched will be:"]
    lines += [f"  {key:<11}{printable(text)}" for key, text in rows.items()]
    return lines + [f"  note       {printable(note)}" for note in notes(plan)]


def _host(host: Host) -> str:
    names = ", ".join(n.removesuffix(".") for n in (*host.mx, *host.addresses))
    named = {"submission": "submission", "imap": "IMAP", "pop3": "POP3"}
    services = (f"{named[called]} {s.port} {s.tls}" for called, s in host.services.items())
    return "; ".join([names, *services])


def _authorities(plan: CutoverPlan) -> str:
    if plan.authorities is None:
        return "authorities found by the delegation"
    return f"{len(plan.authorities)} authorities"


def _accounts(plan: CutoverPlan) -> str:
    old, new = (sum(bool(s) for s in side) for side in zip(*map(_secrets, plan.accounts), strict=True))
    return f"{len(plan.accounts)} ({old} can log in to old, {new} to new)"


def _secrets(account: Account) -> tuple[str | None, str | None]:
    return account.old_secret, account.new_secret


def notes(plan: CutoverPlan) -> list[str]:
    """What is allowed and should be known: exceptions from TLS, a log that is not there yet."""
    services = {
        f"{side}.{called}": service
        for side, host in (("old", plan.old), ("new", plan.new))
        for called, service in host.services.items()
    }
    found = [note for key, service in services.items() if (note := _exception(key, service))]
    found += [
        f"{side}.pop3: POP3 shows the inbox only, never what the server sorts into junk"
        for side, host in (("old", plan.old), ("new", plan.new))
        if host.pop3 and not host.imap
    ]
    source = plan.old.log.source if plan.old.log else None
    if isinstance(source, Files) and not glob.glob(str(source.path)):  # noqa: PTH207 (absolute patterns, too)
        found.append(f"{source.path} is not there yet")
    return found


def _exception(key: str, service: Service) -> str | None:
    if service.tls == "none":
        return f"{key}: no TLS, passwords cross the network in plain text"
    return None if service.verify else f"{key}: the certificate is not verified"
