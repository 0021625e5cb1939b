"""The states of the seven requirements, kept up: judged again is only what an observation or the time may
have moved. What the whole judgement says is ``verdict.dns`` and ``verdict.mail``; here are states alone."""

from __future__ import annotations

from monitor.evidence.dns import Resolver
from monitor.evidence.fold import Evidence
from monitor.evidence.touch import (
    ALL,
    ARRIVALS,
    AUTHORITY,
    CANARIES,
    HORIZON,
    QUIET,
    RESOLVERS,
    STRAGGLERS,
)
from monitor.verdict import dns, mail
from monitor.verdict.context import Context
from monitor.verdict.memo import Memo
from monitor.verdict.model import REQUIREMENTS, RequirementName, State
from monitor.verdict.standing import NEVER, Standing
from probes.observation import Observation, ResolverAnswer

Alarm = tuple[str, dict[str, str]]
ALARM = 128
BITS = {
    AUTHORITY: "authority", HORIZON: "horizon", CANARIES: "canaries", ARRIVALS: "arrivals", QUIET: "quiet",
    STRAGGLERS: "stragglers",
}  # fmt: skip


class States:
    """``alarm`` and ``states`` are as of the last :meth:`at`; times in ms.

    ``due``: when time alone may change one of them, at the earliest. ``stirred``: what was heard since may
    have changed these (bits; 0: none). ``settled``: resolvers that another new answer leaves so. ``memo``:
    what has been worked out so far.
    """

    def __init__(self, evidence: Evidence) -> None:
        self._evidence = evidence
        self.memo = Memo()
        self.states: dict[RequirementName, State] = dict.fromkeys(REQUIREMENTS, "unknown")
        self.stirred = ALL | ALARM
        self._horizon_met = False
        self._dues = dict.fromkeys((*BITS, ALARM), NEVER)
        self._standing: Standing | None = None
        self.settled: set[str] = set()
        self._horizon: int | None = None
        self._arrivals_met = False
        self.alarm: Alarm | None = None
        self.due = self._next = NEVER

    def hear(self, seen: Observation, touched: int) -> None:
        """Take note of one observation and of what it touched in the evidence."""
        self.stirred |= touched
        if isinstance(seen, ResolverAnswer):
            self.answered(seen.resolver, self._evidence.dns.resolvers[seen.resolver])

    def answered(self, resolver: str, known: Resolver) -> None:
        """Take note of one resolver's answer."""
        standing = self._standing
        if standing is None:
            return
        heard = standing.hear(resolver, known)
        if heard is None:
            self.stirred |= RESOLVERS
        elif heard < self.due:
            self.due = heard
        if self._horizon_met and known.old_until > (self._horizon or 0) and resolver in standing.judged:
            self.stirred |= HORIZON

    def at(self, now: int) -> bool:
        """Judge what may have changed by ``now``, no earlier than before; whether anything did."""
        touched, self.stirred = self.stirred, 0
        if self._standing is None or touched & ALL == ALL:  # a plan, a waiver or a change, or as good as one
            self._standing, self.memo = Standing(self._evidence, now, self.settled), Memo()
        changed = touched & ALL == ALL
        if touched & RESOLVERS or self._standing.due <= now:
            before, after = self.states["resolvers"], self._standing.state(now)
            self.states["resolvers"] = after
            changed |= before != after
        if touched & ~RESOLVERS or self._next <= now:
            changed = self._others(now, touched) or changed
        self._horizon_met = self.states["horizon"] == "met"
        self.due = min(self._standing.due, self._next)
        return changed

    def _others(self, now: int, touched: int) -> bool:
        for bit, due in self._dues.items():
            if due <= now:
                touched |= bit
        if touched & (AUTHORITY | CANARIES):
            touched |= ALARM
        before, alarmed = tuple(self.states.values()), self.alarm
        self._judge(Context(self._evidence, now, self.memo), touched)
        self._next = min(self._dues.values())
        return (alarmed is None) != (self.alarm is None) or before != tuple(self.states.values())

    def _judge(self, c: Context, touched: int) -> None:
        """In the order in which one reads what another found."""
        if touched & AUTHORITY:
            self._set(c, AUTHORITY, dns.authority(c).state)
        if touched & HORIZON:
            self._set(c, HORIZON, dns.horizon(c).state)
            if c.horizon != self._horizon:
                self._horizon = c.horizon
                touched |= ARRIVALS
        c.horizon = self._horizon
        if touched & CANARIES:
            self._set(c, CANARIES, mail.canaries(c).state)
        if touched & ARRIVALS:
            self._set(c, ARRIVALS, mail.arrivals(c).state)
            if c.arrivals_met != self._arrivals_met:
                self._arrivals_met = c.arrivals_met
                touched |= QUIET
        c.arrivals_met = self._arrivals_met
        if touched & QUIET:
            self._set(c, QUIET, mail.quiet_state(c))
        if touched & STRAGGLERS:
            self._set(c, STRAGGLERS, mail.stragglers_state(c))
        if touched & ALARM:
            self.alarm = alarm(c)
            self._dues[ALARM] = min(c.deadlines, default=NEVER)

    def _set(self, c: Context, bit: int, state: State) -> None:
        name: RequirementName = BITS[bit]  # type: ignore[assignment]
        self.states[name] = state
        self._dues[bit] = min(c.deadlines, default=NEVER)
        c.deadlines.clear()
        if c.restless:  # any instant may move it
            self.stirred |= bit
        c.restless = False


def alarm(c: Context) -> Alarm | None:
    """The new side is broken, or an authority says something nobody planned; code and arguments."""
    if c.evidence.change is None:
        return None
    for address in c.authorities()[0]:
        known = c.evidence.dns.authorities.get(address)
        if dns.bogus(c, address) is not None:
            return "verdict.alarm_bogus", {"server": address}
        if known is None or known.sample is None or not c.fresh(known.sample.at):
            continue
        leads = c.evidence.dns.now_leads(f"authority:{address}", known.sample, c.plan)
        if leads in ("other", "none"):
            return f"verdict.alarm_{leads}", {"server": address}
    broken = mail.broken_route(c)
    return None if broken is None else (f"verdict.alarm_{broken[1]}", {"route": broken[0]})
