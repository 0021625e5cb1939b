"""The mail log that Postfix's own programs would write, one syslog line each, stamped per RFC 3339."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TextIO

from msgspec import Struct


class Arrival(Struct, frozen=True, kw_only=True):
    """One message as smtpd took it: ``client`` is (name, address); ``login`` the SASL user, if any."""

    queue_id: str
    client: tuple[str, str]
    login: str | None
    message_id: str
    sender: str
    size: int
    recipients: tuple[str, ...]


class MailLog:
    """Appends to ``path``; ``host`` is the log host's short name.

    Lines of now are flushed at once, past ones by ``flush``.
    """

    def __init__(self, path: Path, host: str) -> None:
        self._host = host
        self._out: TextIO = path.open("a", encoding="utf-8", newline="\n")

    def close(self) -> None:
        self._out.close()

    def flush(self) -> None:
        self._out.flush()

    def line(self, program: str, text: str, at: datetime | None = None) -> None:
        if self._out.closed:  # a connection that ends with the world
            return
        stamp = (at or datetime.now(UTC)).isoformat(timespec="microseconds")
        self._out.write(f"{stamp} {self._host} postfix/{program}: {text}\n")
        if at is None:
            self._out.flush()

    def connect(self, client: tuple[str, str], at: datetime | None = None) -> None:
        self.line("smtpd[311]", f"connect from {client[0]}[{client[1]}]", at)

    def disconnect(self, client: tuple[str, str], at: datetime | None = None) -> None:
        counts = "ehlo=1 mail=1 rcpt=1 data=1 quit=1 commands=5"
        self.line("smtpd[311]", f"disconnect from {client[0]}[{client[1]}] {counts}", at)

    def accepted(self, arrival: Arrival, at: datetime | None = None) -> None:
        """The lines of smtpd, cleanup and qmgr for a message that was taken."""
        client = f"client={arrival.client[0]}[{arrival.client[1]}]"
        program = "submission/smtpd[312]" if arrival.login else "smtpd[311]"
        sasl = f", sasl_method=PLAIN, sasl_username={arrival.login}" if arrival.login else ""
        self.line(program, f"{arrival.queue_id}: {client}{sasl}", at)
        self.line("cleanup[313]", f"{arrival.queue_id}: message-id={arrival.message_id}", at)
        active = (
            f"from=<{arrival.sender}>, size={arrival.size}, nrcpt={len(arrival.recipients)} (queue active)"
        )
        self.line("qmgr[201]", f"{arrival.queue_id}: {active}", at)

    def delivered(self, queue_id: str, recipient: str, at: datetime | None = None) -> None:
        tail = "delay=0.02, delays=0.01/0/0/0.01, dsn=2.0.0, status=sent (delivered to mailbox)"
        self.line("local[314]", f"{queue_id}: to=<{recipient}>, relay=local, {tail}", at)

    def relayed(self, queue_id: str, recipient: str, relay: str, dsn: str, status: str) -> None:
        """``relay`` as ``name[address]:port`` or ``none``; ``status`` with its text in parentheses."""
        tail = f"delay=0.09, delays=0.01/0.01/0.05/0.02, dsn={dsn}, status={status}"
        self.line("smtp[315]", f"{queue_id}: to=<{recipient}>, relay={relay}, {tail}")

    def removed(self, queue_id: str, at: datetime | None = None) -> None:
        self.line("qmgr[201]", f"{queue_id}: removed", at)

    def rejected(self, client: tuple[str, str], sender: str, recipient: str, reply: str, helo: str) -> None:
        who = f"{client[0]}[{client[1]}]"
        envelope = f"from=<{sender}> to=<{recipient}> proto=ESMTP helo=<{helo}>"
        self.line("smtpd[311]", f"NOQUEUE: reject: RCPT from {who}: {reply}; {envelope}")

    def past(self, arrival: Arrival, at: datetime) -> None:
        """All lines of one message that was delivered here at ``at``."""
        self.connect(arrival.client, at)
        self.accepted(arrival, at + timedelta(milliseconds=2))
        self.disconnect(arrival.client, at + timedelta(milliseconds=3))
        for recipient in arrival.recipients:
            self.delivered(arrival.queue_id, recipient, at + timedelta(milliseconds=5))
        self.removed(arrival.queue_id, at + timedelta(milliseconds=6))


def queue_id() -> str:
    """As Postfix's short ids look: upper-case hexadecimal."""
    return secrets.token_hex(5).upper() + "1"
