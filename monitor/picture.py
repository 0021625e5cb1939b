"""Evidence to the picture that views draw: rows, counts and spans, nothing decided here."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from itertools import pairwise
from statistics import median

from monitor.chronicle import Chronicle
from monitor.evidence.caches import Cache
from monitor.evidence.dns import Resolver
from monitor.evidence.fold import Evidence
from monitor.evidence.habits import habits
from monitor.evidence.mail import Canary, Taken
from monitor.evidence.names import canonical
from monitor.snapshot import (
    AccountRow,
    AuthorityRow,
    CacheRow,
    CanaryFate,
    CanaryRow,
    ClientRow,
    CoverageRow,
    HabitRow,
    HitRow,
    ResolverRow,
    RouteRow,
    SharePoint,
    Snapshot,
    Span,
    StragglerRow,
    WaiverRow,
)
from monitor.verdict import mail
from monitor.verdict.context import Context
from monitor.verdict.dns import resolver_state
from monitor.verdict.model import Judgement
from monitor.verdict.servers import remarks
from probes.observation import from_ms, to_ms

FATES: dict[str | None, CanaryFate] = {
    "new": "new",
    "old": "old",
    "late": "late",
    "lost": "lost",
    "rejected": "refused",
    "unreachable": "unreachable",
    None: "travelling",
}


def picture(
    evidence: Evidence,
    chronicle: Chronicle,
    judgement: Judgement,
    changes: tuple[Judgement, ...],
    now: datetime,
) -> Snapshot:
    """Everything known at ``now`` as one immutable :class:`Snapshot`."""
    c = Context(evidence, to_ms(now))
    taken = c.hits
    counted = {id(t) for t in taken}
    hit_rows = [_hit(t, id(t) in counted) for t in evidence.mail.old]
    base = c.baseline
    quiet = next(f for f in judgement.findings if f.name == "quiet")
    since = [r for r, t in zip(hit_rows, evidence.mail.old, strict=True) if id(t) in counted]
    return Snapshot(
        now=now,
        plan=evidence.plan,
        judgement=judgement,
        changes=changes,
        evidence_at=chronicle.newest,
        began_at=chronicle.began,
        change_at=judgement.changed_at,
        horizon=judgement.horizon,
        authorities=_authorities(c),
        aliases=_aliases(c),
        resolvers=_resolvers(c),
        routes=_routes(c),
        canaries=_canaries(c),
        hits=tuple(sorted(hit_rows, key=lambda r: r.accepted_at, reverse=True)[:500]),
        clients=_clients(c, taken),
        accounts=_accounts(c),
        events=tuple(sorted(chronicle.events, key=lambda event: event.at)),
        shares=_shares(c, chronicle, taken),
        coverage=_coverage(c),
        waivers=tuple(
            WaiverRow(subject=s, reason=r, at=from_ms(at)) for s, (r, at) in evidence.waived_at.items()
        ),
        stragglers=tuple(_straggler(t) for t in mail.missing_on_new(c)),
        intercepted=chronicle.intercepted,
        last_old_mail=max(since, key=lambda r: r.accepted_at, default=None),
        quiet_since=_quiet_since(c, taken),
        quiet_seconds=float(quiet.args.get("quiet", 0)),
        baseline_per_hour=base.messages / base.hours if base and base.hours else None,
    )


def _quiet_since(c: Context, taken: list[Taken]) -> datetime | None:
    change = c.evidence.change
    return None if change is None else from_ms(max([change, *(t.end for t in taken if t.end > change)]))


def _aliases(c: Context) -> tuple[tuple[str, str], ...]:
    oldest = c.now - c.policy.freshness * 1000
    found = ((name, target) for name, (at, target) in c.evidence.dns.aliases.items() if at > oldest)
    return tuple(sorted(found))


def _authorities(c: Context) -> tuple[AuthorityRow, ...]:
    return tuple(_authority(c, address) for address in c.plan.authorities)


def _authority(c: Context, address: str) -> AuthorityRow:
    known = c.evidence.dns.authorities.get(canonical(address))
    sample = known.sample if known else None
    source = f"authority:{canonical(address)}"
    return AuthorityRow(
        address=address,
        server=known.server if known else "",
        leads=c.evidence.dns.now_leads(source, sample, c.plan) if sample else "silent",
        outcome=known.last_outcome if known else "",
        answer=sample.rrset if sample else (),
        ttl=(sample.expires - sample.at) // 1000 if sample else None,
        serial=known.serial if known else None,
        asked_at=from_ms(known.last_at) if known and known.last_at else None,
        rtt_ms=known.rtt_ms if known else None,
        waived=c.evidence.waivers.get(f"authority:{address}"),
        remarks=remarks(c, address),
    )


def _resolvers(c: Context) -> tuple[ResolverRow, ...]:
    return tuple(_resolver(c, r, c.evidence.dns.resolvers.get(r)) for r in c.plan.resolvers)


def _resolver(c: Context, resolver: str, known: Resolver | None) -> ResolverRow:
    sample = known.samples[-1] if known and known.samples else None
    state = resolver_state(c, known)
    return ResolverRow(
        resolver=resolver,
        platform=c.plan.platforms.get(resolver, resolver),
        leads=sample.leads if sample else "silent",
        outcome=known.last_outcome if known else "",
        answer=sample.rrset if sample else (),
        expires=from_ms(sample.expires) if sample else None,
        asked_at=from_ms(known.last_at) if known and known.last_at else None,
        settled=state == "settled",
        overstaying=state == "overstaying",
        rtt_ms=known.rtt_ms if known else None,
        ede=known.ede if known else (),
        waived=c.evidence.waivers.get(f"resolver:{resolver}"),
        caches=_caches(known) if known else (),
        habits=_habits(c, known) if known else (),
        draws=known.draws if known else 0,
    )


def _caches(known: Resolver) -> tuple[CacheRow, ...]:
    """By name, the nameless last, in the order in which their records run out."""
    behind = sorted(known.caches, key=lambda one: (one.name is None, one.name or "", one.expires))
    return tuple(_cache(one) for one in behind)


def _cache(one: Cache) -> CacheRow:
    return CacheRow(
        cache=one.name,
        leads=one.sample.leads,
        until=from_ms(one.expires),
        seen_at=from_ms(one.sample.at),
        answers=one.answers,
    )


def _habits(c: Context, known: Resolver) -> tuple[HabitRow, ...]:
    found = habits(known.signs, known.caches, c.evidence.dns.given, c.authorities()[0])
    return tuple(HabitRow(habit=habit.word, seconds=habit.seconds) for habit in found)


def _fate(c: Context, canary: Canary) -> CanaryFate:
    end = mail.fate(c, canary)
    return "deferred" if end is None and canary.outcome == "deferred" else FATES[end]


def _sent(c: Context) -> list[Canary]:
    known = [k for k in c.evidence.mail.canaries.values() if k.sent is not None and k.sent <= c.now]
    return sorted(known, key=lambda k: (k.sent or 0, k.canary), reverse=True)


def _canaries(c: Context) -> tuple[CanaryRow, ...]:
    return tuple(_canary(c, k) for k in _sent(c)[:200])


def _canary(c: Context, k: Canary) -> CanaryRow:
    side = "old" if "old" in k.folder else "new"
    return CanaryRow(
        canary=k.canary,
        route=k.route,
        recipient=k.recipient,
        sent_at=from_ms(k.sent or 0),
        fate=_fate(c, k),
        folder=k.folder.get(side),
        latency_ms=k.latency_ms,
        host=k.host,
        reply=k.reply,
        hops=k.hops,
        auth=k.auth,
    )


def _routes(c: Context) -> tuple[RouteRow, ...]:
    sent = _sent(c)
    routes = dict.fromkeys((*c.plan.routes, *sorted({k.route for k in sent})))
    return tuple(_route(c, route, [k for k in sent if k.route == route]) for route in routes)


def _route(c: Context, route: str, mine: list[Canary]) -> RouteRow:
    since = [k for k in mine if c.evidence.change is None or (k.sent or 0) >= c.evidence.change]
    counts = Counter(_column(_fate(c, k), k) for k in since)
    ends = [end for _, end in mail.concluded(c, route)]
    streak = next((n for n, end in enumerate(reversed(ends)) if end != "new"), len(ends))
    latencies = [k.latency_ms for k in since if k.latency_ms is not None]
    return RouteRow(
        route=route,
        counts=dict(counts),
        streak=streak,
        median_ms=median(latencies) if latencies else None,
        planned=route in c.plan.routes,
        waived=c.evidence.waivers.get(f"route:{route}"),
    )


def _column(fate: CanaryFate, canary: Canary) -> str:
    """Junk is told from the inbox by the folder's name, as servers commonly call it."""
    folder = canary.folder.get(fate, "").lower()
    return f"{fate}-junk" if any(w in folder for w in ("junk", "spam", "迷惑", "bulk", "スパム")) else fate


