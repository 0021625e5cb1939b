"""Requirements 4 to 7: canaries, quiet, stragglers, arrivals (verdict.md)."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from math import ceil, inf
from typing import Any

from monitor.evidence.intervals import Intervals
from monitor.evidence.mail import NEVER, Canary, Hit, Taken
from monitor.evidence.names import canonical
from monitor.verdict.answers import host_name, named
from monitor.verdict.baseline import Baseline
from monitor.verdict.bound import percent_up, share_bound, upper_limit
from monitor.verdict.context import Context, found, when
from monitor.verdict.memo import Proof
from monitor.verdict.model import Finding, State

STAMP = 1000  # ms; a hit's stamp is at most a whole second
DIAGNOSTIC = ("to-old", "to-new")


def fate(c: Context, canary: Canary) -> str | None:
    """How a canary ended by now: new, late, old, lost, rejected, unreachable; None while it travels."""
    if canary.sent is None:
        return None
    # From when it was accepted: greylisting (RFC 6647) makes a message late, not lost.
    limit = (canary.accepted or canary.sent) + int(c.policy.canary_deadline * 1000)
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
    return latest(c, route, len(c.evidence.mail.routes.get(route, ())))


def latest(c: Context, route: str, most: int) -> list[tuple[Canary, str]]:
    """The last ``most`` of them, oldest first."""
    change, found = c.evidence.change, list[tuple[Canary, str]]()
    for canary in reversed(c.evidence.mail.routes.get(route, ())):
        if change is None or (canary.sent or 0) < change or len(found) == most:
            break
        if (end := fate(c, canary)) is not None:
            found.append((canary, end))
    return found[::-1]


def canaries(c: Context) -> Finding:
    """On every planned route the last ``canary_streak`` concluded canaries landed on new, in time."""
    planned = tuple(r for r in c.plan.routes if r not in DIAGNOSTIC)
    judged, waived = c.split("route", planned)
    if not judged:
        return found("canaries", "unknown", "none", waived=waived)
    ends = {route: latest(c, route, c.policy.canary_streak) for route in judged}
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
    for route in sorted(c.evidence.mail.routes):
        ends = [] if c.waived(f"route:{route}") else latest(c, route, 1)
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
    covered = c.watched("old")
    if not covered:
        return found("quiet", "unknown", "unwatched")
    counted = _demonstrated(c, covered)
    change, since = c.evidence.change, hits_since(c)
    begin = max([change if change is not None else c.now, *(hit.end for hit in since)])
    calm = counted.within(begin, c.now + 1)
    c.bound = _bound(c, [hit.at for hit in since], covered, calm)
    fresh_ms = int(c.policy.freshness * 1000)
    last = covered.last() or 0
    if not covered.touches(c.now - fresh_ms, c.now + 1):
        return found("quiet", "unknown", "uncovered", since=when(last))
    c.due(last + fresh_ms)
    return _calm_enough(c, calm, since)


def hits_since(c: Context) -> list[Hit]:
    """What old took since the change and by now, newest first; not of waived senders."""
    change, found = c.evidence.change, list[Hit]()
    for hit in reversed(c.evidence.mail.hits):
        if change is None or hit.at + STAMP <= change:
            break
        if c.due(hit.at) <= c.now and hit.end > change and not c.waived(f"sender:{hit.client}"):
            found.append(hit)
    return found


def quiet_state(c: Context) -> State:
    """The state alone, as :func:`quiet` gives it; what cannot decide is not worked out."""
    covered = c.watched("old")
    if not covered:
        return "unknown"
    fresh_ms, last = int(c.policy.freshness * 1000), covered.last() or 0
    c.restless = last > c.now
    if not covered.touches(c.now - fresh_ms, c.now + 1):
        return "unknown"
    c.due(last + fresh_ms)
    change, ended = c.evidence.change, _last_end(c)
    if change is None:
        return "unmet"
    begin, wanted = max(change, ended), float(c.policy.quiet_for)
    if c.now + 1 - begin < wanted * 1000:
        return "unmet"
    calm = _demonstrated(c, covered).within(begin, c.now + 1)
    quiet_s = calm.total() / 1000
    if quiet_s < wanted:
        return "unmet"
    if c.arrivals_met and quiet_s >= _ceiling(c):
        return "met"
    if not calm and ended:
        return quiet(c).state
    bound = _bound(c, [], covered, calm)
    return "met" if bound is not None and bound <= c.policy.share_bound else "unmet"


def _last_end(c: Context) -> int:
    """When the last hit since the change was over, of those that there are by now; 0: there is none."""
    change, latest_end = c.evidence.change, 0
    if change is None:
        return 0
    for hit in reversed(c.evidence.mail.hits):
        if hit.at + STAMP <= max(change, latest_end):
            break
        if c.due(hit.at) <= c.now and hit.end > change and not c.waived(f"sender:{hit.client}"):
            latest_end = max(latest_end, hit.end)
    return latest_end


def _ceiling(c: Context) -> float:
    return 3 * float(c.policy.quiet_for) if c.policy.quiet_ceiling is None else float(c.policy.quiet_ceiling)


def _calm_enough(c: Context, calm: Intervals, since: list[Hit]) -> Finding:
    quiet_s = calm.total() / 1000
    wanted = float(c.policy.quiet_for)
    ceiling = _ceiling(c)
    low = c.bound is not None and c.bound <= c.policy.share_bound
    args: dict[str, Any] = {"quiet": quiet_s, "wanted": wanted, "bound": _percent(c.bound)}
    if quiet_s >= wanted and (low or (quiet_s >= ceiling and c.arrivals_met)):
        return found("quiet", "met", "met" if low else "ceiling", **args)
    missing = _missing(c, quiet_s, wanted, ceiling, low)
    eta = c.now + int(missing * 1000) if missing < inf else None
    if quiet_s >= wanted:
        return found("quiet", "unmet", "bound", eta=eta, limit=_percent(c.policy.share_bound), **args)
    if since:
        return found("quiet", "unmet", "hit", eta=eta, ago=(c.now - since[0].at) / 1000,
                     client=since[0].client or "?", **args)  # fmt: skip
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


def _bound(c: Context, since: list[int], covered: Intervals, calm: Intervals) -> float | None:
    """The bound over the calm; while there is no calm, the Poisson limit over all time since the change."""
    base = c.baseline
    change = c.evidence.change
    if base is None or change is None:
        return None
    if calm or not since:
        return share_bound(0, _expected(c, base, calm), c.policy.confidence)
    window = covered.within(change, c.now + 1)
    inside = sum(map(window.covers, since))
    return share_bound(inside, _expected(c, base, window), c.policy.confidence)


def _expected(c: Context, base: Baseline, spans: Intervals) -> float:
    """The smaller of the baseline's expectation and the outside mail that new took in the same time."""
    outside = c.evidence.mail.outside
    taken = sum(bisect_left(outside, end) - bisect_left(outside, begin) for begin, end in spans)
    return min(base.expects(spans), float(taken))


