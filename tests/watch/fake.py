"""A world in memory for the schedules: it answers as the test tells it to."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

from monitor.plan.model import Account, Cadence, CutoverPlan, Host, LogSource
from monitor.watch.asking import Delegated, Server, Sight, Target, Tell
from probes.logsource import Files
from probes.observation import (
    AuthorityAnswer,
    CanaryLanded,
    CanarySent,
    Coverage,
    Mail,
    Observation,
    Policy,
    Queue,
    ResolverAnswer,
    Side,
    Skip,
    now,
)  # fmt: skip
from probes.service import Service

OLD, NEW = "10 mail.example.jp.", "10 mx1.new.example."
ADDRESSES = {"mail.example.jp.": "192.0.2.10", "mx1.new.example.": "198.51.100.20"}


def plan(**changes: Any) -> CutoverPlan:
    service = Service(host="mail.example.jp.", port=993, tls="implicit")
    usual: dict[str, Any] = {
        "path": Path("cutover.toml"),
        "domain": "example.jp.",
        "old": Host(
            mx=("mail.example.jp.",), addresses=("192.0.2.10",), submission=service, imap=service,
            log=LogSource(source=Files(Path("mail.log"))),
        ),
        "new": Host(mx=("mx1.new.example.",), addresses=("198.51.100.20",), submission=service, imap=service),
        "expected_mx": (NEW,),
        "accounts": (
            Account(
                address="a@example.jp", old_login="a", new_login="a", old_secret="file:a", new_secret="file:a"
            ),
            Account(address="b@example.jp", old_login="b", new_login="b"),
        ),
        "resolvers": ("192.0.2.53", "192.0.2.54"),
        "platforms": {},
        "routes": ("via-old", "mx"),
        "policy": Policy(quiet_for=2, canary_streak=1, canary_deadline=2, freshness=3, settle_samples=2),
        "cadence": Cadence(authority=0.1, resolver=0.1, canary=0.2, mailbox=0.2, log=0.1, coverage=0.5),
    }  # fmt: skip
    return CutoverPlan(**(usual | changes))


class World:
    """Counts what is asked. ``mx``: the RRset everywhere; ``silent``: sources that do not answer."""

    def __init__(self) -> None:
        self.mx = OLD
        self.servers = [Server("ns1.example.", "203.0.113.1")]
        self.ns_ttl = 0
        self.silent: set[str] = set()
        self.broken: set[str] = set()
        self.asked: Counter[str] = Counter()
        self.targets: list[Target | None] = []
        self.resumed: dict[str, Any] = {}
        self.accounts: set[str] = set()
        self.lines = 10**9
        self.closed = False

    async def discover(self, tell: Tell) -> Delegated:
        self.asked["discover"] += 1
        return Delegated(tuple(self.servers), self.ns_ttl)

    async def port53(self, tell: Tell) -> None:
        await asyncio.Event().wait()

    async def authority(self, server: Server, hosts: Sequence[str], tell: Tell) -> Sequence[Observation]:
        self._count(server.address)
        silent = server.address in self.silent
        return await told(tell, [
            AuthorityAnswer(
                at=now(), server=server.name, address=server.address, transport="udp", name="example.jp.",
                type="MX", outcome="timeout" if silent else "answer", rrset=() if silent else (self.mx,),
                ttl=5, serial=1, aa=True, rtt_ms=1.5,
            )
        ])  # fmt: skip

    async def hosts(self, hosts: Sequence[str], tell: Tell) -> Sequence[Observation]:
        self._count("hosts")
        return await told(tell, [self._served(h, "A", ADDRESSES[h]) for h in hosts if h in ADDRESSES])

    async def records(self, server: Server, tell: Tell) -> Sequence[Observation]:
        self._count("records")
        return await told(tell, [self._served("example.jp.", "TXT", '"v=spf1 ip4:192.0.2.10 -all"')])

    def _served(self, name: str, kind: str, rdata: str) -> Observation:
        return AuthorityAnswer(
            at=now(), server="ns.example.", address="203.0.113.1", transport="udp", name=name, type=kind,
            outcome="answer", rrset=(rdata,), ttl=5, serial=None, aa=True, rtt_ms=1,
        )  # fmt: skip

    async def resolver(self, resolver: str, hosts: Sequence[str], tell: Tell) -> Sequence[Observation]:
        self._count(resolver)
        if resolver in self.silent:
            return await told(tell, [self._answered(resolver, "example.jp.", "MX", "timeout", "")])
        found = [self._answered(resolver, "example.jp.", "MX", "answer", self.mx)]
        known = [host for host in hosts if host in ADDRESSES]
        found += [self._answered(resolver, host, "A", "answer", ADDRESSES[host]) for host in known]
        return await told(tell, found)

    def _answered(self, resolver: str, name: str, kind: str, outcome: Any, rdata: str) -> Observation:
        return ResolverAnswer(
            at=now(), resolver=resolver, transport="udp", name=name, type=kind, outcome=outcome, cache=None,
            ede=(), rrset=(rdata,) if rdata else (), ttl=2, rtt_ms=0.2,
        )  # fmt: skip

    async def canary(
        self, route: str, account: Account, target: Target | None, tell: Tell
    ) -> Sequence[Observation]:
        self._count(f"route:{route}")
        self.targets.append(target)
        self.accounts.add(account.address)
        canary = f"c-{self.asked.total()}"
        side: Side = "old" if self.mx == OLD else "new"
        return await told(tell, [
            CanarySent(
                at=now(), canary=canary, route=route, recipient=account.address, outcome="accepted",
                host="mx1.new.example.", address="198.51.100.20", reply="250 Ok",
            ),
            CanaryLanded(
                at=now(), canary=canary, side=side, account=account.address, folder="INBOX", protocol="imap",
                latency_ms=3, hops=(),
            ),
        ])  # fmt: skip

    async def mailbox(self, side: Side, account: Account, position: Any) -> AsyncIterator[Sight]:
        key = f"mailbox:{side}:{account.address}"
        self._count(key)
        self.resumed.setdefault(key, position)
        while True:
            began = now()
            await asyncio.sleep(0.1)
            yield [Coverage(at=now(), source=key, from_=began, to=now())], (key, [1, 7])

    async def log(self, position: Any) -> AsyncIterator[Sight]:
        """Numbered messages, one after the other; the position is the last number."""
        self._count("log")
        self.resumed.setdefault("log:old", position)
        for number in range((position or 0) + 1, self.lines + 1):
            await asyncio.sleep(0.002)
            yield [mail(number)], ("log:old", number)

    async def queue(self) -> Queue | Skip:
        self._count("queue")
        if "queue" in self.silent:
            return Skip(at=now(), subject="queue:old", reason="postqueue ended with status 69")
        return Queue(at=now(), side="old", messages=2, oldest_at=now())

    def sent(self, seen: CanarySent) -> None:
        self.asked["sent"] += 1

    async def close(self) -> None:
        self.closed = True

    def _count(self, subject: str) -> None:
        self.asked[subject] += 1
        if subject in self.broken:
            raise ZeroDivisionError("a fault in the probe")


async def told(tell: Tell, seen: Sequence[Observation]) -> Sequence[Observation]:
    for one in seen:
        await tell(one)
    return seen


def mail(number: int) -> Mail:
    return Mail(
        at=now(), side="old", accepted_at=now(), source="log", recipient="a@example.jp",
        message_id=f"<{number}@sender.example>", client="203.0.113.77", helo="mta", origin="outside",
        disposition="delivered", queue_id=str(number),
    )  # fmt: skip
