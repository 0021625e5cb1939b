"""The evidence of each requirement: the tables and charts that decide it."""

from __future__ import annotations

from monitor.report import charts
from monitor.report.html import Child, Html, el, join, leaf, text
from monitor.report.parts import clip, facts, figure, lines, listed, moment, nothing, sign
from monitor.report.words import Words, name
from monitor.snapshot import (
    AccountRow,
    AuthorityRow,
    CanaryRow,
    CoverageRow,
    HitRow,
    ResolverRow,
    RouteRow,
    Snapshot,
)
from monitor.wording import rate as per_hour

UNDERWAY = ("travelling", "deferred", "unreachable")


def evidence(requirement: str, s: Snapshot, w: Words) -> list[Html | None]:
    """What the report shows for one requirement, by its name."""
    made = {
        "authority": _authority,
        "horizon": _horizon,
        "resolvers": _resolvers,
        "canaries": _canaries,
        "quiet": _quiet,
        "stragglers": _stragglers,
        "arrivals": _arrivals,
    }
    return made[requirement](s, w)


def _leads(leads: str, w: Words) -> Html:
    return sign(leads, w(f"leads.{leads}"))


def _waived(reason: str | None, w: Words) -> Child:
    return (
        None
        if reason is None
        else [leaf("br"), sign("waived", w("waived.because", reason=reason), long=True)]
    )


def _heads(w: Words, names: str) -> list[str]:
    return [w(f"col.{n}") for n in names.split()]


def _authority(s: Snapshot, w: Words) -> list[Html | None]:
    if not s.authorities:
        return [nothing(w("none.authorities"))]
    rows = [_authority_row(a, w) for a in s.authorities]
    heads = _heads(w, "address server leads answer ttl serial asked rtt")
    return [listed(w, w("table.authorities"), heads, rows, numbers=(4, 5, 7))]


def _authority_row(a: AuthorityRow, w: Words) -> list[Child]:
    return [
        clip(a.address), clip(name(a.server)),
        [_leads(a.leads, w), _outcome(a.outcome), _waived(a.waived, w)],
        lines(name(r) for r in a.answer), _number(a.ttl), _number(a.serial), w.ago(a.asked_at), _ms(a.rtt_ms),
    ]  # fmt: skip


def _outcome(outcome: str) -> Child:
    return None if outcome == "answer" else [" ", el("code", clip(outcome, 40))]


def _number(n: int | None) -> str:
    return "–" if n is None else str(n)


def _ms(ms: float | None) -> str:
    if ms is None:
        return "–"
    return f"{ms:.0f} ms" if ms < 10_000 else f"{ms / 1000:.1f} s"


def _horizon(s: Snapshot, w: Words) -> list[Html | None]:
    left = None if s.horizon is None else (s.horizon - s.now).total_seconds()
    state = "–" if left is None else w("horizon.in", left=w.span(left)) if left > 0 else w("horizon.passed")
    known = facts(
        [
            (w("fact.change"), moment(w, s.change_at)),
            (w("fact.horizon"), f"{w.when(s.horizon)} ({state})" if s.horizon else "–"),
        ]
    )
    holding = [
        [
            clip(r.resolver),
            clip(r.platform),
            clip(c.cache),
            _leads(c.leads, w),
            moment(w, c.until),
            moment(w, c.seen_at),
        ]
        for r in s.resolvers
        for c in r.caches
        if c.holds_old(s.now)
    ] + [
        [
            clip(r.resolver),
            clip(r.platform),
            "–",
            _leads(r.leads, w),
            moment(w, r.expires),
            moment(w, r.asked_at),
        ]
        for r in s.resolvers
        if r.leads in ("old", "mixed") and not r.caches
    ]
    if not holding:
        return [known, nothing(w("none.holding"))]
    heads = _heads(w, "resolver operator cache leads until asked.at")
    return [known, listed(w, w("table.holding"), heads, holding)]


def _resolvers(s: Snapshot, w: Words) -> list[Html | None]:
    if not s.resolvers:
        return [nothing(w("none.resolvers"))]
    ordered = sorted(s.resolvers, key=lambda r: (r.settled, r.platform.casefold(), r.resolver))
    heads = _heads(w, "resolver operator leads answer left state asked rtt")
    rows = [_resolver_row(r, s, w) for r in ordered]
    return [listed(w, w("table.resolvers"), heads, rows, most=250, numbers=(4, 7))]


def _resolver_row(r: ResolverRow, s: Snapshot, w: Words) -> list[Child]:
    left = None if r.expires is None else (r.expires - s.now).total_seconds()
    state = "overstaying" if r.overstaying else "settled" if r.settled else "unsettled"
    tone = {"settled": ("good", "good"), "unsettled": ("unknown", "warn"), "overstaying": ("bad", "bad")}[
        state
    ]
    ede = el("code", " EDE " + ", ".join(map(str, r.ede[:8]))) if r.ede else None
    return [
        clip(r.resolver), clip(r.platform), [_leads(r.leads, w), _outcome(r.outcome), ede],
        lines(name(a) for a in r.answer), "–" if left is None else w.span(left),
        [sign(tone[0], w(f"resolver.{state}"), tone[1]), *_habits(r, s, w), _waived(r.waived, w)],
        w.ago(r.asked_at), _ms(r.rtt_ms),
    ]  # fmt: skip