def _demonstrated(c: Context, covered: Intervals) -> Intervals:
    """With a ``to-old`` route, only time between two of its canaries that were both seen on old counts."""
    if "to-old" not in c.plan.routes or c.waived("route:to-old"):
        return covered
    if c.memo is None:
        return covered.meet(_proven(c))
    proof, version = c.memo.proof, c.evidence.mail.proof_version
    if proof is None or proof.version != version or proof.due <= c.now:
        before, c.deadlines = c.deadlines, set()
        spans = _proven(c)
        proof = c.memo.proof = Proof(version, min(c.deadlines, default=NEVER), spans)
        c.deadlines = before
    c.due(proof.due)
    return covered.meet(proof.spans)


def _proven(c: Context) -> Intervals:
    """The time between two canaries, at most ``sensitivity`` apart, that were both seen on old."""
    longest = c.policy.sensitivity * 1000
    proven, before = Intervals(), None
    for canary in c.evidence.mail.routes.get("to-old", ()):
        at = canary.sent or 0
        if not _detected(c, canary):
            if fate(c, canary) == "lost":
                before = None  # what the watcher missed once, it may have missed more
            continue
        if before is not None and at - before <= longest:
            proven.add(before, at)
        before = at
    return proven


def _detected(c: Context, canary: Canary) -> bool:
    """Seen on old: in its mailbox, in its log, or demonstrably refused by it."""
    if "old" in canary.landed or canary.outcome == "rejected":
        return True
    at = canary.sent or 0
    limit = at + int(c.policy.canary_deadline * 1000)
    return c.evidence.mail.sensed_between(at - 5000, limit)


