"""Realistic pictures at fixed times: what a postmaster would see before, during and after a move.

The sentences are the samples' own (``sample.*``), so that a better wording of the product's does not
change what the screens are compared with. ``install`` puts them into the catalogue.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, MutableMapping
from datetime import UTC, datetime, timedelta
from typing import Any

from msgspec.structs import replace

from monitor.snapshot import (
    AccountRow,
    AuthorityRow,
    CacheRow,
    CanaryRow,
    ClientRow,
    CoverageRow,
    EventRow,
    HitRow,
    ResolverRow,
    RouteRow,
    SharePoint,
    Snapshot,
    Span,
    StragglerRow,
    WaiverRow,
)
from monitor.verdict.model import REQUIREMENTS, Finding, Judgement, LooseEnd
from probes.observation import Hosts, Plan, Policy

NOW = datetime(2026, 11, 20, 21, 14, 7, tzinfo=UTC)
CHANGE = datetime(2026, 11, 20, 18, 2, 10, tzinfo=UTC)
BEGAN = NOW - timedelta(hours=30)
OLD_MX, NEW_MX = ("10 mail.example.jp.",), ("10 mx1.new.example.", "20 mx2.new.example.")

SENTENCES = {
    "sample.safe": "YES: the old server may be retired",
    "sample.draining": "NOT YET: mail still arrives on the old server",
    "sample.trap": "NOT YET: the old server keeps its own users' mail to itself",
    "sample.alarm": "ALARM: mx1.new.example refuses mail that was handed to it",
    "sample.authority.met": "{n} of {n} servers serve the new MX since {t}",
    "sample.authority.old": "{n} of {of} servers still serve the old MX: {servers}",
    "sample.horizon.met": "no cache can hold the old MX since {t}",
    "sample.horizon.wait": "a cache may hold the old MX until {t}",
    "sample.resolvers.met": "{n} of {of} platforms have settled on new",
    "sample.resolvers.old": "{resolver} answered old {age} ago; {n} of {of} platforms are settled",
    "sample.canaries.met": "the last {n} on every route landed on new",
    "sample.canaries.trap": "via-old: landed on old; the old host still believes that {domain} is its own. "
    "Take the domain out of its local domains (mydestination, virtual_mailbox_domains)",
    "sample.canaries.refused": "mx: refused by mx1.new.example: {reply}",
    "sample.quiet.met": "no mail on old for {age}; less than {bound} of the mail can still go there",
    "sample.quiet.wait": "last mail on old {age} ago, from {client}; {need} of quiet are needed",
    "sample.quiet.unknown": "the old log was not followed for {age}",
    "sample.stragglers.met": "{n} messages on old that new lacks",
    "sample.stragglers.left": "{n} messages on old are not on new: see the report",
    "sample.arrivals.met": "new took {n} messages from outside since the horizon",
    "sample.arrivals.wait": "new took {n} messages from outside since the horizon; {need} are needed",
    "sample.nothing": "nothing has been seen yet",
    "sample.end.use": "{who} still reads mail on old over {service} (last {t}): give them the new name",
    "sample.end.queue": "{n} messages wait in the queue of the old server, the oldest since {t}: flush it",
    "sample.end.record": "{record} still names old: change it before switching off",
    "sample.event": "{text}",
}


def install(catalogue: MutableMapping[str, str]) -> None:
    """Add the samples' sentences to a catalogue."""
    catalogue.update(SENTENCES)


def ago(**units: float) -> datetime:
    return NOW - timedelta(**units)


def ahead(**units: float) -> datetime:
    return NOW + timedelta(**units)


def plan() -> Plan:
    return Plan(
        at=BEGAN,
        version=1,
        domain="example.jp.",
        old=Hosts(mx=("mail.example.jp.",), addresses=("192.0.2.10",)),
        new=Hosts(mx=("mx1.new.example.", "mx2.new.example."), addresses=("198.51.100.20", "198.51.100.21")),
        expected_mx=NEW_MX,
        authorities=("203.0.113.1", "203.0.113.2", "2001:db8:53::1"),
        resolvers=tuple(r[0] for r in _RESOLVERS),
        routes=("via-old", "via-new", "mx", "to-old"),
        accounts=("suga@example.jp", "hayashi@example.jp", "info@example.jp"),
        policy=Policy(),
    )


