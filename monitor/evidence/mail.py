"""What is known of mail: canaries, what each side took, and when anybody was really watching."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from copy import copy, deepcopy
from dataclasses import dataclass, field, replace
from typing import NamedTuple, TypeVar

from monitor.evidence.intervals import Intervals
from monitor.evidence.joining import Joins
from monitor.evidence.names import canonical
from probes.observation import CanaryLanded, CanarySent, Coverage, Mail, Plan, to_ms

TO_OLD = "to-old"
LIVE_SKEW = 120_000  # a log line read live bears a time within 120 s of when it was read (verdict.md)
NEVER = 1 << 62
LIVE_FOR = 600_000  # a log is read live for this long after it was covered up to now


@dataclass(slots=True)
class Canary:
    """One test message's two ends, times in ms."""

    canary: str
    route: str = ""
    recipient: str = ""
    sent: int | None = None
    accepted: int | None = None  # later than sent where it was put off first (greylisting)
    outcome: str = ""
    host: str | None = None
    address: str | None = None
    reply: str | None = None
    landed: dict[str, int] = field(default_factory=dict)
    folder: dict[str, str] = field(default_factory=dict)
    latency_ms: float | None = None
    hops: tuple[str, ...] = ()
    auth: dict[str, str] | None = None


class Hit(NamedTuple):
    """What of a message counts against old; ``client`` is "" where it is not known."""

    at: int
    end: int
    client: str
    rejected: bool


@dataclass(slots=True, frozen=True)
class Taken:
    """One real message that a side took; ``end`` is the unsafe end of its stamp, in ms."""

    at: int
    end: int
    recipient: str
    message_id: str | None
    digest: str | None
    client: str | None
    origin: str
    disposition: str
    queue_id: str | None
    still_comes: bool
    helo: str | None = None
    source: str = "log"

    @property
    def identity(self) -> str | None:
        return self.message_id or self.digest

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(f"message:{n}" for n in (self.message_id, self.queue_id, self.digest) if n)


