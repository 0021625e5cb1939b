"""Both languages say the same things with the same figures."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from string import Formatter
from typing import get_args

import pytest

import monitor
from monitor import snapshot
from monitor.report import exceptions
from monitor.snapshot import EventRow
from monitor.verdict import model
from monitor.verdict.model import LooseEnd
from monitor.wording import (
    dns_en,
    dns_ja,
    en,
    explain_en,
    explain_ja,
    ja,
    rehearsal_en,
    rehearsal_ja,
    report_en,
    report_ja,
    ui_en,
    ui_ja,
)
from probes import observation

PAIRS = {
    "verdict": (en.CATALOGUE, ja.CATALOGUE),
    "report": (report_en.REPORT, report_ja.REPORT),
    "rehearsal": (rehearsal_en.REHEARSAL, rehearsal_ja.REHEARSAL),
    "dns": (dns_en.DNS, dns_ja.DNS),
    "explain": (explain_en.EXPLAIN, explain_ja.EXPLAIN),
    "ui": (ui_en.UI, ui_ja.UI),
}
_JAPANESE = re.compile("[\u3040-\u30ff\u3400-\u9fff]")


def fields(template: str) -> set[str | None]:
    return {name for _, name, _, _ in Formatter().parse(template) if name is not None}


@pytest.mark.parametrize("part", PAIRS)
def test_same_codes_in_both_languages(part: str) -> None:
    english, japanese = PAIRS[part]
    assert sorted(set(english) ^ set(japanese)) == []


@pytest.mark.parametrize("part", PAIRS)
def test_same_figures_in_both_languages(part: str) -> None:
    english, japanese = PAIRS[part]
    assert {c: fields(t) for c, t in english.items()} == {c: fields(t) for c, t in japanese.items()}


def test_the_verdict_speaks_japanese() -> None:
    assert [c for c, t in ja.CATALOGUE.items() if not _JAPANESE.search(t)] == []


def test_no_code_is_worded_twice() -> None:
    for side in (0, 1):
        codes = [c for pair in PAIRS.values() for c in pair[side]]
        assert len(codes) == len(set(codes))


def test_every_word_of_the_vocabulary_is_in_the_report() -> None:
    """Codes that the report makes from a field's value, for all its values."""
    made = {
        "leads": snapshot.Leads, "fate": snapshot.CanaryFate, "origin": observation.Origin,
        "disposition": observation.Disposition, "mailbox": observation.MailboxState,
        "state": model.State, "word": model.VerdictWord, "headline": model.VerdictWord,
        "todo": model.VerdictWord, "exception": exceptions.Kind,
        "habit": snapshot.HabitWord,
        "end": LooseEnd.__annotations__["kind"], "level": EventRow.__annotations__["level"],
    }  # fmt: skip
    wanted = {f"report.{prefix}.{word}" for prefix, kind in made.items() for word in values(kind)}
    wanted |= {f"report.req.{r}.{part}" for r in model.REQUIREMENTS for part in ("title", "short", "asks")}
    wanted |= {f"report.policy.{key}" for key in observation.Policy.__struct_fields__}
    assert sorted(wanted - set(report_en.REPORT)) == []


def values(kind: object) -> tuple[str, ...]:
    """The words of a ``Literal``, also where the annotation is still text."""
    return (
        tuple(ast.literal_eval(w) for w in re.findall(r'"[^"]+"|\'[^\']+\'', kind))
        if isinstance(kind, str)
        else get_args(kind)
    )


def test_every_code_that_the_report_names_has_words() -> None:
    folder = Path(monitor.__file__).parent / "report"
    calls = [
        node
        for path in folder.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("w", "words")
    ]
    named = {f"report.{c.args[0].value}" for c in calls if c.args and isinstance(c.args[0], ast.Constant)}
    columns = {
        f"report.col.{name}"
        for path in folder.glob("*.py")
        for text in re.findall(r'_heads\(w, "([^"]+)"\)', path.read_text("utf-8"))
        for name in text.split()
    }
    assert len(named) > 50 and len(columns) > 30
    assert sorted((named | columns) - set(report_en.REPORT)) == []
