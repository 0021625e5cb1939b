"""A watch of its own on real name servers: the delegation itself moves, to servers whose zone is signed."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from monitor.folding import Fold
from monitor.journal import Journal, JournalReader
from monitor.plan.model import Cadence, CutoverPlan, Host
from monitor.plan.observed import plan_observation
from monitor.verdict.model import Judgement
from monitor.watch import Watch
from monitor.watch.vault import Vault
from monitor.watch.world import RealWorld
from probes.observation import AuthorityAnswer, Observation, Plan, Policy, now
from tests.servers import signing
from tests.servers.addresses import Addresses, draw
from tests.servers.daemon import needs, wait_until
from tests.servers.nsd import Nsd

pytestmark = pytest.mark.servers
APEX, OLD, NEW = "move.example.", "10 mail.old.test.", "10 mail.new.test."
PARENT_TTL, ZONE_TTL = 8, 4


class Net:
    """The root with ``example.``, the old name server (``primary``) and the new one (``secondary``)."""

    def __init__(self, directory: Path, addresses: Addresses) -> None:
        self.addresses, self.directory = addresses, directory
        self.root = Nsd("root", addresses.root, directory, [".", "example."])
        self.old = Nsd("old", addresses.primary, directory, [APEX])
        self.new = Nsd("new", addresses.secondary, directory, [APEX])
        self.keys = signing.make_keys(directory, APEX)
        for apex in (".", "example."):
            self.root.serve(apex)
        for server in (self.old, self.new):
            server.serve(APEX)
        top = [(".", "NS", "a.root.example."), ("example.", "NS", "a.root.example."), self._root(),
               ("example.", "DS", self.keys.ds)]  # fmt: skip
        signing.write(self.root.directory, ".", signing.zone_text(".", 1, 3600, top))
        self.delegate(1, "old")
        self.serve(self.old, 1, OLD, "old", end="now+86400")
        self.serve(self.new, 1, NEW, "new", end="now+86400")

    def _root(self) -> tuple[str, str, str]:
        return "a.root.example.", "A", self.addresses.root

    def _own(self, which: str) -> tuple[str, str, str]:
        return (
            f"ns.{which}.{APEX}",
            "A",
            self.addresses.primary if which == "old" else self.addresses.secondary,
        )

    def delegate(self, serial: int, which: str) -> None:
        records = [("example.", "NS", "a.root.example."), self._root(), (APEX, "NS", f"ns.{which}.{APEX}"),
                   self._own(which), (APEX, "DS", self.keys.ds)]  # fmt: skip
        signing.write(
            self.root.directory, "example.", signing.zone_text("example.", serial, PARENT_TTL, records)
        )

    def serve(self, server: Nsd, serial: int, mx: str, which: str, **more: str) -> None:
        records = [(APEX, "NS", f"ns.{which}.{APEX}"), (APEX, "MX", mx), self._own(which)]
        text = signing.zone_text(APEX, serial, ZONE_TTL, records)
        signing.write_signed(server.directory, self.keys, text, **more)

    def reload(self, server: Nsd, apex: str, serial: int) -> None:
        server.reload(apex)
        wait_until(lambda: server.serves(apex, serial), f"{apex} {serial}")


@pytest.fixture
def net() -> Iterator[Net]:
    needs("nsd", "nsd-control", *signing.PROGRAMS)
    with tempfile.TemporaryDirectory(prefix="mx-") as name, contextlib.ExitStack() as stack:
        directory = Path(name)
        directory.chmod(0o711)
        built = Net(directory, draw())
        for server in (built.root, built.old, built.new):
            stack.enter_context(server.daemon)
        yield built


def plan(net: Net) -> CutoverPlan:
    return CutoverPlan(
        path=Path("cutover.toml"), domain=APEX, expected_mx=(NEW,),
        old=Host(mx=("mail.old.test.",), addresses=("192.0.2.10",)),
        new=Host(mx=("mail.new.test.",), addresses=("192.0.2.20",)),
        accounts=(), resolvers=(), platforms={}, routes=(), hints=(net.addresses.root,),
        policy=Policy(freshness=5), cadence=Cadence(authority=0.2),
    )  # fmt: skip


class Run:
    def __init__(self, made: CutoverPlan, path: Path, journal: Journal) -> None:
        self.path, self.stop = path, asyncio.Event()
        self.changes: list[Judgement] = []
        world = RealWorld(made, Vault(made), path)
        self.watch = Watch(made, journal, Fold(), on_change=self.changes.append, asking=world)
        self.task = asyncio.create_task(self.watch.run(self.stop))

    def seen(self) -> list[Observation]:
        with JournalReader(self.path) as reader:
            return list(reader.observations())

    def lists(self) -> list[tuple[str, ...]]:
        return [p.authorities for p in self.seen() if isinstance(p, Plan)]

    def reason(self) -> tuple[str, str]:
        judgement = self.watch.judgement()
        authority = judgement.findings[0] if judgement is not None else None
        return ("", "") if authority is None else (authority.code, str(authority.args.get("server")))

    async def until(self, holds: Callable[[], object]) -> None:
        async with asyncio.timeout(40):
            while not holds():
                assert not self.task.done(), self.task.result()
                await asyncio.sleep(0.1)


@contextlib.asynccontextmanager
async def watching(net: Net) -> AsyncIterator[Run]:
    made, path = plan(net), net.directory / "cutover.journal"
    with Journal.create(path, plan_observation(made, [net.addresses.primary], now())) as journal:
        run = Run(made, path, journal)
        try:
            yield run
            run.stop.set()
            await run.task
        finally:
            run.task.cancel()
            await asyncio.gather(run.task, return_exceptions=True)


async def test_the_old_name_server_counts_until_no_cache_can_come_to_it(net: Net) -> None:
    old, new = net.addresses.primary, net.addresses.secondary
    async with watching(net) as run:
        await run.until(lambda: run.reason() == ("authority.serves_old", old))
        net.delegate(2, "new")
        net.reload(net.root, "example.", 2)
        await run.until(lambda: run.reason() == ("authority.left", old))
        await run.until(lambda: run.lists()[-1] == (new,))
        await run.until(lambda: run.reason()[0] == "authority.met")
        judgement = run.watch.judgement()
    assert judgement is not None and judgement.horizon is not None
    assert run.lists() == [(old,), (old, new), (new,)]
    answers = [a for a in run.seen() if isinstance(a, AuthorityAnswer)]
    referrals = [a for a in answers if a.outcome == "referral" and a.type == "NS"]
    assert {a.rrset for a in referrals} == {(f"ns.old.{APEX}",), (f"ns.new.{APEX}",)}
    last = max(a.at for a in referrals if a.rrset == (f"ns.old.{APEX}",))
    asked = max(a.at for a in answers if a.address == old)
    assert (asked - last).total_seconds() > PARENT_TTL - 1, (
        "it was asked for the parent's TTL after its last word"
    )
    assert (judgement.horizon - asked).total_seconds() > ZONE_TTL - 1, (
        "and its last old answer lives on for its own"
    )
    assert {a.dnssec for a in answers if a.type == "MX"} == {"secure"}


async def test_a_zone_that_is_edited_and_not_signed_again_alarms(net: Net) -> None:
    old = net.addresses.primary
    async with watching(net) as run:
        await run.until(lambda: run.reason() == ("authority.serves_old", old))
        net.serve(net.old, 2, OLD, "old", end="now+86400", edit=lambda text: text.replace(OLD, NEW))
        net.reload(net.old, APEX, 2)
        await run.until(lambda: run.reason() == ("authority.bogus_forged", old))
        await run.until(lambda: run.changes[-1].code == "verdict.alarm_bogus")
        net.serve(net.old, 3, NEW, "old", end="now+86400")
        net.reload(net.old, APEX, 3)
        await run.until(lambda: run.reason()[0] == "authority.met")
        await run.until(lambda: run.changes[-1].verdict != "alarm")
