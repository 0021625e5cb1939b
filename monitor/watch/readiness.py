"""Whether a plan's hosts, logins and log are to be had: before a first watch, and for ``mxcutover check``."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

from msgspec import Struct

from monitor.exits import Exit, Failure
from monitor.plan.model import Account, CutoverPlan, Host
from monitor.watch.honesty import Port53, said
from monitor.watch.vault import Vault, login, reference
from probes.dns.exchange import Exchange
from probes.endpoints import Endpoints
from probes.logsource import Files
from probes.mail.routes import Login
from probes.observation import Side, Skip
from probes.oldhost.opening import readable
from probes.oldhost.queue import ask_queue
from probes.readiness.login import Trouble, try_mailbox, try_submission
from probes.service import Service

AT_A_TIME = 8
TRIED = 20  # logins on each side: a provider that sees more at once may lock the watcher out
SIDES: tuple[Side, Side] = ("old", "new")


class Checked(Struct, frozen=True):
    """One line about one thing. ``code`` None: it is to be had; else the exit code of what is wrong."""

    line: str
    code: Exit | None = None


async def examine(plan: CutoverPlan, vault: Vault) -> list[Checked]:
    """Every service of the plan with a login of its own, and the log; what is wrong stands first."""
    gate, work = asyncio.Semaphore(AT_A_TIME), list[Awaitable[Checked]]()
    for side in SIDES:
        work += _services(plan, vault, side, gate)
    work += [_relay(plan, vault, name, gate) for name in plan.relays]
    found = [*await _log(plan), *await _queue(plan), *await asyncio.gather(*work)]
    return sorted(found, key=lambda checked: checked.code is None)


async def port53(plan: CutoverPlan) -> list[Checked]:
    """For ``mxcutover check``: one line, and a fault where the authorities could not be judged from here."""
    endpoints = Endpoints(plan.endpoints)
    exchange = Exchange(endpoints)
    try:
        here = Port53(
            exchange, endpoints, plan.resolvers, plan.platforms, domain=plan.domain, hints=plan.hints
        )
        await here.ready()
    finally:
        await exchange.close()
    if not here.intercepted:
        return [Checked("port 53: no sign that somebody else answers there")]
    line = f"port 53: somebody else answers ({said(here.found.signs)}); watch from another network"
    return [Checked(line, Exit.UNAVAILABLE)]


async def _log(plan: CutoverPlan) -> list[Checked]:
    if plan.old.log is None:
        return []
    source = plan.old.log.source
    reason = await asyncio.to_thread(readable, source)
    if reason is None:
        return [Checked(f"old.log: {source} can be read")]
    mend = "mend path or rights" if isinstance(source, Files) else "mend [old.log] or the host"
    return [Checked(f"old.log: {source} cannot be read: {reason}; {mend}", Exit.IO)]


async def _queue(plan: CutoverPlan) -> list[Checked]:
    if not plan.old.queue_command:
        return []
    seen = await ask_queue(plan.old.queue_command, zone=plan.old.log.zone if plan.old.log else None)
    if isinstance(seen, Skip):
        return [Checked(f"old.queue_command: {seen.reason}; mend the command", Exit.IO)]
    count = "1 message waits" if seen.messages == 1 else f"{seen.messages} messages wait"
    return [Checked(f"old.queue_command: {count}")]


def _services(
    plan: CutoverPlan, vault: Vault, side: Side, gate: asyncio.Semaphore
) -> list[Awaitable[Checked]]:
    host, endpoints = (plan.old if side == "old" else plan.new), Endpoints(plan.endpoints)
    accounts = [account for account in plan.accounts if reference(side, account) is not None]
    found: list[Awaitable[Checked]] = []
    if host.submission is not None:
        first = accounts[0] if accounts else None
        found.append(_submission(vault, side, host.submission, first, endpoints, gate))
    if host.mailboxes is not None:
        found += [_mailbox(vault, side, host, one, endpoints, gate) for one in accounts[:TRIED]]
    return found


async def _submission(
    vault: Vault, side: Side, service: Service, account: Account | None, endpoints: Endpoints,
    gate: asyncio.Semaphore,
) -> Checked:  # fmt: skip
    key = f"{side}.submission"
    async with gate:
        try:
            with_ = await _login(vault, side, account) if account is not None else None
        except Failure as failure:
            return Checked(f"{key}: {failure}", Exit(failure.code))
        return _checked(key, service, await try_submission(service, with_, endpoints), account)


async def _relay(plan: CutoverPlan, vault: Vault, name: str, gate: asyncio.Semaphore) -> Checked:
    relay, key = plan.relays[name], f"relays.{name}"
    async with gate:
        try:
            with_ = Login(relay.login, await vault.relay(name)) if relay.login is not None else None
        except Failure as failure:
            return Checked(f"{key}: {failure}", Exit(failure.code))
        trouble = await try_submission(relay.service, with_, Endpoints(plan.endpoints))
    return _checked(key, relay.service, trouble, None)


async def _mailbox(
    vault: Vault, side: Side, host: Host, account: Account, endpoints: Endpoints, gate: asyncio.Semaphore
) -> Checked:
    service, protocol = host.mailboxes, host.protocol
    assert service is not None
    key = f"{side}.{protocol}"
    async with gate:
        try:
            with_ = await _login(vault, side, account)
        except Failure as failure:
            return Checked(f"{key}: {failure}", Exit(failure.code))
        return _checked(key, service, await try_mailbox(service, protocol, with_, endpoints), account)


async def _login(vault: Vault, side: Side, account: Account) -> Login:
    return Login(login(side, account), await vault.secret(side, account))


def _checked(key: str, service: Service, trouble: Trouble | None, account: Account | None) -> Checked:
    where = f"{key}: {service.host.rstrip('.')} port {service.port}"
    who = f" for {account.address}" if account is not None else ""
    if trouble is None:
        return Checked(f"{where}: works{who}")
    mend = "mend the login or its secret" if trouble.login else f"mend [{key}] in the plan or the server"
    return Checked(f"{where}{who}: {trouble.text}; {mend}", Exit.UNAVAILABLE)
