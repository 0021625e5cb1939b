"""``mxcutover init``: a commented plan from what is given and asked."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from monitor.exits import Exit, Failure
from monitor.plan import values
from monitor.plan.load import DEFAULT, check
from monitor.plan.mistakes import Wrong
from monitor.plan.template import Known, write
from monitor.printable import printable

if TYPE_CHECKING:
    from probes.dns.lookup import Found


class Value(click.ParamType[str]):
    """A flag's or an answer's value, judged as the plan judges it."""

    def __init__(self, parse: Callable[[str], object], name: str) -> None:
        self.parse = parse
        self.name = name

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            self.parse(str(value))
        except Wrong as wrong:
            self.fail(f"{wrong.what}; {wrong.write}", param, ctx)
        return str(value)


def _server(text: str) -> None:
    """``HOST:PORT``."""
    host, _, port = text.rpartition(":")
    if not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise Wrong(f"{text!r} has no port", "write it as mail.example.jp:993")
    values.host(host.strip("[]"))


def _account(text: str) -> None:
    """``ADDRESS`` or ``ADDRESS=REFERENCE``."""
    address, equals, secret = text.partition("=")
    values.mailbox(address)
    if equals:
        values.secret(secret)


def _endpoint(text: str) -> None:
    """``ADDRESS:PORT=ADDRESS:PORT``."""
    logical, _, real = text.partition("=")
    values.endpoint(logical)
    values.endpoint(real)


DOMAIN = Value(values.domain, "DOMAIN")
NAME = Value(values.pattern, "NAME")
ADDRESS = Value(values.address, "ADDRESS")
SERVER = Value(_server, "HOST:PORT")
ACCOUNT = Value(_account, "ADDRESS")
ENDPOINT = Value(_endpoint, "ADDRESS=ADDRESS")


@click.command(epilog="Example: mxcutover init example.jp --new-mx mx1.new.example")
@click.argument("domain", required=False, type=DOMAIN)
@click.option("--old-mx", multiple=True, type=NAME, help="Old exchange; else today's MX.")
@click.option("--old-address", multiple=True, type=ADDRESS, help="Its address.")
@click.option("--old-imap", type=SERVER, help="Mailboxes on old: mail.example.jp:993.")
@click.option("--old-pop3", type=SERVER, help="Without IMAP: port 995 or 110.")
@click.option("--old-submission", type=SERVER, help="Sending through old: port 587 or 465.")
@click.option("--new-mx", multiple=True, type=NAME, help="New exchange, in order of preference.")
@click.option("--new-address", multiple=True, type=ADDRESS, help="Its address.")
@click.option("--new-imap", type=SERVER, help="Mailboxes on new.")
@click.option("--new-pop3", type=SERVER, help="Mailboxes on new, without IMAP.")
@click.option("--new-submission", type=SERVER, help="Sending through new.")
@click.option("--account", multiple=True, type=ACCOUNT, help="Mailbox[=file:PATH, its password].")
@click.option("--accounts-file", metavar="CSV", help="Many mailboxes: address,old_login,…")
@click.option("--log", metavar="PATH", help="The old host's mail log.")
@click.option("--no-lookup", is_flag=True, help="Ask the DNS nothing.")
@click.option("--hints", multiple=True, type=ADDRESS, hidden=True)
@click.option("--endpoint", multiple=True, type=ENDPOINT, hidden=True)
@click.option("-o", "--output", type=click.Path(path_type=Path), default=DEFAULT, help="[cutover.toml]")
@click.option("-f", "--force", is_flag=True, help="Overwrite it.")
def init(
    domain: str | None, output: Path, force: bool, no_lookup: bool, hints: tuple[str, ...],
    endpoint: tuple[str, ...], **flags: Any,
) -> None:  # fmt: skip
    """Write a commented plan; looks up what is there, asks a person for the rest."""
    if output.exists() and not force:
        raise Failure(f"{output} is there already; --force overwrites it", Exit.USAGE)
    asking = sys.stdin.isatty() and not any(flags.values())
    if domain is None:
        if not asking:
            raise Failure("no domain; write: mxcutover init example.jp", Exit.USAGE)
        domain = str(click.prompt("Domain that moves", type=DOMAIN, err=True))
    known = given(domain, flags)
    if not no_lookup:
        known = looked_up(known, hints, dict(entry.split("=", 1) for entry in endpoint))
    save(output, write(asked(known) if asking else known), force)
    click.echo(farewell(output))


def looked_up(known: Known, hints: tuple[str, ...], endpoints: dict[str, str]) -> Known:
    """With what the domain's own name servers say of its mail today; what was given stands."""
    from probes.dns.lookup import look_up  # dnspython takes its time: only for who looks up

    if sys.stderr.isatty():
        click.echo(f"Looking up {known.domain} …", err=True)
    found = asyncio.run(look_up(values.domain(known.domain), hints, endpoints))
    if found is None:
        click.echo(
            f"mxcutover: the name servers of {known.domain} can't be asked now; fill in by hand", err=True
        )
        return known
    return filled(known, found)


