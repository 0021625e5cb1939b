"""Requirements 4 to 7: canaries, quiet, stragglers, arrivals (verdict.md)."""

from __future__ import annotations

from math import ceil, inf
from typing import Any

from monitor.evidence.intervals import Intervals
from monitor.evidence.mail import Canary, Taken
from monitor.evidence.names import canonical
from monitor.verdict.answers import host_name, named
from monitor.verdict.baseline import Baseline
from monitor.verdict.bound import percent_up, share_bound, upper_limit
from monitor.verdict.context import Context, found, when
from monitor.verdict.model import Finding, State

DIAGNOSTIC = ("to-old", "to-new")


def fate(c: Context, canary: Canary) -> str | None:
    """How a canary ended by now: new, late, old, lost, rejected, unreachable; None while it travels."""
    if canary.sent is None:
        return None
    limit = canary.sent + int(c.policy.canary_deadline * 1000)
    landed = {side: at for side, at in canary.landed.items() if at <= c.now}
    if "old" in landed:
        return "old"
    if "new" in landed:
        return "new" if landed["new"] <= limit else "late"
    if canary.outcome in ("rejected", "unreachable"):
        return canary.outcome
    if canary.outcome == "accepted" and c.now >= c.due(limit):
        return "lost"
    return None


def concluded(c: Context, route: str) -> list[tuple[Canary, str]]:
    """This route's canaries sent since the change whose end is known, oldest first."""
    change = c.evidence.change
    if change is None:
        return []
    mine = [k for k in c.evidence.mail.canaries.values() if k.route == route and (k.sent or 0) >= change]
    ended = [(k, fate(c, k)) for k in sorted(mine, key=lambda k: (k.sent or 0, k.canary))]
    return [(k, f) for k, f in ended if f is not None]


def canaries(c: Context) -> Finding:
    """On every planned route the last ``canary_streak`` concluded canaries landed on new, in time."""
    planned = tuple(r for r in c.plan.routes if r not in DIAGNOSTIC)
    judged, waived = c.split("route", planned)
    if not judged:
        return found("canaries", "unknown", "none", waived=waived)
    ends = {route: concluded(c, route) for route in judged}
    for route in judged:
        bad = _failing(c, route, ends[route])
        if bad is not None:
            return found("canaries", "unmet", bad[0], waived=waived, route=route, **bad[1])
    silent = [r for r in judged if not ends[r]]
    if silent:
        return found("canaries", "unknown", "silent", waived=waived, routes=tuple(silent))
    short = [r for r in judged if len(ends[r]) < c.policy.canary_streak]
    if short:
        return found("canaries", "unmet", "few", waived=waived, route=short[0],
                     landed=len(ends[short[0]]), needed=c.policy.canary_streak)  # fmt: skip
    state: State = "waived" if waived else "met"
    return found("canaries", state, "met", waived=waived, routes=tuple(judged), streak=c.policy.canary_streak)


def _failing(c: Context, route: str, ends: list[tuple[Canary, str]]) -> tuple[str, dict[str, Any]] | None:
    """The newest failure among the last ``canary_streak``, where there is one."""
    for canary, end in reversed(ends[-c.policy.canary_streak :]):
        if end != "new":
            code = "trap" if end == "old" and route == "via-old" else f"landed_{end}"
            return code, {"account": canary.recipient, "reply": canary.reply or ""}
    return None


def broken_route(c: Context) -> tuple[str, str] | None:
    """The alarm: the latest concluded canary of a route, handed to a new address, was rejected or lost."""
    for route in sorted({k.route for k in c.evidence.mail.canaries.values()}):
        ends = [] if c.waived(f"route:{route}") else concluded(c, route)
        if ends and ends[-1][1] in ("rejected", "lost") and _handed_to_new(c, ends[-1][0]):
            return route, ends[-1][1]
    return None


def _handed_to_new(c: Context, canary: Canary) -> bool:
    if canary.address is not None and canonical(canary.address) in map(canonical, c.plan.new.addresses):
        return True
    return canary.host is not None and named(host_name(canary.host), c.plan.new)


# -- quiet ---------------------------------------------------------------------------------------


