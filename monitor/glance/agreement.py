"""What counts as right, and what each authority serves now: the ground that all judging stands on."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime

from monitor.glance.known import Hop, Known
from monitor.glance.picture import AtServer
from monitor.glance.question import Expectation
from monitor.glance.said import Key, Said, Track

NAMED = 3  # in one sentence
Agrees = Callable[[Key], bool | None]


def agreement(known: Known) -> Agrees:
    """Whether an answer is the one that is expected; without an expectation, the one that all
    authorities give; None where those give several or none, and for what an authority sends elsewhere."""
    right = known.asked.expected or _served_by_all(known)

    def agrees(key: Key) -> bool | None:
        if right is None or key[0] == "alias":
            return None
        return right.met_by(key[1])

    return agrees


def _served_by_all(known: Known) -> Expectation | None:
    kind = known.asked.type
    words = [said for _, _, track in authorities(known) for said in served_now(track)]
    rrsets = [said.rrset for said in words if said.outcome != "alias"]
    if not rrsets or not all(Expectation(kind, rrsets[0]).met_by(rrset) for rrset in rrsets):
        return None
    return Expectation(kind, rrsets[0])


def served_now(track: Track) -> list[Said]:
    """What this authority serves now: behind an anycast address several servers may, each its own."""
    return track.words if track.last is not None and track.last.heard else []


def authorities(known: Known) -> Iterable[tuple[Hop, AtServer, Track]]:
    """Every address of every authority, for every name that has to be looked up."""
    for hop in known.hops:
        tracks = [(server, known.track(hop, server)) for server in hop.servers]
        heard = {server.name for server, track in tracks if track.last is not None and track.last.heard}
        for server, track in tracks:
            nowhere = track.last is not None and track.last.outcome == "noroute"
            yield hop, AtServer(server, track.last, nowhere and server.name in heard), track


def turned_at(known: Known, agrees: Agrees) -> datetime | None:
    """Since when every authority has been seen to serve the right answer; None: not all do."""
    firsts = []
    for _, at, track in authorities(known):
        words = served_now(track)
        if not (words or at.excused) or any(agrees(said.key) is False for said in words):
            return None
        firsts += [track.runs[said.cache][-1].first for said in words]
    return max(firsts, default=None)


def named(servers: Iterable[AtServer]) -> dict[str, object]:
    """The first few by name and address, and how many more there are."""
    names = list(dict.fromkeys(f"{at.server.name} {at.server.address}".strip() for at in servers))
    return {"who": tuple(names[:NAMED]), "others": max(0, len(names) - NAMED)}