_RESOLVERS = (
    ("8.8.8.8", "Google"),
    ("8.8.4.4", "Google"),
    ("1.1.1.1", "Cloudflare"),
    ("1.0.0.1", "Cloudflare"),
    ("9.9.9.9", "Quad9"),
    ("149.112.112.112", "Quad9"),
    ("208.67.222.222", "OpenDNS"),
    ("94.140.14.14", "AdGuard"),
    ("185.228.168.9", "CleanBrowsing"),
    ("76.76.2.0", "ControlD"),
    ("210.130.0.1", "IIJ"),
    ("202.12.30.131", "JPNIC"),
    ("2001:4860:4860::8888", "Google"),
    ("2606:4700:4700::1111", "Cloudflare"),
    ("64.6.64.6", "Vercara"),
    ("195.46.39.39", "SafeDNS"),
    ("80.80.80.80", "Freenom"),
    ("77.88.8.8", "Yandex"),
)


def finding(name: str, state: str, code: str, eta: datetime | None = None, **args: Any) -> Finding:
    return Finding(name=name, state=state, code=f"sample.{code}", args=args, eta=eta)  # type: ignore[arg-type]


def authority(address: str, server: str, leads: str, seconds: float, **more: Any) -> AuthorityRow:
    row: dict[str, Any] = {
        "address": address,
        "server": server,
        "leads": leads,
        "outcome": "timeout" if leads == "silent" else "answer",
        "answer": {"new": NEW_MX, "old": OLD_MX}.get(leads, ()),
        "ttl": 300,
        "serial": 2026112002 if leads == "new" else 2026112001,
        "asked_at": ago(seconds=seconds),
        "rtt_ms": 12.4,
    }
    return AuthorityRow(**row | more)


def resolver(
    address: str, platform: str, leads: str, seconds: float, left: float | None, **more: Any
) -> ResolverRow:
    row: dict[str, Any] = {
        "resolver": address,
        "platform": platform,
        "leads": leads,
        "outcome": "timeout" if leads == "silent" else "answer",
        "answer": {"new": NEW_MX, "old": OLD_MX}.get(leads, ()),
        "expires": None if left is None else ahead(seconds=left),
        "asked_at": ago(seconds=seconds),
        "settled": leads == "new",
        "overstaying": False,
        "rtt_ms": 8.1,
    }
    return ResolverRow(**row | more)


def _all_resolvers(leads: Callable[[int], str]) -> tuple[ResolverRow, ...]:
    return tuple(
        resolver(address, platform, leads(i), 3 + i % 7 * 4, 40 + i * 173 % 3400)
        for i, (address, platform) in enumerate(_RESOLVERS)
    )


def shares(
    dns: Callable[[float], float | None], mail: Callable[[float], float | None]
) -> tuple[SharePoint, ...]:
    """120 slots of 15 minutes; both curves take hours since the change. Traffic follows the clock."""
    points = []
    for i in range(120):
        at = NOW - timedelta(minutes=15 * (120 - i))
        hours = (at - CHANGE).total_seconds() / 3600
        volume = round(6 + 5 * math.sin((at.hour - 6) / 24 * 2 * math.pi) + i * 7 % 3)
        new = mail(hours)
        hits = round(volume * (1 - (new or 0)))
        points.append(SharePoint(at=at, dns=dns(hours), mail=new, old_hits=hits, new_mail=volume - hits))
    return tuple(points)


def _before(hours: float) -> float:
    return 0.0


def _rise(speed: float, top: float = 1.0) -> Callable[[float], float]:
    return lambda hours: 0.0 if hours < 0 else top * (1 - math.exp(-hours * speed))


def hit(minutes: float, client: str, helo: str, recipient: str, **more: Any) -> HitRow:
    row: dict[str, Any] = {
        "accepted_at": ago(minutes=minutes),
        "client": client,
        "helo": helo,
        "recipient": recipient,
        "origin": "outside",
        "disposition": "delivered",
        "message_id": f"<{int(minutes * 60)}.a1@{helo}>",
        "queue_id": f"4F{int(minutes * 97):06X}",
        "source": "log",
        "counts": True,
    }
    return HitRow(**row | more)