# -- stragglers and arrivals -----------------------------------------------------------------------


def missing_on_new(c: Context) -> list[Taken]:
    """Messages that old took since the first change and that new is not known to have."""
    return list(_lacking(c))[::-1]


def _lacking(c: Context) -> Iterator[Taken]:
    """The same, newest first."""
    mail, first = c.evidence.mail, c.evidence.first_change
    for _, place in reversed(mail.lacking) if first is not None else ():
        t = mail.old[place]
        waived = c.waived(f"sender:{t.client}") or any(map(c.waived, t.names))
        if t.end > (first or 0) and not waived:
            yield t


def stragglers_state(c: Context) -> State:
    """The state alone, as :func:`stragglers` gives it."""
    mail, first = c.evidence.mail, c.evidence.first_change
    if first is None:
        return "unknown"
    if next(_lacking(c), None) is not None:
        return "unmet"
    watch = mail.any_watch("old")
    if not watch.touches(first, c.now + 1):
        c.restless = (watch.last() or 0) > c.now
        return "unknown"
    named = any(s.startswith("message:") for s in c.evidence.waivers)
    return stragglers(c).state if named else "met"


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
    since = (t for t in c.evidence.mail.old if waived and t.end > first)
    used = any(n in waived for t in since for n in t.names)
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
    fresh_ms, last = int(c.policy.freshness * 1000), watched.last() or 0
    refused = _refused(c)
    if refused is not None:
        return found("arrivals", "unmet", "refused", account=refused)
    c.restless = last > c.now
    if not watched.touches(c.now - fresh_ms, c.now + 1):
        return found("arrivals", "unknown", "unwatched")
    c.due(last + fresh_ms)
    if c.horizon is None or c.evidence.change is None:
        return found("arrivals", "unknown", "no_horizon")
    if c.now < c.due(c.horizon):
        return found("arrivals", "unmet", "early", until=when(c.horizon))
    base = c.baseline
    expected = base.expects(watched.within(c.horizon, c.now + 1)) if base else 0.0
    needed = max(3, ceil(expected / 4 - 1e-9))
    outside = c.evidence.mail.outside
    upto = bisect_right(outside, c.now)
    count = max(0, upto - bisect_left(outside, c.horizon))
    if upto < len(outside):
        c.due(outside[upto])  # a stamp of the near future
    c.arrivals_met = count >= needed
    state: State = "met" if c.arrivals_met else "unmet"
    return found("arrivals", state, "met" if c.arrivals_met else "few", count=count, needed=needed)


def _refused(c: Context) -> str | None:
    """An account of the plan that new does not know, or a baseline recipient whom it turns away."""
    mail, change = c.evidence.mail, c.evidence.change
    if mail.missing:
        for account in c.plan.accounts:
            if account in mail.missing and not c.waived(f"account:{account}"):
                return account
    if change is None:
        return None
    turned = (r for r in mail.turned if mail.boxes[r] and mail.boxes[r][0] < change)
    return min((r for r in turned if r and not c.waived(f"account:{r}")), default=None)