def _habits(r: ResolverRow, s: Snapshot, w: Words) -> list[Child]:
    """How it treats TTLs, and how many caches were told apart, where that is more than one."""
    said = [w(f"habit.{h.habit}", t=w.span(h.seconds or 0.0)) for h in r.habits]
    if len(r.caches) > 1:
        old = sum(c.holds_old(s.now) for c in r.caches)
        new = sum(c.leads == "new" for c in r.caches)
        said.append(w("caches.seen", n=len(r.caches), new=new, old=old))
    return [[leaf("br"), el("small", text(one))] for one in said]


def _canaries(s: Snapshot, w: Words) -> list[Html | None]:
    if not s.routes and not s.canaries:
        return [nothing(w("none.canaries"))]
    return [_matrix(s, w), _latest(s, w)]


def _matrix(s: Snapshot, w: Words) -> Html | None:
    """Route by landing."""
    if not s.routes:
        return None
    rows = [_route_row(r, w) for r in s.routes]
    heads = _heads(w, "route new new.junk old old.junk lost late refused underway streak median")
    caption = w("table.matrix" if s.change_at else "table.matrix.before")
    return listed(w, caption, heads, rows, numbers=range(1, 11))


def _route_row(r: RouteRow, w: Words) -> list[Child]:
    label = [_route(r.route), None if r.planned else [" ", el("small", w("route.unplanned"))]]
    counts = r.counts
    return [
        [label, _waived(r.waived, w)],
        _count(counts.get("new", 0), "good"), _count(counts.get("new-junk", 0), "warn"),
        _count(counts.get("old", 0), "bad"), _count(counts.get("old-junk", 0), "bad"),
        _count(counts.get("lost", 0), "bad"), _count(counts.get("late", 0), "warn"),
        _count(counts.get("refused", 0), "warn"), _count(sum(counts.get(f, 0) for f in UNDERWAY), "calm"),
        str(r.streak), _ms(r.median_ms),
    ]  # fmt: skip


def _route(route: str) -> Html:
    """A route's name, on one line unless it is a long one."""
    return el("code", clip(route, 80), class_="k" if len(route) <= 24 else None)


def _count(n: int, tone: str) -> Html:
    return el("span", str(n), class_=f"count {tone}") if n else el("span", "0", class_="zero")


def _latest(s: Snapshot, w: Words) -> Html | None:
    if not s.canaries:
        return None
    heads = _heads(w, "sent route landed latency auth recipient host reply")
    return listed(
        w, w("table.canaries"), heads, [_canary_row(c, w) for c in s.canaries], most=40, numbers=(3,)
    )


def _auth(c: CanaryRow) -> str | None:
    """``spf=pass dkim=fail``, as the host it landed on judged the sender (RFC 8601)."""
    return " ".join(f"{method}={result}" for method, result in c.auth.items()) if c.auth else None


def _canary_row(c: CanaryRow, w: Words) -> list[Child]:
    folder = None if c.folder in (None, "INBOX") else [" ", el("code", clip(c.folder, 60))]
    return [
        moment(w, c.sent_at), _route(c.route), [sign(c.fate, w(f"fate.{c.fate}")), folder],
        _ms(c.latency_ms), clip(_auth(c)),
        clip(c.recipient), clip(name(c.host) if c.host else None), clip(c.reply),
    ]  # fmt: skip


def _quiet(s: Snapshot, w: Words) -> list[Html | None]:
    policy = s.plan.policy
    known = facts(
        [
            (w("fact.quiet"), w("quiet.of", done=w.span(s.quiet_seconds), need=w.span(policy.quiet_for))),
            (w("fact.quiet.since"), moment(w, s.quiet_since)),
            (w("fact.last"), _last_mail(s.last_old_mail, w)),
            (w("fact.baseline"), _baseline(s.baseline_per_hour, w)),
        ]
    )
    chart = charts.old_chart(s, w)
    caption = w("chart.old.caption")
    return [
        known,
        None if chart is None else figure(chart, caption),
        _hits(s, w),
        _clients(s, w),
        _coverage(s, w),
    ]


def _last_mail(hit: HitRow | None, w: Words) -> Child:
    if hit is None:
        return w("none.last")
    sender = hit.client or w("client.unknown")
    return [moment(w, hit.accepted_at), " ", el("small", text(w("last.from", client=sender)))]


def _baseline(rate: float | None, w: Words) -> str:
    return w("none.baseline") if rate is None else w("baseline", rate=per_hour(rate))


def _hits(s: Snapshot, w: Words) -> Html:
    if not s.hits:
        return nothing(w("none.hits"))
    heads = _heads(w, "accepted client helo recipient origin disposition counts queue")
    return listed(w, w("table.hits"), heads, [_hit_row(h, w) for h in s.hits], most=50)


