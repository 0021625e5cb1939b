"""The rehearsal's world: every server of a small cutover, on loopback, and the story that plays in it."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from types import TracebackType

from monitor.rehearsal import zones
from monitor.rehearsal.authority import Authority
from monitor.rehearsal.certificates import CertificateAuthority
from monitor.rehearsal.loopback import Loopback, Pace
from monitor.rehearsal.mailhost import Identity, MailHost
from monitor.rehearsal.maillog import MailLog
from monitor.rehearsal.planfile import write_plan
from monitor.rehearsal.resolver import Resolver
from monitor.rehearsal.scenarios import ACCOUNTS, DOMAIN, HABITS, Act, Scenario
from monitor.rehearsal.senders import HOME, Colleague, Post, run_all, write_history
from monitor.rehearsal.store import Mailbox, Store
from monitor.rehearsal.truth import Truth, moment

OVER_QUOTA = "552 5.2.2 <{recipient}>: Recipient address rejected: Mailbox is full"


class World:
    """``async with World(scenario, speed, directory) as world``: servers run, ``world.plan_path`` is a
    plan for them; ``await world.play()`` plays the story to its end. ``on_act`` is called after each act.

    ``directory`` is the caller's to remove. Raises ``OSError`` where sockets or files cannot be had.
    """

    def __init__(
        self, scenario: Scenario, speed: float, directory: Path,
        on_act: Callable[[Act], None] | None = None, seed: int = 2026,
    ) -> None:  # fmt: skip
        self.scenario = scenario
        self.directory = directory
        self.pace = Pace(speed)
        self.truth = Truth()
        self.net = Loopback()
        self.plan_path = directory / "cutover.toml"
        self.log_path = directory / "mail.log"
        self.acts_done = asyncio.Event()
        self.changed_at: datetime | None = None
        self.on_act = on_act or (lambda act: None)
        self._post = Post(seed)

    # -- building it ----------------------------------------------------------------------------------

    async def __aenter__(self) -> World:
        self._stack = contextlib.AsyncExitStack()
        async with contextlib.AsyncExitStack() as stack:
            await self._build_dns(stack)
            await self._build_hosts(stack)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def _build_dns(self, stack: contextlib.AsyncExitStack) -> None:
        self.root = Authority(*zones.ROOT, zones.parents())
        self.primary = Authority(*zones.PRIMARY, zones.children(self.pace, changed=False))
        self.secondary = Authority(*zones.SECONDARY, zones.children(self.pace, changed=False))
        for server in (self.root, self.primary, self.secondary):
            stack.push_async_callback(server.close)
            self.net.announce(server.address, 53, await server.start())
        authorities = (self.primary.address, self.secondary.address)
        self.resolvers = {
            habit.address: Resolver(habit, authorities, self.net, self.pace)
            for habit in self.scenario.habits or HABITS
        }
        for address, resolver in self.resolvers.items():
            stack.push_async_callback(resolver.close)
            self.net.announce(address, 53, await resolver.start())
            await resolver.warm(DOMAIN, "MX")

    async def _build_hosts(self, stack: contextlib.AsyncExitStack) -> None:
        ca = CertificateAuthority(self.directory)
        self.ca_path = ca.path
        logins = {f"{a}@{HOME}": a for a in ACCOUNTS}
        old_store = Store([Mailbox(a, login, f"old-{login}", 1000) for a, login in logins.items()])
        new_store = Store([Mailbox(a, a, f"new-{login}", 2000) for a, login in logins.items()])
        log = MailLog(self.log_path, "mail")
        self.history = write_history(self._post, log, old_store, new_store, self.pace, moment())
        self.old = self._host(_old(), old_store, ca, log)
        self.new = self._host(_new(), new_store, ca, None)
        for host in (self.old, self.new):
            stack.push_async_callback(host.close)
            await host.start()
        self._colleague = Colleague(
            self.old.who, ("carol", "old-carol"), ssl.create_default_context(cafile=ca.path)
        )
        write_plan(self)

    def _host(self, who: Identity, store: Store, ca: CertificateAuthority, log: MailLog | None) -> MailHost:
        context = (
            ca.server_context(who.name, "mx2.new.example")
            if who.side == "new"
            else ca.server_context(who.name)
        )
        return MailHost(who, store, context, self.net, self.pace, self.truth, log)

    # -- playing it -----------------------------------------------------------------------------------

    async def play(self) -> None:
        """Play the whole story; returns at its end. Senders write as long as it lasts."""
        begin = asyncio.get_running_loop().time()
        writing = asyncio.create_task(run_all(self._post, self._colleague, self.net, self.pace, self.truth))
        try:
            for act in sorted(self.scenario.acts, key=lambda a: a.at):
                await self._until(begin, act.at)
                self.perform(act)
            self.acts_done.set()
            await self._until(begin, self.scenario.length)
        finally:
            writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)

    async def _until(self, begin: float, at: float) -> None:
        await asyncio.sleep(max(0.0, begin + self.pace.real(at) - asyncio.get_running_loop().time()))

    def perform(self, act: Act) -> None:
        """Do one thing of the story now."""
        deeds: dict[str, Callable[[str], None]] = {
            "let-go": self._let_go,
            "change-mx": self._change,
            "secondary-catches-up": lambda _: self.secondary.load(self.primary.zones),
            "user-moves": self._user_moves,
            "copy": self._copy,
            "cut-off": lambda address: setattr(self.resolvers[address], "cut_off", True),
            "reconnect": lambda address: setattr(self.resolvers[address], "cut_off", False),
            "mailbox-full": lambda account: self.new.refuses.__setitem__(account, OVER_QUOTA),
            "mailbox-mended": self.new.refuses.__delitem__,
            "waive-lost": lambda _: None,  # the operator's affair, not a server's
        }
        deeds[act.do](act.subject)
        self.on_act(act)

    def _change(self, _: str) -> None:
        self.primary.load(zones.children(self.pace, changed=True))
        self.changed_at = moment()

    def _let_go(self, _: str) -> None:
        """The domain is no longer old's own. Before the change that takes a transport entry."""
        if self.changed_at is None:
            self.old.transport = self.new.who.client
        self.old.local = False

    def _user_moves(self, _: str) -> None:
        self._colleague.set_to(self.new.who, (self._colleague.address, "new-carol"))

    def _copy(self, _: str) -> None:
        """What lies on old and not on new is copied, as a last run of imapsync does."""
        there = self.truth.landed_on("new")
        for entry in [e for e in self.truth.landed if e.side == "old" and e.message_id not in there]:
            mailbox = self.old.store.of(entry.account)
            for message in mailbox.folders[entry.folder].messages if mailbox else ():
                if entry.message_id.encode() in message.raw:
                    self.new.adopt(
                        entry.account, message.raw, entry.message_id, entry.folder, message.internal_date
                    )


def _old() -> Identity:
    return Identity(
        side="old", name=zones.OLD_MX.rstrip("."), addresses=(zones.OLD_ADDRESS,), domain=DOMAIN,
        resolver="203.0.113.1", submission_tls="starttls", imap_tls="starttls",
    )  # fmt: skip


def _new() -> Identity:
    return Identity(
        side="new", name=zones.NEW_MX[0].rstrip("."), addresses=zones.NEW_ADDRESSES, domain=DOMAIN,
        resolver="203.0.113.4", submission_tls="implicit", imap_tls="implicit",
    )  # fmt: skip
