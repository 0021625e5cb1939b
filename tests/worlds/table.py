"""The score in words: Markdown for a terminal and for the documentation."""

from __future__ import annotations

from collections import defaultdict
from math import inf
from statistics import median
from typing import Any

from tests.worlds.kinds import kinds
from tests.worlds.score import OURS, Score

HEAD = "| kind of world | worlds | safe | false | above its bound | askings later than the policy |"


def table(figures: dict[str, Any]) -> str:
    worlds, bound, late = figures["worlds"], figures["bound"], figures["late"]
    lines = [
        "| rule | false safe | more than the bound | mail lost | never said | median wait |",
        "|---|---|---|---|---|---|",
    ]
    rules = sorted(figures["rules"].items(), key=lambda item: item[0] != OURS)
    lines += [_row(name, rule, worlds) for name, rule in rules]
    ours = figures["rules"][OURS]
    said = ours["said"] or 1
    stated = f"{bound['violated']} of {bound['stated']} ({_percent(bound['violated'], bound['stated'])})"
    lines += [
        "",
        f"False safe: {ours['false']} of {said} worlds in which it was said.",
        f"Worlds in which the true share was above the bound that was stated with *safe*: {stated}.",
        f"Later than the policy's own quiet time: {_askings(late['median'])} askings in the median, "
        f"{_askings(late['ninth_decile'])} in the ninth decile.",
        "A cache that nobody watches and that does not keep to the TTL still led somebody to old in "
        f"{figures['stray']} worlds.",
    ]
    return "\n".join(lines) + "\n"


def _row(name: str, rule: dict[str, Any], worlds: int) -> str:
    wait = "-" if rule["median_wait_h"] is None else f"{rule['median_wait_h']:.1f} h"
    cells = (
        name, *(_percent(rule[key], worlds) for key in ("false", "share", "lost")),
        _percent(worlds - rule["said"], worlds), wait,
    )  # fmt: skip
    return f"| {' | '.join(cells)} |"


def by_kind(scores: list[Score]) -> str:
    """What became of each kind of world."""
    grouped: defaultdict[str, list[Score]] = defaultdict(list)
    for score in scores:
        grouped[score.kind].append(score)
    lines = [HEAD, "|---|---|---|---|---|---|"]
    for kind in (kind for kind in kinds() if kind.name in grouped):
        mine = grouped[kind.name]
        late = [s.late for s in mine if s.late is not None]
        said = sum(s.rows[OURS].said < inf for s in mine)
        cells = (
            f"**{kind.name}**: {kind.about}", str(len(mine)), str(said), str(sum(s.false for s in mine)),
            str(sum(s.violated for s in mine)), _askings(median(late) if late else None),
        )  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _percent(part: int, whole: int) -> str:
    if not part or not whole:
        return "0"
    return f"{100 * part / whole:.1f} %" if 1000 * part >= whole else f"{100 * part / whole:.2f} %"


def _askings(late: float | None) -> str:
    return "-" if late is None else f"{late:.1f}"
