"""One table of a plan, read key by key: what does not fit is collected with its line, never raised."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from monitor.plan.mistakes import Mistake, Wrong, nearest
from monitor.plan.positions import Path, Positions

T = TypeVar("T")

# Keys that people write where something else is known: what to say to them.
_INSTEAD = {
    "password": "passwords never stand in a plan: write password_file, password_command or secret",
    "old_password": "passwords never stand in a plan: write old_password_file or old_secret",
    "new_password": "passwords never stand in a plan: write new_password_file or new_secret",
}
_TYPES = {bool: "true or false", int: "a whole number", float: "a number", str: "text in quotes",
          list: "a list in brackets", dict: "a table"}  # fmt: skip


class Findings:
    """The mistakes of one plan file, and where its keys stand."""

    def __init__(self, file: str, positions: Positions) -> None:
        self.file = file
        self.positions = positions
        self.mistakes: list[Mistake] = []

    def add(self, path: Path, what: str, write: str, near: str | None = None) -> None:
        line = self.positions.line(path)
        mistake = Mistake(file=self.file, line=line, key=dotted(path), what=what, write=write, nearest=near)
        if mistake not in self.mistakes:
            self.mistakes.append(mistake)


def dotted(path: Path) -> str:
    """``account[2].address``: elements counted from 1."""
    text = "".join(f"[{p + 1}]" if isinstance(p, int) else f".{p}" for p in path)
    return text.removeprefix(".")


class Table:
    """A TOML table at ``path``. Every getter returns a usable value whatever the file says; ``close``
    reports the keys that no getter asked for."""

    def __init__(self, data: dict[str, Any], findings: Findings, path: Path = ()) -> None:
        self.data = data
        self.path = path
        self.findings = findings
        self._known: list[str] = []

    def __contains__(self, key: str) -> bool:
        return key in self.data

    def wrong(self, key: str, what: str, write: str) -> None:
        self.findings.add((*self.path, key), what, write)

    def value(self, key: str, kinds: tuple[type, ...], write: str) -> Any:
        """The value if it is one of ``kinds``, else None (and a mistake, if it is there at all)."""
        self._known.append(key)
        value = self.data.get(key)
        if value is None or (isinstance(value, kinds) and (not isinstance(value, bool) or bool in kinds)):
            return value
        self.wrong(key, f"is {_kind(value)}, not {_TYPES[kinds[0]]}", write)
        return None

    def parsed(self, key: str, kinds: tuple[type, ...], parse: Callable[[Any], T], write: str) -> T | None:
        value = self.value(key, kinds, write)
        return None if value is None else self._parse((*self.path, key), value, parse)

    def _parse(self, path: Path, value: Any, parse: Callable[[Any], T]) -> T | None:
        try:
            return parse(value)
        except Wrong as wrong:
            self.findings.add(path, wrong.what, wrong.write)
            return None

    def text(self, key: str, parse: Callable[[str], T], example: str) -> T | None:
        return self.parsed(key, (str,), parse, f'write {key} = "{example}"')

    def texts(self, key: str, parse: Callable[[str], T], example: str) -> tuple[T, ...]:
        """A list of texts (one text counts as a list of one), each parsed, what is wrong left out."""
        write = f'write {key} = ["{example}"]'
        value = self.value(key, (list, str), write)
        found = []
        for index, item in enumerate([value] if isinstance(value, str) else value or ()):
            path = (*self.path, key, index)
            if not isinstance(item, str):
                self.findings.add(path, f"is {_kind(item)}, not text in quotes", write)
                continue
            parsed = self._parse(path, item, parse)
            if parsed is not None and parsed in found:
                self.findings.add(path, f"{item!r} is there twice", "take one out")
            elif parsed is not None:
                found.append(parsed)
        return tuple(found)

    def number(self, key: str, default: T, low: float, high: float, *, whole: bool = False) -> T | Any:
        """A number from ``low`` to ``high``; ``default`` where it is not there or does not do."""
        kinds = (int,) if whole else (float, int)
        write = f"write {key} = a number from {low:g} to {high:g}"
        value = self.value(key, kinds, write)
        if value is None or low <= value <= high:
            return default if value is None else value
        self.wrong(key, f"{value} is out of range", write)
        return default

    def choice(self, key: str, known: tuple[str, ...]) -> str | None:
        write = "write " + " or ".join(f'"{k}"' for k in known)
        value: str | None = self.value(key, (str,), write)
        if value is None or value in known:
            return value
        path = (*self.path, key)
        self.findings.add(path, f"{value!r} is not known", write, nearest(value, known))
        return None

    def flag(self, key: str, default: bool) -> bool:
        value = self.value(key, (bool,), f"write {key} = {str(default).lower()}")
        return default if value is None else bool(value)

    def table(self, key: str) -> Table:
        """The table below ``key``; an empty one where there is none."""
        data = self.value(key, (dict,), f"write [{dotted((*self.path, key))}] and its keys below it")
        return Table(data or {}, self.findings, (*self.path, key))

    def tables(self, key: str) -> list[Table]:
        """The array of tables ``[[key]]``."""
        value = self.value(key, (list,), f"write [[{key}]] and its keys below it")
        good = []
        for index, item in enumerate(value or ()):
            if isinstance(item, dict):
                good.append(Table(item, self.findings, (*self.path, key, index)))
            else:
                self.findings.add((*self.path, key, index), "is not a table", f"write [[{key}]]")
        return good

    def close(self) -> None:
        for key in self.data:
            if key not in self._known:
                near = nearest(key, self._known)
                keys = ", ".join(self._known)
                write = f"write {near}" if near else f"known here: {keys}"
                self.findings.add((*self.path, key), "unknown key", _INSTEAD.get(key, write), near)


def _kind(value: object) -> str:
    return _TYPES.get(type(value), "a date or time")
