"""The senders' ledger: who wrote to old before the change, and where they were heard since.

A correspondent is told by the name that its server gives in HELO, without the first label of three or more
(the hosts of one sender, mostly), else by its address.
"""

from __future__ import annotations

from datetime import datetime
from ipaddress import ip_address
from itertools import pairwise
from statistics import median
from typing import Literal

from msgspec import Struct

from monitor.evidence.mail import Taken
from monitor.evidence.names import canonical
from monitor.verdict.context import Context
from probes.observation import from_ms

DAY = 86_400_000
RARE_HISTORY = 14 * DAY  # so much history tells a sender of every day from one of every month
RARE_DAYS = 2  # days with mail in it
RARE_PAUSE = 14 * DAY  # between two of them
Standing = Literal["new", "old", "silent", "rare"]


class Sender(Struct, frozen=True, kw_only=True):
    """``standing``: last heard on new or on old since the change, or not at all: ``rare`` where it writes so
    seldom that this says nothing yet. ``expected``: when it would be heard again by its habit; None: it wrote
    once. ``letters``: before the change; ``since``: when it was first heard on new after it."""

    sender: str
    standing: Standing
    clients: tuple[str, ...]
    letters: int
    last: datetime
    since: datetime | None
    expected: datetime | None


def ledger(c: Context) -> tuple[Sender, ...]:
    """Everybody who wrote to old from outside before the change: the rare, the silent, those still on old,
    those on new; the latest first of each. Empty while there is no change."""
    change = c.evidence.change
    if change is None:
        return ()
    before, old, new = _heard(c, change)
    first = min((t.at for letters in before.values() for t in letters), default=change)
    telling = change - first >= RARE_HISTORY
    found = [
        _sender(c, who, letters, old.get(who, []), new.get(who, []), telling)
        for who, letters in before.items()
    ]
    order = ("rare", "silent", "old", "new")
    return tuple(sorted(found, key=lambda s: (order.index(s.standing), -s.last.timestamp(), s.sender)))


Letters = dict[str, list[Taken]]


def _heard(c: Context, change: int) -> tuple[Letters, Letters, Letters]:
    """Before the change on old; since then on old, and on new."""
    before: Letters = {}
    since: tuple[Letters, Letters] = ({}, {})
    known: dict[str, str] = {}  # a client's address to whom it was taken for
    for t in c.hits:
        if t.origin != "outside" or not t.client:
            continue
        who = known.setdefault(canonical(t.client), correspondent(t))
        (before if t.at < change else since[0]).setdefault(who, []).append(t)
    for t in c.evidence.mail.new:
        if t.client and t.disposition != "rejected" and t.at >= change:
            who = known.get(canonical(t.client)) or correspondent(t)
            since[1].setdefault(who, []).append(t)
    return before, *since


def correspondent(t: Taken) -> str:
    """Who a message's client is taken for."""
    name = (t.helo or "").rstrip(".").lower()
    labels = name.split(".")
    if len(labels) < 2 or not all(labels) or _address(name.strip("[]")):
        return canonical(t.client or "?")
    # "example.co.jp" is nobody's host below "co.jp": where a registry has categories, they are short.
    whole = len(labels) == 2 or (len(labels) == 3 and len(labels[2]) == 2 and len(labels[1]) <= 3)
    return name if whole else ".".join(labels[1:])


def _address(word: str) -> bool:
    try:
        ip_address(word.removeprefix("ipv6:"))
    except ValueError:
        return False
    return True


def _sender(
    c: Context, who: str, before: list[Taken], old: list[Taken], new: list[Taken], telling: bool
) -> Sender:
    days = sorted({t.at // DAY for t in before})
    last = max(t.at for t in (*before, *old, *new))
    pause = _pause(days)
    rare = telling and (len(days) <= RARE_DAYS or (pause or 0) >= RARE_PAUSE)
    return Sender(
        sender=who,
        standing=_standing(old, new) or ("rare" if rare else "silent"),
        clients=tuple(sorted({t.client for t in before if t.client})),
        letters=len(before),
        last=from_ms(last),
        since=from_ms(min(t.at for t in new)) if new else None,
        expected=from_ms(last + pause) if pause else None,
    )


def _standing(old: list[Taken], new: list[Taken]) -> Standing | None:
    if not old and not new:
        return None
    last_old, last_new = (max((t.at for t in some), default=-1) for some in (old, new))
    return "new" if last_new >= last_old else "old"


def _pause(days: list[int]) -> int | None:
    """The pause between two days with mail that is usual for it, in ms; None: there was one such day only."""
    pauses = [b - a for a, b in pairwise(days)]
    return round(median(pauses) * DAY) if pauses else None
