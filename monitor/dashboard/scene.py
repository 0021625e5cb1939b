"""One picture and the moment at which it is looked at: all that drawing depends on."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

from monitor.dashboard.text import clean
from monitor.snapshot import Snapshot
from monitor.wording import Language, say


class Scene(Struct, frozen=True, kw_only=True):
    """``now`` is the snapshot's own time plus what has passed since it was taken."""

    snapshot: Snapshot
    now: datetime
    language: Language = "en"

    def tell(self, code: str, args: dict[str, object] | None = None) -> str:
        return tell(code, args, self.language, self.now)

    def ui(self, code: str, /, **args: object) -> str:
        return tell(f"ui.{code}", args, self.language)

    def since(self, t: datetime | None) -> str:
        """How long ago, short; "–" for never."""
        return "–" if t is None else age((self.now - t).total_seconds())

    def until(self, t: datetime | None) -> str:
        """A countdown, "0:00" once the time has come; "–" where there is none."""
        return "–" if t is None else countdown((t - self.now).total_seconds())

    def clock(self, t: datetime | None) -> str:
        """Local time of day; with month and day in front when that is not today."""
        if t is None:
            return "–"
        local, today = t.astimezone(), self.now.astimezone().date()
        return local.strftime("%H:%M:%S" if local.date() == today else "%m-%d %H:%M")

    def stale(self) -> bool:
        """Whether the newest evidence is older than the policy calls fresh (or there is none)."""
        at = self.snapshot.evidence_at
        fresh = self.snapshot.plan.policy.freshness
        return at is None or (self.now - at).total_seconds() > fresh


def tell(code: str, args: dict[str, object] | None, language: Language, now: datetime | None = None) -> str:
    """The sentence for ``code``; a code without one, or whose figures do not fit, shows itself."""
    try:
        return say(code, args, language, now)
    except (LookupError, ValueError, TypeError, AttributeError):
        figures = ", ".join(f"{k}={v}" for k, v in (args or {}).items())
        return clean(f"{code} ({figures})" if figures else code)


def age(seconds: float) -> str:
    """``4s``, ``12m``, ``3h05m``, ``2d04h``: at most six cells, the same in every language."""
    s = max(0, int(seconds))
    if s < 60:
        return f"{s}s"
    if s < 3600:
        return f"{s // 60}m"
    if s < 86400:
        return f"{s // 3600}h{s % 3600 // 60:02d}m"
    return f"{s // 86400}d{s % 86400 // 3600:02d}h"


def countdown(seconds: float) -> str:
    """``0:07``, ``48:12``, ``3:12:44``, ``2d04h``: never below zero."""
    s = max(0, round(seconds))
    if s < 3600:
        return f"{s // 60}:{s % 60:02d}"
    if s < 86400:
        return f"{s // 3600}:{s % 3600 // 60:02d}:{s % 60:02d}"
    return f"{s // 86400}d{s % 86400 // 3600:02d}h"
