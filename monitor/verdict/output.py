"""The verdict as JSON: the object that ``replay --json``, ``status --json`` and the report share.

Its form is fixed: fields may be added, none renamed. ``reason`` is English whatever the language of
the screens; ``code`` names the sentence and never changes its meaning.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from monitor.printable import printable
from monitor.verdict.model import Finding, Judgement, LooseEnd
from monitor.wording import say
from probes.observation import stamp


def as_json(judgement: Judgement, *, loose_ends: bool = False) -> dict[str, Any]:
    """Plain values only (times RFC 3339 with milliseconds); ``loose_ends`` adds that list."""
    fields: dict[str, Any] = {
        "at": stamp(judgement.at),
        "verdict": judgement.verdict,
        "requirements": [_requirement(f, judgement.at) for f in judgement.findings],
        "eta": None if judgement.eta is None else stamp(judgement.eta),
        "share_bound": None if judgement.share_bound is None else round(judgement.share_bound, 6),
        "confidence": judgement.confidence,
    }
    return (
        fields | {"loose_ends": [_loose_end(e, judgement.at) for e in judgement.loose_ends]}
        if loose_ends
        else fields
    )


def _requirement(finding: Finding, at: datetime) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "name": finding.name,
        "state": finding.state,
        "code": finding.code,
        "reason": say(finding.code, finding.args, "en", at),
    }
    if finding.eta is not None:
        fields["eta"] = stamp(finding.eta)
    if finding.waived:
        fields["waived"] = [printable(w) for w in finding.waived]
    return fields


def _loose_end(end: LooseEnd, at: datetime) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "kind": end.kind,
        "subject": printable(end.subject),
        "code": end.code,
        "reason": say(end.code, end.args, "en", at),
    }
    return fields if end.last is None else fields | {"last": stamp(end.last)}
