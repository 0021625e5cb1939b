"""By when every well-behaved cache must have changed (RFC 1035 section 3.2.1, RFC 2308 section 5)."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from monitor.glance.agreement import Agrees, authorities, named, served_now, turned_at
from monitor.glance.known import Known
from monitor.glance.picture import Horizon, Reason
from monitor.glance.said import Run, Track


def horizon(known: Known, agrees: Agrees, now: datetime) -> Horizon:
    """Where an authority was seen to serve another answer: until it was seen to serve something else, and
    that answer's TTL on top; and what the caches that were seen announced themselves, if that is later.

    Where only caches were seen with another answer, their remaining time says nothing of the caches that
    were not asked; but an answer that there is no such record has the zone's negative TTL, which an
    authority states.
    """
    others = _held_elsewhere(known, agrees)
    seen_by = max((run.last.expires for run in others if run.last.expires > now), default=None)
    still = _open(known, agrees)
    if still is not None:
        return Horizon(state="open", reason=still, seen_by=seen_by)
    ends = [*_handed_out(known, agrees), *_negative(known, agrees, others)]
    if ends:
        by = max(ends)
        by = max([by, *(run.announced for run in others if run.first <= by and not run.last.stale)])
        code = "dns.when.passed" if by <= now else "dns.when.by"
        left = (by - now).total_seconds()
        return Horizon(state="by", reason=Reason(code, {"by": by, "left": left}), by=by, seen_by=seen_by)
    if others:
        return Horizon(state="unknown", reason=Reason("dns.when.unknown"), seen_by=seen_by)
    return Horizon(state="none", reason=Reason("dns.when.none"))


def _held_elsewhere(known: Known, agrees: Agrees) -> list[Run]:
    """What differs, at resolvers."""
    return [run for run in _runs(known.of_resolvers.values()) if agrees(run.key) is False]


def _runs(tracks: Iterable[Track]) -> Iterable[Run]:
    return (run for track in tracks for runs in track.runs.values() for run in runs)


def _open(known: Known, agrees: Agrees) -> Reason | None:
    """Why caches may still be handed something else, or where there is nothing to tell it by."""
    found = [(at, track) for _, at, track in authorities(known)]
    heard = [said for _, track in found for said in served_now(track)]
    if not heard:
        return Reason("dns.when.nobody")
    wrong = [(at, said) for at, track in found for said in served_now(track) if agrees(said.key) is False]
    if wrong:
        ttl = max(said.ttl for _, said in wrong)
        return Reason("dns.when.open", {"ttl": float(ttl), **named(at for at, _ in wrong)})
    if all(agrees(said.key) is None for said in heard):
        return Reason("dns.when.differ")
    silent = [at for at, track in found if not served_now(track) and not at.excused]
    return Reason("dns.when.silent", named(silent)) if silent else None


def _handed_out(known: Known, agrees: Agrees) -> Iterable[datetime]:
    """For each other answer that an authority once served: the last moment at which it may have been
    fetched, and its TTL. Of a server that has left the delegation since: when it was seen last."""
    there = {(hop.name, at.server.address) for hop, at, _ in authorities(known)}
    for place, track in known.of_authorities.items():
        for runs in track.runs.values():
            ends = [run.first for run in runs[1:]] + ([] if place in there else [runs[-1].last.at])
            for run, end in zip(runs, ends, strict=False):
                if agrees(run.key) is False:
                    yield end + timedelta(seconds=run.ttl)


def _negative(known: Known, agrees: Agrees, others: list[Run]) -> Iterable[datetime]:
    """Caches that hold that there is no such record, as no authority was seen to say."""
    ttls = [
        said.negative_ttl
        for _, _, track in authorities(known)
        for said in served_now(track)
        if said.negative_ttl is not None
    ]
    turned = turned_at(known, agrees)
    if turned is not None and ttls and others and all(run.key[0] != "answer" for run in others):
        yield turned + timedelta(seconds=max(ttls))