def quiet(c: Context) -> Finding:
    """No mail taken by old during ``quiet_for`` of covered time, and the share bound or the ceiling."""
    covered = c.evidence.mail.watched("old", c.plan, c.evidence.waived)
    if not covered:
        return found("quiet", "unknown", "unwatched")
    counted = _demonstrated(c, covered)
    change = c.evidence.change
    since = [t for t in c.hits if change is not None and t.end > change and t.at <= c.now]
    begin = max([change if change is not None else c.now, *(t.end for t in since)])
    calm = counted.within(begin, c.now + 1)
    c.bound = _bound(c, since, covered, calm)
    fresh_ms = int(c.policy.freshness * 1000)
    last = covered.last() or 0
    if not covered.touches(c.now - fresh_ms, c.now + 1):
        return found("quiet", "unknown", "uncovered", since=when(last))
    c.due(last + fresh_ms)
    return _calm_enough(c, calm, since)


def _calm_enough(c: Context, calm: Intervals, since: list[Taken]) -> Finding:
    quiet_s = calm.total() / 1000
    wanted = float(c.policy.quiet_for)
    ceiling = 3 * wanted if c.policy.quiet_ceiling is None else float(c.policy.quiet_ceiling)
    low = c.bound is not None and c.bound <= c.policy.share_bound
    args: dict[str, Any] = {"quiet": quiet_s, "wanted": wanted, "bound": _percent(c.bound)}
    if quiet_s >= wanted and (low or (quiet_s >= ceiling and c.arrivals_met)):
        return found("quiet", "met", "met" if low else "ceiling", **args)
    missing = _missing(c, quiet_s, wanted, ceiling, low)
    eta = c.now + int(missing * 1000) if missing < inf else None
    if quiet_s >= wanted:
        return found("quiet", "unmet", "bound", eta=eta, limit=_percent(c.policy.share_bound), **args)
    if since:
        hit = max(since, key=lambda t: t.at)
        return found("quiet", "unmet", "hit", eta=eta, ago=(c.now - hit.at) / 1000,
                     client=hit.client or "?", **args)  # fmt: skip
    return found("quiet", "unmet", "short", eta=eta, **args)


def _missing(c: Context, quiet_s: float, wanted: float, ceiling: float, low: bool) -> float:
    """Covered quiet seconds still to pass, at the baseline's mean rate; ``inf`` where time is not enough."""
    if c.evidence.change is None:
        return inf
    if low:
        return max(0.0, wanted - quiet_s)
    base = c.baseline
    rate = base.messages / (base.hours * 3600) if base and base.hours else 0.0
    share = c.policy.share_bound
    enough = upper_limit(0, c.policy.confidence) / share / rate if rate and share else inf
    if c.bound is None:
        enough = inf
    left = max(wanted, min(enough, ceiling)) - quiet_s
    return left if left > 0 else inf


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{percent_up(share)} %"


def _bound(c: Context, since: list[Taken], covered: Intervals, calm: Intervals) -> float | None:
    """The bound over the calm; while there is no calm, the Poisson limit over all time since the change."""
    base = c.baseline
    change = c.evidence.change
    if base is None or change is None:
        return None
    if calm or not since:
        return share_bound(0, _expected(c, base, calm), c.policy.confidence)
    window = covered.within(change, c.now + 1)
    inside = sum(window.covers(t.at) for t in since)
    return share_bound(inside, _expected(c, base, window), c.policy.confidence)


def _expected(c: Context, base: Baseline, spans: Intervals) -> float:
    """The smaller of the baseline's expectation and the outside mail that new took in the same time."""
    outside = sum(spans.covers(t.at) for t in arrived(c))
    return min(base.expects(spans), float(outside))


def _demonstrated(c: Context, covered: Intervals) -> Intervals:
    """With a ``to-old`` route, only time between two of its canaries that were both seen on old counts."""
    if "to-old" not in c.plan.routes or c.waived("route:to-old"):
        return covered
    longest = c.policy.sensitivity * 1000
    proven, before = Intervals(), None
    sent = [k for k in c.evidence.mail.canaries.values() if k.route == "to-old" and k.sent is not None]
    for canary in sorted(sent, key=lambda k: (k.sent or 0, k.canary)):
        at = canary.sent or 0
        if not _detected(c, canary):
            if fate(c, canary) == "lost":
                before = None  # what the watcher missed once, it may have missed more
            continue
        if before is not None and at - before <= longest:
            proven.add(before, at)
        before = at
    return covered.meet(proven)


