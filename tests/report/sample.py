"""Snapshots for the report: the dashboard's samples, with a history of verdicts and hostile text added."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec

from monitor.snapshot import Snapshot
from monitor.verdict.model import REQUIREMENTS, Finding, Judgement, RequirementName, VerdictWord
from tests.dashboard import sample as base

HOSTILE = (
    "<script>alert(1)</script>\"'></td><img src=x onerror=alert(2)>\x1b[31m\x9b2J\u202eevil\x00"
    + "長" * 10_000
)

STORY: tuple[tuple[float, VerdictWord, str], ...] = (
    # hours before now, verdict, one letter a requirement: Met, unmet (N), unknown (?), Waived
    (30, "before", "N??????"),
    (3.2, "propagating", "NNN?N?N"),
    (3.0, "propagating", "MNNNNMN"),
    (1.06, "propagating", "MMNMNMN"),
    (0.8, "draining", "MMMMNMM"),
    (0.4, "blind", "MMMM?MM"),
    (0.3, "draining", "MMMMNMM"),
)
LETTERS = {"M": "met", "N": "unmet", "?": "unknown", "W": "waived"}


def history(last: Judgement) -> tuple[Judgement, ...]:
    """The changes that led to ``last``."""
    earlier = tuple(
        Judgement(at=base.ago(hours=h), verdict=word, findings=tuple(map(_finding, REQUIREMENTS, letters)))
        for h, word, letters in STORY
    )
    return (*earlier, msgspec.structs.replace(last, at=base.ago(minutes=3)))


def _finding(name: RequirementName, letter: str) -> Finding:
    return Finding(name=name, state=LETTERS[letter], code="sample.nothing")  # type: ignore[arg-type]


def told(snapshot: Snapshot, **more: Any) -> Snapshot:
    return msgspec.structs.replace(snapshot, changes=history(snapshot.judgement), **more)


def safe() -> Snapshot:
    """Two days in, seen whole: mail moved over and old went quiet 27 hours ago."""
    points = []
    for i, p in enumerate(base.shares(lambda h: 1.0, lambda h: 1.0)):
        at = base.NOW - timedelta(minutes=30 * (120 - i))
        hours = (at - base.NOW).total_seconds() / 3600 + 50
        dns = 0.0 if hours < 0 else min(1.0, hours / 3)
        mail = 0.0 if hours < 0 else min(1.0, 0.3 + hours / 20 * 0.7) if hours < 20 else 1.0
        hits = 0 if hours > 22.6 else round(p.new_mail * (1 - mail)) + (i % 9 == 0)
        points.append(
            msgspec.structs.replace(
                p, at=at, dns=dns, mail=mail, old_hits=hits, new_mail=round(p.new_mail * mail)
            )
        )
    began, change = base.ago(hours=60), base.ago(hours=50)
    snapshot = told(base.safe())
    days = {30: 60, 3.2: 50, 3.0: 49.5, 1.06: 47, 0.8: 46, 0.4: 30, 0.3: 29}
    moved = tuple(
        msgspec.structs.replace(j, at=base.ago(hours=days[h]))
        for j, (h, _, _) in zip(snapshot.changes, STORY, strict=False)
    )
    gap = base.Span(begin=base.ago(hours=30), end=base.ago(hours=29))
    covered = (base.Span(begin=began, end=gap.begin), base.Span(begin=gap.end, end=base.NOW))
    coverage = (base.CoverageRow(source="log:old", spans=covered, gaps=(gap,)),)
    return msgspec.structs.replace(
        snapshot, shares=tuple(points), began_at=began, change_at=change, horizon=base.ago(hours=47),
        changes=(*moved, snapshot.changes[-1]), coverage=coverage, hits=base.HITS, clients=base.CLIENTS,
    )  # fmt: skip


def hostile() -> Snapshot:
    """Every text from outside tries to be markup, a control sequence, reordered or endless."""
    return _poison(told(base.draining()))


# The fields that hold text from outside.
_OUTSIDE = frozenset(
    word
    for words in (
        "answer reply helo client recipient host hops folder address server platform reason message_id",
        "queue_id old_detail new_detail subject resolver accounts canary text who cache source outcome",
        "waived mx addresses expected_mx domain route record",
    )
    for word in words.split()
)


def _poison(value: Any, field: str = "") -> Any:
    if isinstance(value, msgspec.Struct):
        return msgspec.structs.replace(
            value, **{f: _poison(getattr(value, f), f) for f in value.__struct_fields__}
        )
    if isinstance(value, (tuple, list)):
        return tuple(_poison(v, field) for v in value)
    if isinstance(value, dict) and field == "args":
        return {k: _poison(v, k) for k, v in value.items()}
    if isinstance(value, str) and field in _OUTSIDE:
        return f"10 {HOSTILE}" if field in ("expected_mx",) else HOSTILE
    return value
