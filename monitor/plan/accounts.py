"""The CSV of accounts: ``address,old_login,new_login,secret`` (or ``old_secret,new_secret``), in UTF-8."""

from __future__ import annotations

import csv
from pathlib import Path

from monitor.plan.mistakes import Mistake, nearest
from monitor.plan.model import Account
from monitor.plan.positions import Positions
from monitor.plan.reading import account
from monitor.plan.table import Findings, Table

COLUMNS = (
    "address", "login", "old_login", "new_login", "secret", "old_secret", "new_secret", "password_file",
    "old_password_file", "new_password_file", "password_command", "old_password_command",
    "new_password_command",
)  # fmt: skip
HEADER = "write a first line such as address,old_login,new_login,secret"
LIMIT = 64 * 1024 * 1024


class NotText(ValueError):
    """A file that is not UTF-8: on which line, and what it looks like instead."""

    def __init__(self, line: int, what: str) -> None:
        super().__init__(what)
        self.line = line


def read_text(path: Path) -> str:
    """A UTF-8 file's text, a byte order mark left out. Raises ``OSError`` and :class:`NotText`."""
    with path.open("rb") as file:
        raw = file.read(LIMIT + 1)
    if len(raw) > LIMIT:
        raise NotText(1, "is longer than 64 MiB")
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise NotText(1, "is UTF-16, not UTF-8")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise NotText(raw.count(b"\n", 0, error.start) + 1, _encoding(raw)) from None


def _encoding(raw: bytes) -> str:
    for codec, called in (("euc_jp", "EUC-JP"), ("cp932", "Shift_JIS")):
        try:
            raw.decode(codec)
        except UnicodeDecodeError:
            continue
        return f"is not UTF-8: it looks like {called}"
    return "is not UTF-8"


class Rows(Positions):
    """The place of a cell is its row's line."""

    def __init__(self, line: int) -> None:
        self._line = line

    def line(self, path: tuple[str | int, ...]) -> int:
        return self._line


def read_csv(path: Path) -> tuple[list[tuple[Account, int]], list[Mistake]]:
    """Each account with its line, and every mistake."""
    found: list[tuple[Account, int]] = []
    mistakes: list[Mistake] = []
    try:
        text = read_text(path)
    except OSError as error:
        return [], [_mistake(path, 1, "", f"cannot be read ({error.strerror})", "write the file's name")]
    except NotText as error:
        return [], [_mistake(path, error.line, "", str(error), "save it as UTF-8")]
    reader = csv.reader(text.splitlines(keepends=True), strict=True)
    try:
        header = [column.strip().lower() for column in next(reader, [])]
        mistakes += _header(path, header)
        if mistakes:
            return [], mistakes
        for row in reader:
            if any(cell.strip() for cell in row) and not row[0].startswith("#"):
                found += _row(path, header, row, reader.line_num, mistakes)
    except csv.Error as error:
        mistakes.append(_mistake(path, reader.line_num, "", f"is not CSV ({error})", "mend the quotes"))
    return found, mistakes


def _header(path: Path, header: list[str]) -> list[Mistake]:
    if "address" not in header:
        if header and "@" in header[0]:
            return [_mistake(path, 1, "", "has no line with the columns' names", HEADER)]
        near = "address" if nearest("address", header) else None
        return [_mistake(path, 1, "", "has no column address", HEADER, near)]
    unknown = [c for c in header if c and c not in COLUMNS]
    wrong = [
        _mistake(path, 1, c, "unknown column", f"known: {', '.join(COLUMNS[:7])}", nearest(c, COLUMNS))
        for c in unknown
    ]
    twice = {c for c in header if header.count(c) > 1 and c in COLUMNS}
    return wrong + [_mistake(path, 1, c, "column is there twice", "take one out") for c in sorted(twice)]


def _row(
    path: Path, header: list[str], row: list[str], line: int, mistakes: list[Mistake]
) -> list[tuple[Account, int]]:
    if len(row) > len(header):
        what = f"has {len(row)} cells for {len(header)} columns"
        mistakes.append(_mistake(path, line, "", what, "put a cell that holds a comma in quotes"))
        return []
    cells = {
        column: cell.strip() for column, cell in zip(header, row, strict=False) if column and cell.strip()
    }
    findings = Findings(str(path), Rows(line))
    found = account(Table(cells, findings))
    mistakes += findings.mistakes
    return [] if found is None else [(found, line)]


def _mistake(path: Path, line: int, key: str, what: str, write: str, near: str | None = None) -> Mistake:
    return Mistake(file=str(path), line=line, key=key, what=what, write=write, nearest=near)
