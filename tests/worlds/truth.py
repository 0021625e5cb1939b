"""What really holds in a world: from when on the old server could be switched off, and who would lose what.

Seconds of world time. A truth is made when all that happens has happened: every message was handed over and
every cache has been asked for the last time.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import inf, log
from typing import Any, Literal

from tests.worlds.caches import Cache
from tests.worlds.mail import Post, Taken
from tests.worlds.watching import moment
from tests.worlds.world import Sender, World

Reason = Literal["dns", "resolver", "trap", "straggler", "share"]
"""Why it is not safe: a well-behaved cache may hold old data; a cache behind a listed resolver does; old
keeps mail of its own users; a message lies on old alone; more legitimate mail than the bound goes there."""


@dataclass(slots=True)
class Truth:
    """``known``: when the watch knew of the change, be it told or seen: the requirement's stragglers are what
    old took since then. Mail from before is the operator's to carry over."""

    world: World
    taken: list[Taken]
    known: float

    def __post_init__(self) -> None:
        for cache in self._caches():
            cache.ask(self.world.times.ends)
            cache.held = [span for span in cache.held if span.end > self.world.times.changes[0]]

    def _caches(self) -> Iterable[Cache]:
        yield from (cache for listed in self.world.listed for cache in listed.caches)
        yield from self.world.unlisted

    def unsafe(self, t: float) -> set[Reason]:
        """Every reason against switching off at ``t``; empty: it can be done."""
        world, found = self.world, set[Reason]()
        if t < self.dns_until(t):
            found.add("dns")
        if any(cache.old_at(t) for listed in world.listed for cache in listed.caches):
            found.add("resolver")
        if world.trapped(t) and any(s.nature == "local" for s in world.senders):
            found.add("trap")
        if any(self.stranded(t)):
            found.add("straggler")
        if self.share(t) > world.policy.share_bound:
            found.add("share")
        return found

    def dns_until(self, t: float) -> float:
        """Until when a well-behaved cache may hold what was served up to ``t``."""
        return max(server.old_until(t) for server in (*self.world.authorities, *self.world.moved_to))

    def share(self, t: float) -> float:
        """The share of legitimate mail that goes to old at ``t``, by the senders' rates."""
        legitimate = [s for s in self.world.senders if s.legitimate]
        return sum(s.rate * self._to_old(s, t) for s in legitimate) / sum(s.rate for s in legitimate)

    def _to_old(self, sender: Sender, t: float) -> float:
        if sender.nature == "stubborn":
            return 1.0
        if sender.nature == "local":
            return float(self.world.trapped(t))
        return sum(cache.old_at(t) for cache in sender.caches) / len(sender.caches)

    def stray(self, t: float) -> bool:
        """Whether a cache that nobody watches and that does not keep to the TTL leads somebody to old."""
        return any(c.old_at(t) and not c.behaved for c in self.world.unlisted)

    def stranded(self, t: float) -> list[Taken]:
        """Legitimate messages that old took since the change was known and that new lacks at ``t``."""
        return [
            m
            for m in self.taken
            if self.known <= m.at <= t and m.side == "old" and m.disposition == "delivered" and m.rescued > t
            and m.sender.legitimate
        ]  # fmt: skip

    def lost(self, t: float) -> int:
        """The legitimate messages of the record that would be lost, had old been switched off at ``t``."""
        later = sum(m.at > t and m.hit and m.sender.legitimate for m in self.taken)
        return later + len(self.stranded(t))

    # -- the oracle ----------------------------------------------------------------------------------

    def free_at(self) -> float:
        """From when on nothing speaks against it until the record's end; ``inf``: never."""
        ends = self.world.times.ends
        instants = sorted({t for t in self._ends() if t <= ends} | {self.world.change})
        bad = [t for t in instants if self.unsafe(t)]
        if not bad:
            return self.world.change
        after = [t for t in instants if t > bad[-1]]
        return after[0] if after else inf

    def _ends(self) -> Iterable[float]:
        """Every instant after the change at which a reason may end or begin."""
        change = self.world.change
        yield self.dns_until(self.world.times.ends)
        yield self.world.times.trap_until
        yield from (s.end for c in self._caches() for s in c.held if s.end > change)
        yield from (m.rescued for m in self.taken if m.at >= self.world.times.changes[0] and m.rescued < inf)
        yield from (m.at for m in self.taken if m.at >= change and m.hit and m.rescued == inf)

    def allowed_at(self) -> float:
        """When the policy could be content for one who sees everything: free, and quiet for as long as the
        policy demands, where the mail that came meanwhile suffices for its bound, or up to its ceiling."""
        free = self.free_at()
        hits = sorted(m.at for m in self.taken if m.hit and m.at > self.world.change and self._counts(m))
        begins = [self.world.change, *hits]
        for begin, after in zip(begins, [*hits, self.world.times.ends], strict=True):
            enough = max(self._counted(begin, self._quiet(begin)), free)
            if enough < after:
                return enough
        return inf

    def _counts(self, taken: Taken) -> bool:
        return taken.sender.legitimate or self.world.times.spam_waived == inf

    def _counted(self, begin: float, seconds: float) -> float:
        """So much later, where the policy does not count time in which nobody read the old log."""
        watch = self.world.watch
        unread = watch.gap.end - max(begin, watch.gap.begin)
        if watch.away in ("lost-log", "deaf", "unread") and watch.gap.begin < begin + seconds:
            return begin + seconds + max(0.0, unread)
        return begin + seconds

    def _quiet(self, begin: float) -> float:
        """The quiet time that the policy demands from ``begin`` on, s."""
        policy, rate = self.world.policy, sum(s.rate for s in self.world.senders if s.legitimate)
        needed = -log(1 - policy.confidence) / policy.share_bound
        came = [m.at for m in self.taken if m.side == "new" and m.at > begin and m.disposition == "delivered"]
        arrived = came[int(needed)] - begin if len(came) > needed else inf
        ceiling = 3 * policy.quiet_for if policy.quiet_ceiling is None else policy.quiet_ceiling
        return max(policy.quiet_for, min(ceiling, max(needed / rate, arrived)))

    def as_json(self) -> dict[str, Any]:
        """The truth file: plain values, times as RFC 3339; null for never."""
        world = self.world

        def said(t: float) -> str | None:
            return None if t in (inf, -inf) else moment(t).isoformat()

        caches: list[tuple[str | None, Cache]] = [(r.address, c) for r in world.listed for c in r.caches]
        caches += [(None, c) for c in world.unlisted]
        return {
            "world": world.name, "about": world.kind.about, "changes": [said(t) for t in world.times.changes],
            "old_data_until": said(self.dns_until(world.times.ends)), "free_at": said(self.free_at()),
            "allowed_at": said(self.allowed_at()),
            "caches": [
                {"resolver": address, "habit": c.habit, "old_until": said(c.held[-1].end if c.held else -inf)}
                for address, c in caches
            ],
            "senders": [
                {"client": s.client, "nature": s.nature, "hourly": round(s.rate * 3600, 6)}
                for s in world.senders
            ],
            "mail": [
                {"at": said(m.at), "side": m.side, "client": m.sender.client, "disposition": m.disposition,
                 "on_new_at": said(m.rescued) if m.side == "old" else said(m.at)}
                for m in self.taken if m.at > world.times.changes[0]
            ],
        }  # fmt: skip


def truth_of(world: World, post: Post, served_new: float | None) -> Truth:
    """``served_new``: when the watch first saw an authority serve new."""
    post.until(world.times.ends)
    told = world.times.changes[0]
    return Truth(world, post.taken, told if world.watch.says_so else max(told, served_new or told))
