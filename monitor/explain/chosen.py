"""Which observations stand behind each requirement's state: those that decide it first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from monitor.explain.trail import Trail, Turns
from monitor.verdict import mail
from monitor.verdict.answers import exchanges, host_name
from monitor.verdict.context import Context
from monitor.verdict.dns import resolver_state
from monitor.verdict.model import RequirementName
from probes.observation import AuthorityAnswer, Mail, Observation, ResolverAnswer

ADDRESSES = ("A", "AAAA")
SETTLED = ("settled", "few")
RECENT = 20  # messages that show what came last; stragglers are always told whole


def chosen(requirement: RequirementName, c: Context, trail: Trail) -> list[Observation]:
    """The evidence of one requirement at ``c.now``, what decides first; each observation once."""
    found: dict[int, Observation] = {}
    for seen in _BY_NAME[requirement](c, trail):
        found.setdefault(id(seen), seen)
    return list(found.values())


def _authority(c: Context, trail: Trail) -> Iterator[Observation]:
    """Each server's latest word, those that do not serve new first, with the hosts that theirs lead to."""
    known = c.evidence.dns.authorities
    judged = c.authorities()[0]
    good = [a for a in judged if (k := known.get(a)) and k.sample and k.sample.leads == "new"]
    for address in sorted(judged, key=lambda a: a in good):
        seen = _latest(trail.authorities.get((address, host_name(c.plan.domain), "MX")))
        yield from seen
        if address not in good:
            names = _hosts(seen)
            yield from _addresses(trail.authorities, address, names)


def _latest(turns: Turns | None) -> list[AuthorityAnswer | ResolverAnswer]:
    """The latest answer, and before it the latest that said anything, where that is another one."""
    if turns is None:
        return []
    last = turns.latest[-1]
    if last.outcome in ("answer", "nodata", "nxdomain", "bogus"):
        return [last]
    heard = next((s for s in reversed(turns.latest) if s.outcome in ("answer", "nodata", "nxdomain")), None)
    return [last] if heard is None else [last, heard]


def _hosts(seen: Iterable[AuthorityAnswer | ResolverAnswer]) -> list[str]:
    return [name for one in seen if one.type == "MX" for _, name in exchanges(one.rrset)]


def _addresses(
    answers: dict[tuple[str, str, str], Turns], source: str, names: Iterable[str]
) -> Iterator[Observation]:
    for name in names:
        for kind in ADDRESSES:
            turns = answers.get((source, name, kind))
            if turns is not None and turns.latest[-1].rrset:
                yield turns.latest[-1]


def _horizon(c: Context, trail: Trail) -> Iterator[Observation]:
    """Each server's last old answer and the first other one after it; then resolvers' old ones."""
    names = {host_name(c.plan.domain), *(name for _, name in exchanges(c.plan.expected_mx))}
    for (_, name, kind), turns in trail.authorities.items():
        if name in names and kind in ("MX", *ADDRESSES, "NS"):
            for before, after in turns.turns:
                yield from (before, after)
    for address in c.authorities()[0]:
        yield from _latest(trail.authorities.get((address, host_name(c.plan.domain), "MX")))
    yield from _last_old(c, trail)


def _last_old(c: Context, trail: Trail) -> Iterator[Observation]:
    """What resolvers announced as old, the one that lasts longest first."""
    holding = sorted(c.evidence.dns.resolvers.items(), key=lambda item: -item[1].old_until)
    for name, known in holding:
        turns = trail.resolvers.get((name, host_name(c.plan.domain), "MX"))
        if turns is None or known.last_old is None:
            continue
        rrset = set(known.last_old.rrset)
        before = [a for a, _ in turns.turns if set(a.rrset) == rrset]
        latest = [s for s in turns.latest if set(s.rrset) == rrset]
        yield from (latest or before)[-1:]


def _resolvers(c: Context, trail: Trail) -> Iterator[Observation]:
    """Those that are not settled first: their latest answers and why one was not asked."""
    judged = c.split("resolver", c.plan.resolvers)[0]
    states = {r: resolver_state(c, c.evidence.dns.resolvers.get(r)) for r in judged}
    domain = host_name(c.plan.domain)
    for name in sorted(judged, key=lambda r: (states[r] in SETTLED, states[r] == "silent")):
        turns = trail.resolvers.get((name, domain, "MX"))
        if states[name] in SETTLED:
            yield from _latest(turns)
            continue
        yield from reversed(turns.latest if turns else ())
        if turns:
            yield from _addresses(trail.resolvers, name, _hosts(list(turns.latest)[-1:]))
        if (skip := trail.skips.get(f"resolver:{name}")) is not None:
            yield skip


def _canaries(c: Context, trail: Trail) -> Iterator[Observation]:
    """Both ends of the last ``canary_streak`` concluded of each route, failing routes first."""
    planned = [r for r in c.plan.routes if r not in mail.DIAGNOSTIC]
    ends = {route: mail.latest(c, route, c.policy.canary_streak) for route in planned}
    failing = {route: any(end != "new" for _, end in found) for route, found in ends.items()}
    for route in sorted(planned, key=lambda r: not failing[r]):
        for canary, _ in reversed(ends[route]):
            yield from trail.canaries.get(canary.canary, ())


def _quiet(c: Context, trail: Trail) -> Iterator[Observation]:
    """The latest that old took since the change, the latest first; then until when it was watched."""
    since = c.evidence.change
    hits = [t for t in c.hits if since is not None and t.end > since and t.at <= c.now]
    hits.sort(key=lambda t: -t.at)
    yield from trail.of("old", hits[:RECENT])
    yield from (seen for source, seen in trail.coverage.items() if source.split(":")[1] == "old")
    for canary in c.evidence.mail.routes.get("to-old", ())[-2:]:
        yield from trail.canaries.get(canary.canary, ())


def _stragglers(c: Context, trail: Trail) -> Iterator[Observation]:
    yield from trail.of("old", sorted(mail.missing_on_new(c), key=lambda t: t.at))


def _arrivals(c: Context, trail: Trail) -> Iterator[Observation]:
    """Whom new refuses, then the latest mail from outside that it took."""
    for (side, account), seen in trail.accounts.items():
        if side == "new" and seen.state == "missing" and account in c.plan.accounts:
            yield seen
    turned = {t.recipient.lower() for t in c.evidence.mail.new if t.disposition == "rejected"}
    yield from _rejected(trail, turned)
    since = c.horizon or 0
    taken = sorted((t for t in mail.arrived(c) if since <= t.at <= c.now), key=lambda t: -t.at)
    yield from trail.of("new", taken[:RECENT])
    yield from (seen for source, seen in trail.coverage.items() if source.split(":")[1] == "new")


def _rejected(trail: Trail, recipients: set[str]) -> Iterator[Mail]:
    found = (m for m in trail.mail.values() if m.side == "new" and m.disposition == "rejected")
    latest = {m.recipient.lower(): m for m in sorted(found, key=lambda m: m.accepted_at)}
    yield from (m for recipient, m in latest.items() if recipient in recipients)


_BY_NAME: dict[RequirementName, Callable[[Context, Trail], Iterator[Observation]]] = {
    "authority": _authority,
    "horizon": _horizon,
    "resolvers": _resolvers,
    "canaries": _canaries,
    "quiet": _quiet,
    "stragglers": _stragglers,
    "arrivals": _arrivals,
}