HITS = (
    hit(12.4, "203.0.113.77", "mta.sender.example", "suga@example.jp"),
    hit(31, "198.51.100.199", "news.shop.example", "info@example.jp"),
    hit(48, "127.0.0.1", "localhost", "hayashi@example.jp", origin="local"),
    hit(63, "192.0.2.44", "probe.example.jp", "suga@example.jp", origin="canary", counts=False),
    hit(95, "203.0.113.77", "mta.sender.example", "hayashi@example.jp", disposition="relayed"),
    hit(121, "2001:db8:7::25", "out.university.example", "suga@example.jp"),
    hit(150, "192.0.2.200", "spam.example", "suga@example.jp", disposition="rejected", counts=False),
)

CLIENTS = (
    ClientRow(
        client="203.0.113.77", helo="mta.sender.example", since=14, before=212, last_at=ago(minutes=12.4)
    ),
    ClientRow(client="198.51.100.199", helo="news.shop.example", since=3, before=40, last_at=ago(minutes=31)),
    ClientRow(client="127.0.0.1", helo="localhost", since=2, before=61, last_at=ago(minutes=48)),
    ClientRow(
        client="2001:db8:7::25", helo="out.university.example", since=1, before=18, last_at=ago(minutes=121)
    ),
    ClientRow(client="203.0.113.9", helo="out.bank.example", since=0, before=97, last_at=ago(hours=5)),
    ClientRow(
        client="198.51.100.8", helo=None, since=1, before=0, last_at=ago(hours=2), waived="our own monitor"
    ),
)

ACCOUNTS = (
    AccountRow(
        address="suga@example.jp",
        old="ok",
        new="ok",
        old_mail=9,
        new_mail=41,
        last_old=ago(minutes=12.4),
        last_new=ago(minutes=2),
        last_use_old=ago(hours=3),
    ),
    AccountRow(
        address="hayashi@example.jp",
        old="ok",
        new="ok",
        old_mail=4,
        new_mail=12,
        last_old=ago(minutes=48),
        last_new=ago(minutes=17),
    ),
    AccountRow(
        address="info@example.jp",
        old="ok",
        new="refused",
        new_detail="535 5.7.8 authentication failed",
        old_mail=7,
        last_old=ago(minutes=31),
    ),
    AccountRow(
        address="archive@example.jp",
        old="unwatched",
        new="missing",
        new_detail="no such user",
        waived="closed last year",
    ),
    AccountRow(
        address="経理@example.jp",
        old="unreachable",
        new="ok",
        new_mail=3,
        last_new=ago(hours=4),
        old_detail="connect: timed out",
    ),
)


def canary(n: int, minutes: float, route: str, fate: str, **more: Any) -> CanaryRow:
    row: dict[str, Any] = {
        "canary": f"c-{n:04x}",
        "route": route,
        "recipient": "suga@example.jp",
        "sent_at": ago(minutes=minutes),
        "fate": fate,
        "folder": "INBOX" if fate in ("new", "old") else None,
        "latency_ms": 2210 + 31 * n if fate in ("new", "old", "late") else None,
        "host": "mail.example.jp." if route == "via-old" else "mx1.new.example.",
    }
    return CanaryRow(**row | more)


def canaries(via_old: str) -> tuple[CanaryRow, ...]:
    return (
        canary(1, 0.4, "mx", "travelling"),
        canary(2, 1.2, "via-old", via_old, hops=("mail.example.jp.",)),
        canary(3, 2, "via-new", "new", hops=("mx1.new.example.",), auth={"spf": "pass", "dkim": "pass"}),
        canary(
            4,
            5.4,
            "mx",
            "new",
            folder="Junk",
            hops=("probe.example.jp.", "mx1.new.example."),
            auth={"spf": "softfail", "dkim": "none", "dmarc": "fail"},
        ),
        canary(
            5,
            6.2,
            "to-old",
            "refused",
            reply="554 5.7.1 <suga@example.jp>: Relay access denied",
            latency_ms=None,
        ),
        canary(6, 7, "via-old", via_old, recipient="hayashi@example.jp"),
        canary(7, 10.4, "mx", "lost", recipient="hayashi@example.jp"),
        canary(8, 12, "via-new", "deferred", reply="451 4.7.1 Greylisted, try again in 300 seconds"),
    )


