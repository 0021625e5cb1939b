"""A record of a whole watch, in the making: 48 hours of a cutover as JSON Lines, seeded, in order of time.

200 resolvers of 170 platforms (some with several caches behind one address, named or not), four authorities,
two logs and a dozen mailboxes, canaries by four routes, a company's mail with its weeks of history.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from heapq import merge
from pathlib import Path
from typing import Any

START = datetime(2026, 11, 20, tzinfo=UTC)
HOURS = 48
CHANGE = 12 * 3600.0  # seconds from the start
DOMAIN, OLD, NEW = "example.jp.", ["10 mail.example.jp."], ["10 mx1.new.example.", "20 mx2.new.example."]
AUTHORITIES = [f"203.0.113.{n}" for n in range(1, 5)]
ACCOUNTS = [f"user{n}@example.jp" for n in range(12)]
ROUTES = ["via-old", "via-new", "mx", "to-old"]
RESOLVERS = [f"198.18.{n // 200}.{n % 200 + 1}" for n in range(200)]
LONG, SHORT = 3600, 300  # the TTL, lowered a day before the start for all but the record's first look

Line = tuple[float, str, dict[str, Any]]


def plan() -> dict[str, Any]:
    return {
        "version": 1, "domain": DOMAIN,
        "old": {"mx": ["mail.example.jp."], "addresses": ["192.0.2.10"]},
        "new": {"mx": ["mx1.new.example.", "mx2.new.example."],
                "addresses": ["198.51.100.20", "198.51.100.21"]},
        "expected_mx": NEW, "authorities": AUTHORITIES, "resolvers": RESOLVERS, "routes": ROUTES,
        "accounts": ACCOUNTS, "platforms": {r: f"operator-{n // 2}" for n, r in enumerate(RESOLVERS[:60])},
        "policy": {"quiet_for": 43200, "share_bound": 0.01, "confidence": 0.95, "canary_streak": 3,
                   "canary_deadline": 900, "freshness": 900, "settle_samples": 3, "quiet_ceiling": None,
                   "sensitivity": 7200, "quorum": 0.9, "old_ttl": None},
    }  # fmt: skip


def _authorities(chance: random.Random) -> Iterator[Line]:
    hosts = [("mx1.new.example.", ["198.51.100.20"]), ("mail.example.jp.", ["192.0.2.10"])]
    for tick in range(0, HOURS * 3600, 30):
        for n, address in enumerate(AUTHORITIES):
            at = tick + n * 0.2 + chance.random() * 0.1
            new = at >= CHANGE + n * 40
            common = {"server": f"ns{n + 1}.example.jp.", "address": address, "transport": "udp"}
            figures = {"serial": 2026112000 + new, "aa": True, "rtt_ms": round(chance.uniform(2, 40), 1)}
            yield at, "dns.authority", common | {
                "name": DOMAIN, "type": "MX", "outcome": "answer", "rrset": NEW if new else OLD, "ttl": SHORT,
            } | figures  # fmt: skip
            name, addresses = hosts[tick // 30 % 2]
            yield at + 0.05, "dns.authority", common | {
                "name": name, "type": "A", "outcome": "answer", "rrset": addresses, "ttl": SHORT,
            } | figures  # fmt: skip


def _resolver(n: int, every: float, chance: random.Random) -> Iterator[Line]:
    """One address: one cache mostly, else two to four; it fetches what has run out when it is asked."""
    count = chance.choice((2, 3, 4)) if n % 6 == 0 else 1
    named, held = n % 2 == 0, [(-1.0, OLD)] * count
    dead, at = n % 67 == 66, chance.uniform(0, every)
    while at < HOURS * 3600:
        which = chance.randrange(count)
        expires, rrset = held[which]
        if expires <= at:
            expires, rrset = at + SHORT, NEW if at >= CHANGE + chance.uniform(0, 120) else OLD
            held[which] = expires, rrset
        fields = {"resolver": RESOLVERS[n], "transport": "udp", "name": DOMAIN, "type": "MX"}
        if dead or chance.random() < 0.01:
            fields |= {"outcome": "timeout", "cache": None, "ede": []}
        else:
            fields |= {
                "outcome": "answer", "rrset": rrset, "ttl": int(expires - at), "ede": [],
                "cache": f"cache-{n}-{which}" if named else None, "rtt_ms": round(chance.uniform(1, 60), 1),
            }  # fmt: skip
        yield at, "dns.resolver", fields
        # Half of them are asked by the clock, half when the record that was seen must have run out.
        at += every if n % 2 else min(expires - at + 0.5, every * chance.uniform(0.5, 1.5))


def _coverage(source: str, every: int, phase: float) -> Iterator[Line]:
    for tick in range(every, HOURS * 3600, every):
        at = tick + phase
        yield at, "coverage", {"source": source, "from": _stamp(at - every), "to": _stamp(at)}


def _canaries(chance: random.Random) -> Iterator[Line]:
    number = 0
    for tick in range(0, HOURS * 3600, 300):
        for n, route in enumerate(ROUTES):
            at, number, recipient = tick + n * 7 + chance.random(), number + 1, chance.choice(ACCOUNTS)
            old = route == "to-old" or at < CHANGE
            host, address = (
                ("mail.example.jp.", "192.0.2.10") if old else ("mx1.new.example.", "198.51.100.20")
            )
            yield at, "canary.sent", {
                "canary": f"c-{number}", "route": route, "recipient": recipient, "outcome": "accepted",
                "host": host, "address": address, "reply": "250 2.0.0 Ok: queued",
            }  # fmt: skip
            yield at + 2, "canary.landed", {
                "canary": f"c-{number}", "side": "old" if old else "new", "account": recipient,
                "folder": "INBOX", "protocol": "imap", "latency_ms": 2000, "hops": [host],
            }  # fmt: skip


def _mail(count: int, history: int, chance: random.Random) -> Iterator[Line]:
    """History first, as it is read from the old log; then a message every few seconds."""
    for n in range(history):
        at = -14 * 86400 * (1 - n / history)
        yield 5 + n * 0.001, "mail", _message("old", at, n, chance)
    step = HOURS * 3600 / count
    for n in range(count):
        at = n * step + chance.uniform(0, step / 2)
        late = at < CHANGE + 3000 and chance.random() < 0.3
        side = "old" if at < CHANGE or late else "new"
        yield at + 0.5, "mail", _message(side, at, history + n, chance)
        if side == "old" and at > CHANGE:
            yield at + 0.6, "mail", _message("new", at, history + n, chance)


def _message(side: str, at: float, number: int, chance: random.Random) -> dict[str, Any]:
    client = int(chance.paretovariate(0.7)) % 400
    return {
        "side": side, "accepted_at": _stamp(at), "source": "log",
        "recipient": ACCOUNTS[number % len(ACCOUNTS)],
        "message_id": f"<{number}@sender.example>", "client": f"203.0.113.{client % 250}",
        "helo": f"mta{client}.sender.example", "origin": "outside", "disposition": "delivered",
        "queue_id": f"4F{number:x}",
    }  # fmt: skip


def _stamp(seconds: float) -> str:
    return (START + timedelta(seconds=seconds)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def lines(observations: int, seed: int = 1) -> Iterator[str]:
    """About so many lines; the whole watch is asked more or less often to have them."""
    scale = observations / 1_000_000
    every = HOURS * 3600 * len(RESOLVERS) * 0.925 / (observations * 0.87)
    chance: Callable[[str], random.Random] = lambda part: random.Random(f"{seed}:{part}")  # noqa: E731
    parts = [
        _canaries(chance("canaries")),
        _mail(int(20_000 * scale), int(20_000 * scale), chance("mail")),
        *(_coverage(f"log:{side}", max(10, int(30 / min(scale, 1))), 0.25) for side in ("old", "new")),
        *(_coverage(f"mailbox:new:{a}", 300, n * 3.1) for n, a in enumerate(ACCOUNTS)),
        *(_resolver(n, every, chance(f"resolver-{n}")) for n in range(len(RESOLVERS))),
    ]
    if scale >= 0.5:
        parts.append(_authorities(chance("authorities")))
    else:
        parts.append(line for n, line in enumerate(_authorities(chance("authorities"))) if n // 8 % 10 == 0)
    yield json.dumps({"at": _stamp(0), "kind": "plan"} | plan(), separators=(",", ":"))
    for at, kind, fields in merge(*parts, key=lambda line: line[0]):
        yield json.dumps({"at": _stamp(at), "kind": kind} | fields, separators=(",", ":"))


def write(path: Path, observations: int, seed: int = 1) -> int:
    """Write the record; returns how many lines there are."""
    with path.open("w") as file:
        return sum(bool(file.write(line + "\n")) for line in lines(observations, seed))
