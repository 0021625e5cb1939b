"""``mxcutover dns``: one question to every authority and to the public resolvers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import click

from monitor.exits import Exit, Failure
from monitor.plan import values
from monitor.plan.mistakes import Wrong
from monitor.plan.resolvers import named


def addresses(context: click.Context, parameter: click.Parameter, given: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(_one(values.address, text) for text in given))


def resolvers(context: click.Context, parameter: click.Parameter, given: tuple[str, ...]) -> tuple[str, ...]:
    """Ids, as a plan's ``resolvers`` have them."""
    found: dict[str, str] = {}
    for text in given:
        try:
            found |= named(text)
        except Wrong as wrong:
            raise _usage(wrong) from None
    return tuple(found)


def endpoints(context: click.Context, parameter: click.Parameter, given: tuple[str, ...]) -> dict[str, str]:
    """From every ``ADDRESS:PORT=ADDRESS:PORT``."""
    pairs = (text.partition("=") for text in given)
    return {_one(values.endpoint, logical): _one(values.endpoint, real) for logical, _, real in pairs}


def _one(parse: Callable[[str], str], text: str) -> str:
    try:
        return parse(text)
    except Wrong as wrong:
        raise _usage(wrong) from None


def _usage(wrong: Wrong) -> Failure:
    return Failure(f"{wrong.what}; {wrong.write}", Exit.USAGE)


@click.command(epilog='Example: mxcutover dns example.jp --expect "10 mx1.new.example" --watch')
@click.argument("name")
@click.argument("rtype", metavar="[TYPE]", required=False)
@click.option("--expect", multiple=True, metavar="RDATA",
              help="A record that must be there, and no other (repeat it), or none.")  # fmt: skip
@click.option("--watch", is_flag=True, help="Ask on until all agree: a screen, or a line a change.")
@click.option("--json", "as_json", is_flag=True, help="One object (docs/dns.md); watching: JSON Lines.")
@click.option("--resolver", multiple=True, metavar="WHO", callback=resolvers,
              help="Ask this address or https URL as well, or all.")  # fmt: skip
@click.option("--only-resolver", multiple=True, metavar="WHO", callback=resolvers,
              help="Ask these instead of the bundled list.")  # fmt: skip
@click.option("--quorum", type=click.FloatRange(0, 1), default=0.9, show_default=True, metavar="SHARE",
              help="Of the platforms, so many must answer.")  # fmt: skip
@click.option("--language", type=click.Choice(["en", "ja"]), default="en", show_default=True)
@click.option("--hints", multiple=True, callback=addresses, hidden=True)
@click.option("--endpoint", multiple=True, callback=endpoints, hidden=True)
@click.option("--ca-file", type=click.Path(path_type=Path), hidden=True)
@click.option("--timeout", type=click.FloatRange(0.1, 60), default=5.0, hidden=True)
@click.option("--floor", type=click.FloatRange(0.05, 300), default=20.0, hidden=True)
def dns(
    name: str, rtype: str | None, expect: tuple[str, ...], watch: bool, as_json: bool,
    resolver: tuple[str, ...], only_resolver: tuple[str, ...], quorum: float,
    language: Literal["en", "ja"], hints: tuple[str, ...], endpoint: dict[str, str], floor: float,
    timeout: float, ca_file: Path | None,
) -> int:  # fmt: skip
    """Ask every authority of NAME and the public resolvers for TYPE (default: MX).

    With --expect, or watching: exit 0 only when every authority and all that answered agree, and enough
    did; 10 some do not, 30 it can't be told. Without: 0 for any answer, 30 for none.
    """
    from monitor.glance.question import asked
    from monitor.glance.running import Wanted, chosen, run

    try:
        question = asked(name, rtype, expect)
    except Wrong as wrong:
        raise _usage(wrong) from None
    return run(
        Wanted(
            asked=question, resolvers=chosen(resolver, only_resolver), quorum=quorum, watch=watch,
            as_json=as_json, language=language, floor=floor, hints=hints,
            endpoints=endpoint, ca_file=ca_file, timeout=timeout,
        )
    )  # fmt: skip
