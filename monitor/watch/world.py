"""The real world as the schedules ask it: one plan's probes, wired to its endpoints and its secrets."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

from monitor.exits import Exit, Failure
from monitor.plan.model import Account, CutoverPlan, Host
from monitor.watch.authorities import Authorities
from monitor.watch.files import make_room
from monitor.watch.honesty import Port53
from monitor.watch.pace import gap
from monitor.watch.vault import Vault, login
from monitor.watch.ways import Ways
from probes.dns.authority import Walker
from probes.dns.exchange import Exchange
from probes.dns.records import ask_records
from probes.endpoints import Endpoints
from probes.mail.accepted import Accepted
from probes.mail.canary import Signer, compose
from probes.mail.connect import addresses_of, resolved
from probes.mail.mailbox import Box, Mailboxes
from probes.mail.routes import SMTP_PORT, Login, Outgoing, send
from probes.mail.trace import Place
from probes.observation import CanarySent, Observation, Queue, Side, Skip, now
from probes.oldhost.follow import follow_log
from probes.oldhost.queue import ask_queue
from probes.secret import Secret
from probes.service import Service
from probes.sight import Delegated, Server, Sight, Target, Tell

CANARY_SECONDS = 4400.0  # a little less than the schedule gives a canary


def _place(here: Host, there: Host) -> Place:
    services = [service.host for service in here.services.values()]
    return Place([*here.mx, *services], here.addresses, there.mx, there.addresses, addresses_of)


def signer_of(journal: Path) -> Signer:
    """The key by which canaries are recognised; beside the journal, for the owner alone.

    Raises ``Failure`` 74 or 78.
    """
    path = Path(f"{journal}.key")
    try:
        return Signer.load_or_create(path)
    except OSError as error:
        raise Failure(f"the canaries' key {path} cannot be used: {error.strerror}", Exit.IO) from None
    except ValueError as error:
        raise Failure(f"the canaries' key: {error}", Exit.BAD_PLAN) from None


class RealWorld:
    """Fills :class:`monitor.watch.asking.Asking`. Made within a running loop."""

    def __init__(self, plan: CutoverPlan, vault: Vault, journal: Path) -> None:
        self._plan, self._vault = plan, vault
        self._endpoints = Endpoints(plan.endpoints)
        self._exchange = Exchange(self._endpoints)
        self._walker = Walker(self._exchange, plan.hints)
        self._authorities = Authorities(self._exchange, self._walker, plan.domain)
        self._ways = Ways(self._exchange, self._walker, gap(plan.cadence.resolver))
        self._port53 = Port53(
            self._exchange,
            self._endpoints,
            plan.resolvers,
            plan.platforms,
            domain=plan.domain,
            hints=plan.hints,
        )
        self._port53.authorities = plan.authorities or ()
        self._signer = signer_of(journal)
        make_room(2 * len(plan.accounts))
        self._mailboxes = Mailboxes(
            self._signer, self._endpoints, plan.cadence.mailbox, plan.cadence.coverage
        )
        self._accepted = Accepted(plan.old.addresses, plan.old.mx)
        self._places = {"old": _place(plan.old, plan.new), "new": _place(plan.new, plan.old)}

    # DNS

    async def discover(self, tell: Tell) -> Delegated:
        found = await self._authorities.discover(self._port53.believing(tell))
        if self._plan.authorities is None and found.servers:
            self._port53.authorities = tuple(server.address for server in found.servers)
        return found

    async def port53(self, tell: Tell) -> None:
        await self._port53.follow(tell)

    async def authority(self, server: Server, hosts: Sequence[str], tell: Tell) -> Sequence[Observation]:
        return await self._authorities.ask(server, hosts, await self._believing(tell))

    async def hosts(self, hosts: Sequence[str], tell: Tell) -> Sequence[Observation]:
        return await self._authorities.hosts(hosts, await self._believing(tell))

    async def records(self, server: Server, tell: Tell) -> Sequence[Observation]:
        tell = await self._believing(tell)
        return await ask_records(self._exchange, server, self._plan.domain, self._plan.new.mx, tell=tell)

    async def resolver(self, resolver: str, hosts: Sequence[str], tell: Tell) -> Sequence[Observation]:
        tell = await self._believing(tell)
        plain = self._port53.plain(resolver)
        return await self._ways.ask(resolver, self._plan.domain, hosts, plain=plain, tell=tell)

    async def _believing(self, tell: Tell) -> Tell:
        """``tell``, once it is known whether port 53 is to be believed."""
        await self._port53.ready()
        return self._port53.believing(tell)

    # Canaries

    async def canary(
        self, route: str, account: Account, target: Target | None, tell: Tell
    ) -> Sequence[Observation]:
        canary, sender = self._signer.mint(), self._sender(route, account)
        message = compose(self._signer, canary, route, sender, account.address, now(), self._plan.language)
        out = Outgoing(canary=canary, route=route, sender=sender, recipient=account.address, message=message)
        try:
            to, port, with_ = await self._way(route, account, target)
        except (OSError, Failure) as error:
            await tell(nowhere := _nowhere(out, str(error)))
            return [nowhere]
        handed = await send(
            out, to, self._endpoints, self._helo(sender), CANARY_SECONDS, login=with_, port=port, tell=tell
        )
        if handed.login_refused:
            self._refused(route, account)
        return handed.attempts

    def _sender(self, route: str, account: Account) -> str:
        """A relay lets its own user send, and seldom anybody else."""
        relay = self._plan.relays.get(route.removeprefix("relay:"))
        if relay is not None and route.startswith("relay:"):
            login = relay.login if relay.login and "@" in relay.login else ""
            return relay.sender or login or self._plan.sender or account.address
        return self._plan.sender or account.address

    async def _way(
        self, route: str, account: Account, target: Target | None
    ) -> tuple[Target | Service, int, Login | None]:
        """To whom, on which port 25, and as whom. Raises ``OSError`` and ``Failure`` where that is not to be
        had."""
        if route.startswith("relay:"):
            relay = self._plan.relays[route[6:]]  # the plan's own checks see to it
            secret = await self._vault.relay(route[6:]) if relay.login is not None else None
            return relay.service, 0, Login(relay.login, secret) if relay.login and secret else None
        side = _submitted_at(route)
        if side is not None:
            service = self._host(side).submission
            assert service is not None  # the plan's own checks see to it
            return service, 0, Login(login(side, account), await self._vault.secret(side, account))
        if target is not None:
            return target, SMTP_PORT, None
        host = self._host("old" if route == "to-old" else "new")
        return await self._straight(host), host.smtp_port, None

    def _refused(self, route: str, account: Account) -> None:
        side = _submitted_at(route)
        if side is not None:
            self._vault.forget(side, account)
        elif route.startswith("relay:"):
            self._vault.forget_relay(route[6:])

    async def _straight(self, host: Host) -> Target:
        """Port 25 of one side, whatever DNS says. Raises ``OSError`` where it has no address."""
        name = next((name for name in host.mx if "*" not in name), None)
        if host.addresses:
            return Target(name or host.addresses[0], host.addresses[0])
        if name is None:
            raise OSError("the plan names neither an exchange nor an address of that host")
        return Target(name, (await resolved(Service(host=name, port=25, tls="none")))[0])

    def _host(self, side: Side) -> Host:
        return self._plan.old if side == "old" else self._plan.new

    def _helo(self, sender: str) -> str:
        return sender.rpartition("@")[2] or self._plan.domain.rstrip(".")

    # Mailboxes and the log

    def mailbox(self, side: Side, account: Account, position: Any) -> AsyncIterator[Sight]:
        host = self._host(side)
        service = host.mailboxes
        assert service is not None  # the schedule asks for none where there is none

        async def secret() -> Secret:
            return await self._vault.secret(side, account)

        def refused() -> None:
            self._vault.forget(side, account)

        box = Box(
            side=side, account=account.address, service=service, login=login(side, account),
            secret=secret, refused=refused, place=self._places[side],
            protocol=host.protocol, folders=host.folders,
        )  # fmt: skip
        return self._mailboxes.follow(box, position)

    def log(self, position: Any) -> AsyncIterator[Sight]:
        source, plan = self._plan.old.log, self._plan
        assert source is not None  # the schedule asks for none where there is none
        return follow_log(
            source.source, domain=plan.domain, recognise=self._signer.recognise, zone=source.zone,
            queued=self._accepted.canary, format=source.format, history=source.history,
            own=plan.old.addresses, others=plan.new.addresses, poll=plan.cadence.log,
            coverage=plan.cadence.coverage, heartbeat=5 * plan.cadence.coverage, position=position,
        )  # fmt: skip

    async def queue(self) -> Queue | Skip:
        old = self._plan.old
        return await ask_queue(old.queue_command, zone=old.log.zone if old.log else None)

    def sent(self, seen: CanarySent) -> None:
        self._accepted.hear(seen)

    async def close(self) -> None:
        await self._mailboxes.close()
        await self._exchange.close()


def _submitted_at(route: str) -> Side | None:
    return {"via-old": "old", "via-new": "new"}.get(route)  # type: ignore[return-value]


def _nowhere(out: Outgoing, reason: str) -> CanarySent:
    """It could not even be begun: that is a fact about the route as well."""
    return CanarySent(
        at=now(), canary=out.canary, route=out.route, recipient=out.recipient, outcome="unreachable",
        host=None, address=None, reply=reason,
    )  # fmt: skip
