"""Why a verdict is what it is: for each requirement the observations that it rests on, what would meet it and
what can be done; and what would have been lost, had old been switched off."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

from msgspec import Struct

from monitor.evidence.fold import Evidence
from monitor.evidence.mail import MailFacts, Taken
from monitor.evidence.names import canonical
from monitor.explain.trail import Trail, old_enders
from monitor.verdict import mail
from monitor.verdict.context import Context
from monitor.verdict.dns import resolver_state
from monitor.verdict.judge import Judge
from monitor.verdict.model import Finding, Judgement
from monitor.verdict.senders import Sender, ledger
from probes.observation import Coverage, Mail, Observation, Plan, to_ms

SHOWN = 12  # observations of one requirement


class Reason(Struct, frozen=True, kw_only=True):
    """One requirement. ``total``: how many observations speak, of which ``evidence`` has the weightiest."""

    finding: Finding
    evidence: tuple[Observation, ...]
    total: int


class Explanation(Struct, frozen=True, kw_only=True):
    """``off_at``: the instant of the counterfactual (None: the change is not made and none was asked for);
    ``lost``: what old took from then on, oldest first, to the end of the record."""

    judgement: Judgement
    policy: Plan
    reasons: tuple[Reason, ...]
    off_at: datetime | None
    lost: tuple[Taken, ...]
    senders: tuple[Sender, ...]


def explain(observations: Iterable[Observation], at: datetime | None) -> Explanation | None:
    """At ``at``, else at the end of ``observations`` (in order of time). None: there is no plan by then."""
    reader = _Reader(at)
    for seen in observations:
        reader.add(seen)
    return reader.explanation()


class _Reader:
    """One pass: what is known by ``at``, and all mail of the whole record."""

    def __init__(self, at: datetime | None) -> None:
        self._at = at
        self._judge: Judge | None = None
        self._trail: Trail | None = None
        self._mail: MailFacts | None = None
        self._before: list[Observation] = []

    def add(self, seen: Observation) -> None:
        if self._judge is None:
            self._before.append(seen)
            if not isinstance(seen, Plan):
                return
            self._judge, self._trail, self._mail = Judge(seen), Trail(seen), MailFacts(seen)
            waiting, self._before = self._before, []
        else:
            waiting = [seen]
        for one in waiting:
            self._take(one)

    def _take(self, seen: Observation) -> None:
        assert self._judge is not None and self._trail is not None and self._mail is not None
        if isinstance(seen, Mail):
            self._mail.mail(seen)
        elif isinstance(seen, Coverage):
            self._mail.coverage(seen)
        if self._at is None or seen.at <= self._at:
            self._judge.fold(seen)
            self._trail.add(seen)

    def explanation(self) -> Explanation | None:
        judge = self._judge
        if judge is None or judge.now is None or self._trail is None or self._mail is None:
            return None
        now = judge.now if self._at is None else to_ms(self._at)
        judge.settle(now)
        judgement = judge.judge(now)
        off_at = self._at or judgement.changed_at
        c = Context(judge.evidence, now)
        return Explanation(
            judgement=judgement,
            policy=judge.evidence.plan,
            reasons=tuple(_reason(c, finding, self._trail) for finding in judgement.findings),
            off_at=off_at,
            lost=_lost(self._mail, off_at),
            senders=ledger(c),
        )


def _lost(known: MailFacts, off_at: datetime | None) -> tuple[Taken, ...]:
    """What old took from then on; what it refused in the end would have been refused all the same."""
    if off_at is None:
        return ()
    since = to_ms(off_at)
    taken = (t for t in known.old if t.end > since and t.disposition != "rejected")
    return tuple(sorted(taken, key=lambda t: t.at))


def _reason(c: Context, finding: Finding, trail: Trail) -> Reason:
    found = list(dict.fromkeys(_speaking(c, finding, trail)))
    shown = sorted(found[:SHOWN], key=lambda seen: seen.at)
    return Reason(finding=finding, evidence=tuple(shown), total=len(found))


def _speaking(c: Context, finding: Finding, trail: Trail) -> Iterator[Observation]:
    """The weightiest first; a waiver of one of its subjects before all."""
    yield from trail.of("operator", finding.waived)
    match finding.name:
        case "authority":
            yield from _authorities(c, finding, trail)
        case "horizon":
            yield from _horizon(c.evidence, trail)
        case "resolvers":
            yield from _resolvers(c, finding, trail)
        case "canaries":
            yield from _canaries(c, finding, trail)
        case "quiet":
            hits = [seen for seen in trail.all_of("mail:old") if not _before_change(c, seen)]
            yield from reversed(hits)
            yield from _coverage(trail, "old")
        case "stragglers":
            lacking = mail.missing_on_new(c)[::-1]
            names = (n for t in lacking for n in (t.message_id, t.queue_id, t.digest) if n)
            yield from trail.of("message", names)
            yield from _coverage(trail, "old")
        case "arrivals":
            yield from trail.of("refused", [str(finding.args.get("account", "")).lower()])
            yield from trail.of("account:new", [str(finding.args.get("account", ""))])
            yield from reversed(list(trail.all_of("mail:new")))
            yield from _coverage(trail, "new")


def _before_change(c: Context, seen: Observation) -> bool:
    change = c.evidence.change
    return change is None or not isinstance(seen, Mail) or to_ms(seen.accepted_at) + mail.STAMP <= change


def _coverage(trail: Trail, side: str) -> Iterator[Observation]:
    return (
        seen for seen in trail.all_of("coverage") if isinstance(seen, Coverage) and f":{side}" in seen.source
    )


def _authorities(c: Context, finding: Finding, trail: Trail) -> Iterator[Observation]:
    """The one that is named, those that gave no answer, all others; their last word."""
    named = [str(finding.args.get("server", "")), *finding.args.get("servers", ())]
    for address in dict.fromkeys((*named, *map(canonical, c.plan.authorities))):
        kept = list(trail.of("authority", [address]))
        yield from kept[-2:] if address in named else kept[-1:]


def _horizon(evidence: Evidence, trail: Trail) -> Iterator[Observation]:
    """Where caches could last fetch old: the last old answer there and the one that ended it; then the
    resolvers whose old answers announced the latest ends."""
    for address in old_enders(evidence.dns):
        yield from reversed(list(trail.of("authority", [address])))
    known = sorted(evidence.dns.resolvers.items(), key=lambda item: -item[1].old_until)
    yield from trail.of("resolver", [resolver for resolver, k in known[:3] if k.old_until])


def _resolvers(c: Context, finding: Finding, trail: Trail) -> Iterator[Observation]:
    order = ("overstaying", "old", "cache", "other", "dark", "silent", "few", "settled")
    words = {r: resolver_state(c, c.evidence.dns.resolvers.get(r)) for r in c.plan.resolvers}
    first = str(finding.args.get("resolver", ""))
    for resolver in sorted(words, key=lambda r: (r != first, order.index(words[r]))):
        kept = list(trail.of("resolver", [resolver]))
        yield from reversed(kept[-2:] if words[resolver] not in ("settled", "few") else kept[-1:])


def _canaries(c: Context, finding: Finding, trail: Trail) -> Iterator[Observation]:
    """Of the route that is named all that are kept, of the others the last."""
    named = str(finding.args.get("route", ""))
    for route in sorted(c.plan.routes, key=lambda r: r != named):
        yield from reversed(list(trail.canaries(route))[-2 * c.policy.canary_streak :])
