"""Whole messages over POP3, for what is to be copied from a host without IMAP."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from probes.mail.carrier import MOST_MESSAGE, SLOWEST, Entry, Folder
from probes.mail.header import fields
from probes.mail.imap import Refused
from probes.mail.pop import BATCH, Pop, ending
from probes.mail.trace import hops

ALL_LINES = 999_999_999
OLD_IN_A_ROW = 50  # older than is wanted: what lies below them is older still
EARLIER = timedelta(days=1)


class PopCarrier(Pop):
    """A :class:`probes.mail.carrier.Source`. TOP shows a message with all its lines (RFC 1939 section 7);
    RETR would mark it as read on hosts that have other protocols for the same mailbox."""

    def folders(self) -> list[Folder]:
        return [Folder(name="INBOX", use="\\inbox")]

    def entries(self, folder: str, since: datetime) -> Iterator[Entry]:
        """The newest first. POP3 has neither dates nor flags; ``key`` is the number in this session."""
        numbers = [number for number, _ in self.listing()][::-1]
        old = 0
        for start in range(0, len(numbers), BATCH):
            for number, header in self.headers(numbers[start : start + BATCH]):
                those = fields(header or b"")
                at = next((hop.at for hop in hops(those)[:1]), None)
                old = old + 1 if at is not None and at < since - EARLIER else 0
                yield Entry(key=number, date=None, flags=(), header=those)
            if old >= OLD_IN_A_ROW:
                return

    def whole(self, folder: str, entry: Entry) -> bytes | None:
        with ending():
            self._begin()
            words = self._ask(f"LIST {entry.key}").split()
            if words[:1] != ["+OK"] or len(words) < 3:
                return None
            size = int(words[2])
            if size > MOST_MESSAGE:
                raise Refused(f"the message is longer than {MOST_MESSAGE // 1024**2} MiB")
            self._most_line = self._most_answer = 2 * size + MOST_MESSAGE // 128
            self._begin(2 + size / SLOWEST / self._round_trip)
            if not self._ask(f"TOP {entry.key} {ALL_LINES}").startswith("+OK"):
                return None
            raw = b"".join(line + b"\r\n" for line in self._lines(self._most_answer))
        if len(raw) < size:
            raise Refused(f"the server shows {len(raw)} of {size} bytes by TOP")
        return raw