def _hit(t: Taken, counts: bool) -> HitRow:
    return HitRow(
        accepted_at=from_ms(t.at),
        client=t.client,
        helo=t.helo,
        recipient=t.recipient,
        origin=t.origin,
        disposition=t.disposition,
        message_id=t.message_id,
        queue_id=t.queue_id,
        source=t.source,
        counts=counts,
    )


def _clients(c: Context, taken: list[Taken]) -> tuple[ClientRow, ...]:
    by_client: dict[str, list[Taken]] = {}
    for t in taken:
        by_client.setdefault(t.client or "?", []).append(t)
    rows = [_client(c, client, mine) for client, mine in by_client.items()]
    return tuple(sorted(rows, key=lambda r: (-r.since, -r.before, r.client)))


def _client(c: Context, client: str, mine: list[Taken]) -> ClientRow:
    change = c.evidence.change
    since = sum(change is not None and t.end > change for t in mine)
    last = max(mine, key=lambda t: t.at)
    return ClientRow(
        client=client,
        helo=last.helo,
        since=since,
        before=len(mine) - since,
        last_at=from_ms(last.at),
        waived=c.evidence.waivers.get(f"sender:{client}"),
    )


def _accounts(c: Context) -> tuple[AccountRow, ...]:
    return tuple(_account(c, account) for account in c.plan.accounts)