def routes(old: int, streak: int) -> tuple[RouteRow, ...]:
    return (
        RouteRow(
            route="via-old", counts={"new": 36 - old, "old": old}, streak=streak, median_ms=2210, planned=True
        ),
        RouteRow(route="via-new", counts={"new": 37, "deferred": 1}, streak=31, median_ms=840, planned=True),
        RouteRow(
            route="mx",
            counts={"new": 33, "new-junk": 2, "lost": 1, "travelling": 1},
            streak=11,
            median_ms=14_300,
            planned=True,
        ),
        RouteRow(route="mx:9.9.9.9", counts={"new": 12, "late": 1}, streak=12, median_ms=4100, planned=False),
        RouteRow(route="to-old", counts={"refused": 12, "old": 6}, streak=0, median_ms=610, planned=True),
    )


def event(minutes: float, level: str, text: str) -> EventRow:
    return EventRow(at=ago(minutes=minutes), level=level, code="sample.event", args={"text": text})  # type: ignore[arg-type]


EVENTS = (
    event(1800, "info", "the watch began"),
    event(1790, "info", "3 authorities found by walking the delegation from jp."),
    event(192, "good", "the operator declared the change"),
    event(191.9, "info", "verdict: before → propagating"),
    event(190, "good", "203.0.113.1 (ns1.example.jp.) serves new"),
    event(184, "good", "203.0.113.2 (ns2.example.jp.) serves new"),
    event(150, "warn", "208.67.222.222 gave a stale answer (EDE 3)"),
    event(131, "bad", "canary c-0007 is lost: accepted by mx1.new.example, not seen for 15 min"),
    event(64, "good", "the horizon has passed"),
    event(63.9, "info", "verdict: propagating → draining"),
    event(12.4, "warn", "mail on old from 203.0.113.77 (mta.sender.example) for suga@example.jp"),
)

ENDS = (
    LooseEnd(
        kind="use",
        subject="suga@example.jp",
        code="sample.end.use",
        args={"who": "suga@example.jp", "service": "imap", "t": ago(hours=3)},
        last=ago(hours=3),
    ),
    LooseEnd(kind="queue", subject="old", code="sample.end.queue", args={"n": 3, "t": ago(hours=2)}),
    LooseEnd(
        kind="record",
        subject="SPF",
        code="sample.end.record",
        args={"record": "the SPF record of example.jp"},
    ),
)

COVERAGE = (
    CoverageRow(
        source="log:old",
        spans=(Span(begin=ago(hours=30), end=ago(hours=9)), Span(begin=ago(hours=8), end=NOW)),
        gaps=(Span(begin=ago(hours=9), end=ago(hours=8)),),
    ),
)
WAIVERS = (WaiverRow(subject="sender:198.51.100.8", reason="our own monitor", at=ago(hours=1)),)


def snapshot(judgement: Judgement, **more: Any) -> Snapshot:
    fields: dict[str, Any] = {
        "now": NOW,
        "plan": plan(),
        "judgement": judgement,
        "changes": (replace(judgement, at=judgement.changed_at or NOW),),
        "evidence_at": ago(seconds=4),
        "began_at": BEGAN,
        "change_at": CHANGE,
        "horizon": ago(minutes=64),
        "events": EVENTS,
        "coverage": COVERAGE,
        "accounts": ACCOUNTS,
        "baseline_per_hour": 14.2,
    }
    return Snapshot(**fields | more)


def before() -> Snapshot:
    """The evening before: everything still on old, as it should be."""
    findings = (
        finding("authority", "unmet", "authority.old", n=3, of=3, servers=("203.0.113.1", "203.0.113.2")),
        *(finding(name, "unknown", "nothing") for name in REQUIREMENTS[1:]),
    )
    return snapshot(
        Judgement(at=NOW, verdict="before", findings=findings, changed_at=BEGAN),
        change_at=None,
        horizon=None,
        authorities=_authorities("old", "old", "old"),
        resolvers=_all_resolvers(lambda i: "old"),
        shares=shares(_before, _before),
        events=EVENTS[:2],
        hits=HITS,
        clients=CLIENTS,
        last_old_mail=HITS[0],
        routes=(),
    )


def _authorities(a: str, b: str, c: str) -> tuple[AuthorityRow, ...]:
    return (
        authority("203.0.113.1", "ns1.example.jp.", a, 6),
        authority("203.0.113.2", "ns2.example.jp.", b, 9, rtt_ms=31),
        authority("2001:db8:53::1", "ns1.example.jp.", c, 11, rtt_ms=14),
    )