def _hit_row(h: HitRow, w: Words) -> list[Child]:
    counts = sign("unmet", w("counts.yes"), "bad") if h.counts else sign("waived", w("counts.no"))
    return [
        moment(w, h.accepted_at), clip(h.client), clip(h.helo), clip(h.recipient), w(f"origin.{h.origin}"),
        w(f"disposition.{h.disposition}"), counts, el("code", clip(h.queue_id, 40)),
    ]  # fmt: skip


def _clients(s: Snapshot, w: Words) -> Html | None:
    """Who still sends to the old host, the busiest since the change first."""
    still = sorted((c for c in s.clients if c.since), key=lambda c: (-c.since, c.client))
    if not still:
        return nothing(w("none.clients"))
    rows: list[list[Child]] = [
        [
            [clip(c.client), _waived(c.waived, w)],
            clip(c.helo),
            str(c.since),
            str(c.before),
            moment(w, c.last_at),
        ]
        for c in still
    ]
    return listed(
        w, w("table.clients"), _heads(w, "client helo since before last"), rows, most=50, numbers=(2, 3)
    )


def _coverage(s: Snapshot, w: Words) -> Html:
    if not s.coverage:
        return nothing(w("none.coverage"))
    heads = _heads(w, "source watched from to gaps unread")
    rows = [_coverage_row(c, w) for c in s.coverage]
    gaps = [
        [
            el("code", clip(c.source)),
            moment(w, g.begin),
            moment(w, g.end),
            w.span((g.end - g.begin).total_seconds()),
        ]
        for c in s.coverage
        for g in c.gaps
    ]
    made = listed(w, w("table.coverage"), heads, rows, numbers=(1, 4, 5))
    if not gaps:
        return join([made, nothing(w("none.gaps"))])
    return join(
        [made, listed(w, w("table.gaps"), _heads(w, "source from to length"), gaps, most=60, numbers=(3,))]
    )


def _coverage_row(c: CoverageRow, w: Words) -> list[Child]:
    total = sum((s.end - s.begin).total_seconds() for s in c.spans)
    return [
        el("code", clip(c.source)), w.span(total),
        moment(w, c.spans[0].begin if c.spans else None), moment(w, c.spans[-1].end if c.spans else None),
        str(len(c.gaps)), str(c.not_understood),
    ]  # fmt: skip


def _stragglers(s: Snapshot, w: Words) -> list[Html | None]:
    if not s.stragglers:
        return [nothing(w("none.stragglers"))]
    rows: list[list[Child]] = [
        [moment(w, r.accepted_at), clip(r.recipient), clip(r.client), el("code", clip(r.message_id))]
        for r in s.stragglers
    ]
    return [listed(w, w("table.stragglers"), _heads(w, "accepted recipient client message"), rows)]


def _arrivals(s: Snapshot, w: Words) -> list[Html | None]:
    chart = charts.new_chart(s, w)
    return [
        nothing(w("none.arrivals")) if chart is None else figure(chart, w("chart.new.caption")),
        accounts(s, w),
        _senders(s, w),
    ]


_HEARD = {"new": "met", "old": "unmet", "silent": "unknown", "overdue": "unmet"}


def _senders(s: Snapshot, w: Words) -> Html | None:
    """The ledger: those that were not heard on new since the change first."""
    if not s.judgement.senders:
        return None
    rows: list[list[Child]] = [
        [
            clip(r.who), str(r.before), w.span(r.gap) if r.before > 1 else "–", moment(w, r.last_before),
            moment(w, r.first_new), moment(w, r.last_old), sign(_HEARD[r.state], w(f"sender.{r.state}")),
            moment(w, r.expected),
        ]
        for r in sorted(s.judgement.senders, key=lambda r: (r.state == "new", -r.before))
    ]  # fmt: skip
    heads = _heads(w, "sender before every last new.first old.since heard due")
    return listed(w, w("table.senders"), heads, rows, most=100, numbers=(1,))


def accounts(s: Snapshot, w: Words) -> Html:
    """Each mailbox on both sides."""
    if not s.accounts:
        return nothing(w("none.accounts"))
    heads = _heads(w, "account old.state old.mail old.last new.state new.mail new.last used")
    return listed(
        w, w("table.accounts"), heads, [_account_row(a, w) for a in s.accounts], most=300, numbers=(2, 5)
    )


def _account_row(a: AccountRow, w: Words) -> list[Child]:
    return [
        [clip(a.address), _waived(a.waived, w)],
        _mailbox(a.old, a.old_detail, w), str(a.old_mail), moment(w, a.last_old),
        _mailbox(a.new, a.new_detail, w), str(a.new_mail), moment(w, a.last_new), moment(w, a.last_use_old),
    ]  # fmt: skip


def _mailbox(state: str, detail: str, w: Words) -> Html:
    shown = sign(state, w(f"mailbox.{state}"))
    return join([shown, [leaf("br"), el("small", clip(detail, 120))] if detail else None])
