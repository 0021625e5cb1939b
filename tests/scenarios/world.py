"""A small language for recorded cutovers: each word adds observations, in seconds from a fixed start."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from monitor.verdict.judge import Judge
from monitor.verdict.model import Finding, Judgement
from probes.observation import Observation, Plan, stamp

START = datetime(2026, 11, 20, tzinfo=UTC)
OLD, NEW = ("10 mail.example.jp.",), ("10 mx1.new.example.",)
OLD_IP, NEW_IP = "192.0.2.10", "198.51.100.20"
ACCOUNT = "suga@example.jp"
POLICY = {"quiet_for": 600, "share_bound": 1.0, "freshness": 120, "canary_deadline": 60}


def clock(seconds: float) -> str:
    return stamp(START + timedelta(seconds=seconds))


class World:
    """Observations in the making. Every method takes the time first and returns the world."""

    def __init__(self, policy: dict[str, Any] | None = None, **plan: Any) -> None:
        self.lines: list[dict[str, Any]] = []
        self._canaries = 0
        self.plan: dict[str, Any] = {
            "version": 1, "domain": "example.jp.",
            "old": {"mx": ["mail.example.jp."], "addresses": [OLD_IP]},
            "new": {"mx": ["mx1.new.example."], "addresses": [NEW_IP]},
            "expected_mx": list(NEW), "authorities": ["203.0.113.1", "203.0.113.2"],
            "resolvers": ["8.8.8.8", "9.9.9.9"], "routes": ["via-old", "mx"], "accounts": [ACCOUNT],
            "policy": POLICY | (policy or {}),
        } | plan  # fmt: skip
        self.add(0, "plan", **self.plan)

    def add(self, at: float, kind: str, **fields: Any) -> World:
        self.lines.append({"at": clock(at), "kind": kind} | fields)
        return self

    def authority(
        self, at: float, address: str, rrset: Iterable[str] = (), ttl: int = 300, **more: Any
    ) -> World:
        return self.add(at, "dns.authority", **{
            "server": "ns.example.jp.", "address": address, "transport": "udp", "name": "example.jp.",
            "type": "MX", "outcome": "answer", "rrset": list(rrset), "ttl": ttl, "serial": 1, "aa": True,
            "rtt_ms": 1} | more)  # fmt: skip

    def resolver(self, at: float, who: str, rrset: Iterable[str] = (), ttl: int = 60, **more: Any) -> World:
        return self.add(at, "dns.resolver", **{
            "resolver": who, "transport": "udp", "name": "example.jp.", "type": "MX", "outcome": "answer",
            "rrset": list(rrset), "ttl": ttl, "cache": None, "ede": [], "rtt_ms": 1} | more)  # fmt: skip

    def canary(self, at: float, route: str, landed: str | None = "new", **more: Any) -> World:
        self._canaries += 1
        name = f"c-{self._canaries}"
        self.add(at, "canary.sent", **{
            "canary": name, "route": route, "recipient": ACCOUNT, "outcome": "accepted",
            "host": "mx1.new.example.", "address": NEW_IP, "reply": "250 Ok"} | more)  # fmt: skip
        if landed:
            self.add(at + 2, "canary.landed", canary=name, side=landed, account=ACCOUNT, folder="INBOX",
                     protocol="imap", latency_ms=2000, hops=[])  # fmt: skip
        return self

    def mail(self, at: float, side: str, number: int | str, **more: Any) -> World:
        return self.add(at, "mail", **{
            "side": side, "accepted_at": clock(at), "source": "log", "recipient": ACCOUNT,
            "message_id": f"<{number}@sender.example>", "client": "203.0.113.77", "helo": None,
            "origin": "outside", "disposition": "delivered", "queue_id": None} | more)  # fmt: skip

    def covered(self, begin: float, end: float, source: str, step: float = 30, **more: Any) -> World:
        at = begin
        while at < end:
            stop = min(end, at + step)
            self.add(stop, "coverage", source=source, **{"from": clock(at), "to": clock(stop)} | more)
            at = stop
        return self

    def operator(self, at: float, action: str, subject: str = "", reason: str = "said so") -> World:
        return self.add(at, "operator", action=action, subject=subject, reason=reason)

    def observations(self) -> list[Observation]:
        seen = msgspec.json.decode(msgspec.json.encode(self.lines), type=list[Observation])
        return sorted(seen, key=lambda o: o.at)

    def judgements(self) -> list[Judgement]:
        observations = self.observations()
        plan = observations[0]
        assert isinstance(plan, Plan)
        return list(Judge(plan).run(observations))


def finding(judgement: Judgement, name: str) -> Finding:
    return next(f for f in judgement.findings if f.name == name)


def cutover(world: World, until: float = 1500, *, skip: Iterable[str] = ()) -> World:
    """A cutover without a fault: old until 300 s, new from then on, everything watched all along."""
    without = set(skip)
    for t in range(0, int(until), 30):
        mx = OLD if t < 300 else NEW
        for address in world.plan["authorities"]:
            if f"authority:{address}" not in without:
                world.authority(t, address, mx)
        late = OLD if t < 330 else NEW
        for who in world.plan["resolvers"]:
            if f"resolver:{who}" not in without:
                world.resolver(t + 1, who, late, 60)
    for t in range(310, int(until), 60):
        for route in world.plan["routes"]:
            if f"route:{route}" not in without:
                world.canary(t, route)
    for n, t in enumerate(range(10, 300, 20)):
        world.mail(t, "old", f"before-{n}")
    for n, t in enumerate(range(360, int(until), 20)):
        if "arrivals" not in without:
            world.mail(t, "new", f"after-{n}")
    for side in ("old", "new"):
        if f"log:{side}" not in without:
            world.covered(0, until, f"log:{side}")
    return world
