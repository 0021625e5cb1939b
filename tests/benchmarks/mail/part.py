"""What each half of the mail benchmark hands to the table."""

from __future__ import annotations

from msgspec import Struct


class Bar(Struct, frozen=True):
    value: float | None
    wanted: str
    ok: bool


class Part(Struct, frozen=True):
    """``lines`` for people, ``bars`` for machines; ``wrong``: what was not as it must be, however fast."""

    lines: list[str]
    bars: dict[str, Bar]
    wrong: list[str]


def least(value: float | None, wanted: float) -> Bar:
    """A bar that a missing peer belongs to is not reached: nobody knows."""
    return Bar(value and round(value, 2), f">= {wanted:g}", value is not None and value >= wanted)


def most(value: float | None, wanted: float) -> Bar:
    return Bar(
        None if value is None else round(value, 2), f"<= {wanted:g}", value is not None and value <= wanted
    )
