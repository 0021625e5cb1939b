"""The third requirement kept up answer by answer: a word for each resolver, counted."""

from __future__ import annotations

from collections import Counter
from heapq import heappop, heappush

from monitor.evidence.dns import Resolver
from monitor.evidence.fold import Evidence
from monitor.verdict.context import Context
from monitor.verdict.dns import needed, standing
from monitor.verdict.model import State

NEVER = 1 << 62
UNMET = ("overstaying", "old", "cache", "other")


class Platform:
    """How many of one operator's addresses are settled, and how many have given too few answers."""

    __slots__ = ("few", "settled")

    def __init__(self) -> None:
        self.settled = self.few = 0

    def word(self) -> str:
        return "few" if self.few else "settled" if self.settled else ""


class Standing:
    """The words of all listed resolvers (times in ms). Only what was heard of, or whose time has come, is
    looked at again; ``due`` may be early, never late. ``settled``: kept up, those with that word."""

    def __init__(self, evidence: Evidence, now: int, settled: set[str]) -> None:
        settled.clear()
        self._settled = settled
        self._evidence = evidence
        plan = evidence.plan
        self._fresh = int(plan.policy.freshness * 1000)
        c = Context(evidence, now)
        judged, waived = c.split("resolver", plan.resolvers)
        self.judged, self._waived = frozenset(judged), frozenset(waived)
        self._platform = {r: plan.platforms.get(r, r) for r in judged}
        self._platforms = {p: Platform() for p in self._platform.values()}
        self._words: dict[str, str] = {}
        self._until: dict[str, int] = {}
        self._queued: dict[str, int] = {}
        self._queue: list[tuple[int, str]] = []
        self._count: Counter[str] = Counter()  # of the judged, by word
        self._by_platform: Counter[str] = Counter()  # of the platforms, by word
        self._unsettled = 0  # of the waived
        self._heard: set[str] = set()
        self._by_platform[""] = len(self._platforms)
        for resolver in (*self.judged, *self._waived):
            self._look(resolver, c)

    @property
    def due(self) -> int:
        """When time alone may change a word, at the earliest."""
        return self._queue[0][0] if self._queue else NEVER

    def hear(self, resolver: str, known: Resolver) -> int | None:
        """Its evidence was added to; returns until when its word stays what it is. None: it may be another.

        One that is settled stays so with every new answer, and one that answers old with every old one.
        """
        word = self._words.get(resolver)
        if word is None or not known.samples:
            return NEVER
        if word == "settled":
            last = known.samples[-1]
            if last.leads == "new" and known.old_until <= last.at:
                until = self._until[resolver] = last.at + self._fresh  # what is queued is earlier
                return until
        elif word == "old" and known.overstaying is None:
            last = known.samples[-1]
            if last.leads in ("old", "mixed"):
                until = max(last.expires, last.at + self._fresh)
                self._wait(resolver, until)
                return until
        self._heard.add(resolver)
        return None

    def state(self, now: int) -> State:
        """The requirement's state at ``now``, no earlier than any before."""
        while self._queue and self._queue[0][0] <= now:
            due, resolver = heappop(self._queue)
            if self._queued[resolver] != due:
                continue
            self._queued[resolver] = NEVER
            if self._until[resolver] > now:
                self._wait(resolver, self._until[resolver])
            else:
                self._heard.add(resolver)
        if self._heard:
            c = Context(self._evidence, now)
            for resolver in self._heard:
                self._look(resolver, c)
            self._heard.clear()
        return self._state()

    def _wait(self, resolver: str, until: int) -> None:
        self._until[resolver] = until
        if until < self._queued.get(resolver, NEVER):
            self._queued[resolver] = until
            heappush(self._queue, (until, resolver))

    def _look(self, resolver: str, c: Context) -> None:
        c.deadlines.clear()
        word = standing(c, self._evidence.dns.resolvers.get(resolver))[0]
        self._wait(resolver, min(c.deadlines, default=NEVER))
        before = self._words.get(resolver, "")
        if word != before:
            self._words[resolver] = word
            (self._settled.add if word == "settled" else self._settled.discard)(resolver)
            self._recount(resolver, before, word)

    def _recount(self, resolver: str, before: str, word: str) -> None:
        if resolver in self._waived:
            self._unsettled += (word != "settled") - (before not in ("settled", ""))
            return
        self._count[before] -= 1
        self._count[word] += 1
        platform = self._platforms[self._platform[resolver]]
        self._by_platform[platform.word()] -= 1
        platform.settled += (word == "settled") - (before == "settled")
        platform.few += (word == "few") - (before == "few")
        self._by_platform[platform.word()] += 1

    def _state(self) -> State:
        if not self.judged:
            return "unknown"
        if any(self._count[word] for word in UNMET):
            return "unmet"
        settled, few = self._by_platform["settled"], self._by_platform["few"]
        wanted = needed(len(self._platforms), self._evidence.plan.policy.quorum)
        if self._count["dark"]:
            return "unknown"
        if settled >= wanted and settled:
            return "waived" if self._unsettled else "met"
        return "unmet" if settled + few >= wanted and few else "unknown"
