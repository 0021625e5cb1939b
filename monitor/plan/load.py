"""cutover.toml to a :class:`CutoverPlan`, or to every mistake in it at once.

``check`` and ``load`` read the plan, its CSV of accounts and the state (never the content) of secret
files. They ask no network.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any, Literal, cast

from monitor.exits import Exit, Failure
from monitor.plan import reading, values
from monitor.plan.accounts import NotText, read_csv, read_text
from monitor.plan.crosschecks import cross_check
from monitor.plan.mistakes import Mistake
from monitor.plan.model import Account, CutoverPlan, Host
from monitor.plan.positions import Positions
from monitor.plan.resolvers import PUBLIC, named
from monitor.plan.table import Findings, Table

DEFAULT = Path("cutover.toml")
_SHOWN = 10
_PLACE = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)$")


def load(path: Path) -> CutoverPlan:
    """The plan in ``path``. Raises :class:`Failure`: every mistake in one line (78), unreadable (74)."""
    plan, mistakes = examine(path)
    if plan is None or mistakes:
        said = "; ".join(_placed(m, path) for m in mistakes[:_SHOWN])
        more = f"; and {len(mistakes) - _SHOWN} more" if len(mistakes) > _SHOWN else ""
        count = "1 mistake" if len(mistakes) == 1 else f"{len(mistakes)} mistakes"
        raise Failure(f"{path}: {count}: {said}{more}", Exit.BAD_PLAN)
    return plan


def check(path: Path) -> list[Mistake]:
    """Every mistake in the plan, in order of place. Raises :class:`Failure` where there is no file."""
    return examine(path)[1]


def journal_of(path: Path) -> Path:
    """Where the plan's journal is, without the rest of the plan. Raises as :func:`load`."""
    data = _parse(_text(path), str(path))
    journal = {} if isinstance(data, Mistake) else data
    named = journal.get("journal", "cutover.journal")
    if isinstance(data, Mistake) or not isinstance(named, str) or not named:
        load(path)
    return path.parent / Path(str(named)).expanduser()


def examine(path: Path) -> tuple[CutoverPlan | None, list[Mistake]]:
    """The plan as far as it can be read (None where it is no TOML), and every mistake in it."""
    text = _text(path)
    if isinstance(text, Mistake):
        return None, [text]
    data = _parse(text, str(path))
    if isinstance(data, Mistake):
        return None, [data]
    findings = Findings(str(path), Positions(text))
    plan = _Reader(path, data, findings).plan()
    order = {str(path): 0}
    return plan, sorted(findings.mistakes, key=lambda m: (order.get(m.file, 1), m.file, m.line))


def _placed(mistake: Mistake, plan: Path) -> str:
    where = "" if mistake.file == str(plan) else f"{mistake.file} "
    return f"{where}line {mistake.line}: {mistake.brief()}"


def _text(path: Path) -> str | Mistake:
    try:
        return read_text(path)
    except FileNotFoundError:
        say = f"{path}: there is no plan; write one with: mxcutover init"
        raise Failure(say, Exit.BAD_PLAN) from None
    except OSError as error:
        raise Failure(f"{path} cannot be read: {error.strerror}", Exit.IO) from None
    except NotText as error:
        return Mistake(file=str(path), line=error.line, key="", what=str(error), write="save it as UTF-8")


def _parse(text: str | Mistake, file: str) -> dict[str, Any] | Mistake:
    if isinstance(text, Mistake):
        return text
    try:
        return tomllib.loads(text)
    except RecursionError:
        return Mistake(file=file, line=1, key="", what="is nested too deeply", write="write it flat")
    except ValueError as error:
        place = _PLACE.search(str(error))
        line = int(place[1]) if place and place[1] else text.count("\n") + 1
        what = _PLACE.sub("", str(error))
        write = 'write key = value, with text in "quotes"'
        return Mistake(file=file, line=line, key="", what=f"is not TOML ({what})", write=write)


