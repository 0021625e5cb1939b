"""One evidence: every observation goes in here, in order of its time, and nothing else does."""

from __future__ import annotations

from monitor.evidence.dns import Dns
from monitor.evidence.mail import MailFacts
from monitor.evidence.names import canonical
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
    to_ms,
)


class Evidence:
    """What is known. Times in ms since the epoch.

    ``change``: when the change was made, None before it or after it was taken back; ``first_change``
    is kept across a rollback, for mail that old took since; ``generation`` counts changes.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.dns = Dns()
        self.mail = MailFacts()
        self.waivers: dict[str, str] = {}
        self.waived_at: dict[str, tuple[str, int]] = {}
        self.change: int | None = None
        self.first_change: int | None = None
        self.generation = 0
        self.last_at: int | None = None
        self.use: dict[tuple[str, str, str], int] = {}
        self.queue: dict[str, tuple[int, int, int]] = {}
        self._served_new = False
        self._rolled_back = False  # by word: new answers that are still out are no new change

    @property
    def waived(self) -> frozenset[str]:
        return frozenset(self.waivers)

    def add(self, seen: Observation) -> None:
        """Fold one observation. Never raises for one that decoded."""
        at = to_ms(seen.at)
        self.last_at = at if self.last_at is None else max(self.last_at, at)
        match seen:
            case Plan():
                self._replan(seen, at)
            case AuthorityAnswer():
                self._authority(seen, at)
            case ResolverAnswer():
                self.dns.resolver(seen, self.plan)
            case CanarySent():
                self.mail.sent(seen)
            case CanaryLanded():
                self.mail.landed(seen)
            case Mail():
                self.mail.mail(seen)
            case Coverage():
                self.mail.coverage(seen)
            case AccountState():
                self.mail.account(seen.side, seen.account, seen.state, seen.detail, at)
            case Operator():
                self._operator(seen, at)
            case Use():
                key = (seen.side, seen.account, seen.service)
                self.use[key] = max(self.use.get(key, 0), to_ms(seen.seen_at))
            case Queue():
                self.queue[seen.side] = (at, seen.messages, to_ms(seen.oldest_at))
            case _:
                pass

    def _replan(self, plan: Plan, at: int) -> None:
        """A server that is delegated no longer stops handing out old data, for the horizon, now."""
        gone = set(map(canonical, self.plan.authorities)) - set(map(canonical, plan.authorities))
        for address in gone:
            self.dns.gone(address, at)
        self.plan = plan

    def _authority(self, seen: AuthorityAnswer, at: int) -> None:
        leads = self.dns.authority(seen, self.plan)
        if leads == "new" and not self._rolled_back:
            self._served_new = True
            self._changed(at)
        elif leads == "old" and self._all_old(at):
            self._rolled_back = False
            if self._served_new:
                self._taken_back()

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
            self.first_change = at

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
