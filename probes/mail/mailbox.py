"""Following many mailboxes over IMAP or POP3 without ever changing one.

All of them wait in the event loop's own selector; a few worker threads carry out what must block. One TLS
context is shared by all that trust alike.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from typing import Any

from probes.endpoints import Endpoints
from probes.mail.canary import Signer
from probes.mail.following import Follower
from probes.mail.pool import Box, Pool
from probes.mail.visiting import Visitor
from probes.sight import Sight

__all__ = ["Box", "Mailboxes"]


class Mailboxes:
    """One for all mailboxes of a watch.

    ``poll``: seconds between two looks into each mailbox (new mail in INBOX is told at once where the server
    has IDLE); ``coverage``: the longest interval of covered time to be told, in seconds, at most 300;
    ``round_trip``: seconds after which a server that does not answer counts as gone.
    """

    def __init__(
        self, signer: Signer, endpoints: Endpoints, poll: float = 60.0, coverage: float = 60.0,
        round_trip: float = 30.0,
    ) -> None:  # fmt: skip
        coverage = min(coverage, 300.0)
        # A little less than the interval, so that what one look proves is one interval.
        self._pool = Pool(signer, endpoints, min(poll, coverage * 0.95), coverage, round_trip)
        self._following: set[Follower | Visitor] = set()

    async def follow(self, box: Box, position: Any) -> AsyncGenerator[Sight, None]:
        """What is in the mailbox after ``position`` (None: the last four weeks first), until it is
        disconnected. Raises nothing that the world does; a second call goes on where the first one ended."""
        if self._pool.closed:
            return
        kind = Visitor if box.protocol == "pop3" else Follower
        follower: Follower | Visitor = kind(self._pool, box, position)
        self._following.add(follower)
        try:
            async with contextlib.aclosing(follower.sights()) as sights:
                async for sight in sights:
                    yield sight
        finally:
            self._following.discard(follower)
            follower.close()

    async def close(self) -> None:
        """End every connection and worker now."""
        self._pool.closed = True
        for follower in tuple(self._following):
            follower.close()
        workers = self._pool.workers
        workers.shutdown(wait=False, cancel_futures=True)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(5):
                await asyncio.to_thread(workers.shutdown)