class _Reader:
    """One pass over the tables of one plan."""

    def __init__(self, path: Path, data: dict[str, Any], findings: Findings) -> None:
        self.path = path
        self.base = path.parent
        self.findings = findings
        self.root = Table(data, findings)

    def plan(self) -> CutoverPlan:
        root, canaries, mx, dns = self.root, self.root.table("canaries"), self.root.table("mx"), self._dns()
        self._version()
        old, new = (reading.host(root.table(side), side, self.base) for side in ("old", "new"))
        routes, sender = (
            reading.routes(canaries),
            canaries.text("sender", values.mailbox, "canary@example.jp"),
        )
        accounts, places = self._accounts()
        plan = CutoverPlan(
            path=self.path,
            domain=root.text("domain", values.domain, "example.jp") or ".",
            old=old,
            new=new,
            expected_mx=mx.texts("planned", values.mx, "10 mx1.new.example"),
            accounts=accounts,
            routes=default_routes(old, new) if routes is None else routes,
            policy=reading.policy(root.table("policy")),
            cadence=reading.cadence(root.table("cadence")),
            sender=sender or "",
            daily_canaries=canaries.number("daily", 500, 1, 10_000_000, whole=True),
            relays=reading.relays(root.table("relays"), self.base),
            language=cast(Literal["en", "ja"], root.choice("language", ("en", "ja")) or "en"),
            journal=reading.path_beside(root, "journal", "cutover.journal", self.base)
            or self.base / "cutover.journal",
            endpoints=reading.endpoints(root.table("endpoints")),
            **dns,
        )
        for table in (canaries, mx, root):
            table.close()
        cross_check(plan, root.data, places, self.findings)
        return plan

    def _version(self) -> None:
        version = self.root.value("version", (int,), "write version = 1")
        if "version" not in self.root or version not in (None, 1):
            what = "is missing" if version is None else f"{version} is not one this program reads"
            self.root.wrong("version", what, "write version = 1")
        if "domain" not in self.root:
            self.root.wrong("domain", "is missing", 'write domain = "example.jp"')

    def _dns(self) -> dict[str, Any]:
        table = self.root.table("dns")
        authorities = table.texts("authorities", values.address, "203.0.113.1")
        hints = table.texts("hints", values.address, "198.51.100.53")
        platforms: dict[str, str] = {}
        if "resolvers" not in table:
            table.data = table.data | {"resolvers": [PUBLIC]}
        for found in table.texts("resolvers", named, "public"):
            platforms |= {a: operator for a, operator in found.items() if not platforms.get(a)}
        table.close()
        return {
            "authorities": authorities if "authorities" in table else None,
            "hints": hints,
            "resolvers": tuple(platforms),
            "platforms": {address: operator for address, operator in platforms.items() if operator},
        }

    def _accounts(self) -> tuple[tuple[Account, ...], dict[str, tuple[str, int]]]:
        """All accounts, and for each address its file and line."""
        rows = self.root.tables("account")
        inline = [(found, self._line(row)) for row in rows if (found := reading.account(row))]
        table = self.root.table("accounts")
        file = reading.path_beside(table, "file", "accounts.csv", self.base)
        listed: list[tuple[Account, int]] = []
        if file is not None and not file.is_file():
            table.wrong("file", f"there is no file {file}", "write where the CSV of accounts is")
        elif file is not None:
            listed, mistakes = read_csv(file)
            self.findings.mistakes += mistakes
        table.close()
        return self._unique(inline, listed, str(file))

    def _line(self, row: Table) -> int:
        return self.findings.positions.line(row.path)

    def _unique(
        self, inline: list[tuple[Account, int]], listed: list[tuple[Account, int]], file: str
    ) -> tuple[tuple[Account, ...], dict[str, tuple[str, int]]]:
        accounts: dict[str, Account] = {}
        places: dict[str, tuple[str, int]] = {}
        placed = [(a, (self.findings.file, n)) for a, n in inline] + [(a, (file, n)) for a, n in listed]
        for account, place in placed:
            key = account.address.lower()
            if key in accounts:
                first = "{}:{}".format(*places[account.address if account.address in places else key])
                self.findings.mistakes.append(
                    Mistake(file=place[0], line=place[1], key="address", write="take one of them out",
                            what=f"{account.address} stands already at {first}")
                )  # fmt: skip
            else:
                accounts[key] = account
                places[account.address] = places[key] = place
        return tuple(accounts.values()), places


def default_routes(old: Host, new: Host) -> tuple[str, ...]:
    """Every route that the hosts allow: through each that takes submissions, and by the MX."""
    via = [route for route, host in (("via-old", old), ("via-new", new)) if host.submission]
    return (*via, "mx")
