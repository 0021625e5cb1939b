"""``mxcutover log``: who still sends to a host for a domain, from its log alone."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import TYPE_CHECKING

import click

from monitor.exits import Exit, Failure
from probes.logformat import FORMATS

if TYPE_CHECKING:
    from probes.observation import Observation
    from probes.oldhost.past import Log
    from probes.oldhost.reader import MailLog


def _domain(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    """In A-labels, absolute, lower case."""
    import idna

    found = []
    for value in values:
        try:
            plain = value.strip().rstrip(".").lower()
            encoded = plain if plain.isascii() else idna.encode(plain, uts46=True).decode()
        except idna.IDNAError as error:
            raise click.BadParameter(f"{value!r} is no domain: {error}") from None
        if not encoded or any(c.isspace() or c in "@/" for c in encoded):
            raise click.BadParameter(f"{value!r} is no domain: write example.jp")
        found.append(f"{encoded}.")
    return tuple(found)


def _addresses(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    for value in values:
        try:
            ip_address(value)
        except ValueError:
            raise click.BadParameter(f"{value!r} is no IP address") from None
    return values


def _since(ctx: click.Context, param: click.Parameter, value: str | None) -> datetime | None:
    if value is None:
        return None
    try:
        return datetime.fromisoformat(value).astimezone(UTC)
    except (ValueError, OverflowError):
        raise click.BadParameter(f"{value!r} is no time: write 2026-11-25 or 2026-11-25T21:30") from None


@click.command(epilog="Example: mxcutover log '/var/log/mail.log*' --domain example.jp")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--domain", "domains", multiple=True, required=True, callback=_domain, help="May be repeated.")
@click.option("--own", multiple=True, callback=_addresses, help="An address of the host itself.")
@click.option("--new", multiple=True, callback=_addresses, help="An address of the host that mail moves to.")
@click.option("--since", callback=_since, metavar="TIME", help="Leave out what was taken before.")
@click.option("--zone", help="The log's time zone (Asia/Tokyo); default: this machine's.")
@click.option(
    "--format", type=click.Choice(FORMATS), metavar="NAME", default="auto", help="Default: the lines tell."
)
@click.option("--all", "everything", is_flag=True, help="Every client and recipient.")
@click.option("--json", "as_lines", is_flag=True, help="The observations, one a line.")
def log(
    files: tuple[str, ...], domains: tuple[str, ...], own: tuple[str, ...], new: tuple[str, ...],
    since: datetime | None, zone: str | None, format: str, everything: bool, as_lines: bool,
) -> None:  # fmt: skip
    """Say who still sends to this host for a domain: by client, by hour, since when.

    FILE is a log (Postfix, Exim, Sendmail, qmail, OpenSMTPD, Courier, Haraka, Exchange, Dovecot),
    perhaps compressed, a quoted pattern, or - for standard input. Needs no plan.
    """
    from probes.observation import to_ms
    from probes.oldhost import past

    readers = [_reader(domain, own, new, zone, format) for domain in domains]
    for reader in readers:
        reader.not_before = to_ms(since) if since else 0
    try:
        logs = past.found(files, readers[0])
        if as_lines:
            _json(logs, readers)
        else:
            _table(logs, readers, domains, everything)
    except past.Unreadable as error:
        raise Failure(f"{error}; it cannot be read", Exit.IO) from None


def _reader(domain: str, own: Sequence[str], new: Sequence[str], zone: str | None, format: str) -> MailLog:
    from probes.oldhost.reader import MailLog

    try:
        return MailLog(domain, own=own, others=new, zone=zone, format=format)  # type: ignore[arg-type]
    except (ValueError, LookupError, OSError):
        raise click.BadParameter(f"{zone!r} is no time zone: write Asia/Tokyo", param_hint="--zone") from None


def _json(logs: Sequence[Log], readers: Sequence[MailLog]) -> None:
    """The mail, and a last coverage from the first stamp to the last."""
    from probes.observation import Coverage, encode, from_ms, now
    from probes.oldhost import past

    def seen(place: int, found: list[Observation]) -> None:
        for one in found:
            sys.stdout.write(encode(one).decode() + "\n")

    spans = past.read(logs, readers, seen)
    if spans is not None:
        whole = Coverage(at=now(), source="log:old", from_=from_ms(spans[0]), to=from_ms(spans[1]))
        sys.stdout.write(encode(whole).decode() + "\n")


def _table(logs: Sequence[Log], readers: Sequence[MailLog], domains: Sequence[str], everything: bool) -> None:
    from monitor.logreport import MOST, Tally, lines
    from monitor.printable import printable
    from probes.observation import from_ms
    from probes.oldhost import past

    tallies = [Tally(domain.rstrip(".")) for domain in domains]
    spans = past.read(logs, readers, lambda place, found: tallies[place].add(found))
    if spans is None:
        print("no line bears a time: is this a mail log?")
        return
    begin, end = (from_ms(ms) for ms in spans)
    heard = ", ".join(dict.fromkeys(name for reader in readers for name in reader.heard)) or "no mail server"
    print(f"{_span(begin)} to {_span(end)}, written by {heard}")
    width = max(60, shutil.get_terminal_size((80, 24)).columns)
    for tally in tallies:
        print()
        for line in lines(tally, end, width, None if everything else MOST):
            print(printable(line, 2000))


def _span(t: datetime) -> str:
    return f"{t.astimezone():%Y-%m-%d %H:%M}"
