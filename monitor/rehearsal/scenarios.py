"""The stories that can be rehearsed: who caches how, what happens when, and how it ought to be judged.

All times are seconds of the story at speed 1, from its beginning.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from monitor.rehearsal.resolver import Habit

Deed = Literal[
    "let-go", "change-mx", "secondary-catches-up", "user-moves", "copy",
    "cut-off", "reconnect", "mailbox-full", "mailbox-mended", "waive-lost",
]  # fmt: skip

DOMAIN = "rehearsal.example."
ACCOUNTS = ("anna", "ben", "carol", "dai")
TTL = 15.0  # of the MX RRset
HOST_TTL = 60.0  # of the mail hosts' addresses
NEGATIVE_TTL = 10.0


class Act(Struct, frozen=True, kw_only=True):
    """One thing that somebody does at a time; ``subject`` is a resolver's address or an account."""

    at: float
    do: Deed
    subject: str = ""


class Scenario(Struct, frozen=True, kw_only=True):
    """``verdicts``: words that must come in this order (others may come between); ``ends``: the last one.

    ``about`` is when it is over as a rule: all acts are done and the verdict is safe; ``length`` bounds it
    whatever the verdict.
    """

    name: str
    acts: tuple[Act, ...]
    about: float
    length: float
    verdicts: tuple[str, ...]
    ends: str = "safe"
    habits: tuple[Habit, ...] = ()


PLAIN = Habit(name="Plain DNS", address="203.0.113.1")
ANYCAST = Habit(name="Anycast DNS", address="203.0.113.2", caches=("tyo-1", "osa-2"), prefers=1)
STRETCHER = Habit(name="Stretching ISP", address="203.0.113.3", floor=22, prefers=1)
CAPPER = Habit(name="Capping ISP", address="203.0.113.4", cap=8)
STALE = Habit(name="Stale DNS", address="203.0.113.5", stale=True)
HABITS = (PLAIN, ANYCAST, STRETCHER, CAPPER, STALE)
USUAL = ("before", "propagating", "draining", "safe")

_LET_GO = Act(at=36, do="let-go")
_CHANGE = Act(at=38, do="change-mx")
_CATCH_UP = Act(at=54, do="secondary-catches-up")
_MOVES = Act(at=66, do="user-moves")

SMOOTH = Scenario(
    name="smooth",
    acts=(_LET_GO, _CHANGE, _CATCH_UP, _MOVES),
    about=120,
    length=210,
    verdicts=USUAL,
    habits=HABITS,
)
SLOW_SECONDARY = Scenario(
    name="slow-secondary",
    acts=(_LET_GO, _CHANGE, _MOVES, Act(at=90, do="secondary-catches-up")),
    about=155,
    length=250,
    verdicts=USUAL,
    habits=HABITS,
)
LOCAL_TRAP = Scenario(
    name="local-trap",
    acts=(_CHANGE, _CATCH_UP, Act(at=92, do="user-moves"), Act(at=98, do="let-go"), Act(at=110, do="copy")),
    about=145,
    length=260,
    verdicts=USUAL,
    habits=HABITS,
)
SERVE_STALE = Scenario(
    name="serve-stale",
    acts=(
        Act(at=30, do="cut-off", subject=STALE.address),
        _LET_GO,
        _CHANGE,
        _CATCH_UP,
        _MOVES,
        Act(at=98, do="reconnect", subject=STALE.address),
    ),
    about=155,
    length=260,
    verdicts=USUAL,
    habits=HABITS,
)
LOST_ON_NEW = Scenario(
    name="lost-on-new",
    acts=(
        _LET_GO,
        _CHANGE,
        _CATCH_UP,
        Act(at=62, do="mailbox-full", subject=f"ben@{DOMAIN.rstrip('.')}"),
        _MOVES,
        Act(at=104, do="mailbox-mended", subject=f"ben@{DOMAIN.rstrip('.')}"),
        Act(at=114, do="waive-lost"),
    ),
    about=145,
    length=260,
    verdicts=("before", "propagating", "alarm", "draining", "safe"),
    habits=HABITS,
)
SCENARIOS = {s.name: s for s in (SMOOTH, SLOW_SECONDARY, LOCAL_TRAP, SERVE_STALE, LOST_ON_NEW)}
