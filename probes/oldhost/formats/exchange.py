"""Exchange's message tracking log: CSV whose ``#Fields:`` line names the columns.

Taken: ``SMTP,RECEIVE`` (from outside where the direction is Incoming) and ``STOREDRIVER,SUBMIT`` and the like
(a user of that host). ``DELIVER`` put it into a mailbox, ``SEND`` and ``SENDEXTERNAL`` passed it on, ``FAIL``
and ``DEFER`` did not. Health probes, shadow copies (``HA…``) and notifications are nobody's mail. Where a
message passes through several servers of one organisation, its Message-ID joins them.
"""

from __future__ import annotations

import csv
from typing import Any, ClassVar, Final

from probes.oldhost.formats.desk import Desk, Format, Said
from probes.oldhost.lines import CUT, TEXT_LIMIT, address, text
from probes.oldhost.message import Fate, Kind, Message

# Exchange 2013 to 2019; a file's own header line replaces it.
COLUMNS: Final = (
    "date-time", "client-ip", "client-hostname", "server-ip", "server-hostname", "source-context",
    "connector-id", "source", "event-id", "internal-message-id", "message-id", "network-message-id",
    "recipient-address", "recipient-status", "total-bytes", "recipient-count", "related-recipient-address",
    "reference", "message-subject", "sender-address", "return-path", "message-info", "directionality",
    "tenant-id", "original-client-ip", "original-server-ip", "custom-data",
)  # fmt: skip
MOST_COLUMNS = 100
MOST_RECIPIENTS = 1_000
_HEALTH: Final = ("healthmailbox", "inboundproxy@", "inboundproxy", "extest_", "hubtest_")


class Exchange(Format):
    name: ClassVar[str] = "exchange"

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk)
        self._columns: tuple[str, ...] = COLUMNS

    def read(self, said: Said) -> bool:
        if said.text.startswith(b"#"):
            if said.text.startswith(b"#Fields:"):
                named = text(said.text[len(b"#Fields:") :], CUT).strip().lower().split(",")
                self._columns = tuple(one.strip() for one in named[:MOST_COLUMNS])
            return True
        try:
            values = next(csv.reader([text(said.text, CUT)], strict=True))
        except (csv.Error, StopIteration):
            return False
        row = dict(zip(self._columns, values, strict=False))
        if not {"source", "event-id", "recipient-address"} <= row.keys():
            return False
        self._row({name: one.strip() for name, one in row.items()}, said)
        return True

    def _row(self, row: dict[str, str], said: Said) -> None:
        source, event = row["source"].upper(), row["event-id"].upper()
        recipients = [one.strip() for one in row["recipient-address"].split(";")][:MOST_RECIPIENTS]
        recipients = [one[:TEXT_LIMIT] for one in recipients if not one.lower().startswith(_HEALTH)]
        if not any(recipients) or row.get("sender-address", "").lower().startswith(_HEALTH):
            return
        key = f"{row.get('server-hostname', '')[:64]}.{row.get('internal-message-id', '')[:32]}".strip(".")
        if event == "RECEIVE" and source in ("SMTP", "STOREDRIVER", "PICKUP", "AGENT", "DSN"):
            self._arrival(key, source, recipients, row, said)
        elif event in ("DELIVER", "SEND", "SENDEXTERNAL", "FAIL", "DEFER", "DUPLICATEDELIVER"):
            self._outcome(key, event, recipients, row, said)
        elif event == "EXPAND" or event == "REDIRECT" or event == "RESOLVE":
            self._resolved(key, recipients, row, said)

    def _arrival(self, key: str, source: str, recipients: list[str], row: dict[str, str], said: Said) -> None:
        client = address((row.get("original-client-ip") or row.get("client-ip", "")).encode()[:64])
        message = self.mail.get(key)
        if message is None or message.kind != "internal" or message.active:
            message = self.arrived(key, self._kind(source, client, row), said, client)
        message.bounce = source == "DSN"
        self.accept(message, said.at)
        if row.get("message-id"):
            message = self._known(message, row["message-id"][:TEXT_LIMIT])
        message.nrcpt = max(message.nrcpt, len(recipients))
        for one in recipients:
            self.expect(message, one, said.since)
        if not message.fates:  # all its recipients are named here, and none is of the domain
            self.mail.drop(message)

    def _known(self, message: Message, message_id: str) -> Message:
        """Another server of the organisation took it first."""
        parent = self.mail.named(message_id)
        if parent is not None and parent is not message and not message.fates:
            self.mail.merge(parent, message)
            return parent
        return self.identified(message, message_id)

    def _kind(self, source: str, client: str | None, row: dict[str, str]) -> Kind:
        if source == "DSN" or source == "AGENT":
            return "internal"
        if source == "PICKUP":
            return "local"
        if source == "STOREDRIVER" or row.get("directionality", "").lower() == "originating":
            return "submission"
        return self.from_client(client) if client else "outside"

    def _outcome(self, key: str, event: str, recipients: list[str], row: dict[str, str], said: Said) -> None:
        message = self._of(key, row, said)
        message.touched = said.since
        states = row.get("recipient-status", "").split(";")
        for i, one in enumerate(recipients):
            state = states[i] if i < len(states) else states[-1]
            related = row.get("related-recipient-address", "")[:TEXT_LIMIT]
            self.tried(
                message, one, related, self._fate(event, state.strip()[:TEXT_LIMIT], row), said.since, key
            )
        fates = [f[0] for targets in message.fates.values() for f in targets.values()]
        if fates and "deferred" not in fates:
            for queue_id in list(message.ids):
                self.gone(queue_id, said.since)

    def _fate(self, event: str, state: str, row: dict[str, str]) -> Fate:
        if event in ("SEND", "SENDEXTERNAL"):
            server = address(row.get("server-ip", "").encode()[:64])
            return (self.place(server) if server else "relayed", "", "")
        if event == "DEFER":
            return ("deferred", state or "deferred", "")
        return ("bounced", state or "failed", "") if event == "FAIL" else ("delivered", "", "")

    def _of(self, key: str, row: dict[str, str], said: Said) -> Message:
        message = self.mail.get(key) or self.mail.named(row.get("message-id", "")[:TEXT_LIMIT] or " ")
        if message is None:
            message = self.arrived(key, "internal", said)
            if row.get("message-id"):
                message = self.identified(message, row["message-id"][:TEXT_LIMIT])
        self.accept(message, message.began)
        return message

    def _resolved(self, key: str, recipients: list[str], row: dict[str, str], said: Said) -> None:
        """A list or an alias, ``related-recipient-address``, led to these."""
        message = self.mail.get(key)
        related = row.get("related-recipient-address", "")[:TEXT_LIMIT]
        if message is not None and self.desk.ours(related):
            for one in recipients:
                if self.desk.ours(one):
                    self.expect(message, one, said.since)
                    self._led_on(message, related.lower())

    def state(self) -> dict[str, Any]:
        return {**super().state(), "columns": list(self._columns)}

    def restore(self, state: dict[str, Any]) -> None:
        super().restore(state)
        self._columns = tuple(str(one) for one in state["columns"])
