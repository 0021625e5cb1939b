"""The report as JSON: everything the page shows and what it had to leave out, in a stable form."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from monitor.report.exceptions import TlsException
from monitor.report.page import Seal, headline, product_version, share_statement
from monitor.report.words import Words
from monitor.snapshot import EventRow, Snapshot
from monitor.verdict.output import as_json
from probes.observation import stamp

FORMAT = 1

# What may not reach a terminal raw (C1 controls, bidi controls, lone surrogates): written as \\uXXXX.
_UNSAFE = re.compile(
    "[\x7f-\x9f\xad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\uffff\ud800-\udfff]"
)
_EVIDENCE = (
    "authorities", "resolvers", "routes", "canaries", "hits", "clients", "stragglers", "accounts", "coverage",
)  # fmt: skip


def document(
    s: Snapshot, words: Words, seal: Seal | None, exceptions: Sequence[TlsException] | None
) -> dict[str, Any]:
    """Plain values. Times are RFC 3339 with milliseconds; ``verdict`` is the object of ``replay --json``."""
    return {
        "format": FORMAT,
        "generator": f"mxcutover {product_version()}",
        "domain": s.plan.domain,
        "at": stamp(s.now),
        "headline": headline(s.judgement, words),
        "share_statement": share_statement(s.judgement, words),
        "verdict": as_json(s.judgement, loose_ends=True),
        "times": _plain(
            {
                "watched_since": s.began_at,
                "newest_evidence": s.evidence_at,
                "change": s.change_at,
                "horizon": s.horizon,
                "verdict_since": s.verdict_since,
            }
        ),
        "quiet": _quiet(s),
        "evidence": {name: _plain(getattr(s, name)) for name in _EVIDENCE}
        | {"senders": _plain(s.judgement.senders)},
        "timeline": {"changes": [as_json(j) for j in s.changes], "shares": _plain(s.shares)},
        "waivers": _plain(s.waivers),
        "tls_exceptions": _plain(exceptions),
        "events": [_event(e, words) for e in s.events],
        "plan": _plain(s.plan),
        "journal": _plain(seal),
    }


def text_of(value: Mapping[str, Any]) -> str:
    """JSON for people and programs: UTF-8 as it is, but no control that a terminal would obey."""
    written = json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False)
    return _UNSAFE.sub(lambda m: f"\\u{ord(m[0]):04x}", written) + "\n"


def _quiet(s: Snapshot) -> dict[str, Any]:
    return {
        "since": _plain(s.quiet_since),
        "seconds": _plain(s.quiet_seconds),
        "needed_seconds": _plain(s.plan.policy.quiet_for),
        "baseline_per_hour": _plain(s.baseline_per_hour),
        "last_old_mail": _plain(s.last_old_mail),
    }


def _event(event: EventRow, words: Words) -> dict[str, Any]:
    return {
        "at": stamp(event.at),
        "level": event.level,
        "code": event.code,
        "event": words.tell(event.code, event.args),
    }


def _plain(value: Any) -> Any:
    """Structs as dicts, tuples as lists, times as RFC 3339, whole floats as integers."""
    if isinstance(value, msgspec.Struct):
        return _plain(msgspec.to_builtins(value, builtin_types=(datetime,)))
    if isinstance(value, datetime):
        return stamp(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return value
