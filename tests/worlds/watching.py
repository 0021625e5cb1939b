"""The watcher of a world: what it asks, sees and writes down, as the real watch does but at a coarser rhythm.

Everything that is due at one asking is asked at one instant; old answers are asked for again when they run
out; of several caches behind an address as many are drawn as the real watch draws.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from heapq import heappop, heappush
from math import ceil, inf
from typing import Any

from msgspec.structs import replace

from probes.observation import (
    AuthorityAnswer,
    CanaryLanded,
    CanarySent,
    Coverage,
    Hosts,
    Mail,
    Observation,
    Operator,
    Plan,
    ResolverAnswer,
    Watcher,
)
from tests.worlds.mail import Post, Taken
from tests.worlds.world import Listed, World
from tests.worlds.zone import Authority

START = datetime(2026, 11, 20, tzinfo=UTC)
DOMAIN = "example.jp."
MX = {
    "old": ("10 mail.example.jp.",),
    "new": ("10 mx1.new.example.",),
    "mixed": ("10 mx1.new.example.", "20 mail.example.jp."),
}
OLD_IP, NEW_IP = "192.0.2.10", "198.51.100.20"
OLD_NS, NEW_NS = ("ns1.example.jp.", "ns2.example.jp."), ("ns1.new-dns.example.", "ns2.new-dns.example.")
PARENT = "203.0.113.200"
PIECE = 300.0  # the longest interval of coverage
CLAIMED = 3600.0  # a mailbox that was not seen for longer than that proves nothing of the time between
DRAWS = 90
LANDS = 20.0  # so much later a canary is seen in a mailbox, or in the log
CANARY_EVERY = 3000.0


def moment(seconds: float) -> datetime:
    return START + timedelta(milliseconds=round(seconds * 1000))


@dataclass(slots=True)
class Asked:
    """What is remembered of one resolver: its last question, the new answers in a row, draws, and when what
    is old there runs out."""

    at: float = -inf
    streak: int = 0
    draws: int = 0
    until: float = -inf
    old: bool = True


@dataclass(slots=True)
class Watching:
    """Plays a world through; :meth:`observations` in order of time."""

    world: World
    post: Post
    seen: list[Observation] = field(default_factory=list)
    asked: dict[str, Asked] = field(default_factory=dict)
    served_new: float | None = None
    turned: float | None = None
    _read: float = 0.0  # up to where the log or the mailboxes were read
    _canary: int = 0
    _pending: list[tuple[float, str, str, str]] = field(default_factory=list)
    _rescues: list[Taken] = field(default_factory=list)
    _waived: bool = False
    _plan_authorities: tuple[str, ...] = ()
    _left_since: float | None = None
    _missed: int = 0

    def observations(self) -> Iterator[list[Observation]]:
        """Batches, each of one asking; the first begins with the plan and the old log's history."""
        world = self.world
        self._begin()
        due: list[tuple[float, int]] = [(0.0, -1)]
        if world.watch.live:
            heappush(due, (PIECE, -2))
        if world.watch.says_so:
            heappush(due, (world.times.changes[0], -3))
        while due:
            t, which = heappop(due)
            if t > world.times.ends:
                break
            mail = self.post.until(t)
            if which == -1:
                self._tick(t, mail)
                heappush(due, (t + world.watch.tick, -1))
                heappush(due, (t + LANDS, -4))
                for k, listed in enumerate(world.listed):
                    self._run_out(t, k, listed, due)
            elif which == -4:
                self._unread.extend(mail)
                if not self._away(t, "offline", "sleeps"):
                    self._land(t)
            elif which == -3:
                self._unread.extend(mail)
                self._operator(t, "cutover", "", "the MX is changed")
            elif which == -2:
                self._read_mail(t, mail)
                heappush(due, (t + PIECE, -2))
            else:
                self._unread.extend(mail)
                if not self._away(t, "sleeps"):
                    self._resolver(t, world.listed[which], 1)
                    self._run_out(t, which, world.listed[which], due)
            yield self.seen
            self.seen = []

    _unread: list[Taken] = field(default_factory=list)

    def _away(self, t: float, *how: str) -> bool:
        watch = self.world.watch
        return watch.away in how and watch.gap.begin <= t < watch.gap.end

    # -- the plan and what was before ------------------------------------------------------------

    def _begin(self) -> None:
        world = self.world
        self._plan_authorities = tuple(a.address for a in world.authorities)
        self._say_plan(0.0)
        history = -world.watch.history
        before = self.post.until(0.0)
        for taken in before:
            self._mail(0.0, taken)
        if not world.watch.mailboxes:
            self._cover(0.0, "log:old", history, 0.0)

    def _say_plan(self, t: float) -> None:
        world, watch = self.world, self.world.watch
        routes = ("via-old", "via-new", "mx", *(("to-old",) if watch.to_old else ()))
        policy = {
            "freshness": max(900.0, watch.tick * 2.5), "canary_deadline": max(900.0, watch.tick * 1.5),
            "old_ttl": world.old_ttl,
        }  # fmt: skip
        self.seen.append(Plan(
            at=moment(t), version=1, domain=DOMAIN, old=Hosts(mx=("mail.example.jp.",), addresses=(OLD_IP,)),
            new=Hosts(mx=("mx1.new.example.",), addresses=(NEW_IP,)), expected_mx=MX["new"],
            authorities=self._plan_authorities, resolvers=tuple(r.address for r in world.listed),
            routes=routes, accounts=watch.accounts, policy=replace(world.policy, **policy),
        ))  # fmt: skip

    # -- one asking --------------------------------------------------------------------------------

    def _tick(self, t: float, mail: list[Taken]) -> None:
        self._said(t)
        if self._away(t, "sleeps"):
            self._unread.extend(mail)
            return
        self._delegation(t)
        for server in (*self.world.authorities, *self.world.moved_to):
            if server.address in self._plan_authorities:
                self._authority(t, server)
        for listed in self.world.listed:
            if self._due(t, listed):
                self._resolver(t, listed, self._draws(t, listed))
        if not self._away(t, "offline"):
            self._canaries(t)
        self._read_mail(t, mail)

    def _said(self, t: float) -> None:
        """What the operator says; the change itself is seen."""
        times = self.world.times
        if t >= times.spam_waived and not self._waived:
            self._waived = True
            for sender in self.world.senders:
                if sender.nature == "spam":
                    self._operator(t, "waive", f"sender:{sender.client}", "spam")

    def _operator(self, t: float, action: Any, subject: str, reason: str) -> None:
        self.seen.append(Operator(at=moment(t), action=action, subject=subject, reason=reason))

    # -- DNS -----------------------------------------------------------------------------------------

    def _delegation(self, t: float) -> None:
        """Who is asked: as the watch goes by the parent's referral and drops what it no longer names."""
        world = self.world
        if not world.moved_to:
            return
        moved = t >= world.times.changes[0]
        names = NEW_NS if moved else OLD_NS
        ttl = int(world.ns_ttl)
        self._says_ns(t, PARENT, "a.parent.example.", names, ttl, "referral")
        for server in world.authorities:
            if server.address in self._plan_authorities and t < server.dark_from:
                gone = moved and server.at(t).leads == "new"
                self._says_ns(t, server.address, OLD_NS[0], NEW_NS if gone else OLD_NS, ttl, "answer")
        for server in world.moved_to if moved else ():
            self._says_ns(t, server.address, NEW_NS[0], NEW_NS, ttl, "answer")
        before = self._plan_authorities
        old, new = tuple(a.address for a in world.authorities), tuple(a.address for a in world.moved_to)
        if moved and self._left_since is None:
            self._left_since = t
            self._plan_authorities = old + new
        elif self._left_since is not None:
            self._missed += 1
            if self._missed >= 3 and t - self._left_since > world.ns_ttl + world.watch.tick:
                self._plan_authorities = new
        if self._plan_authorities != before:
            self._say_plan(t)

    def _says_ns(
        self, t: float, address: str, server: str, names: tuple[str, ...], ttl: int, outcome: Any
    ) -> None:
        if not self._away(t, "offline", "intercepted"):
            self.seen.append(AuthorityAnswer(
                at=moment(t), server=server, address=address, transport="udp", name=DOMAIN, type="NS",
                outcome=outcome, rrset=names, ttl=ttl, serial=None, aa=outcome == "answer", rtt_ms=5.0,
            ))  # fmt: skip

    def _authority(self, t: float, server: Authority) -> None:
        version = server.at(t)
        outcome: Any = "answer"
        if self._away(t, "offline") or t >= server.dark_from:
            outcome = "timeout"
        elif self._away(t, "intercepted"):
            outcome = "intercepted"
        answered = outcome == "answer"
        if answered and version.leads == "new" and self.served_new is None:
            self.served_new = t
        name = NEW_NS[0] if server.address >= "203.0.113.101" and len(server.address) > 11 else OLD_NS[0]
        self.seen.append(AuthorityAnswer(
            at=moment(t), server=name, address=server.address, transport="udp", name=DOMAIN, type="MX",
            outcome=outcome, rrset=MX[version.leads] if answered else (), ttl=version.ttl if answered else 0,
            serial=None, aa=answered, rtt_ms=5.0,
        ))  # fmt: skip

    def _due(self, t: float, listed: Listed) -> bool:
        asked = self.asked.setdefault(listed.address, Asked())
        if asked.old or asked.streak < 5 or (len(listed.caches) > 1 and asked.draws < DRAWS):
            return self.served_new is not None or t - asked.at > 1.5 * self.world.watch.tick
        return t - asked.at > 1.5 * self.world.watch.tick

    def _draws(self, t: float, listed: Listed) -> int:
        return 6 if len(listed.caches) > 1 and self.served_new is not None else 1

    def _run_out(self, t: float, which: int, listed: Listed, due: list[tuple[float, int]]) -> None:
        """An old answer is asked for again when it runs out, unless it is the next asking's turn anyway."""
        asked = self.asked.get(listed.address)
        if asked is None or self.served_new is None or not asked.old or asked.until <= t:
            return
        at = float(ceil(asked.until) + 1)
        if at < t - t % self.world.watch.tick + self.world.watch.tick:
            heappush(due, (at, which))

    def _resolver(self, t: float, listed: Listed, draws: int) -> None:
        asked = self.asked.setdefault(listed.address, Asked())
        asked.at = t
        if self._away(t, "offline", "intercepted"):
            outcome = "timeout" if self._away(t, "offline") else "intercepted"
            self._answer(t, listed, outcome, None, "new", 0)
            return
        asked.old = False
        for _ in range(draws):
            cache = listed.caches[0] if len(listed.caches) == 1 else self.world.chance.choice(listed.caches)
            leads, ttl, stale = cache.ask(t)
            if leads is None:
                self._answer(t, listed, "servfail", cache.name, "new", 0)
                continue
            self._answer(t, listed, "answer", cache.name, leads, ttl, (3,) if stale else ())
            asked.draws += leads == "new"
            asked.streak = asked.streak + 1 if leads == "new" else 0
            if leads != "new":
                asked.old, asked.until = True, t + ttl

    def _answer(
        self,
        t: float,
        listed: Listed,
        outcome: Any,
        cache: str | None,
        leads: str,
        ttl: int,
        ede: tuple[int, ...] = (),
    ) -> None:
        self.seen.append(ResolverAnswer(
            at=moment(t), resolver=listed.address, transport="udp", name=DOMAIN, type="MX", outcome=outcome,
            cache=cache, ede=ede, rrset=MX[leads] if outcome == "answer" else (), ttl=ttl, rtt_ms=8.0,
        ))  # fmt: skip

    # -- canaries ------------------------------------------------------------------------------------

    def _canaries(self, t: float) -> None:
        world, chance = self.world, self.world.chance
        account = world.watch.accounts[self._canary % len(world.watch.accounts)]
        by_dns = world.old_cache.ask(t).leads or "old"
        trapped = t < world.times.changes[0] or world.trapped(t)
        self._send(t, "via-old", "old" if trapped else _primary(by_dns), account)
        self._send(t, "via-new", "new", account)
        named = chance.choice(chance.choice(world.listed).caches).ask(t).leads
        if named is not None:
            self._send(t, "mx", _primary(named), account)
        if world.watch.to_old:
            self._send(t, "to-old", "old", account)

    def _send(self, t: float, route: str, side: str, account: str) -> None:
        self._canary += 1
        name, times = f"c-{self._canary}", self.world.times
        refused = side == "new" and t < times.refused_until and account == self.world.watch.accounts[-1]
        put_off = side == "old" and t >= times.defers_from and not route.startswith("via")
        outcome: Any = (
            "rejected" if refused and not route.startswith("via") else "deferred" if put_off else "accepted"
        )
        host, address = (
            ("mail.example.jp.", OLD_IP)
            if route in ("via-old", "to-old") or side == "old"
            else ("mx1.new.example.", NEW_IP)
        )
        self.seen.append(CanarySent(
            at=moment(t), canary=name, route=route, recipient=account, outcome=outcome, host=host,
            address=address, reply="250 2.0.0 Ok" if outcome == "accepted" else "550 5.1.1 no such user",
        ))  # fmt: skip
        if outcome != "accepted" or refused:
            return
        if side == "old" and times.changes[0] <= t < times.relays_until:
            heappush(self._pending, (t, name, account, "relayed"))
        else:
            heappush(self._pending, (t, name, account, side))

    def _land(self, t: float) -> None:
        """Canaries are in a mailbox, or in old's log, by now."""
        watch = self.world.watch
        for sent, name, account, side in self._pending:
            if side in ("old", "relayed") and not watch.mailboxes and not self._away(sent, "deaf"):
                self._sensed(t, sent, name, account, "relayed" if side == "relayed" else "delivered")
            if side != "old" or watch.mailboxes:
                self.seen.append(CanaryLanded(
                    at=moment(t), canary=name, side="old" if side == "old" else "new", account=account,
                    folder="INBOX", protocol="imap", latency_ms=3000.0, hops=(),
                ))  # fmt: skip
        self._pending.clear()

    def _sensed(self, t: float, sent: float, name: str, account: str, disposition: Any) -> None:
        """Old's log shows a canary."""
        self.seen.append(Mail(
            at=moment(t), side="old", accepted_at=moment(sent + 1), source="log", recipient=account,
            message_id=f"<{name}@canary.example>", client="198.51.100.99", helo=None, origin="canary",
            disposition=disposition, queue_id=f"Q{name}",
        ))  # fmt: skip

    # -- mail -----------------------------------------------------------------------------------------

    def _read_mail(self, t: float, mail: list[Taken]) -> None:
        watch = self.world.watch
        mail = [*self._unread, *mail] if self._unread else mail
        self._unread = []
        if self._away(t, "offline"):
            self._unread = mail  # nothing is lost: it is read when the network is back
            return
        if watch.live and watch.away != "sleeps" and t % PIECE:
            self._unread = mail
            return
        begin, self._read = self._read, t
        self._rescues += [taken for taken in mail if taken.rescued < inf]
        for taken in mail:
            if taken.side == "new" or not self._missed_line(taken.at):
                self._mail(t, taken)
        for taken in [r for r in self._rescues if r.rescued <= t]:
            self._rescues.remove(taken)
            self._arrives(t, taken)
        self._covers(t, begin)

    def _missed_line(self, at: float) -> bool:
        return self._away(at, "lost-log", "deaf", "unread")

    def _covers(self, t: float, begin: float) -> None:
        watch, gap = self.world.watch, self.world.watch.gap
        sources = [f"mailbox:new:{account}" for account in watch.accounts]
        if watch.mailboxes:
            sources += [f"mailbox:old:{account}" for account in watch.accounts]
        if t - begin <= CLAIMED:
            for source in sources:
                self._cover(t, source, begin, t)
        if watch.mailboxes:
            return None
        if watch.away not in ("lost-log", "unread") or not (begin < gap.end and gap.begin < t):
            return self._cover(t, "log:old", begin, t)
        self._cover(t, "log:old", begin, min(t, gap.begin))
        if watch.away == "unread":
            self._cover(t, "log:old", max(begin, gap.begin), min(t, gap.end), 3)
        return self._cover(t, "log:old", max(begin, gap.end), t)

    def _cover(self, t: float, source: str, begin: float, end: float, unread: int = 0) -> None:
        at = moment(t)
        while begin < end:
            stop = min(end, begin + PIECE)
            self.seen.append(
                Coverage(at=at, source=source, from_=moment(begin), to=moment(stop), not_understood=unread)
            )
            begin = stop

    def _mail(self, t: float, taken: Taken) -> None:
        watch = self.world.watch
        mailbox = taken.side == "new" or watch.mailboxes
        if mailbox and taken.disposition == "rejected":
            return
        client = OLD_IP if taken.relayed else taken.sender.client
        local = taken.sender.nature == "local" and taken.side == "old"
        at = (
            taken.at + 1
            if watch.live and t > 0 and taken.at > self._read - PIECE * 2 and t - taken.at <= PIECE
            else t
        )
        self.seen.append(Mail(
            at=moment(min(at, t)), side=taken.side, accepted_at=moment(taken.at),  # type: ignore[arg-type]
            source="mailbox" if mailbox else "log", recipient=taken.recipient,
            message_id=f"<{taken.number}@sender.example>", client=client, helo=None,
            origin="local" if local else "outside", disposition=taken.disposition,  # type: ignore[arg-type]
            queue_id=f"{taken.number}.{int(taken.at)}", reply=taken.reply,
        ))  # fmt: skip

    def _arrives(self, t: float, taken: Taken) -> None:
        """Carried over: it lies in new's mailbox with the time at which old had taken it."""
        self.seen.append(Mail(
            at=moment(t), side="new", accepted_at=moment(taken.at), source="mailbox",
            recipient=taken.recipient, message_id=f"<{taken.number}@sender.example>",
            client=taken.sender.client, helo=None, origin="outside", disposition="delivered", queue_id=None,
        ))  # fmt: skip


