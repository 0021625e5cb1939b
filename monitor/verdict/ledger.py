"""Earlier correspondents: who wrote before the change, where each was heard since, and when it is due again.

A correspondent is who sends, not one of its many machines: the domain of its HELO name, else its address.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from functools import lru_cache
from ipaddress import ip_address
from math import log

from monitor.evidence.mail import Taken
from monitor.verdict.context import Context
from monitor.verdict.model import SenderRow, SenderState
from probes.observation import from_ms

DAY = 86_400_000
RARE_GAP = 7 * DAY  # who writes no oftener is named while it is silent
RARE_LETTERS = 2
RARE_HISTORY = 14 * DAY  # so much history tells a sender of every day from one of every month
# Second-level registries under which a name of three labels is one organisation's.
_SECOND = re.compile(r"^(ac|ad|co|com|ed|edu|go|gov|gr|lg|ne|net|or|org)$")


def ledger(c: Context) -> tuple[SenderRow, ...]:
    """Everybody who wrote from outside before the change, the most frequent first; empty before a change."""
    change = c.evidence.change
    if change is None:
        return ()
    letters = [t for t in c.hits if t.origin == "outside" and t.client and t.at <= c.now]
    arrived = [t for t in c.evidence.mail.new if t.origin == "outside" and t.disposition != "rejected"]
    names = _names((*letters, *arrived))
    before, since = defaultdict[str, list[Taken]](list), defaultdict[str, list[int]](list)
    for t in letters:
        if t.at < change:
            before[_who(t, names)].append(t)
        else:
            since[_who(t, names)].append(t.at)
    new = defaultdict[str, list[int]](list)
    for t in arrived:
        if t.at <= c.now:
            new[_who(t, names)].append(t.at)
    begin = min((t.at for t in letters if t.at < change), default=change)
    rows = (_row(c, who, mine, since.get(who, []), new.get(who, []), begin) for who, mine in before.items())
    return tuple(sorted(rows, key=lambda row: (-row.before, row.who)))


def _row(
    c: Context, who: str, mine: list[Taken], old: list[int], new: list[int], begin: int
) -> SenderRow:  # fmt: skip
    change = c.evidence.change or 0
    instants = sorted(t.at for t in mine)
    gap = _gap(instants, change - begin)
    since_new = [at for at in new if at >= change]
    heard = max((*old, *since_new, instants[-1]))
    return SenderRow(
        who=who, clients=tuple(sorted({str(t.client) for t in mine})), before=len(instants),
        gap=gap / 1000, last_before=from_ms(instants[-1]),
        first_new=from_ms(min(new)) if new else None,
        last_old=from_ms(max(old)) if old else None,
        state=_state(c.now, old, since_new, instants[-1], gap), expected=from_ms(int(heard + gap)),
    )  # fmt: skip


def _gap(instants: list[int], history: int) -> float:
    """Milliseconds between two letters on average; of one alone no less than all the time that was seen."""
    if len(instants) < 2:
        return float(max(history, DAY))
    return max(1.0, (instants[-1] - instants[0]) / (len(instants) - 1))


def _state(now: int, old: list[int], new: list[int], last: int, gap: float) -> SenderState:
    """Silent for longer than three average gaps is overdue: a Poisson sender is so in one case of twenty."""
    if new and (not old or max(new) > max(old)):
        return "new"
    if old:
        return "old"
    return "overdue" if now - last > -log(0.05) * gap else "silent"


def rare(row: SenderRow, history: float) -> bool:
    """Whether silence of this one says nothing yet, over so many seconds of history before the change."""
    if history * 1000 < RARE_HISTORY:
        return False
    return row.gap * 1000 >= RARE_GAP or row.before <= RARE_LETTERS


def _names(taken: Iterable[Taken]) -> dict[str, str]:
    """The organisation that an address has called itself, wherever its HELO was seen."""
    found: dict[str, str] = {}
    for t in taken:
        if t.client and (name := organisation(t.helo)) is not None:
            found.setdefault(t.client, name)
    return found


def _who(t: Taken, names: dict[str, str]) -> str:
    return organisation(t.helo) or names.get(t.client or "", t.client or "?")


@lru_cache(maxsize=4096)
def organisation(helo: str | None) -> str | None:
    """``mail-ej1-f51.google.com`` is google.com, ``mx3.example.co.jp`` example.co.jp; None for no name."""
    labels = (helo or "").rstrip(".").lower().split(".")
    if len(labels) < 2 or not all(labels) or len(helo or "") > 253 or _is_address(helo or ""):
        return None
    country = len(labels[-1]) == 2 and len(labels) > 2 and _SECOND.match(labels[-2])
    return ".".join(labels[-3:] if country else labels[-2:])


def _is_address(helo: str) -> bool:
    """An address literal, or an address written bare (RFC 5321 section 4.1.3)."""
    try:
        ip_address(helo.strip("[]").removeprefix("IPv6:"))
    except ValueError:
        return helo.startswith("[") or helo.rpartition(".")[2].isdigit()
    return True
