"""Every sentence a person reads: ``say(code, args, language)`` from one catalogue a language.

A catalogue maps a code to a template for ``str.format``; ``[others? and {others} more]`` stands there only
where that argument is neither 0 nor empty. Times become local clock times, durations
human spans, tuples lists; every string argument passes ``printable()`` on its way in.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

from monitor.printable import printable
from monitor.wording.dns_en import DNS as DNS_EN
from monitor.wording.dns_ja import DNS as DNS_JA
from monitor.wording.en import CATALOGUE as EN
from monitor.wording.explain_en import EXPLAIN as EXPLAIN_EN
from monitor.wording.explain_ja import EXPLAIN as EXPLAIN_JA
from monitor.wording.ja import CATALOGUE as JA
from monitor.wording.rehearsal_en import REHEARSAL as REHEARSAL_EN
from monitor.wording.rehearsal_ja import REHEARSAL as REHEARSAL_JA
from monitor.wording.report_en import REPORT as REPORT_EN
from monitor.wording.report_ja import REPORT as REPORT_JA
from monitor.wording.ui_en import UI as UI_EN
from monitor.wording.ui_ja import UI as UI_JA

Language = Literal["en", "ja"]
_OPTIONAL = re.compile(r"\[(\w+)\?(.*?)\]")
SIGNS = {"met": "✓", "unmet": "✗", "unknown": "?", "waived": "–"}  # beside the word, never alone
CATALOGUES: dict[Language, dict[str, str]] = {
    "en": UI_EN | REPORT_EN | REHEARSAL_EN | DNS_EN | EXPLAIN_EN | EN,
    "ja": UI_JA | REPORT_JA | REHEARSAL_JA | DNS_JA | EXPLAIN_JA | JA,
}


def say(
    code: str, args: Mapping[str, Any] | None = None, language: Language = "en", now: datetime | None = None
) -> str:
    """The sentence for ``code``. A code missing in Japanese falls back to English (a test forbids it).

    With ``now``, a time of another day is written with its date.
    """
    template = CATALOGUES[language].get(code) or CATALOGUES["en"][code]
    given = args or {}
    template = _OPTIONAL.sub(lambda part: part[2] if given.get(part[1]) else "", template)
    return template.format_map({k: shown(v, language, now) for k, v in given.items()})


def shown(value: Any, language: Language = "en", now: datetime | None = None) -> str:
    """One argument as a person reads it. A float is a duration in seconds; an int is a count."""
    if isinstance(value, datetime):
        return clock(value, now)
    if isinstance(value, float):
        return span(value, language)
    if isinstance(value, (tuple, list)):
        return ", ".join(shown(v, language, now) for v in value)
    return printable(str(value))


def clock(t: datetime, now: datetime | None = None) -> str:
    """Local wall-clock time; with the date where it is not that of ``now``."""
    local = t.astimezone()
    other = now is not None and local.date() != now.astimezone().date()
    return local.strftime("%Y-%m-%d %H:%M" if other else "%H:%M:%S")


def span(seconds: float, language: Language = "en") -> str:
    """``4 s``, ``12 min``, ``3 h 05 min``, ``2 d 4 h``."""
    s = max(0, round(seconds))
    d, h, m = ("日", "時間", "分") if language == "ja" else (" d", " h", " min")
    if s < 120:
        return f"{s}秒" if language == "ja" else f"{s} s"
    if s < 7200:
        return f"{s // 60}{m}"
    if s < 172800:
        return (
            f"{s // 3600}{h} {s % 3600 // 60:02d}{m}"
            if language == "en"
            else f"{s // 3600}{h}{s % 3600 // 60:02d}{m}"
        )
    return f"{s // 86400}{d}{' ' if language == 'en' else ''}{s % 86400 // 3600}{h}"


def rate(an_hour: float) -> str:
    """Messages an hour: ``0.213``, ``14.2``, ``142``, ``4,990``."""
    return f"{an_hour:,.0f}" if an_hour >= 999.5 else f"{an_hour:.3g}"
