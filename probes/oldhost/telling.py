"""From what a log proves to observations: each is made here, and waits here until it is taken."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Literal

from probes.observation import Coverage, Disposition, Mail, Observation, Origin, Side, Use, from_ms

USE_EVERY = 3_600_000  # ms: the same login is reported once in it
MOST_LOGINS = 5_000
LONGEST = 300_000  # ms of one coverage interval


class Teller:
    """Times in ms. ``not_before``: what happened earlier is not told."""

    def __init__(self, side: Side, now: Callable[[], datetime]) -> None:
        self._side: Side = side
        self._now = now
        self._at: datetime | None = None
        self._out: list[Observation] = []
        self._unread: dict[int, int] = {}
        self._logins: dict[tuple[str, str, str | None], int] = {}
        self.not_before = 0

    def take(self) -> list[Observation]:
        """All that was told since the last time; unreadable lines as one interval a second."""
        for second, count in self._unread.items():
            self._coverage(second, second + 1000, count)
        self._unread.clear()
        out, self._out, self._at = self._out, [], None
        return out

    def _seen(self) -> datetime:
        """One moment for all that is told at once: the clock is dear where history is read."""
        if self._at is None:
            self._at = self._now()
        return self._at

    def mail(
        self, accepted: int, recipient: str, message_id: str | None, client: str | None, helo: str | None,
        origin: Origin, disposition: Disposition, queue_id: str | None, reply: str,
    ) -> None:  # fmt: skip
        if accepted < self.not_before:
            return
        self._out.append(
            Mail(
                at=self._seen(), side=self._side, accepted_at=from_ms(accepted), source="log",
                recipient=recipient, message_id=message_id, client=client, helo=helo, origin=origin,
                disposition=disposition, queue_id=queue_id, reply=reply or None,
            )
        )  # fmt: skip

    def use(
        self, account: str, service: Literal["imap", "pop3", "submission"], client: str | None, at: int
    ) -> None:
        """A login; the same one once an hour."""
        key = (account, service, client)
        if at < self.not_before or at - self._logins.get(key, at - USE_EVERY) < USE_EVERY:
            return
        if len(self._logins) >= MOST_LOGINS:
            self._logins.clear()
        self._logins[key] = at
        self._out.append(
            Use(
                at=self._seen(), side=self._side, account=account, service=service, client=client,
                seen_at=from_ms(at),
            )
        )  # fmt: skip

    def unread(self, at: int) -> None:
        """A line of this second that may concern the domain could not be read."""
        second = at // 1000 * 1000
        self._unread[second] = self._unread.get(second, 0) + 1

    def lost(self, begin: int, end: int) -> None:
        """Lines are missing from this time, nobody knows how many: all of it counts as unread."""
        begin = max(begin, end - 3_600_000) // 1000 * 1000
        stop = end // 1000 * 1000 + 1000
        while begin < stop:
            upto = min(begin + LONGEST, stop)
            self._coverage(begin, upto, 1)
            begin = upto

    def _coverage(self, begin: int, end: int, count: int) -> None:
        self._out.append(
            Coverage(
                at=self._seen(), source=f"log:{self._side}", from_=from_ms(begin), to=from_ms(end),
                not_understood=count,
            )
        )  # fmt: skip
