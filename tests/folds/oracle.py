"""The judge from scratch: at every instant all seven requirements from all that is known, nothing kept up.

The rules for mail stand here a second time, over plain lists; those for DNS are the judge's own, over
evidence that remembers nothing it could work out again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import ceil
from unittest.mock import patch

from monitor.evidence.dns import Dns
from monitor.evidence.fold import Evidence
from monitor.evidence.intervals import Intervals
from monitor.evidence.mail import Canary, Taken
from monitor.evidence.names import canonical
from monitor.snapshot import Leads
from monitor.verdict import dns, mail
from monitor.verdict.baseline import HOUR, LONGEST, Baseline, _pieces
from monitor.verdict.bound import share_bound
from monitor.verdict.context import Context
from monitor.verdict.judge import Judge
from monitor.verdict.states import Alarm
from probes.observation import AuthorityAnswer, Observation, Plan, ResolverAnswer, to_ms

Shape = tuple[int, str, tuple[str, ...]]  # when (ms), the verdict, the states


class ForgetfulDns(Dns):
    """Works out where an answer leads and what authorities gave at every answer."""

    def leads(self, source: str, rrset: tuple[str, ...], outcome: str, plan: Plan) -> Leads:
        return self._leads(source, rrset, outcome, plan)

    def authority(self, seen: AuthorityAnswer, plan: Plan) -> Leads | None:
        self._moved()
        found = super().authority(seen, plan)
        self._moved()
        return found

    def resolver(self, seen: ResolverAnswer, plan: Plan) -> None:
        self._moved()
        super().resolver(seen, plan)


class Oracle:
    def __init__(self, plan: Plan) -> None:
        self.evidence = Evidence(plan)
        self.evidence.dns = ForgetfulDns()
        self._words = Judge(plan)
        self._words.evidence = self.evidence
        self._last: tuple[str, ...] | None = None

    def run(self, observations: Iterable[Observation]) -> Iterator[Shape]:
        """What a judge says of every instant, where it differs from the one before."""
        now: int | None = None
        for seen in observations:
            at = to_ms(seen.at)
            if now is not None and at != now:
                yield from self._until(now, at)
            now = at
            self.evidence.add(seen)
        if now is not None:
            yield from self._until(now, now)

    def _until(self, now: int, until: int) -> Iterator[Shape]:
        dues = yield from self._look(now)
        while dues and (due := min(dues)) < until:
            dues = yield from self._look(due)

    def _look(self, now: int) -> Iterator[Shape]:
        c = Context(self.evidence, now)
        states = {
            "authority": dns.authority(c).state, "horizon": dns.horizon(c).state,
            "resolvers": dns.resolvers(c).state, "canaries": canaries(c), "arrivals": arrivals(c),
        }  # fmt: skip
        states["quiet"], states["stragglers"] = quiet(c), stragglers(c)
        order = ("authority", "horizon", "resolvers", "canaries", "quiet", "stragglers", "arrivals")
        states = {name: states[name] for name in order}
        word = self._words._word(alarm(c), states)[0]  # type: ignore[arg-type]
        if word == "safe":
            self._words._safe_since = self.evidence.generation
        if (shape := (word, *states.values())) != self._last:
            self._last = shape
            yield now, word, tuple(states.values())
        return c.deadlines


def concluded(c: Context, route: str) -> list[tuple[Canary, str]]:
    change = c.evidence.change
    if change is None:
        return []
    mine = [k for k in c.evidence.mail.canaries.values() if k.route == route and (k.sent or 0) >= change]
    ended = [(k, mail.fate(c, k)) for k in sorted(mine, key=lambda k: (k.sent or 0, k.canary))]
    return [(k, f) for k, f in ended if f is not None]


def canaries(c: Context) -> str:
    judged, waived = c.split("route", tuple(r for r in c.plan.routes if r not in ("to-old", "to-new")))
    ends = {route: [end for _, end in concluded(c, route)] for route in judged}
    needed = c.policy.canary_streak
    if not judged:
        return "unknown"
    if any(end != "new" for some in ends.values() for end in some[-needed:]):
        return "unmet"
    if not all(ends.values()):
        return "unknown"
    if any(len(some) < needed for some in ends.values()):
        return "unmet"
    return "waived" if waived else "met"


def alarm(c: Context) -> Alarm | None:
    with patch("monitor.verdict.mail.latest", lambda c, route, most: concluded(c, route)[-most:]):
        from monitor.verdict.states import alarm as found

        return found(c)


def hits(c: Context) -> list[Taken]:
    return [
        t for t in c.evidence.mail.old
        if (t.disposition != "rejected" or t.still_comes) and not c.waived(f"sender:{t.client}")
    ]  # fmt: skip


def baseline(c: Context) -> Baseline | None:
    change = c.evidence.first_change
    if change is None:
        return None
    begin = change - LONGEST
    before = sorted(t.at for t in hits(c) if begin <= t.at < change and t.disposition != "rejected")
    covered = c.evidence.mail.watched("old", c.plan, c.evidence.waived).within(begin, change)
    if "log:old" not in c.evidence.mail.covered and before:
        covered.add(before[0], change)
    return Baseline(before, covered) if covered.total() and before else None


def expects(base: Baseline, spans: Intervals) -> float:
    if base._cells is None:
        return base._flat * spans.total() / HOUR
    return sum(base._cells[cell] * length / HOUR for cell, length in _pieces(spans))


def expected(c: Context, base: Baseline, spans: Intervals) -> float:
    return min(expects(base, spans), float(sum(spans.covers(t.at) for t in arrived(c))))


def bound(c: Context, since: list[Taken], covered: Intervals, calm: Intervals) -> float | None:
    base, change = baseline(c), c.evidence.change
    if base is None or change is None:
        return None
    if calm or not since:
        return share_bound(0, expected(c, base, calm), c.policy.confidence)
    window = covered.within(change, c.now + 1)
    return share_bound(
        sum(window.covers(t.at) for t in since), expected(c, base, window), c.policy.confidence
    )


def quiet(c: Context) -> str:
    covered = c.evidence.mail.watched("old", c.plan, c.evidence.waived)
    if not covered:
        return "unknown"
    change = c.evidence.change
    for t in c.evidence.mail.old:
        c.due(t.at)
    since = [t for t in hits(c) if change is not None and t.end > change and t.at <= c.now]
    begin = max([change if change is not None else c.now, *(t.end for t in since)])
    calm = demonstrated(c, covered).within(begin, c.now + 1)
    fresh_ms = int(c.policy.freshness * 1000)
    if not covered.touches(c.now - fresh_ms, c.now + 1):
        return "unknown"
    c.due((covered.last() or 0) + fresh_ms)
    quiet_s, wanted = calm.total() / 1000, c.policy.quiet_for
    ceiling = 3 * wanted if c.policy.quiet_ceiling is None else c.policy.quiet_ceiling
    share = bound(c, since, covered, calm)
    low = share is not None and share <= c.policy.share_bound
    return "met" if quiet_s >= wanted and (low or (quiet_s >= ceiling and c.arrivals_met)) else "unmet"


def demonstrated(c: Context, covered: Intervals) -> Intervals:
    if "to-old" not in c.plan.routes or c.waived("route:to-old"):
        return covered
    proven, before = Intervals(), None
    sent = [k for k in c.evidence.mail.canaries.values() if k.route == "to-old" and k.sent is not None]
    for canary in sorted(sent, key=lambda k: (k.sent or 0, k.canary)):
        at, limit = canary.sent or 0, (canary.sent or 0) + int(c.policy.canary_deadline * 1000)
        seen = any(at - 5000 <= one <= limit for one in c.evidence.mail.sensed)
        if not seen and "old" not in canary.landed and canary.outcome != "rejected":
            if mail.fate(c, canary) == "lost":
                before = None
            continue
        if before is not None and at - before <= c.policy.sensitivity * 1000:
            proven.add(before, at)
        before = at
    return covered.meet(proven)


def stragglers(c: Context) -> str:
    first = c.evidence.first_change
    if first is None:
        return "unknown"
    arrived_on_new = {
        (who, name) for t in c.evidence.mail.new if t.disposition != "rejected" and t.identity
        for who in (t.recipient.lower(), "") for name in (t.identity,)
    }  # fmt: skip
    lacking = [
        t for t in c.evidence.mail.old
        if t.end > first and t.disposition == "delivered" and not c.waived(f"sender:{t.client}")
        and not any(c.waived(n) for n in t.names)
        and not any((t.recipient.lower(), n) in arrived_on_new for n in (t.message_id, t.digest) if n)
    ]  # fmt: skip
    if lacking:
        return "unmet"
    if not any_watch(c, "old").touches(first, c.now + 1):
        return "unknown"
    waived = [s for s in c.evidence.waivers if s.startswith("message:")]
    used = any(t.end > first and any(n in waived for n in t.names) for t in c.evidence.mail.old)
    return "waived" if used else "met"


def any_watch(c: Context, side: str) -> Intervals:
    union = Intervals()
    for source, spans in c.evidence.mail.covered.items():
        if source == f"log:{side}" or source.startswith(f"mailbox:{side}:"):
            union = union.join(spans)
    return union


def arrived(c: Context) -> list[Taken]:
    old = set(map(canonical, c.plan.old.addresses))
    return [
        t for t in c.evidence.mail.new
        if t.disposition != "rejected" and t.origin == "outside"
        and not (t.client and canonical(t.client) in old)
    ]  # fmt: skip


def arrivals(c: Context) -> str:
    watched = any_watch(c, "new")
    fresh_ms = int(c.policy.freshness * 1000)
    if refused(c):
        return "unmet"
    if not watched.touches(c.now - fresh_ms, c.now + 1):
        return "unknown"
    c.due((watched.last() or 0) + fresh_ms)
    if c.horizon is None or c.evidence.change is None:
        return "unknown"
    if c.now < c.horizon:
        return "unmet"
    base = baseline(c)
    needed = max(3, ceil((expects(base, watched.within(c.horizon, c.now + 1)) if base else 0.0) / 4 - 1e-9))
    for t in arrived(c):
        c.due(t.at)
    c.arrivals_met = sum(c.horizon <= t.at <= c.now for t in arrived(c)) >= needed
    return "met" if c.arrivals_met else "unmet"


def refused(c: Context) -> bool:
    for account in c.plan.accounts:
        state = c.evidence.mail.accounts.get(("new", account))
        if state is not None and state[1] == "missing" and not c.waived(f"account:{account}"):
            return True
    change = c.evidence.change
    if change is None:
        return False
    known = {
        t.recipient.lower() for t in c.evidence.mail.old if t.at < change and t.disposition != "rejected"
    }
    latest: dict[str, Taken] = {}
    for taken in sorted(c.evidence.mail.new, key=lambda t: (t.at, t.disposition == "rejected")):
        latest[taken.recipient.lower()] = taken
    turned = {r for r, t in latest.items() if t.disposition == "rejected"}
    return any(r and not c.waived(f"account:{r}") for r in turned & known)
