"""What a view draws: one immutable picture of everything known at one instant.

Dashboard, report and ``status`` read this and nothing else. Text from outside is raw here: a view
passes it through ``monitor.printable.printable`` where it shows it.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from msgspec import Struct

from monitor.verdict.model import Judgement
from probes.observation import Plan

Leads = Literal["new", "differs", "old", "mixed", "other", "none", "silent"]
"""Where an answer leads (verdict.md); ``silent``: the last question got no usable answer."""


class RemarkRow(Struct, frozen=True, kw_only=True):
    """Something to be said of a row: ``code`` and ``args`` for the wording, under ``ui.``."""

    code: str
    args: dict[str, object] = {}


class AuthorityRow(Struct, frozen=True, kw_only=True):
    address: str
    server: str
    leads: Leads
    outcome: str
    answer: tuple[str, ...]
    ttl: int | None
    serial: int | None
    asked_at: datetime | None
    rtt_ms: float | None
    waived: str | None = None
    remarks: tuple[RemarkRow, ...] = ()


HabitWord = Literal["overstaying", "stale", "raises", "caps", "constant"]
"""How a resolver treats TTLs (monitor.evidence.habits)."""


class HabitRow(Struct, frozen=True, kw_only=True):
    """``seconds``: the TTL that it raises or caps to, as far as seen."""

    habit: HabitWord
    seconds: float | None = None


class CacheRow(Struct, frozen=True, kw_only=True):
    """One cache seen behind a resolver. ``cache``: its name; None: it gives none, and is told apart by when
    its record runs out. ``until``: when that is. ``answers``: how many were its."""

    cache: str | None
    leads: Leads
    until: datetime | None
    seen_at: datetime
    answers: int = 1

    def holds_old(self, now: datetime) -> bool:
        """A nameless cache whose record has run out is out of sight: whoever answers next may be it."""
        alive = self.until is None or self.until > now
        return self.leads not in ("new", "differs") and (alive or self.cache is not None)


class ResolverRow(Struct, frozen=True, kw_only=True):
    """``expires``: when the cached record seen last runs out (count down to it). ``draws``: answers since no
    authority serves old."""

    resolver: str
    platform: str
    leads: Leads
    outcome: str
    answer: tuple[str, ...]
    expires: datetime | None
    asked_at: datetime | None
    settled: bool
    overstaying: bool
    rtt_ms: float | None
    ede: tuple[int, ...] = ()
    caches: tuple[CacheRow, ...] = ()
    waived: str | None = None
    habits: tuple[HabitRow, ...] = ()
    draws: int = 0


CanaryFate = Literal["new", "old", "lost", "late", "refused", "deferred", "unreachable", "travelling"]


class CanaryRow(Struct, frozen=True, kw_only=True):
    """One canary. ``fate`` new/old: landed there; ``folder`` tells inbox from junk."""

    canary: str
    route: str
    recipient: str
    sent_at: datetime
    fate: CanaryFate
    folder: str | None = None
    latency_ms: float | None = None
    host: str | None = None
    reply: str | None = None
    hops: tuple[str, ...] = ()
    auth: dict[str, str] | None = None  # by method (spf, dkim, dmarc), as the host it landed on says


class RouteRow(Struct, frozen=True, kw_only=True):
    """One line of the matrix, counted since the change (before it where there is none)."""

    route: str
    counts: dict[str, int]  # by CanaryFate; junk counted under "new-junk" and "old-junk"
    streak: int
    median_ms: float | None
    planned: bool
    waived: str | None = None


class HitRow(Struct, frozen=True, kw_only=True):
    """One message that the old host took."""

    accepted_at: datetime
    client: str | None
    helo: str | None
    recipient: str
    origin: str
    disposition: str
    message_id: str | None
    queue_id: str | None
    source: str
    counts: bool  # whether it is a hit in the verdict's sense


class ClientRow(Struct, frozen=True, kw_only=True):
    """A client of the old host, hits since the change and before it."""

    client: str
    helo: str | None
    since: int
    before: int
    last_at: datetime
    waived: str | None = None


class AccountRow(Struct, frozen=True, kw_only=True):
    address: str
    old: str  # MailboxState or "unwatched"
    new: str
    old_detail: str = ""
    new_detail: str = ""
    old_mail: int = 0  # messages taken since the change
    new_mail: int = 0
    last_old: datetime | None = None
    last_new: datetime | None = None
    last_use_old: datetime | None = None
    waived: str | None = None


class EventRow(Struct, frozen=True, kw_only=True):
    """One line of the event log: ``code`` and ``args`` as in a finding."""

    at: datetime
    level: Literal["info", "good", "warn", "bad"]
    code: str
    args: dict[str, object] = {}


class SharePoint(Struct, frozen=True, kw_only=True):
    """What part of DNS (resolver caches) and of real mail was on new in one slot of time; 0 to 1.

    None where there was nothing to see. ``old_hits``/``new_mail`` are counts in the slot.
    """

    at: datetime
    dns: float | None
    mail: float | None
    old_hits: int = 0
    new_mail: int = 0


class Span(Struct, frozen=True, kw_only=True):
    begin: datetime
    end: datetime


class CoverageRow(Struct, frozen=True, kw_only=True):
    """One source: its covered intervals merged (newest last, at most 500) and the gaps between them."""

    source: str
    spans: tuple[Span, ...]
    gaps: tuple[Span, ...]
    not_understood: int = 0


class WaiverRow(Struct, frozen=True, kw_only=True):
    subject: str
    reason: str
    at: datetime


class StragglerRow(Struct, frozen=True, kw_only=True):
    """A message that old took since the change and new lacks. ``message_id``: where it has none, its digest;
    where that is not known, its queue id; both of these stand beside it, as far as they are known."""

    accepted_at: datetime
    recipient: str
    message_id: str | None
    client: str | None
    helo: str | None = None
    digest: str | None = None
    queue_id: str | None = None


class Snapshot(Struct, frozen=True, kw_only=True):
    """``evidence_at``: the ``at`` of the newest observation; its age is always shown.

    ``changes`` are the judgements at which verdict or a state changed, oldest first.
    ``intercepted``: since when the watcher's port 53 is answered by somebody else.
    ``quiet_since``: begin of the covered quiet time that counts now; ``quiet_seconds`` how much of it.
    """

    now: datetime
    plan: Plan
    judgement: Judgement
    changes: tuple[Judgement, ...]
    evidence_at: datetime | None
    began_at: datetime | None
    change_at: datetime | None
    horizon: datetime | None
    authorities: tuple[AuthorityRow, ...] = ()
    aliases: tuple[tuple[str, str], ...] = ()  # planned exchanges, and the domain, that are one; and of what
    resolvers: tuple[ResolverRow, ...] = ()
    routes: tuple[RouteRow, ...] = ()
    canaries: tuple[CanaryRow, ...] = ()  # newest first, at most 200
    hits: tuple[HitRow, ...] = ()  # newest first, at most 500
    clients: tuple[ClientRow, ...] = ()
    accounts: tuple[AccountRow, ...] = ()
    events: tuple[EventRow, ...] = ()  # oldest first, at most 1000
    shares: tuple[SharePoint, ...] = ()  # oldest first, at most 240 slots of equal length
    coverage: tuple[CoverageRow, ...] = ()
    waivers: tuple[WaiverRow, ...] = ()
    stragglers: tuple[StragglerRow, ...] = ()
    last_old_mail: HitRow | None = None
    quiet_since: datetime | None = None
    quiet_seconds: float = 0
    baseline_per_hour: float | None = None
    intercepted: datetime | None = None

    @property
    def verdict_since(self) -> datetime | None:
        """When the verdict became the word that it is now."""
        since = None
        for change in reversed(self.changes):
            if change.verdict != self.judgement.verdict:
                break
            since = change.at
        return since