def _detected(c: Context, canary: Canary) -> bool:
    """Seen on old: in its mailbox, in its log, or demonstrably refused by it."""
    if "old" in canary.landed or canary.outcome == "rejected":
        return True
    at = canary.sent or 0
    limit = at + int(c.policy.canary_deadline * 1000)
    return any(at - 5000 <= seen <= limit for seen in c.evidence.mail.sensed)


# -- stragglers and arrivals -----------------------------------------------------------------------


def missing_on_new(c: Context) -> list[Taken]:
    """Messages that old took since the first change and that new is not known to have."""
    first = c.evidence.first_change
    return [
        t for t in c.evidence.mail.old
        if first is not None and t.end > first and t.disposition == "delivered"
        and not c.waived(f"sender:{t.client}") and not any(c.waived(n) for n in t.names)
        and not _on_new(c, t)
    ]  # fmt: skip


def _on_new(c: Context, taken: Taken) -> bool:
    keys = (taken.message_id, taken.digest)
    return any((taken.recipient.lower(), key) in c.evidence.mail.arrived for key in keys if key)


def stragglers(c: Context) -> Finding:
    """Every message that old took since the change is on new as well."""
    first = c.evidence.first_change
    if first is None:
        return found("stragglers", "unknown", "before")
    lacking = missing_on_new(c)
    waived = [s for s in c.evidence.waivers if s.startswith("message:")]
    if lacking:
        last = max(lacking, key=lambda t: t.at)
        message = last.identity or last.queue_id or "?"
        return found("stragglers", "unmet", "missing", waived=waived, count=len(lacking),
                     recipient=last.recipient or "?", message=message)  # fmt: skip
    if not c.evidence.mail.any_watch("old").touches(first, c.now + 1):
        return found("stragglers", "unknown", "unwatched", waived=waived)
    used = any(t.end > first and any(n in waived for n in t.names) for t in c.evidence.mail.old)
    return found("stragglers", "waived" if used else "met", "met", waived=waived)


def arrived(c: Context) -> list[Taken]:
    """Real outside mail that new took: no canaries, no relays from old."""
    old = set(map(canonical, c.plan.old.addresses))
    return [
        t for t in c.evidence.mail.new
        if t.disposition != "rejected" and t.origin == "outside"
        and not (t.client and canonical(t.client) in old)
    ]  # fmt: skip


def arrivals(c: Context) -> Finding:
    """Since the horizon new took real outside mail: silence on old means nothing if mail is lost."""
    watched = c.evidence.mail.any_watch("new")
    fresh_ms = int(c.policy.freshness * 1000)
    refused = _refused(c)
    if refused is not None:
        return found("arrivals", "unmet", "refused", account=refused)
    if not watched.touches(c.now - fresh_ms, c.now + 1):
        return found("arrivals", "unknown", "unwatched")
    c.due((watched.last() or 0) + fresh_ms)
    if c.horizon is None or c.evidence.change is None:
        return found("arrivals", "unknown", "no_horizon")
    if c.now < c.horizon:
        return found("arrivals", "unmet", "early", until=when(c.horizon))
    base = c.baseline
    expected = base.expects(watched.within(c.horizon, c.now + 1)) if base else 0.0
    needed = max(3, ceil(expected / 4 - 1e-9))
    count = sum(c.horizon <= t.at <= c.now for t in arrived(c))
    c.arrivals_met = count >= needed
    state: State = "met" if c.arrivals_met else "unmet"
    return found("arrivals", state, "met" if c.arrivals_met else "few", count=count, needed=needed)


def _refused(c: Context) -> str | None:
    """An account of the plan that new does not know, or a baseline recipient whom it turns away."""
    for account in c.plan.accounts:
        state = c.evidence.mail.accounts.get(("new", account))
        if state is not None and state[1] == "missing" and not c.waived(f"account:{account}"):
            return account
    change = c.evidence.change
    if change is None:
        return None
    known = {
        t.recipient.lower() for t in c.evidence.mail.old if t.at < change and t.disposition != "rejected"
    }
    latest: dict[str, Taken] = {}
    for taken in sorted(c.evidence.mail.new, key=lambda t: (t.at, t.disposition == "rejected")):
        latest[taken.recipient.lower()] = taken
    turned = (r for r, t in latest.items() if t.disposition == "rejected" and r in known)
    return next((r for r in turned if r and not c.waived(f"account:{r}")), None)
