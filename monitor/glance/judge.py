"""From what is known to the picture: a pure function of it and a time.

Nothing is decided by majority. What was not heard is unknown, and an RRset agrees only as a whole.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import datetime

from monitor.glance.agreement import NAMED, Agrees, agreement, authorities, named, served_now, turned_at
from monitor.glance.horizon import horizon
from monitor.glance.known import Known
from monitor.glance.picture import (
    AtResolver,
    AtServer,
    Counts,
    Held,
    Picture,
    Reason,
    Result,
    Served,
    Silence,
)
from monitor.glance.remarks import remarks
from monitor.glance.said import SETTLED, Key, Said, Track


def picture(known: Known, now: datetime) -> Picture:
    """Everything there is to show at ``now``."""
    agrees = agreement(known)
    seen = horizon(known, agrees, now)
    served, unheard = _served(known, agrees)
    words = _resolver_words(known, agrees, seen.by, now)
    held, silences = _held(known, words, agrees), _silences(known)
    counts = _counts(known, served, held, agrees)
    differs = _differs(known, served, unheard, held, silences, counts)
    unknown = _unknown(known, unheard, counts, agrees)
    result: Result = "differs" if differs else "unknown" if unknown else "holds"
    return Picture(
        at=now,
        name=known.asked.name,
        type=known.asked.type,
        expected=known.asked.expected.rrset if known.asked.expected else None,
        result=result,
        reasons=(*differs, *unknown) or (Reason("dns.holds", _figures(counts)),),
        zones=tuple(dict.fromkeys(hop.zone for hop in known.hops if hop.zone)),
        served=served,
        unheard=unheard,
        held=held,
        silences=silences,
        exchanges=known.exchanges,
        horizon=seen,
        counts=counts,
        remarks=remarks(known, served, held),
        over=result == "holds"
        and counts.addresses_settled == counts.addresses_heard
        and (seen.by is None or seen.by <= now),
    )


def settled(track: Track, agrees: Agrees) -> bool:
    """Whether a resolver that answers has said the right thing several times in a row."""
    heard = track.last is not None and track.last.heard
    return heard and len(track.recent) == SETTLED and all(agrees(key) for key in track.recent)


# Authorities


def _served(known: Known, agrees: Agrees) -> tuple[tuple[Served, ...], tuple[AtServer, ...]]:
    groups: dict[tuple[str, Key], list[AtServer]] = {}
    unheard = []
    for hop, at, track in authorities(known):
        words = served_now(track)
        if not words:
            unheard.append(at)
        for said in words:
            groups.setdefault((hop.name, said.key), []).append(AtServer(at.server, said))
    served = [_group(name, key, members, agrees(key)) for (name, key), members in groups.items()]
    names = [hop.name for hop in known.hops]
    served.sort(key=lambda s: (names.index(s.name), s.agrees is False, -len(s.servers), s.rrset))
    return tuple(served), tuple(unheard)


def _group(name: str, key: Key, members: list[AtServer], agree: bool | None) -> Served:
    said = [at.said for at in members if at.said is not None]
    return Served(
        name=name,
        outcome=key[0],
        rrset=key[1],
        alias=key[2],
        agrees=agree,
        ttls=(min(s.ttl for s in said), max(s.ttl for s in said)),
        serials=tuple(sorted({s.serial for s in said if s.serial is not None})),
        servers=tuple(members),
    )


# Resolvers


def _resolver_words(known: Known, agrees: Agrees, by: datetime | None, now: datetime) -> list[AtResolver]:
    """Each resolver's latest word, and what differs and is still alive in another cache behind it."""
    found = []
    for address, track in known.of_resolvers.items():
        for said in track.words:
            latest = said is track.last
            alive = agrees(said.key) is False and said.expires > now
            if latest or alive:
                late = agrees(said.key) is False and overstays(track, said, by, known, agrees)
                found.append(AtResolver(known.resolvers[address], said, late))
    return found


def overstays(track: Track, said: Said, by: datetime | None, known: Known, agrees: Agrees) -> bool:
    """Whether this answer, which differs, cannot be what a well-behaved cache holds: it was given after
    the horizon; or one and the same cache gave it past the expiry that it had announced itself, when no
    authority served it any more."""
    if by is not None and said.at > by:
        return True
    run = track.runs[said.cache][-1]
    turned = turned_at(known, agrees)
    return said.cache is not None and turned is not None and turned <= run.announced < said.at


def _held(known: Known, words: list[AtResolver], agrees: Agrees) -> tuple[Held, ...]:
    groups: dict[tuple[str, tuple[str, ...]], list[AtResolver]] = {}
    for at in words:
        groups.setdefault((at.said.outcome, at.said.rrset), []).append(at)
    held = [_holders(key, who, agrees((*key, ""))) for key, who in groups.items()]
    return tuple(sorted(held, key=lambda h: (h.agrees is False, -h.platforms, h.outcome, h.rrset)))


def _holders(key: tuple[str, tuple[str, ...]], who: list[AtResolver], agree: bool | None) -> Held:
    ttls = [at.said.ttl for at in who]
    last = {at.resolver.platform: at.said.expires for at in sorted(who, key=lambda at: at.said.expires)}
    order = sorted(who, key=lambda at: (-last[at.resolver.platform].timestamp(), at.resolver.platform))
    return Held(
        outcome=key[0],
        rrset=key[1],
        agrees=agree,
        platforms=_platforms(who),
        ttls=(min(ttls), max(ttls)),
        until=max(at.said.expires for at in who),
        who=tuple(order),
    )