def propagating() -> Snapshot:
    """An hour in: a slow secondary, caches that still count down, one that outstays its time."""
    findings = (
        finding("authority", "unmet", "authority.old", n=1, of=3, servers=("203.0.113.2",)),
        finding(
            "horizon", "unmet", "horizon.wait", ahead(minutes=47, seconds=51), t=ahead(minutes=47, seconds=51)
        ),
        finding(
            "resolvers", "unmet", "resolvers.old", ahead(minutes=22), resolver="9.9.9.9", age=40.0, n=9, of=14
        ),
        finding("canaries", "met", "canaries.met", n=3),
        finding(
            "quiet", "unmet", "quiet.wait", ahead(hours=23.8), age=744.0, client="203.0.113.77", need=86400.0
        ),
        finding("stragglers", "met", "stragglers.met", n=0),
        finding("arrivals", "unmet", "arrivals.wait", n=0, need=3),
    )
    return snapshot(
        Judgement(at=NOW, verdict="propagating", findings=findings, changed_at=CHANGE, loose_ends=ENDS[:1]),
        horizon=ahead(minutes=47, seconds=51),
        authorities=_authorities("new", "old", "new"),
        resolvers=_unsettled(),
        routes=routes(0, 12),
        canaries=canaries("new"),
        shares=shares(_rise(0.4), _rise(0.25)),
        hits=HITS,
        clients=CLIENTS,
        last_old_mail=HITS[0],
        quiet_since=ago(minutes=12.4),
        quiet_seconds=744,
    )


def _unsettled() -> tuple[ResolverRow, ...]:
    rows = list(_all_resolvers(lambda i: "new" if i % 3 else "old"))
    rows[1] = resolver(
        "8.8.4.4",
        "Google",
        "new",
        5,
        212,
        settled=False,
        caches=(
            CacheRow(cache="gpdns-nrt", leads="new", until=ahead(seconds=212), seen_at=ago(seconds=5)),
            CacheRow(cache="gpdns-sin", leads="old", until=ahead(minutes=12), seen_at=ago(seconds=65)),
        ),
    )
    rows[6] = resolver("208.67.222.222", "OpenDNS", "old", 14, -734, overstaying=True, ede=(3,))
    rows[9] = resolver("76.76.2.0", "ControlD", "silent", 1290, None, rtt_ms=None)
    rows[15] = resolver("195.46.39.39", "SafeDNS", "mixed", 30, 1200, waived="not ours to mend")
    return tuple(rows)


def draining() -> Snapshot:
    """DNS is done; the old host keeps its own users' mail (the local-delivery trap)."""
    findings = (
        finding("authority", "met", "authority.met", n=3, t=CHANGE),
        finding("horizon", "met", "horizon.met", t=ago(minutes=64)),
        finding("resolvers", "met", "resolvers.met", n=14, of=14),
        finding("canaries", "unmet", "canaries.trap", domain="example.jp"),
        finding(
            "quiet",
            "unmet",
            "quiet.wait",
            ahead(hours=23.793),
            age=744.0,
            client="203.0.113.77",
            need=86400.0,
        ),
        finding("stragglers", "unmet", "stragglers.left", n=2),
        finding("arrivals", "met", "arrivals.met", n=41),
    )
    judgement = Judgement(
        at=NOW,
        verdict="draining",
        findings=findings,
        code="sample.trap",
        changed_at=ago(minutes=63.9),
        share_bound=0.021,
        loose_ends=ENDS,
    )
    return snapshot(
        judgement,
        authorities=_authorities("new", "new", "new"),
        resolvers=_all_resolvers(lambda i: "new"),
        routes=routes(36, 0),
        canaries=canaries("old"),
        shares=shares(_rise(2), _rise(0.9, 0.93)),
        hits=HITS,
        clients=CLIENTS,
        stragglers=(
            StragglerRow(
                accepted_at=ago(minutes=31),
                recipient="info@example.jp",
                message_id=None,
                client="198.51.100.199",
            ),
        ),
        waivers=WAIVERS,
        last_old_mail=HITS[0],
        quiet_since=ago(minutes=12.4),
        quiet_seconds=744,
    )