class MailFacts:
    """Folds canaries, mail, accounts and coverage; times in ms.

    Beside the mail itself, what judgements ask of it is kept in order. ``hits``: what old took or put
    off. ``outside``: when new took real outside mail. ``lacking``: what old took
    since the change that new is not known to have (at, place). ``turned``: recipients whom old took mail
    for, and whose latest mail new rejected.
    ``lowest``: of the time before which nothing was added since whoever judges set it back.
    """

    def __init__(self, plan: Plan | None = None) -> None:
        self.hits: list[Hit] = []
        self.outside: list[int] = []
        self.lacking: list[tuple[int, int]] = []
        self.turned: set[str] = set()
        self.boxes: dict[str, list[int]] = {}  # when old took mail, by recipient
        self.lowest = NEVER
        self.covered_version = 0
        self.proof_version = 0  # of what canaries to old show
        self.first_change: int | None = None
        self.missing: set[str] = set()  # accounts that new does not know
        self._latest: dict[str, tuple[int, bool]] = {}  # of new, by recipient: when, and whether rejected
        self._wanted: dict[tuple[str, str], list[int]] = {}  # of what is lacking, places among old's
        self._relays: frozenset[str] = frozenset()
        self._routes: dict[str, list[Canary]] = {}
        self._union: dict[str, Intervals] = {}
        self.canaries: dict[str, Canary] = {}
        self.old: list[Taken] = []
        self.new: list[Taken] = []
        self.sensed: list[int] = []  # canaries seen on old in its log, in ms
        self.arrived: set[tuple[str, str]] = set()  # (recipient, Message-ID or digest) on new
        self.covered: dict[str, Intervals] = {}
        self.unread: dict[str, Intervals] = {}
        self.live_log: dict[str, Intervals] = {}
        self._void = Intervals()  # what the watcher's clock passed over
        self.accounts: dict[tuple[str, str], tuple[int, str, str]] = {}
        self.skew_ms = 0
        self._joins = Joins()
        self._known: dict[tuple[object, ...], int] = {}  # to its place among its side's mail
        self._waiting: set[tuple[object, ...]] = set()  # put off when last heard of
        self._settled: set[tuple[object, ...]] = set()  # put off, then passed on
        self._passed_on: set[tuple[object, ...]] = set()
        if plan is not None:
            self.plan(plan)

    def __deepcopy__(self, memo: dict[int, object]) -> MailFacts:
        """A copy that shares what nothing changes: the messages themselves, their keys and times."""
        new = copy(self)
        for name, value in vars(self).items():
            if name in ("canaries", "_routes", "covered", "unread", "live_log", "_union", "_void"):
                setattr(new, name, deepcopy(value, memo))
            elif name in ("boxes", "_wanted"):
                setattr(new, name, {key: list(times) for key, times in value.items()})
            elif isinstance(value, (list, dict, set, Joins)):
                setattr(new, name, copy(value))
        return new

    def plan(self, plan: Plan) -> None:
        """Take another plan: what comes from its old addresses is relayed, and no mail from outside."""
        self._joins.accounts = frozenset(account.lower() for account in plan.accounts)
        relays = frozenset(map(canonical, plan.old.addresses))
        if relays != self._relays:
            self._relays = relays
            self.outside = sorted(t.at for t in self.new if self._from_outside(t))

    def _from_outside(self, t: Taken) -> bool:
        if t.disposition == "rejected" or t.origin != "outside":
            return False
        return not (t.client and canonical(t.client) in self._relays)

    def sent(self, seen: CanarySent) -> None:
        canary = self.canaries.setdefault(seen.canary, Canary(seen.canary))
        at = to_ms(seen.at)
        if canary.outcome != "accepted":  # a deferred one is offered again; its acceptance stands
            canary.outcome, canary.reply = seen.outcome, seen.reply
            canary.host, canary.address = seen.host, seen.address
        self._unroute(canary)
        canary.sent = at if canary.sent is None else min(canary.sent, at)
        if seen.outcome == "accepted":
            canary.accepted = at if canary.accepted is None else min(canary.accepted, at)
        canary.route, canary.recipient = seen.route, seen.recipient
        insort(self._routes.setdefault(seen.route, []), canary, key=_order)
        self.proof_version += seen.route == TO_OLD

    def landed(self, seen: CanaryLanded) -> None:
        canary = self.canaries.setdefault(seen.canary, Canary(seen.canary))
        at = to_ms(seen.at)
        first = min(canary.landed.values(), default=at)
        canary.landed[seen.side] = min(at, canary.landed.get(seen.side, at))
        canary.folder[seen.side] = seen.folder
        if at <= first:  # seen again later, it was copied to the other side with the rest of the mailbox
            canary.latency_ms, canary.hops, canary.auth = seen.latency_ms, seen.hops, seen.auth
        self.proof_version += canary.route == TO_OLD

    def _unroute(self, canary: Canary) -> None:
        if canary.sent is not None:
            mine = self._routes[canary.route]
            del mine[bisect_left(mine, _order(canary), key=_order)]
            if not mine:
                del self._routes[canary.route]

    @property
    def routes(self) -> dict[str, list[Canary]]:
        """Canaries that were sent, by route, in order of time."""
        return self._routes

    def coverage(self, seen: Coverage) -> None:
        begin, end = to_ms(seen.from_), to_ms(seen.to)
        kept = self.unread if seen.not_understood else self.covered
        self.covered_version += 1
        self.lowest = min(self.lowest, begin if seen.source in kept else 0)
        if not seen.not_understood:
            self._union.setdefault(_side(seen.source), Intervals()).add(begin, end)
        kept.setdefault(seen.source, Intervals()).add(begin, end)
        if seen.source.startswith("log:") and to_ms(seen.at) - end <= 300_000:
            at = to_ms(seen.at)
            self.live_log.setdefault(seen.source, Intervals()).add(at + 1, at + LIVE_FOR)

    def mail(self, seen: Mail) -> None:
        if self._put_off(seen):
            return
        taken = self._taken(seen)
        if seen.origin == "canary":
            if seen.side == "old" and seen.disposition != "rejected":
                insort(self.sensed, taken.at)
                self.proof_version += 1
            return
        which = taken.identity or (seen.queue_id, taken.at, seen.client)
        key = (seen.side, seen.recipient.lower(), which, seen.disposition)
        side = self.old if seen.side == "old" else self.new
        place = self._known.get(key)
        if place is not None:  # the log's and the mailbox's word of one message count once
            self._replace(seen.side, place, _fuller(_sharper(side[place], taken), taken))
            other = self._joins.parted(seen.side, place, taken)
            if other is not None:
                self._new(seen.side, other, to_ms(seen.at))
            return
        place = self._joins.place(seen.side, side, taken)
        if place is not None:
            self._known[key] = place
            self._replace(seen.side, place, self._joins.joined(seen.side, place, side[place], taken))
            return
        self._known[key] = len(side)
        self._new(seen.side, taken, to_ms(seen.at))

    def _new(self, side: str, taken: Taken, at: int) -> None:
        kept = self.old if side == "old" else self.new
        kept.append(taken)
        self._joins.enter(side, len(kept) - 1, taken)
        self._enter(side, len(kept) - 1, at)

    # What judgements ask for, kept with the mail itself

    def _replace(self, side: str, place: int, taken: Taken) -> None:
        kept = self.old if side == "old" else self.new
        if kept[place] == taken:
            return
        at = kept[place].at
        self._leave(side, place)
        kept[place] = taken
        self._enter(side, place, at)

    def _enter(self, side: str, place: int, at: int) -> None:
        """``at``: no later than any change that is still to come."""
        if side == "old":
            self._enter_old(self.old[place], place, at)
        else:
            self._enter_new(self.new[place])

    def _enter_old(self, t: Taken, place: int, at: int) -> None:
        self.lowest = min(self.lowest, t.at)
        rejected = t.disposition == "rejected"
        if not rejected or t.still_comes:
            insort(self.hits, Hit(t.at, t.end, t.client or "", rejected))
        if not rejected:
            insort(self.boxes.setdefault(t.recipient.lower(), []), t.at)
            self._turn(t.recipient.lower())
        floor = at if self.first_change is None else self.first_change
        if t.disposition == "delivered" and t.end > floor and not self.on_new(t):
            insort(self.lacking, (t.at, place))
            for key in _keys(t):
                self._wanted.setdefault(key, []).append(place)

    def _enter_new(self, t: Taken) -> None:
        recipient, rejected = t.recipient.lower(), t.disposition == "rejected"
        if self._from_outside(t):
            insort(self.outside, t.at)
        if (t.at, rejected) >= self._latest.get(recipient, (t.at, rejected)):
            self._latest[recipient] = (t.at, rejected)
            self._turn(recipient)
        if not rejected and t.identity:
            for key in ((recipient, t.identity), ("", t.identity)):
                self.arrived.add(key)
                for place in self._wanted.pop(key, ()):
                    self._found(place)

    def _leave(self, side: str, place: int) -> None:
        if side == "new":
            if self._from_outside(self.new[place]):
                _remove(self.outside, self.new[place].at)
            return
        t, rejected = self.old[place], self.old[place].disposition == "rejected"
        self.lowest = min(self.lowest, t.at)
        if not rejected or t.still_comes:
            _remove(self.hits, Hit(t.at, t.end, t.client or "", rejected))
        if not rejected:
            _remove(self.boxes[t.recipient.lower()], t.at)
        self._found(place)

    def _found(self, place: int) -> None:
        _remove(self.lacking, (self.old[place].at, place))

    def _turn(self, recipient: str) -> None:
        if self._latest.get(recipient, (0, False))[1] and recipient in self.boxes:
            self.turned.add(recipient)
        else:
            self.turned.discard(recipient)

    def on_new(self, taken: Taken) -> bool:
        """Whether a message that old took is known to be on new for its recipient."""
        return any(key in self.arrived for key in _keys(taken))

    def _put_off(self, seen: Mail) -> bool:
        """Whether the log told of this message already: as put off (``delivered`` with a reason), and as
        ``relayed`` in the end. In either order it is one hit, of when it was taken, and relayed."""
        if seen.source != "log" or seen.queue_id is None or seen.disposition == "rejected":
            return False
        key = (seen.side, seen.recipient.lower(), seen.queue_id, to_ms(seen.accepted_at))
        if seen.disposition == "delivered":
            if seen.reply is not None and key not in self._passed_on:
                self._waiting.add(key)
            return seen.reply is not None and key in self._passed_on
        if key not in self._waiting:
            settled = key in self._settled
            self._passed_on.add(key)
            return settled
        self._waiting.discard(key)
        self._passed_on.add(key)
        self._settled.add(key)
        side = self.old if seen.side == "old" else self.new
        for i in range(len(side) - 1, -1, -1):
            if (side[i].queue_id, side[i].recipient.lower()) == (seen.queue_id, seen.recipient.lower()):
                self._replace(seen.side, i, replace(side[i], disposition="relayed"))
                break
        return True

    def _taken(self, seen: Mail) -> Taken:
        at, accepted = to_ms(seen.at), to_ms(seen.accepted_at)
        live = self.live_log.get(f"log:{seen.side}") if seen.source == "log" else None
        read_live = live is not None and live.covers(at)  # else it is history, or a stop's
        if accepted > at + LIVE_SKEW or (read_live and abs(at - accepted) > LIVE_SKEW):
            self.skew_ms, accepted = accepted - at, at
        # A stamp of whole seconds means the whole second, judged by its unsafe end.
        end = accepted + 1000 if accepted % 1000 == 0 else accepted + 1
        return Taken(
            accepted, end, seen.recipient, seen.message_id, seen.digest, seen.client, seen.origin,
            seen.disposition, seen.queue_id, _still_comes(seen), seen.helo, seen.source,
        )  # fmt: skip

    def account(self, side: str, account: str, state: str, detail: str, at: int) -> None:
        before = self.accounts.get((side, account))
        if before is None or before[0] <= at:
            self.accounts[(side, account)] = (at, state, detail)
            if side == "new":
                (self.missing.add if state == "missing" else self.missing.discard)(account)

    def watched(self, side: str, plan: Plan, waived: frozenset[str]) -> Intervals:
        """Covered time of one side: its log was followed, or every listed account's mailbox was watched."""
        log = self._clean(f"log:{side}")
        accounts = [a for a in plan.accounts if f"account:{a}" not in waived]
        if not accounts:
            return log
        boxes = self._clean(f"mailbox:{side}:{accounts[0]}")
        for account in accounts[1:]:
            if not boxes:
                return log
            boxes = boxes.meet(self._clean(f"mailbox:{side}:{account}"))
        return log.join(boxes)

    def _clean(self, source: str) -> Intervals:
        covered = self.covered.get(source, Intervals())
        unread = self.unread.get(source)
        covered = covered.minus(self._void) if self._void else covered
        return covered.minus(unread) if unread else covered

    def void(self, begin: int, end: int) -> None:
        """No time has passed between these: nothing was covered, whatever says so."""
        self._void.add(begin, end)
        self.covered_version += 1
        self.lowest = 0

    def any_watch(self, side: str) -> Intervals:
        """Time in which at least one source of this side was watched."""
        return self._union.get(side, Intervals())

    def sensed_between(self, begin: int, end: int) -> bool:
        """Whether a canary was seen in old's log from ``begin`` to ``end``, both included."""
        return bisect_right(self.sensed, end) > bisect_left(self.sensed, begin)


