"""``cutover``, ``waive``, ``unwaive``, ``note``: what a person says goes into the evidence."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from monitor.exits import Exit, Failure
from monitor.journal import JournalReader, post
from monitor.printable import printable
from probes.observation import WAIVABLE, Action, Operator, Plan, now, waivable

_journal: Callable[[Any], Any] = click.option(
    "-j", "--journal", type=click.Path(path_type=Path), default=Path("cutover.journal"), show_default=True,
    help="The journal to write to.",
)  # fmt: skip


@click.command(epilog="Example: mxcutover cutover")
@click.option("--rollback", is_flag=True, help="The change was taken back.")
@click.option("--reason", default="", help="A remark for the record.")
@_journal
def cutover(rollback: bool, reason: str, journal: Path) -> None:
    """Declare that the change of the MX was made now.

    Without it the change begins with the first new answer at an authority. Declare it where the new
    host starts to take mail before DNS says so. A later cutover after a rollback starts anew.
    """
    _say(journal, "rollback" if rollback else "cutover", "", reason)


@click.command(epilog='Example: mxcutover waive authority:203.0.113.2 --reason "decommissioned"')
@click.argument("subject")
@click.option("--reason", required=True, help="Why it need not hold; shown in every verdict and report.")
@_journal
def waive(subject: str, reason: str, journal: Path) -> None:
    """Take SUBJECT out of the judgement until `unwaive`.

    \b
    SUBJECT is one of
      authority:ADDRESS  resolver:ID  route:NAME  account:ADDRESS
      sender:CLIENT-ADDRESS  message:MESSAGE-ID
    """
    _known(journal, subject)
    if not reason.strip():
        raise Failure("a waiver needs a reason: --reason TEXT", Exit.USAGE)
    _say(journal, "waive", subject, reason)


@click.command(epilog="Example: mxcutover unwaive authority:203.0.113.2")
@click.argument("subject")
@click.option("--reason", default="", help="A remark for the record.")
@_journal
def unwaive(subject: str, reason: str, journal: Path) -> None:
    """Take a waiver of SUBJECT back."""
    standing = _waived(journal)
    if subject not in standing:
        have = f"waived are {', '.join(sorted(standing))}" if standing else "nothing is"
        raise Failure(printable(f"{subject} is not waived; {have}"), Exit.USAGE)
    _say(journal, "unwaive", subject, reason)


@click.command(epilog='Example: mxcutover note "told the registrar to remove ns3"')
@click.argument("text")
@_journal
def note(text: str, journal: Path) -> None:
    """Put TEXT into the record. It changes no verdict."""
    _say(journal, "note", "", text)


def _say(journal: Path, action: Action, subject: str, reason: str) -> None:
    number = post(journal, Operator(at=now(), action=action, subject=subject, reason=reason))
    print(printable(" ".join(filter(None, (action, subject))) + f": kept in batch {number}"))


def _waived(journal: Path) -> set[str]:
    standing: set[str] = set()
    with JournalReader(journal) as reader:
        for said in reader.of_kind("operator"):
            if isinstance(said, Operator) and said.action == "waive":
                standing.add(said.subject)
            elif isinstance(said, Operator) and said.action == "unwaive":
                standing.discard(said.subject)
    return standing


def _known(journal: Path, subject: str) -> None:
    """A waiver with a slip in it would do nothing and look as if it did."""
    if not waivable(subject):
        forms = ", ".join(f"{w}…" for w in WAIVABLE)
        raise Failure(printable(f"{subject!r} cannot be waived; a subject is one of {forms}"), Exit.USAGE)
    with JournalReader(journal) as reader:
        there = _subjects(reader.plan())
    kind = subject.partition(":")[0]
    if kind in there and subject not in there[kind]:
        near = difflib.get_close_matches(subject, there[kind], 1) or there[kind][:5]
        have = f"did you mean {near[0]}?" if len(near) == 1 else f"it watches {', '.join(near) or 'none'}"
        raise Failure(printable(f"the plan watches no {subject}; {have}"), Exit.USAGE)


def _subjects(plan: Plan) -> dict[str, list[str]]:
    """Subjects by kind; senders and messages are not on any list."""
    lists = {"authority": plan.authorities, "resolver": plan.resolvers, "route": plan.routes}
    return {kind: [f"{kind}:{name}" for name in names] for kind, names in lists.items()} | {
        "account": [f"account:{name}" for name in plan.accounts]
    }
