"""What views show besides the state: the event log and the shares over time. Bounded, pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Literal

from monitor.snapshot import EventRow, SharePoint
from monitor.verdict.model import Finding, Judgement
from probes.observation import (
    AccountState,
    Observation,
    Operator,
    ResolverAnswer,
    Skip,
    Watcher,
    from_ms,
    to_ms,
)

SLOTS = 240
Level = Literal["info", "good", "warn", "bad"]
LEVELS: dict[str, Level] = {
    "safe": "good",
    "alarm": "bad",
    "regressed": "bad",
    "blind": "warn",
    "met": "good",
    "waived": "good",
    "unmet": "warn",
    "unknown": "warn",
}


class Chronicle:
    """Events, oldest first, and counts by slot of time; slots double in length when there are too many."""

    def __init__(self) -> None:
        self.events: deque[EventRow] = deque(maxlen=1000)
        self.began: datetime | None = None
        self.newest: datetime | None = None
        self.resolver_words: dict[int, dict[str, tuple[str, ...]]] = {}
        self.slot_ms = 10_000
        self.intercepted: datetime | None = None  # since when port 53 is; None: it is not, as far as known
        self._offline = False
        self._states: dict[str, str] = {}

    def add(self, seen: Observation) -> None:
        self.began = seen.at if self.began is None else min(self.began, seen.at)
        self.newest = seen.at if self.newest is None else max(self.newest, seen.at)
        match seen:
            case ResolverAnswer(type="MX", outcome="answer"):
                self._slot(to_ms(seen.at))[seen.resolver] = seen.rrset
            case Operator():
                self._event(seen.at, "info", f"event.{seen.action}", subject=seen.subject, reason=seen.reason)
            case Watcher():
                level: Level = "warn" if seen.event in ("offline", "clock", "intercepted") else "info"
                self._event(seen.at, level, f"event.{seen.event}", detail=seen.detail)
                self._watcher(seen)
            case AccountState():
                self._account(seen)
            case Skip():
                self._event(seen.at, "info", "event.skip", subject=seen.subject, reason=seen.reason)
            case _:
                pass

    def judged(self, changes: Iterable[Judgement]) -> None:
        for judgement in changes:
            if self._states.get("verdict") != judgement.verdict:
                self._states["verdict"] = judgement.verdict
                level = LEVELS.get(judgement.verdict, "info")
                self.events.append(
                    EventRow(at=judgement.at, level=level, code=judgement.code, args=judgement.args)
                )
            for finding in judgement.findings:
                self._finding(judgement.at, finding)

    def _finding(self, at: datetime, finding: Finding) -> None:
        if self._states.get(finding.name) != finding.state:
            self._states[finding.name] = finding.state
            self.events.append(
                EventRow(at=at, level=LEVELS[finding.state], code=finding.code, args=finding.args)
            )

    def _watcher(self, seen: Watcher) -> None:
        """``online`` ends being offline if that was so, else being intercepted; a start knows of neither."""
        if seen.event == "intercepted":
            self.intercepted = self.intercepted or seen.at
        elif seen.event == "started" or (seen.event == "online" and not self._offline):
            self.intercepted = None
        if seen.event in ("offline", "online", "started"):
            self._offline = seen.event == "offline"

    def _account(self, seen: AccountState) -> None:
        key = f"{seen.side}:{seen.account}"
        if self._states.get(key) != seen.state:
            self._states[key] = seen.state
            level: Level = "info" if seen.state == "ok" else "warn"
            self._event(
                seen.at,
                level,
                f"event.account_{seen.state}",
                side=seen.side,
                account=seen.account,
                detail=seen.detail,
            )

    def _event(self, at: datetime, level: Level, code: str, **args: object) -> None:
        self.events.append(EventRow(at=at, level=level, code=code, args=args))

    def _slot(self, at: int) -> dict[str, tuple[str, ...]]:
        while len(self.resolver_words) >= SLOTS:
            self._halve()
        return self.resolver_words.setdefault(at // self.slot_ms, {})

    def _halve(self) -> None:
        """Twice the slot, half as many: the later word of each resolver stands for both."""
        self.slot_ms *= 2
        merged: dict[int, dict[str, tuple[str, ...]]] = {}
        for slot in sorted(self.resolver_words):
            merged.setdefault(slot // 2, {}).update(self.resolver_words[slot])
        self.resolver_words = merged

    def shares(
        self, new: frozenset[tuple[str, ...]], old_at: list[int], new_at: list[int],
        platforms: Mapping[str, str],
    ) -> tuple[SharePoint, ...]:  # fmt: skip
        """Per slot: the part of DNS on new, where each platform of resolvers counts as one, and the part of
        mail. ``*_at``: since the start, in ms."""
        begin = min(self.resolver_words, default=None)
        if begin is None or self.newest is None:
            return ()
        end = to_ms(self.newest) // self.slot_ms
        old, fresh = _count(old_at, self.slot_ms), _count(new_at, self.slot_ms)
        words: dict[str, tuple[str, ...]] = {}
        points = []
        for slot in range(begin, end + 1):
            words |= self.resolver_words.get(slot, {})  # a resolver's last word holds until its next
            share = _share(words, new, platforms)
            points.append(self._point(slot, share, old.get(slot, 0), fresh.get(slot, 0)))
        return tuple(points[-SLOTS:])

    def _point(self, slot: int, share: float | None, old: int, fresh: int) -> SharePoint:
        return SharePoint(
            at=from_ms(slot * self.slot_ms),
            dns=share,
            mail=fresh / (fresh + old) if fresh + old else None,
            old_hits=old,
            new_mail=fresh,
        )


def _share(
    words: Mapping[str, tuple[str, ...]], new: frozenset[tuple[str, ...]], platforms: Mapping[str, str]
) -> float | None:
    """The mean over platforms of the part of each one's addresses that is on new."""
    by_platform: dict[str, list[bool]] = {}
    for resolver, rrset in words.items():
        by_platform.setdefault(platforms.get(resolver, resolver), []).append(tuple(sorted(rrset)) in new)
    parts = [sum(on_new) / len(on_new) for on_new in by_platform.values()]
    return sum(parts) / len(parts) if parts else None


def _count(instants: list[int], slot_ms: int) -> dict[int, int]:
    counts: dict[int, int] = {}
    for at in instants:
        counts[at // slot_ms] = counts.get(at // slot_ms, 0) + 1
    return counts
