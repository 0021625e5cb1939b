"""What is known of mail: canaries, what each side took, and when anybody was really watching."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from monitor.evidence.intervals import Intervals
from probes.observation import CanaryLanded, CanarySent, Coverage, Mail, Plan, to_ms

LIVE_SKEW = 120_000  # a log line read live bears a time within 120 s of when it was read (verdict.md)
LIVE_FOR = 600_000  # a log is read live for this long after it was covered up to now


@dataclass(slots=True)
class Canary:
    """One test message's two ends, times in ms."""

    canary: str
    route: str = ""
    recipient: str = ""
    sent: int | None = None
    outcome: str = ""
    host: str | None = None
    address: str | None = None
    reply: str | None = None
    landed: dict[str, int] = field(default_factory=dict)
    folder: dict[str, str] = field(default_factory=dict)
    latency_ms: float | None = None
    hops: tuple[str, ...] = ()


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
    """Folds canaries, mail, accounts and coverage."""

    def __init__(self) -> None:
        self.canaries: dict[str, Canary] = {}
        self.old: list[Taken] = []
        self.new: list[Taken] = []
        self.sensed: list[int] = []  # canaries seen on old in its log, in ms
        self.arrived: set[tuple[str, str]] = set()  # (recipient, Message-ID or digest) on new
        self.covered: dict[str, Intervals] = {}
        self.unread: dict[str, Intervals] = {}
        self.live_log: dict[str, Intervals] = {}
        self.accounts: dict[tuple[str, str], tuple[int, str, str]] = {}
        self.skew_ms = 0
        self._known: dict[tuple[object, ...], int] = {}  # to its place among its side's mail
        self._waiting: set[tuple[object, ...]] = set()  # put off when last heard of
        self._settled: set[tuple[object, ...]] = set()  # put off, then passed on
        self._passed_on: set[tuple[object, ...]] = set()

    def sent(self, seen: CanarySent) -> None:
        canary = self.canaries.setdefault(seen.canary, Canary(seen.canary))
        at = to_ms(seen.at)
        canary.sent = at if canary.sent is None else min(canary.sent, at)
        if canary.outcome != "accepted":  # a deferred one is offered again; its acceptance stands
            canary.outcome, canary.reply = seen.outcome, seen.reply
            canary.host, canary.address = seen.host, seen.address
        canary.route, canary.recipient = seen.route, seen.recipient

    def landed(self, seen: CanaryLanded) -> None:
        canary = self.canaries.setdefault(seen.canary, Canary(seen.canary))
        at = to_ms(seen.at)
        first = min(canary.landed.values(), default=at)
        canary.landed[seen.side] = min(at, canary.landed.get(seen.side, at))
        canary.folder[seen.side] = seen.folder
        if at <= first:  # seen again later, it was copied to the other side with the rest of the mailbox
            canary.latency_ms, canary.hops = seen.latency_ms, seen.hops

    def coverage(self, seen: Coverage) -> None:
        begin, end = to_ms(seen.from_), to_ms(seen.to)
        kept = self.unread if seen.not_understood else self.covered
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
                self.sensed.append(taken.at)
            return
        which = taken.identity or (seen.queue_id, taken.at, seen.client)
        key = (seen.side, seen.recipient.lower(), which, seen.disposition)
        side = self.old if seen.side == "old" else self.new
        if key in self._known:  # the log's and the mailbox's word of one message count once
            side[self._known[key]] = _sharper(side[self._known[key]], taken)
            return
        self._known[key] = len(side)
        side.append(taken)
        if seen.side == "new" and seen.disposition != "rejected" and taken.identity:
            self.arrived.update({(seen.recipient.lower(), taken.identity), ("", taken.identity)})

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
                side[i] = replace(side[i], disposition="relayed")
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

    def watched(self, side: str, plan: Plan, waived: frozenset[str]) -> Intervals:
        """Covered time of one side: its log was followed, or every listed account's mailbox was watched."""
        log = self._clean(f"log:{side}")
        accounts = [a for a in plan.accounts if f"account:{a}" not in waived]
        if not accounts:
            return log
        boxes = self._clean(f"mailbox:{side}:{accounts[0]}")
        for account in accounts[1:]:
            boxes = boxes.meet(self._clean(f"mailbox:{side}:{account}"))
        return log.join(boxes)

    def _clean(self, source: str) -> Intervals:
        covered = self.covered.get(source, Intervals())
        unread = self.unread.get(source)
        return covered.minus(unread) if unread else covered

    def any_watch(self, side: str) -> Intervals:
        """Time in which at least one source of this side was watched."""
        union = Intervals()
        for source, spans in self.covered.items():
            if source == f"log:{side}" or source.startswith(f"mailbox:{side}:"):
                union = union.join(spans)
        return union


def _sharper(known: Taken, other: Taken) -> Taken:
    """One message, stamped to the second by a mailbox and to the millisecond by a log: the finer decides."""
    finer = known.end - known.at > other.end - other.at and known.at <= other.at < known.end
    return replace(known, at=other.at, end=other.end) if finer else known


def _still_comes(seen: Mail) -> bool:
    """Refused for the domain's sake or put off: a sender that still comes (verdict.md, the share bound).

    RFC 5321 section 4.2.1: 4yz is put off; RFC 3463 section 3.8: X.7.1 is "not authorised", what a
    host answers that no longer takes the domain ("relay access denied").
    """
    reply = seen.reply or ""
    if seen.disposition != "rejected":
        return False
    return reply.startswith("4") or " 5.7.1 " in f" {reply} " or "elay" in reply
