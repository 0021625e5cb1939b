"""One evidence: every observation goes in here, in order of its time, and nothing else does."""

from __future__ import annotations

import re

from monitor.evidence.dns import Dns
from monitor.evidence.mail import MailFacts
from monitor.evidence.names import canonical
from monitor.evidence.touch import ALL, ARRIVALS, CANARIES, QUIET, STRAGGLERS
from probes.observation import (
    AccountState,
    AuthorityAnswer,
    CanaryLanded,
    CanarySent,
    Coverage,
    Mail,
    Observation,
    Operator,
    Plan,
    Queue,
    ResolverAnswer,
    Use,
    Watcher,
    to_ms,
)

_JUMPED = re.compile(r"\+(\d{1,9}(?:\.\d{1,3})?) s\b")  # by how much, as a watch tells it
MOST_JUMPS = 1000


class Evidence:
    """What is known. Times in ms since the epoch.

    ``change``: when the change was made, None before it or after it was taken back; ``first_change``
    is kept across a rollback, for mail that old took since; ``generation`` counts changes.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.dns = Dns()
        self.mail = MailFacts(plan)
        self.waivers: dict[str, str] = {}
        self.waived_at: dict[str, tuple[str, int]] = {}
        self.change: int | None = None
        self.first_change: int | None = None
        self.generation = 0
        self.last_at: int | None = None
        self.use: dict[tuple[str, str, str], int] = {}
        self.queue: dict[str, tuple[int, int, int]] = {}
        self.jumps: list[tuple[int, int]] = []  # of the watcher's clock ahead: to when, and how far
        self._served_new = False
        self._rolled_back = False  # by word: new answers that are still out are no new change

    @property
    def waived(self) -> frozenset[str]:
        return frozenset(self.waivers)

    def add(self, seen: Observation) -> int:
        """Fold one observation; returns the requirements that it may have moved, as bits of
        :mod:`monitor.evidence.touch`, but for what a resolver says of itself. Never raises for one that
        decoded."""
        at = to_ms(seen.at)
        if self.last_at is None or at > self.last_at:
            self.last_at = at
        if isinstance(seen, ResolverAnswer):
            self.dns.resolver(seen, self.plan)
        elif isinstance(seen, AuthorityAnswer):
            self._authority(seen, at)
        else:
            return self._beside_dns(seen, at)
        touched, self.dns.touched = self.dns.touched, 0
        return touched

    def _beside_dns(self, seen: Observation, at: int) -> int:
        match seen:
            case Coverage():
                self.mail.coverage(seen)
                return QUIET | ARRIVALS | STRAGGLERS
            case Mail():
                self.mail.mail(seen)
                return QUIET | ARRIVALS | STRAGGLERS
            case CanarySent():
                self.mail.sent(seen)
                return CANARIES | QUIET
            case CanaryLanded():
                self.mail.landed(seen)
                return CANARIES | QUIET
            case AccountState():
                self.mail.account(seen.side, seen.account, seen.state, seen.detail, at)
                return ARRIVALS
            case Plan():
                self._replan(seen, at)
                return ALL
            case Operator():
                self._operator(seen, at)
                return ALL
            case Use():
                key = (seen.side, seen.account, seen.service)
                self.use[key] = max(self.use.get(key, 0), to_ms(seen.seen_at))
            case Watcher():
                return self._clock(seen, at)
            case Queue():
                self.queue[seen.side] = (at, seen.messages, to_ms(seen.oldest_at))
            case _:
                pass
        return 0

    def _clock(self, seen: Watcher, at: int) -> int:
        """A clock that was set ahead: the time that it passed over was no time, for caches as for quiet."""
        ahead = _JUMPED.search(seen.detail) if seen.event == "clock" else None
        if ahead is None or len(self.jumps) >= MOST_JUMPS:
            return 0
        by = int(float(ahead[1]) * 1000)
        self.jumps.append((at, by))
        self.mail.void(at - by, at)
        return ALL

    def shifted(self, end: int, said: int) -> int:
        """When an end that was announced at ``said`` really comes, by the clock as it is now; in ms."""
        for at, by in self.jumps:
            if said <= at - by < end:
                end += by
        return end

    def _replan(self, plan: Plan, at: int) -> None:
        """A server that is delegated no longer stops handing out old data, for the horizon, now."""
        gone = set(map(canonical, self.plan.authorities)) - set(map(canonical, plan.authorities))
        for address in gone:
            self.dns.gone(address, at)
        self.plan = plan
        self.mail.plan(plan)

    def _authority(self, seen: AuthorityAnswer, at: int) -> None:
        before = self.change
        leads = self.dns.authority(seen, self.plan)
        if leads == "new" and not self._rolled_back:
            self._served_new = True
            self._changed(at)
        elif leads == "old" and (self._served_new or self._rolled_back) and self._all_old(at):
            self._rolled_back = False
            if self._served_new:
                self._taken_back()
        if self.change != before:
            self.dns.touched = ALL

    def _all_old(self, at: int) -> bool:
        fresh_ms = self.plan.policy.freshness * 1000
        samples = [self.dns.authorities.get(canonical(a)) for a in self.plan.authorities]
        fresh = [k.sample for k in samples if k and k.sample and at - k.sample.at < fresh_ms]
        return bool(fresh) and all(s.leads == "old" for s in fresh)

    def _changed(self, at: int) -> None:
        if self.change is None:
            self.change = at
            self.generation += 1
        if self.first_change is None:
            self.first_change = self.mail.first_change = at

    def _taken_back(self) -> None:
        self.change = None
        self._served_new = False

    def _operator(self, seen: Operator, at: int) -> None:
        if seen.action == "cutover":
            self._rolled_back = False
            self._changed(at)
        elif seen.action == "rollback":
            self._rolled_back = self._served_new
            self._taken_back()
        elif seen.action == "waive":
            self.waivers[seen.subject] = seen.reason
            self.waived_at[seen.subject] = (seen.reason, at)
        elif seen.action == "unwaive":
            self.waivers.pop(seen.subject, None)
            self.waived_at.pop(seen.subject, None)
