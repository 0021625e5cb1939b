"""``mxcutover resolvers``: the bundled list, filtered, and asked."""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

import click

from monitor.commands.dns import addresses, endpoints
from monitor.exits import Exit, Failure
from monitor.printable import printable

if TYPE_CHECKING:
    from monitor.watch.checkup import Found
    from probes.dns.catalogue import Entry

FILTERINGS = ("none", "malware", "ads", "family", "legal", "unknown")
TRANSPORTS = ("udp", "tcp", "dot", "doh")


@click.command(epilog="Example: mxcutover resolvers --country JP --check")
@click.option("--country", metavar="CC", help="ISO 3166 code, or EU; anycast: those that are everywhere.")
@click.option("--platform", metavar="NAME", help="One operator's, by the name in the list.")
@click.option("--filtering", type=click.Choice(FILTERINGS), help="What the operator says to block.")
@click.option("--transport", type=click.Choice(TRANSPORTS), help="Offered by this; asked by this.")
@click.option("--default", "by_default", is_flag=True, help='Only those that the plan\'s "public" asks.')
@click.option("--check", is_flag=True, help="Ask each one a harmless question.")
@click.option("--json", "as_json", is_flag=True, help="JSON Lines, with all that is known.")
@click.option("--hints", multiple=True, callback=addresses, hidden=True)
@click.option("--endpoint", multiple=True, callback=endpoints, hidden=True)
def resolvers(
    check: bool, as_json: bool, hints: tuple[str, ...], endpoint: dict[str, str], **filters: Any
) -> int:
    """List the bundled public resolvers; * marks those asked by default.

    With --check: who answers from here, slowly enough to be polite. Exit 0 when any does, 30 when none;
    without it 0, or 10 where no resolver is like that.
    """
    from probes.dns.catalogue import entries

    found = chosen(entries(), **filters)
    if not check:
        for line in listed(found, as_json):
            click.echo(line)
        click.echo(summary(found), err=True)
        return Exit.OK if found else Exit.NOT_YET
    return checked(found, filters["transport"], as_json, hints, endpoint)


def chosen(
    entries: Sequence[Entry], country: str | None, platform: str | None, filtering: str | None,
    transport: str | None, by_default: bool,
) -> list[Entry]:  # fmt: skip
    """Those that every given filter lets through, by platform and address.

    Raises ``Failure`` 2 where a filter names what the list does not know.
    """
    place = "" if (country or "").lower() == "anycast" else (country or "").upper()
    _known("platform", platform and platform.lower(), {entry.platform for entry in entries})
    _known("country", place or None, {entry.country for entry in entries})
    found = [
        entry for entry in entries
        if (country is None or entry.country == place)
        and (platform is None or entry.platform == platform.lower())
        and (filtering is None or entry.filtering == filtering)
        and (transport is None or transport in entry.transports)
        and (entry.default or not by_default)
    ]  # fmt: skip
    return sorted(found, key=lambda entry: (entry.platform, ":" in entry.address, ip_address(entry.address)))


def _known(what: str, given: str | None, known: set[str]) -> None:
    if given is not None and given not in known:
        near = ", ".join(sorted(known - {""}))
        raise Failure(f"no {what} {given!r} in the list; known are {near}", Exit.USAGE)


# What is printed

_LIST = "{:<14} {:<30} {:<2} {:<7} {:<15} {}"
_CHECK = "{:<14} {:<30} {:<2} {:<11} {:>8} {}"


def listed(found: Iterable[Entry], as_json: bool) -> Iterable[str]:
    if as_json:
        yield from (json.dumps(fields(entry), ensure_ascii=False) for entry in found)
        return
    yield _LIST.format("platform", "address", "in", "blocks", "by", "").rstrip()
    for e in found:
        by, mark = " ".join(e.transports), "*" if e.default else ""
        yield _LIST.format(e.platform, e.address, e.country, e.filtering, by, mark).rstrip()


def fields(entry: Entry, **more: object) -> dict[str, object]:
    """``id`` is what observations call it."""
    return {"id": entry.id} | {name: getattr(entry, name) for name in entry.__struct_fields__} | more


def summary(found: Sequence[Entry]) -> str:
    platforms = len({entry.platform for entry in found})
    return f"{len(found)} addresses on {platforms} platforms"


def checked(
    chosen: Sequence[Entry], transport: str | None, as_json: bool, hints: tuple[str, ...],
    endpoint: dict[str, str],
) -> int:  # fmt: skip
    """Ask, and print in the list's order when all have answered or had their time."""
    import asyncio

    from monitor.watch.checkup import check
    from monitor.watch.honesty import said

    honesty, found = asyncio.run(
        check(chosen, transport=transport, hints=hints, endpoints=endpoint, heard=_progress(len(chosen)))
    )
    for line in shown(found, as_json):
        click.echo(line)
    if honesty.verdict == "intercepted":
        click.echo(f"mxcutover: port 53 is answered by somebody else here: {said(honesty.signs)}", err=True)
    answered = [one.entry for one in found if one.answered]
    click.echo(f"{summary(answered)} answered, of {summary(chosen)}", err=True)
    return Exit.OK if answered else Exit.BLIND


def _progress(total: int) -> Callable[[Found], None]:
    """A count on the terminal while it takes its time."""
    heard = itertools.count(1)

    def count(_: Found) -> None:
        done = next(heard)
        if sys.stderr.isatty():
            click.echo(f"\r{done} of {total} asked" if done < total else "\r\x1b[K", nl=False, err=True)

    return count


def shown(found: Iterable[Found], as_json: bool) -> Iterable[str]:
    if as_json:
        for one in found:
            more = {name: getattr(one, name) for name in one.__struct_fields__ if name != "entry"}
            yield json.dumps(fields(one.entry, **more), ensure_ascii=False)
        return
    yield _CHECK.format("platform", "address", "in", "answer", "ms", "by")
    for one in found:
        e, rtt = one.entry, "" if one.rtt_ms is None else f"{one.rtt_ms:.0f}"
        yield _CHECK.format(e.platform, e.address, e.country, one.outcome, rtt, one.transport)
        if one.detail:
            yield f"{'':<15}{printable(one.detail, 64)}"
