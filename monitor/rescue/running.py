"""Every account's stragglers, some accounts at a time; what is on new goes into the evidence at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from msgspec import Struct

from monitor.boxes import AT_A_TIME, Opened, ended, opened
from monitor.exits import Exit, Failure
from monitor.journal import post
from monitor.plan.model import Account, CutoverPlan
from monitor.rescue.account import Rescuer
from monitor.rescue.ledger import Ledger
from monitor.rescue.model import HOLDS, Rescued
from monitor.snapshot import StragglerRow
from monitor.watch.vault import Vault
from probes.mail.carrier import Carrier
from probes.mail.imap import Gone
from probes.observation import Mail, Side, now

SIDES: tuple[Side, Side] = ("old", "new")


class Errand(Struct, frozen=True, kw_only=True):
    """One account and the stragglers that may lie in it."""

    account: Account
    stragglers: tuple[StragglerRow, ...]


def errands(
    plan: CutoverPlan, stragglers: Sequence[StragglerRow], only: Iterable[str] = ()
) -> tuple[list[Errand], list[StragglerRow]]:
    """Who is to be looked at for which; and the stragglers for which there is nobody.

    A recipient that is no account (an alias, one that the log does not show) may have been delivered to any.
    """
    chosen = {one.lower() for one in only}
    usable = [a for a in plan.accounts if a.old_secret is not None and a.new_secret is not None]
    usable = [a for a in usable if not chosen or a.address.lower() in chosen]
    known = {account.address.lower(): account for account in plan.accounts}
    mine: dict[str, list[StragglerRow]] = {account.address: [] for account in usable}
    nobody = []
    for one in stragglers:
        account = known.get(_plain(one.recipient))
        for address in [account.address] if account is not None else list(mine):
            mine.get(address, []).append(one)
        if not chosen and not (mine if account is None else account in usable):
            nobody.append(one)
    by_address = {account.address: account for account in usable}
    found = [Errand(account=by_address[a], stragglers=tuple(those)) for a, those in mine.items() if those]
    return found, nobody


def _plain(recipient: str) -> str:
    """Without a detail (RFC 5233): ``suga+list@`` goes to ``suga@``."""
    local, at, domain = recipient.lower().rpartition("@")
    return f"{local.partition('+')[0]}{at}{domain}"


class Rescue:
    """``told`` hears of each as it is done. ``warnings``: what could not be put into the evidence."""

    def __init__(
        self, plan: CutoverPlan, vault: Vault, journal: Path, *, dry: bool, told: Callable[[Rescued], None]
    ) -> None:
        self._plan, self._vault, self._journal = plan, vault, journal
        self._dry, self._told = dry, told
        self._gate, self._posting = asyncio.Semaphore(AT_A_TIME), asyncio.Lock()
        self.warnings: list[str] = []

    async def run(self, errands: Sequence[Errand]) -> list[Rescued]:
        """Raises ``Failure`` 74 where the ledger cannot be had or written."""
        with Ledger(self._journal) as ledger:
            try:
                async with asyncio.TaskGroup() as group:
                    tasks = [group.create_task(self._errand(ledger, errand)) for errand in errands]
            except BaseExceptionGroup as several:
                raise _first(several) from None
        return [one for task in tasks for one in task.result()]

    async def _errand(self, ledger: Ledger, errand: Errand) -> list[Rescued]:
        found: list[Rescued] = []
        async with self._gate:
            try:
                await self._between(ledger, errand, found)
            except (Gone, Failure) as error:
                if isinstance(error, Failure) and error.code == Exit.IO:
                    raise
                done = {one.straggler for one in found}
                rest = [one for one in errand.stragglers if one not in done]
                found += [_failed(one, errand.account, str(error)) for one in rest]
        for one in found:
            if one.outcome == "failed":
                self._told(one)
        if not self._dry:
            await self._evident(errand, found)
        return found

    async def _between(self, ledger: Ledger, errand: Errand, found: list[Rescued]) -> None:
        sessions: list[Opened] = []
        try:
            for side in SIDES:
                sessions.append(await opened(self._plan, self._vault, side, errand.account))
            old, new = sessions
            if not isinstance(new, Carrier):
                raise Gone("new: nothing can be put there over POP3: the plan needs [new.imap]")
            rescuer = Rescuer(errand.account.address, old, new, ledger, dry=self._dry)
            work = rescuer.run(errand.stragglers)
            while (one := await asyncio.to_thread(next, work, None)) is not None:
                found.append(one)
                self._told(one)
        finally:
            for session in sessions:
                ended(session)

    async def _evident(self, errand: Errand, found: Sequence[Rescued]) -> None:
        """A straggler all of whose copies are on new is one no more: the record is told so."""
        words = []
        for straggler in errand.stragglers:
            mine = [one for one in found if one.straggler == straggler]
            if mine and all(one.outcome in HOLDS for one in mine):
                words += _word(straggler, mine[0])
        if not words:
            return
        async with self._posting:
            try:
                await asyncio.to_thread(post, self._journal, *words)
            except Failure as failure:
                self.warnings.append(str(failure))


def _word(straggler: StragglerRow, one: Rescued) -> list[Mail]:
    """Nothing for a message that the record knows by its queue id alone: new has that under another one."""
    name, header_digest = straggler.message_id, straggler.message_id == straggler.digest
    if name is None or name == straggler.queue_id:
        return []
    at = now()
    return [
        Mail(
            at=at, side="new", accepted_at=min(at, one.date or straggler.accepted_at), source="mailbox",
            recipient=straggler.recipient, message_id=None if header_digest else name, client=None, helo=None,
            origin="unknown", disposition="delivered", queue_id=None, digest=name if header_digest else None,
        )
    ]  # fmt: skip


def _failed(straggler: StragglerRow, account: Account, why: str) -> Rescued:
    return Rescued(straggler=straggler, account=account.address, outcome="failed", detail=why)


def _first(several: BaseExceptionGroup[BaseException]) -> BaseException:
    causes: list[BaseException] = [several]
    for cause in causes:
        if isinstance(cause, BaseExceptionGroup):
            causes.extend(cause.exceptions)
        elif isinstance(cause, (Failure, OSError)):  # a reader of our output that went away
            return cause
    return several


def summed(found: Iterable[Rescued]) -> list[Rescued]:
    """Of a straggler that was looked for in many accounts and lies in one, that one alone; of one that lies
    in none, one line."""
    kept: dict[StragglerRow, list[Rescued]] = {}
    for one in found:
        kept.setdefault(one.straggler, []).append(one)
    rows: list[Rescued] = []
    for mine in kept.values():
        found = [one for one in mine if one.outcome not in ("absent", "failed")]
        failed = [one for one in mine if one.outcome == "failed"]
        rows += found or failed or mine[:1]
    return rows


def exit_code(rows: Sequence[Rescued]) -> Exit:
    """69 where a host or login was not to be had; 10 where something is not on new; else 0."""
    if any(one.outcome == "failed" for one in rows):
        return Exit.UNAVAILABLE
    return Exit.OK if all(one.outcome in HOLDS for one in rows) else Exit.NOT_YET
