"""How the report writes: sentences, times with their date, shares, all in one language."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from msgspec import Struct

from monitor.printable import printable
from monitor.wording import Language, say, span


class Words(Struct, frozen=True, kw_only=True):
    """``now``: the moment of the picture; a time on its day is still written with its date."""

    language: Language
    now: datetime

    def __call__(self, code: str, /, **args: Any) -> str:
        """The report's own sentence ``report.CODE``."""
        return say(f"report.{code}", self._dated(args), self.language)

    def tell(self, code: str, args: Mapping[str, Any]) -> str:
        """A sentence of the catalogue; one whose words are missing shows its code and figures."""
        try:
            return say(code, self._dated(args), self.language)
        except (LookupError, ValueError, TypeError, AttributeError):
            return printable(f"{code} {dict(args)}" if args else code)

    def reason(self, code: str, args: Mapping[str, Any]) -> str:
        """A requirement's sentence, begun with a capital unless it begins with a name or a figure."""
        sentence = self.tell(code, args)
        first = sentence.partition(" ")[0]
        plain = first.isascii() and first.isalpha() and first.islower()
        return sentence[0].upper() + sentence[1:] if plain else sentence

    def when(self, t: datetime | None) -> str:
        """Local date and time to the second; "–" where there is none. The zone is stated once."""
        return "–" if t is None else t.astimezone().strftime("%Y-%m-%d %H:%M:%S")

    def ago(self, t: datetime | None) -> str:
        if t is None:
            return "–"
        return self("ago", age=self.span((self.now - t).total_seconds()))

    def span(self, seconds: float) -> str:
        return span(seconds, self.language)

    def zone(self) -> str:
        """``JST, UTC+09:00``: the zone in which every time of the page is written."""
        local = self.now.astimezone()
        offset = local.strftime("%z")
        return f"{local.tzname()}, UTC{offset[:3]}:{offset[3:5]}"

    def _dated(self, args: Mapping[str, Any]) -> dict[str, Any]:
        return {k: self.when(v) if isinstance(v, datetime) else v for k, v in args.items()}


def percent(share: float) -> str:
    """A share for reading; only nothing is 0 % and only all is 100 %."""
    if 0 < share < 0.01:
        return "<1 %"
    return ">99 %" if 0.99 < share < 1 else f"{share * 100:.0f} %"


def name(host: str) -> str:
    """A host name without the root's dot."""
    return host.rstrip(".") or host