def filled(known: Known, found: Found) -> Known:
    """The old host's names and addresses are today's, unless the MX is at the new host already."""
    names = tuple(filter(None, (_fit(values.pattern, rdata.partition(" ")[2]) for rdata in found.mx)))
    new = {values.pattern(name) for name in known.new_mx}
    was = known.old_mx or tuple(name.removesuffix(".") for name in names if name not in new)
    own = {values.pattern(name) for name in was}
    theirs = found.addresses if set(names) <= own else ()
    return msgspec.structs.replace(
        known,
        old_mx=was,
        old_addresses=known.old_addresses or tuple(a for a in theirs if a not in known.new_addresses),
        today=found.mx,
        ttl=found.ttl,
        authorities=tuple(f"{server.name} {server.address}" for server in found.authorities),
    )


def _fit(parse: Callable[[str], str], text: str) -> str | None:
    """A name from outside, where a plan can hold it."""
    try:
        return parse(text)
    except Wrong:
        return None


def given(domain: str, flags: dict[str, Any]) -> Known:
    return Known(
        domain=domain.removesuffix("."),
        old_mx=flags["old_mx"],
        old_addresses=flags["old_address"],
        old_imap=flags["old_imap"],
        old_pop3=flags["old_pop3"],
        old_submission=flags["old_submission"],
        new_mx=flags["new_mx"],
        new_addresses=flags["new_address"],
        new_imap=flags["new_imap"],
        new_pop3=flags["new_pop3"],
        new_submission=flags["new_submission"],
        accounts=flags["account"],
        accounts_file=flags["accounts_file"],
        log=flags["log"],
    )


def asked(known: Known) -> Known:
    """What is not known yet, from the person at the terminal; an empty answer leaves it to be filled in."""
    was = _words("Old exchanges (names, spaces between)", NAME, known.old_mx)
    old_addresses = _words("Their addresses", ADDRESS, known.old_addresses if was == known.old_mx else ())
    old = next((name for name in was if not name.startswith("*.")), None)
    old_imap = _server_at("IMAP of the old host", old, 993)
    old_submission = _server_at("Submission of the old host", old, 587)
    log = _ask("Its mail log (a path here)", None, "")
    new = _words("New exchanges (names, spaces between)", NAME)
    new_addresses = _words("Their addresses", ADDRESS)
    first = next((name for name in new if not name.startswith("*.")), None)
    return msgspec.structs.replace(
        known,
        old_mx=was,
        old_addresses=old_addresses,
        old_imap=old_imap,
        old_submission=old_submission,
        log=log,
        new_mx=new,
        new_addresses=new_addresses,
        new_imap=_server_at("IMAP of the new host", first, 993),
        new_submission=_server_at("Submission of the new host", first, 587),
        accounts=_words("Mailboxes to test with (addresses)", ACCOUNT),
    )


def _server_at(question: str, host: str | None, port: int) -> str | None:
    return _ask(question, SERVER, f"{host.removesuffix('.')}:{port}" if host else "")


def _ask(question: str, kind: click.ParamType[str] | None, default: str) -> str | None:
    def convert(text: str) -> str:
        return text if kind is None or not text.strip() else kind.convert(text.strip(), None, None)

    return str(click.prompt(question, default=default, value_proc=convert, err=True)).strip() or None


def _words(question: str, kind: click.ParamType[str], known: tuple[str, ...] = ()) -> tuple[str, ...]:
    def convert(text: str) -> tuple[str, ...]:
        return tuple(kind.convert(word, None, None) for word in text.replace(",", " ").split())

    default = " ".join(known)
    shown = bool(known)
    return tuple(click.prompt(question, default=default, show_default=shown, value_proc=convert, err=True))


def save(output: Path, text: str, force: bool) -> None:
    try:
        with output.open("w" if force else "x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise Failure(f"{output} cannot be written: {error.strerror}", Exit.IO) from None


def farewell(output: Path) -> str:
    """Where it is, and what is still to be filled in."""
    missing = check(output)
    shown = printable(str(output))
    lines = [f"Wrote {shown}.", *(f"To fill in: {mistake}" for mistake in missing)]
    return "\n".join([*lines, f"Next: mxcutover {f'plan check {shown}' if missing else 'watch'}"])
