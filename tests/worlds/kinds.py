"""Kinds of world: a table of TOML each, over what ``common.toml`` says of all of them.

A value is a number, a word, or a list. Of ``[a, b]`` with numbers or durations ("90s", "15m", "2h", "3d") one
between is drawn, evenly by order of magnitude; of a list of words one of them; of a table of words with
weights, one by weight.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from math import exp, log
from pathlib import Path
from random import Random
from typing import Any

FOLDER = Path(__file__).with_name("kinds")
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True, slots=True)
class Kind:
    """``table``: section, key, value as written; ``weight``: how often this kind is drawn."""

    name: str
    about: str
    weight: float
    table: dict[str, dict[str, Any]]


@cache
def kinds() -> tuple[Kind, ...]:
    """All of them, by name."""
    return read_kinds()


def read_kinds() -> tuple[Kind, ...]:
    """Raises ``ValueError`` for a key that ``common.toml`` does not have."""
    common = tomllib.loads((FOLDER / "common.toml").read_text())
    paths = sorted(path for path in FOLDER.glob("*.toml") if path.stem != "common")
    return tuple(_kind(path, common) for path in paths)


def _kind(path: Path, common: dict[str, Any]) -> Kind:
    own = tomllib.loads(path.read_text())
    about, weight = own.pop("about"), float(own.pop("weight", 1.0))
    table = {section: dict(values) for section, values in common.items()}
    for section, values in own.items():
        unknown = set(values) - set(table.get(section, {}))
        if unknown:
            raise ValueError(f"{path.name}: [{section}] has no {', '.join(sorted(unknown))}")
        table[section] |= values
    return Kind(path.stem, about, weight, table)


class Draws:
    """One world's values, drawn from a kind's table by its own generator."""

    def __init__(self, kind: Kind, chance: Random) -> None:
        self.kind, self.chance = kind, chance

    def word(self, section: str, key: str) -> str:
        value = self.kind.table[section][key]
        if isinstance(value, dict):
            return str(self.chance.choices(list(value), list(value.values()))[0])
        return str(self.chance.choice(value)) if isinstance(value, list) else str(value)

    def words(self, section: str, key: str) -> list[str]:
        return list(self.kind.table[section][key])

    def number(self, section: str, key: str) -> float:
        value = self.kind.table[section][key]
        if not isinstance(value, list):
            return seconds(value)
        low, high = map(seconds, value)
        if low > 0:
            return exp(self.chance.uniform(log(low), log(high)))
        return self.chance.uniform(low, high)

    def whole(self, section: str, key: str) -> int:
        value = self.kind.table[section][key]
        low, high = value if isinstance(value, list) else (value, value)
        return self.chance.randint(int(low), int(high))

    def happens(self, section: str, key: str) -> bool:
        """A probability."""
        return self.chance.random() < float(self.kind.table[section][key])


def seconds(value: Any) -> float:
    """A duration as written, or a plain number."""
    if isinstance(value, str):
        return float(value[:-1]) * UNITS[value[-1]]
    return float(value)