def _primary(leads: str) -> str:
    return "new" if leads == "mixed" else leads


def record(world: World) -> tuple[list[Observation], Post, float | None]:
    """A whole record in order of time by the watcher's clock; the mail; when new was first seen served."""
    watching = Watching(world, Post(world))
    seen = [one for batch in watching.observations() for one in batch]
    return by_its_clock(world, seen), watching.post, watching.served_new


def by_its_clock(world: World, seen: list[Observation]) -> list[Observation]:
    """In order of time by the watcher's clock."""
    if world.watch.jump:
        seen = _by_its_clock(world, seen)
    return sorted(seen, key=lambda one: one.at)


def _by_its_clock(world: World, seen: list[Observation]) -> list[Observation]:
    """The same by a clock that jumps. It is the old host's clock as well, as on one machine."""
    at, by = moment(world.watch.jump_at), timedelta(seconds=world.watch.jump)

    def wall(t: datetime) -> datetime:
        return t + by if t >= at else t

    shown: list[Observation] = []
    for one in seen:
        changes: dict[str, Any] = {"at": wall(one.at)}
        if isinstance(one, Mail):
            changes["accepted_at"] = wall(one.accepted_at)
        elif isinstance(one, Coverage):
            changes |= {"from_": wall(one.from_), "to": wall(one.to)}
            if one.from_ < at <= one.to and not timedelta(0) <= by <= timedelta(seconds=CLAIMED):
                continue
        shown.append(replace(one, **changes))
    detail = f"the wall clock jumped by {world.watch.jump:+.1f} s"
    shown.append(Watcher(at=at + by, event="clock", detail=detail))
    return shown