def _platforms(who: Iterable[AtResolver]) -> int:
    return len({at.resolver.platform for at in who})


def _silences(known: Known) -> tuple[Silence, ...]:
    groups: dict[str, list[AtResolver]] = {}
    for address, track in known.of_resolvers.items():
        if track.last is not None and not track.last.heard:
            groups.setdefault(track.last.outcome, []).append(AtResolver(known.resolvers[address], track.last))
    silences = [Silence(outcome=o, platforms=_platforms(who), who=tuple(who)) for o, who in groups.items()]
    return tuple(sorted(silences, key=lambda s: (s.outcome != "bogus", -len(s.who), s.outcome)))


# Counting and judging


def _counts(known: Known, served: tuple[Served, ...], held: tuple[Held, ...], agrees: Agrees) -> Counts:
    everyone = [served_now(track) for _, _, track in authorities(known)]
    heard = [words for words in everyone if words]
    latest = {a: t.last for a, t in known.of_resolvers.items() if t.last is not None and t.last.heard}
    platform = {r.id: r.platform for r in known.resolvers.values()}
    differing = {at.resolver.platform for h in held if h.agrees is False for at in h.who}
    agreeing = {platform[a] for a, said in latest.items() if agrees(said.key)} - differing
    asked = len(set(platform.values()))
    return Counts(
        authorities=len(everyone),
        authorities_heard=len(heard),
        authorities_agree=sum(all(agrees(s.key) is not False for s in words) for words in heard),
        addresses=len(platform),
        addresses_heard=len(latest),
        addresses_settled=sum(settled(track, agrees) for track in known.of_resolvers.values()),
        platforms=asked,
        platforms_heard=len({platform[a] for a in latest}),
        platforms_agree=len(agreeing),
        needed=max(1, math.ceil(asked * known.quorum - 1e-9)),
    )


def _figures(counts: Counts) -> dict[str, int]:
    return {
        "servers": counts.authorities_heard,
        "heard": counts.platforms_heard,
        "platforms": counts.platforms,
        "needed": counts.needed,
    }


def _differs(
    known: Known, served: tuple[Served, ...], unheard: tuple[AtServer, ...], held: tuple[Held, ...],
    silences: tuple[Silence, ...], counts: Counts,
) -> list[Reason]:  # fmt: skip
    """What was heard and is not as it should be."""
    reasons = []
    wrong = [at for s in served if s.agrees is False for at in s.servers]
    said = {(s.outcome in ("nodata", "nxdomain"), s.rrset) for s in served if s.outcome != "alias"}
    if wrong:
        reasons.append(
            Reason("dns.authorities.serve", {"n": len(wrong), "of": counts.authorities, **named(wrong)})
        )
    elif known.asked.expected is None and len(said) > 1:
        reasons.append(Reason("dns.authorities.differ", {"n": len(said)}))
    bogus = [at for at in unheard if at.said is not None and at.said.outcome == "bogus"]
    if bogus:
        why = tuple(sorted({at.said.dnssec or "" for at in bogus if at.said is not None}))
        reasons.append(Reason("dns.authorities.bogus", {"n": len(bogus), "why": why, **named(bogus)}))
    others = {at.resolver.platform for h in held if h.agrees is False for at in h.who}
    if others:
        reasons.append(Reason("dns.resolvers.give", {"n": len(others), "of": counts.platforms_heard}))
    for silence in silences:
        if silence.outcome == "bogus":
            reasons.append(Reason("dns.bogus", {"n": silence.platforms}))
    return reasons


def _unknown(known: Known, unheard: tuple[AtServer, ...], counts: Counts, agrees: Agrees) -> list[Reason]:
    """What should have been heard and was not."""
    reasons = []
    if not any(hop.servers for hop in known.hops):
        code = "dns.walk.intercepted" if known.intercepted else "dns.walk.failed"
        reasons.append(Reason(code, {"name": known.asked.name}))
    elif not all(hop.complete and hop.servers for hop in known.hops):
        reasons.append(Reason("dns.walk.incomplete"))
    missing = [
        at for at in unheard if not (at.excused or (at.said is not None and at.said.outcome == "bogus"))
    ]
    if missing:
        reasons.append(Reason("dns.authorities.silent", {"n": len(missing), **named(missing)}))
    dark = _dark(known, agrees)
    if dark:
        reasons.append(Reason("dns.resolvers.dark", {"n": len(dark), "who": tuple(dark[:NAMED])}))
    if not known.resolvers:
        reasons.append(Reason("dns.resolvers.none"))
    elif counts.platforms_heard < counts.needed:
        reasons.append(Reason("dns.resolvers.few", _figures(counts)))
    return reasons


def _dark(known: Known, agrees: Agrees) -> list[str]:
    """Whose last word was another answer, and who has been silent since."""
    return [
        address
        for address, track in known.of_resolvers.items()
        if track.last is not None
        and not track.last.heard
        and track.recent
        and agrees(track.recent[-1]) is False
    ]
