"""How many connections a host, and a login there, are given at a time: by the plan, by what is known of the
provider (limits.csv), and by what the host refuses."""

from __future__ import annotations

import asyncio
import csv
import re
import time
from collections import deque
from fnmatch import fnmatchcase
from functools import lru_cache
from importlib import resources

from msgspec import Struct

from probes.service import Service

A_LOGIN = 10  # Dovecot's own default for a login from one address (mail_max_userip_connections)
LEARNT_FOR = 3600.0  # then one more is tried
_TOO_MANY = re.compile(
    r"too many (?:\w+ ){0,3}(?:connections|sessions|logins)"
    r"|max(?:imum)? (?:number of )?(?:\w+ ){0,2}connections"
    r"|connection limit|connections? exceeded|\[LIMIT\]",
    re.IGNORECASE,
)
_OF_A_LOGIN = re.compile(r"user|account|login|mailbox", re.IGNORECASE)


class Limit(Struct, frozen=True):
    """Connections that one provider allows; None: not known."""

    per_login: int | None = None
    per_address: int | None = None


def known(service: Service) -> Limit:
    """What is known of the provider by the host's name. RFC 5530 section 3: LIMIT is what it says beyond."""
    name = service.host.rstrip(".").lower()
    return next((limit for pattern, limit in _limits() if fnmatchcase(name, pattern)), Limit())


@lru_cache(maxsize=1)
def _limits() -> tuple[tuple[str, Limit], ...]:
    text = resources.files("probes.mail").joinpath("limits.csv").read_text(encoding="utf-8")
    return tuple(
        (row["host"], Limit(*(int(row[c]) if row[c] else None for c in ("per_login", "per_address"))))
        for row in csv.DictReader(text.splitlines())
    )


def refusal(reply: str, limit: Limit) -> str | None:
    """Whether a reply says that there are too many connections: of the ``login``, or of this ``host``'s
    clients at our address; None where it speaks of something else."""
    if _TOO_MANY.search(reply) is None:
        return None
    of_login = _OF_A_LOGIN.search(reply) or (limit.per_login and not limit.per_address)
    return "login" if of_login else "host"


class Seats:
    """Connections to one host (or by one login), first come, first served. ``most`` None: no limit known."""

    def __init__(self, most: int | None) -> None:
        self.most = most
        self.taken = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._learnt = 0.0

    async def take(self) -> None:
        self._grow()
        if not self._waiting and self._free():
            self.taken += 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.give()
            raise

    def give(self) -> None:
        self.taken -= 1
        self._pass_on()

    @property
    def crowded(self) -> bool:
        """Whether others wait: whoever has looked gives the seat to them, and comes again later."""
        return any(not turn.done() for turn in self._waiting)

    def learn(self) -> None:
        """One that had a seat was refused for their number: so many are too many."""
        self.most = max(1, min(self.most or self.taken, self.taken) - 1)
        self._learnt = time.monotonic()

    def _free(self) -> bool:
        return self.most is None or self.taken < self.most

    def _grow(self) -> None:
        if self._learnt and self.most is not None and time.monotonic() - self._learnt > LEARNT_FOR:
            self.most += 1
            self._learnt = time.monotonic()

    def _pass_on(self) -> None:
        while self._waiting and self._free():
            turn = self._waiting.popleft()
            if not turn.done():
                self.taken += 1
                turn.set_result(None)