def _order(canary: Canary) -> tuple[int, str]:
    return canary.sent or 0, canary.canary


def _side(source: str) -> str:
    return source.split(":", 2)[1]


def _keys(t: Taken) -> list[tuple[str, str]]:
    """What a message is known by on the other side."""
    return [(t.recipient.lower(), name) for name in (t.message_id, t.digest) if name]


V = TypeVar("V", int, tuple[int, int], Hit)


def _remove(kept: list[V], one: V) -> None:
    """Take one out of a sorted list, where it is in it."""
    place = bisect_left(kept, one)
    if place < len(kept) and kept[place] == one:
        del kept[place]


def _sharper(known: Taken, other: Taken) -> Taken:
    """One message, stamped to the second by a mailbox and to the millisecond by a log: the finer decides."""
    finer = known.end - known.at > other.end - other.at and known.at <= other.at < known.end
    return replace(known, at=other.at, end=other.end) if finer else known


def _fuller(known: Taken, other: Taken) -> Taken:
    """With what only the other source shows."""
    return replace(
        known, client=known.client or other.client, helo=known.helo or other.helo,
        queue_id=known.queue_id or other.queue_id,
        source="log" if other.source == "log" else known.source,
        origin=other.origin if known.origin == "unknown" else known.origin,
    )  # fmt: skip


def _still_comes(seen: Mail) -> bool:
    """Refused for the domain's sake or put off: a sender that still comes (verdict.md, the share bound).

    RFC 5321 section 4.2.1: 4yz is put off; RFC 3463 section 3.8: X.7.1 is "not authorised", what a
    host answers that no longer takes the domain ("relay access denied").
    """
    reply = seen.reply or ""
    if seen.disposition != "rejected":
        return False
    return reply.startswith("4") or " 5.7.1 " in f" {reply} " or "elay" in reply
