"""One mailbox over POP3: a login shows what lies in it at that moment and no more, so it is visited again and
again (RFC 1939 section 3: the maildrop is locked, and its list fixed, for the whole session).

What POP3 cannot show is not claimed. It has no UIDNEXT: mail that came and was taken away between two visits
leaves no trace. A visit proves the time since the last one only where the newest message of that time still
lies there: whoever fetches and deletes would have taken it, too.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import time
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from datetime import datetime
from typing import Any

from probes.mail.coverage import Ledger
from probes.mail.following import HISTORY, MOST_HISTORY
from probes.mail.header import fields
from probes.mail.imap import INBOX, Gone, NoLogin
from probes.mail.letter import observe
from probes.mail.link import Link
from probes.mail.pool import Box, Pool
from probes.mail.pop import BATCH, Pop
from probes.mail.trace import hops
from probes.observation import Observation, from_ms, now, to_ms
from probes.sight import Sight

MARK = 6  # bytes of a unique-id's hash: one in 10^10 new messages of a full mailbox is taken for a known one
OLD_IN_A_ROW = 50  # older than the history that is wanted: what lies below them is older still
EMPTY = "empty: mail that is fetched and deleted leaves no trace, so nothing is claimed until a message stays"


class Visitor:
    """The same shape as :class:`probes.mail.following.Follower`. ``position`` holds the marks of the
    messages that were told of, in the maildrop's order, and whether the history was read to its end."""

    def __init__(self, pool: Pool, box: Box, position: Any) -> None:
        self._pool, self._box = pool, box
        marks, self._whole, untold = _position(position)
        self._told: dict[bytes, None] = dict.fromkeys(marks)
        self._ledger = Ledger(box.key, pool.coverage, untold)
        self._link = Link(pool, box, Pop)
        self._delay = 0.0

    async def sights(self) -> AsyncGenerator[Sight, None]:
        """Ends when a visit fails, after telling so."""
        try:
            while True:
                began = time.monotonic()
                async for sight in self._visit():
                    if sight[0]:
                        yield sight
                self.close()
                await asyncio.sleep(max(self._delay, self._pool.every) - (time.monotonic() - began))
        except NoLogin as error:
            yield self._link.ended(error), None
        except Gone as error:
            last: list[Observation] = [*self._ledger.flush(), *self._link.ended(error)]
            if last:
                yield last, self._place_after()
        finally:
            self.close()

    def close(self) -> None:
        self._link.close()

    async def _visit(self) -> AsyncGenerator[Sight, None]:
        at = now()  # before the login: what comes after it may not be in the list
        async for sight in self._link.opened():
            yield sight
        session = self._link.session
        listed = await self._link.do(session.listing)
        marks = _marks([uid for _, uid in listed])
        numbers = dict(zip(marks, (number for number, _ in listed), strict=True))
        before, vanished = list(self._told), self._since(numbers)
        unread = 0
        async for seen, failed in self._news(numbers):
            unread += failed
            yield seen, self._place_after()
        self._told, self._whole = dict.fromkeys(marks), True
        self._delay = session.delay
        with contextlib.suppress(Gone):
            await self._link.do(session.quit)
        if not before or (marks and vanished == len(before)):
            # Nothing of then is left to vouch for the time between: empty, or all its ids are others.
            told = self._ledger.flush()
            self._ledger.forget()
            yield [*told, *self._ledger.prove(at)], self._place_after()
        else:
            yield self._ledger.prove(at, vanished + unread), self._place_after()
        yield self._pool.state(self._box, "ok", "" if marks else EMPTY), None

    def _since(self, numbers: dict[bytes, int]) -> int:
        """How many of the messages of the last visit are gone; 0 where the newest is there: old mail is
        tidied away, and says nothing. With none of them left the history is read anew."""
        before = list(self._told)
        gone = sum(mark not in numbers for mark in before)
        if not before or before[-1] in numbers:
            return 0
        if gone == len(before):
            self._told, self._whole = {}, False
        return gone

    async def _news(self, numbers: dict[bytes, int]) -> AsyncGenerator[tuple[list[Observation], int], None]:
        """What was not told of, and how many of each batch could not be read. The newest first, and of a
        mailbox not seen before no more than the history that is wanted."""
        wanted = [mark for mark in reversed(numbers) if mark not in self._told][:MOST_HISTORY]
        since = None if self._whole else now() - HISTORY
        old = 0
        for start in range(0, len(wanted), BATCH):
            batch = wanted[start : start + BATCH]
            found = await self._link.do(self._link.session.headers, [numbers[mark] for mark in batch])
            seen: list[Observation] = []
            for _, header in found:
                arrived = _arrived(header)
                if since is not None and arrived is not None and arrived < since:
                    old += 1
                elif header is not None:
                    old = 0
                    seen.append(self._observed(header, arrived))
            self._told |= dict.fromkeys(batch)
            yield seen, sum(header is None for _, header in found)
            if old >= OLD_IN_A_ROW:
                return

    def _observed(self, header: bytes, arrived: datetime | None) -> Observation:
        box = self._box
        return observe(
            header, arrived, INBOX, box.side, box.account, box.place, self._pool.signer, protocol="pop3"
        )

    def _place_after(self) -> tuple[str, Any]:
        marks = base64.b64encode(b"".join(self._told)).decode()
        untold = self._ledger.untold
        kept = {"marks": marks, "whole": self._whole, "untold": None if untold is None else to_ms(untold)}
        return self._box.key, kept


def _arrived(header: bytes | None) -> datetime | None:
    """POP3 has no INTERNALDATE: what the last host on its way wrote takes its place."""
    chain = hops(fields(header)) if header is not None else ()
    return chain[0].at if chain else None


def _marks(uids: Sequence[str]) -> list[bytes]:
    """A short hash of each unique-id. RFC 1939 section 7 lets servers give equal messages one id: they are
    told apart by their count."""
    seen: Counter[str] = Counter()
    found = []
    for uid in uids:
        seen[uid] += 1
        text = f"{uid}\n{seen[uid]}".encode("utf-8", "surrogatepass")
        found.append(hashlib.blake2b(text, digest_size=MARK).digest())
    return found


def _position(kept: Any) -> tuple[list[bytes], bool, datetime | None]:
    """What :meth:`Visitor._place_after` wrote; what is no such thing is no position."""
    if not isinstance(kept, dict) or not isinstance(kept.get("marks"), str):
        return [], False, None
    try:
        raw = base64.b64decode(kept["marks"], validate=True)
    except ValueError:
        return [], False, None
    marks = [raw[n : n + MARK] for n in range(0, len(raw) - MARK + 1, MARK)]
    untold = kept.get("untold")
    return marks, kept.get("whole") is True, from_ms(untold) if isinstance(untold, int) else None
