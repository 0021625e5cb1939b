"""The canaries in every mailbox that one was sent to, on both sides; deleted where that is asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Literal

import msgspec
from msgspec import Struct

from monitor.boxes import AT_A_TIME, Opened, ended, opened
from monitor.exits import Exit, Failure
from monitor.plan.model import Account, CutoverPlan
from monitor.watch.mail import sides
from monitor.watch.vault import Vault
from probes.mail.canary import FIELD, Signer, genuine, read_canary
from probes.mail.carrier import Carrier, Entry, Refused, Source
from probes.mail.imap import BATCH, Gone
from probes.mail.trace import message_id
from probes.observation import Side, now

Outcome = Literal["found", "deleted", "kept", "young", "failed"]
MARK = "mxcutover."
EARLIER = timedelta(days=1)


class Cleaned(Struct, frozen=True, kw_only=True):
    """One canary, or one mailbox that was not to be had.

    ``outcome``: ``found`` (a listing), ``deleted``, ``kept``: it bears a signature, but is not a canary as it
    was sent, or the server cannot delete it alone; ``young``: it may still be waited for; ``failed``.
    """

    account: str
    side: Side
    outcome: Outcome
    folder: str = ""
    canary: str = ""
    route: str = ""
    sent_at: datetime | None = None
    detail: str = ""


class Cleanup:
    """``delete`` false: only tell. ``since``: when the first canary was sent; ``landed``: how many the record
    saw land, by side and account, where a server's own search is checked against that."""

    def __init__(
        self, plan: CutoverPlan, vault: Vault, signer: Signer, *, delete: bool, since: datetime,
        landed: dict[tuple[str, str], int],
    ) -> None:  # fmt: skip
        self._plan, self._vault, self._signer = plan, vault, signer
        self._delete, self._since, self._landed = delete, since - EARLIER, landed
        self._young = now() - timedelta(seconds=float(plan.policy.canary_deadline))
        self._gate = asyncio.Semaphore(AT_A_TIME)

    async def run(self, accounts: Sequence[Account]) -> list[Cleaned]:
        """Raises nothing that the world does."""
        todo = [(account, side) for account in accounts for side in sides(self._plan, account)]
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._mailbox(account, side)) for account, side in todo]
        return [one for task in tasks for one in task.result()]

    async def _mailbox(self, account: Account, side: Side) -> list[Cleaned]:
        found: list[Cleaned] = []
        async with self._gate:
            try:
                session = await opened(self._plan, self._vault, side, account)
                try:
                    work = self._cleaned(session, account.address, side)
                    while (one := await asyncio.to_thread(next, work, None)) is not None:
                        found.append(one)
                finally:
                    ended(session)
            except (Gone, OSError, Failure) as error:
                lost = Cleaned(account=account.address, side=side, outcome="failed", detail=str(error))
                found.append(lost)
        return found

    def _cleaned(self, session: Opened, account: str, side: Side) -> Iterator[Cleaned]:
        """Blocking. A server whose search shows fewer than landed there is looked through whole."""
        if not isinstance(session, Carrier):
            yield from self._maildrop(session, account, side)
            return
        folders = [folder.name for folder in session.folders()]
        marked = {name: _searched(session, name) for name in folders}
        enough = sum(map(len, marked.values())) >= self._landed.get((side, account.lower()), 0)
        for name in folders:
            try:
                validity = session.look_at(name).uid_validity
                entries = list(self._entries(session, name, None if enough else marked, marked[name]))
            except Refused:
                continue
            yield from self._folder(session, account, side, name, validity, entries)

    def _maildrop(self, session: Source, account: str, side: Side) -> Iterator[Cleaned]:
        """Over POP3 canaries are only listed: DELE names a message by its place in one session's list."""
        for entry in session.entries("INBOX", self._since):
            one = self._judged(session, account, side, "INBOX", entry)
            if one is not None and one.outcome == "found" and self._delete:
                detail = "nothing is deleted over POP3: take it away by hand"
                one = msgspec.structs.replace(one, outcome="kept", detail=detail)
            if one is not None:
                yield one

    def _entries(
        self, session: Carrier, folder: str, listing: object, uids: Sequence[int]
    ) -> Iterator[Entry]:
        if listing is not None:
            yield from session.entries(folder, self._since)
            return
        for start in range(0, len(uids), BATCH):
            yield from session.listed(folder, uids[start : start + BATCH])

    def _folder(
        self, session: Carrier, account: str, side: Side, folder: str, validity: int, entries: Sequence[Entry]
    ) -> Iterator[Cleaned]:
        """What bears a signature of ours; of that, what is a canary through and through, goes."""
        going: dict[int, Cleaned] = {}
        for entry in entries:
            one = self._judged(session, account, side, folder, entry)
            if one is None:
                continue
            if one.outcome == "found" and self._delete:
                going[entry.key] = one
            else:
                yield one
        uids = sorted(going)
        for start in range(0, len(uids), BATCH):
            part = uids[start : start + BATCH]
            outcome, detail = _gone(session, folder, validity, part)
            for uid in part:
                old = going[uid]
                yield Cleaned(
                    account=account, side=side, outcome=outcome, folder=folder, canary=old.canary,
                    route=old.route, sent_at=old.sent_at, detail=detail,
                )  # fmt: skip

    def _judged(self, session: Source, account: str, side: Side, folder: str, entry: Entry) -> Cleaned | None:
        seen = read_canary(self._signer, entry.header, account)
        named = self._signer.recognise(message_id(entry.header) or "")
        if seen is None and named is None:
            return None  # no signature of ours: whatever it looks like, it is somebody's mail
        if seen is None or seen.canary != named:
            detail = "only one of the two signatures holds"
            return Cleaned(account=account, side=side, outcome="kept", folder=folder,
                           canary=seen.canary if seen else named or "", detail=detail)  # fmt: skip
        raw = session.whole(folder, entry)
        outcome: Outcome = "found"
        detail = ""
        if raw is None or genuine(self._signer, raw, account) is None:
            outcome, detail = "kept", "the signed fields, and another text"
        elif seen.sent_at > self._young:
            outcome = "young"
        return Cleaned(
            account=account, side=side, outcome=outcome, folder=folder, canary=seen.canary, route=seen.route,
            sent_at=seen.sent_at, detail=detail,
        )  # fmt: skip


def _searched(session: Carrier, folder: str) -> list[int]:
    try:
        return session.having(folder, "Message-ID", MARK) or session.having(folder, FIELD, "")
    except Refused:
        return []


def _gone(session: Carrier, folder: str, validity: int, uids: Sequence[int]) -> tuple[Outcome, str]:
    try:
        session.take_away(folder, validity, uids)
    except Refused as error:
        return "kept", str(error)
    return "deleted", ""


def exit_code(rows: Sequence[Cleaned], *, delete: bool) -> Exit:
    """69 where a mailbox was not to be had; 10 where canaries stay that were to go; else 0."""
    if any(one.outcome == "failed" for one in rows):
        return Exit.UNAVAILABLE
    stays = delete and any(one.outcome in ("kept", "young") for one in rows)
    return Exit.NOT_YET if stays else Exit.OK