def _account(c: Context, account: str) -> AccountRow:
    m, change = c.evidence.mail, c.evidence.change
    nothing = (0, "unwatched", "")
    old, new = m.accounts.get(("old", account), nothing), m.accounts.get(("new", account), nothing)
    on_old = [t.at for t in m.old if t.recipient.lower() == account.lower() and t.disposition != "rejected"]
    on_new = [t.at for t in m.new if t.recipient.lower() == account.lower() and t.disposition != "rejected"]
    used = [at for (side, who, _), at in c.evidence.use.items() if side == "old" and who == account]
    return AccountRow(
        address=account,
        old=old[1],
        new=new[1],
        old_detail=old[2],
        new_detail=new[2],
        old_mail=sum(change is not None and at >= change for at in on_old),
        new_mail=sum(change is not None and at >= change for at in on_new),
        last_old=_last(on_old),
        last_new=_last(on_new),
        last_use_old=_last(used),
        waived=c.evidence.waivers.get(f"account:{account}"),
    )


def _last(instants: list[int]) -> datetime | None:
    return from_ms(max(instants)) if instants else None


def _shares(c: Context, chronicle: Chronicle, taken: list[Taken]) -> tuple[SharePoint, ...]:
    new = frozenset({tuple(sorted(c.plan.expected_mx))})
    begin = to_ms(chronicle.began) if chronicle.began else 0
    old_at = [t.at for t in taken if t.at >= begin]
    arrived = [t.at for t in mail.arrived(c) if t.at >= begin]
    return chronicle.shares(new, old_at, arrived, c.plan.platforms)


def _coverage(c: Context) -> tuple[CoverageRow, ...]:
    rows = []
    for source, covered in sorted(c.evidence.mail.covered.items()):
        spans = [Span(begin=from_ms(b), end=from_ms(e)) for b, e in covered][-500:]
        gaps = [Span(begin=a.end, end=b.begin) for a, b in pairwise(spans)]
        unread = c.evidence.mail.unread.get(source)
        count = sum(1 for _ in unread) if unread else 0
        rows.append(CoverageRow(source=source, spans=tuple(spans), gaps=tuple(gaps), not_understood=count))
    return tuple(rows)


def _straggler(t: Taken) -> StragglerRow:
    return StragglerRow(
        accepted_at=from_ms(t.at),
        recipient=t.recipient,
        message_id=t.identity or t.queue_id,
        client=t.client,
        helo=t.helo,
        digest=t.digest,
        queue_id=t.queue_id,
    )
