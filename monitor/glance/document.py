"""A picture as one JSON object. The keys are described in ``docs/dns.md``; none changes its meaning."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from monitor.glance.known import Addresses, Resolver
from monitor.glance.page import sentence
from monitor.glance.picture import AtResolver, AtServer, Held, Horizon, Picture, Reason, Served, Silence
from monitor.glance.said import Said
from probes.observation import stamp
from probes.sight import Server

FORMAT = 1


def document(picture: Picture, code: int) -> dict[str, Any]:
    """``code``: the exit code that goes with it."""
    p = picture
    return {
        "format": FORMAT,
        "at": stamp(p.at),
        "name": p.name,
        "type": p.type,
        "expected": None if p.expected is None else list(p.expected),
        "result": p.result,
        "exit": code,
        "reasons": [_reason(r, p.at) for r in p.reasons],
        "zones": list(p.zones),
        "authorities": [_served(s) for s in p.served],
        "authorities_unheard": [_server(at) for at in p.unheard],
        "resolvers": [_held(h) for h in p.held],
        "resolvers_unheard": [_silence(s) for s in p.silences],
        "counts": msgspec.to_builtins(p.counts),
        "exchanges": [_exchange(e) for e in p.exchanges],
        "horizon": _horizon(p.horizon, p.at),
        "remarks": [_reason(r, p.at) for r in p.remarks],
        "over": p.over,
    }


def line(fields: dict[str, Any]) -> str:
    """One line. Text from outside is in it as it came, but for what is no Unicode."""
    return msgspec.json.encode(_sound(fields)).decode()


def _sound(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode(errors="backslashreplace").decode()
    if isinstance(value, dict):
        return {key: _sound(v) for key, v in value.items()}
    return [_sound(v) for v in value] if isinstance(value, list) else value


def change(at: datetime, who: Server | Resolver, before: Said | None, after: Said) -> dict[str, Any]:
    """What one server says now, and what it said before (null: it had not been heard)."""
    source = (
        {"server": who.name, "address": who.address}
        if isinstance(who, Server)
        else {"resolver": who.id, "platform": who.platform}
    )
    return {"at": stamp(at), **source, "before": _word(before), "after": _word(after)}


def _word(said: Said | None) -> dict[str, Any] | None:
    """What is the same of an authority's word and a resolver's."""
    if said is None:
        return None
    return {
        "outcome": said.outcome,
        "rrset": list(said.rrset),
        "alias": said.alias or None,
        "ttl": said.ttl if said.heard else None,
        "expires": stamp(said.expires) if said.heard else None,
        "serial": said.serial,
        "cache": said.cache,
        "ede": list(said.ede),
        "transport": said.transport,
        "rtt_ms": said.rtt_ms,
        "dnssec": said.dnssec,
        "at": stamp(said.at),
    }


def _reason(reason: Reason, at: datetime) -> dict[str, str]:
    return {"code": reason.code, "text": sentence(reason, at, "en")}


def _served(s: Served) -> dict[str, Any]:
    return {
        "name": s.name,
        "outcome": s.outcome,
        "rrset": list(s.rrset),
        "alias": s.alias or None,
        "agrees": s.agrees,
        "ttl": {"min": s.ttls[0], "max": s.ttls[1]},
        "serials": list(s.serials),
        "servers": [_server(at) for at in s.servers],
    }


def _server(at: AtServer) -> dict[str, Any]:
    return {
        "server": at.server.name,
        "address": at.server.address or None,
        "excused": at.excused,
        "said": _word(at.said),
    }


def _held(h: Held) -> dict[str, Any]:
    return {
        "outcome": h.outcome,
        "rrset": list(h.rrset),
        "agrees": h.agrees,
        "platforms": h.platforms,
        "addresses": len(h.who),
        "ttl": {"min": h.ttls[0], "max": h.ttls[1]},
        "until": stamp(h.until),
        "who": [_resolver(at) for at in h.who],
    }


def _silence(s: Silence) -> dict[str, Any]:
    who = [_resolver(at) for at in s.who]
    return {"outcome": s.outcome, "platforms": s.platforms, "addresses": len(who), "who": who}


def _resolver(at: AtResolver) -> dict[str, Any]:
    r = at.resolver
    return {
        "resolver": r.id,
        "platform": r.platform,
        "operator": r.operator or None,
        "country": r.country or None,
        "filtering": r.filtering,
        "stale": at.said.stale,
        "overstays": at.overstays,
        "said": _word(at.said),
    }


def _exchange(e: Addresses) -> dict[str, Any]:
    return {
        "name": e.name,
        "addresses": list(e.addresses),
        "ttl": e.ttl,
        "alias": e.alias or None,
        "differ": e.differ,
    }


def _horizon(h: Horizon, at: datetime) -> dict[str, Any]:
    return {
        "state": h.state,
        "by": None if h.by is None else stamp(h.by),
        "seen_by": None if h.seen_by is None else stamp(h.seen_by),
        "reason": _reason(h.reason, at),
    }
