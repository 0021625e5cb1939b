"""What all mailboxes of a watch share: workers, turns at each host, and what was told of each."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

from msgspec import Struct

from probes.endpoints import Endpoints
from probes.mail.canary import Signer
from probes.mail.seats import A_LOGIN, Seats, known
from probes.mail.trace import Place
from probes.observation import AccountState, MailboxState, Side, now
from probes.secret import Secret
from probes.service import Service

WORKERS = 16
WORKERS_A_HOST = 6  # a host that hangs must not hold up the others
LOGINS_A_HOST = 10
STATE_EVERY = 300.0
FIRST_HOLD, LONGEST_HOLD = 60.0, 900.0


class Box(Struct, frozen=True, kw_only=True):
    """One mailbox on one side.

    ``secret`` gives the password when it is needed and may raise where it cannot; ``refused`` is called when
    the server turned it down, so that ``secret`` may look for another one. ``place``: that side's hosts.
    ``protocol``: what ``service`` speaks. ``folders``: watched beside INBOX and junk, over IMAP.
    """

    side: Side
    account: str
    service: Service
    login: str
    secret: Callable[[], Awaitable[Secret]]
    refused: Callable[[], None]
    place: Place
    protocol: Literal["imap", "pop3"] = "imap"
    folders: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """The source of its coverage, and the key of its position."""
        return f"mailbox:{self.side}:{self.account}"


class Refusal(Struct, kw_only=True):
    """A password that was turned down: it is not offered again before ``until`` (monotonic seconds), since
    many servers lock out whoever tries a wrong one often."""

    secret: Secret
    reply: str
    missing: bool
    hold: float
    until: float


class Pool:
    """``every``: seconds between two looks into a mailbox; ``coverage``: the longest interval told;
    ``round_trip``: how long a server may take for one answer."""

    def __init__(
        self, signer: Signer, endpoints: Endpoints, every: float, coverage: float, round_trip: float
    ) -> None:
        self.signer = signer
        self.endpoints = endpoints
        self.every = every
        self.coverage = coverage
        self.round_trip = round_trip
        self.workers = ThreadPoolExecutor(WORKERS, thread_name_prefix="mailbox")
        self.closed = False
        self.refusals: dict[str, Refusal] = {}
        self._hosts: dict[str, asyncio.Semaphore] = {}
        self._opening: dict[str, asyncio.Semaphore] = {}
        self._seats: dict[tuple[str, str], Seats] = {}
        self._told: dict[str, tuple[tuple[MailboxState, str], float]] = {}

    def share(self, service: Service) -> asyncio.Semaphore:
        """The turns of one host's mailboxes at the workers."""
        host = service.address or service.host
        return self._hosts.setdefault(host, asyncio.Semaphore(WORKERS_A_HOST))

    def opening(self, service: Service) -> asyncio.Semaphore:
        """How many logins one host gets at a time: a watch of thousands does not begin with a flood."""
        host = service.address or service.host
        return self._opening.setdefault(host, asyncio.Semaphore(LOGINS_A_HOST))

    def seats(self, box: Box) -> tuple[Seats, Seats]:
        """The connections that the box's login has at its host, and those of the host in all."""
        service, limit = box.service, known(box.service)
        host = service.address or service.host
        half = max(1, (limit.per_login or A_LOGIN) // 2)  # the rest is for the mailbox's owner
        of_login = self._seats.setdefault((host, box.login), Seats(half))
        return of_login, self._seats.setdefault((host, ""), Seats(service.connections or limit.per_address))

    def state(self, box: Box, state: MailboxState, detail: str) -> list[AccountState]:
        """The mailbox's state, when it is news or was not told for five minutes."""
        news = state, detail if state == "ok" else ""  # why something fails differs a little each time
        before, at = self._told.get(box.key, (None, 0.0))
        if news == before and time.monotonic() - at < STATE_EVERY:
            return []
        self._told[box.key] = news, time.monotonic()
        return [AccountState(at=now(), side=box.side, account=box.account, state=state, detail=detail)]

    def hold(self, box: Box, secret: Secret, reply: str, missing: bool) -> None:
        """Remember that this password was turned down."""
        before = self.refusals.get(box.key)
        hold = min(before.hold * 2, LONGEST_HOLD) if before and before.secret == secret else FIRST_HOLD
        self.refusals[box.key] = Refusal(
            secret=secret, reply=reply, missing=missing, hold=hold, until=time.monotonic() + hold
        )