def safe() -> Snapshot:
    """Two days later: every requirement is met or waived."""
    findings = (
        finding("authority", "waived", "authority.met", n=3, t=CHANGE),
        finding("horizon", "met", "horizon.met", t=ago(minutes=64)),
        finding("resolvers", "met", "resolvers.met", n=14, of=14),
        finding("canaries", "met", "canaries.met", n=3),
        finding("quiet", "met", "quiet.met", age=97_200.0, bound="0.34 %"),
        finding("stragglers", "met", "stragglers.met", n=0),
        finding("arrivals", "met", "arrivals.met", n=412),
    )
    judgement = Judgement(
        at=NOW,
        verdict="safe",
        findings=findings,
        code="sample.safe",
        changed_at=ago(minutes=3),
        share_bound=0.0034,
        loose_ends=ENDS[:1],
    )
    return snapshot(
        judgement,
        authorities=_authorities("new", "new", "new"),
        resolvers=_all_resolvers(lambda i: "new"),
        routes=routes(0, 36),
        canaries=canaries("new"),
        shares=shares(lambda h: 1.0, lambda h: 1.0),
        waivers=WAIVERS,
        last_old_mail=hit(1640, "203.0.113.77", "mta.sender.example", "suga@example.jp"),
        quiet_since=ago(hours=27),
        quiet_seconds=97_200,
    )


def alarm() -> Snapshot:
    """The new server refuses what is handed to it."""
    reply = "550 5.1.1 <suga@example.jp>: Recipient address rejected: User unknown in virtual mailbox table"
    base = propagating()
    findings = tuple(
        finding("canaries", "unmet", "canaries.refused", reply=reply) if f.name == "canaries" else f
        for f in base.judgement.findings
    )
    judgement = Judgement(
        at=NOW,
        verdict="alarm",
        findings=findings,
        code="sample.alarm",
        changed_at=ago(minutes=1),
    )
    return snapshot(
        judgement,
        authorities=base.authorities,
        resolvers=base.resolvers,
        routes=base.routes,
        canaries=(canary(9, 1, "mx", "refused", reply=reply, latency_ms=None), *base.canaries),
        shares=base.shares,
        hits=base.hits,
        clients=base.clients,
        last_old_mail=base.last_old_mail,
    )


def blind() -> Snapshot:
    """The watcher lost its sight an hour ago; nothing is known to fail."""
    base = draining()
    findings = tuple(
        finding("quiet", "unknown", "quiet.unknown", age=3720.0)
        if f.name == "quiet"
        else finding(f.name, "met", "canaries.met", n=3)
        if f.state == "unmet"
        else f
        for f in base.judgement.findings
    )
    judgement = Judgement(at=NOW, verdict="blind", findings=findings, changed_at=ago(minutes=47))
    return snapshot(
        judgement,
        evidence_at=ago(minutes=62),
        authorities=base.authorities,
        resolvers=_all_resolvers(lambda i: "silent"),
        routes=base.routes,
        canaries=base.canaries,
        shares=shares(lambda h: None if h > 2 else _rise(2)(h), lambda h: None if h > 2 else _rise(0.9)(h)),
        hits=base.hits,
        clients=base.clients,
        last_old_mail=base.last_old_mail,
    )


def empty() -> Snapshot:
    """The first moment: a plan, and nothing seen."""
    findings = tuple(finding(name, "unknown", "nothing") for name in REQUIREMENTS)
    return Snapshot(
        now=NOW,
        plan=plan(),
        judgement=Judgement(at=NOW, verdict="before", findings=findings),
        changes=(),
        evidence_at=None,
        began_at=None,
        change_at=None,
        horizon=None,
    )


SAMPLES: dict[str, Callable[[], Snapshot]] = {
    "before": before,
    "propagating": propagating,
    "draining": draining,
    "safe": safe,
    "alarm": alarm,
    "blind": blind,
    "empty": empty,
}


class Still:
    """A feed of one picture, or of those put into ``picture``; ``end`` makes ``run`` end or raise."""

    def __init__(self, picture: Snapshot | None) -> None:
        self.picture = picture
        self.cancelled = False
        self._end: asyncio.Future[None] | None = None

    def snapshot(self) -> Snapshot | None:
        return self.picture

    async def run(self) -> None:
        self._end = asyncio.get_running_loop().create_future()
        try:
            await self._end
        except asyncio.CancelledError:
            self.cancelled = True
            raise

    def end(self, error: Exception | None = None) -> None:
        assert self._end is not None
        if error is None:
            self._end.set_result(None)
        else:
            self._end.set_exception(error)
