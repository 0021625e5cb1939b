"""Handing letters to a mail host of any make. What was taken is known by the queue id in the reply."""

from __future__ import annotations

import re
import smtplib
import socket
import ssl
from collections.abc import Sequence

from msgspec import Struct

from tests.servers.addresses import SMTP, SUBMISSION
from tests.servers.zones import DOMAIN, OLD_HOST

TIMEOUT = 20.0
# "250 OK id=1xyz-000ab-CD" (Exim), "250 2.0.0 1a2b3c4d Message accepted for delivery" (OpenSMTPD)
_QUEUED = re.compile(rb"id=(\S+)|2\.0\.0:? (\w+) Message accepted")


class Taken(Struct, frozen=True, order=True):
    """One recipient of a letter that was answered with 250."""

    queue_id: str
    recipient: str
    client: str
    origin: str


class Client(smtplib.SMTP):
    """A conversation with the host at ``address``, from ``source``."""

    def __init__(self, address: str, port: int, source: str = "") -> None:
        self._address, self._source = address, source
        super().__init__(OLD_HOST, port, local_hostname="mta.outside.example", timeout=TIMEOUT)

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        return socket.create_connection((self._address, port), timeout, (self._source, 0))


def outside(
    address: str, client: str, recipients: Sequence[str], text: str = "See you there."
) -> list[Taken]:
    """One letter from an outside host. Raises ``smtplib.SMTPException`` where nobody is taken."""
    with Client(address, SMTP, client) as smtp:
        smtp.ehlo()
        return _handed(smtp, "suga@outside.example", recipients, client, "outside", text)


def submitted(address: str, tls: ssl.SSLContext, login: str, password: str, to: str) -> list[Taken]:
    """One letter of a user's own (RFC 6409)."""
    with Client(address, SUBMISSION) as smtp:
        smtp.starttls(context=tls)
        smtp.login(login, password)
        return _handed(smtp, login, [to], "127.0.0.1", "submission", "Minutes.")


def _handed(
    smtp: smtplib.SMTP, sender: str, recipients: Sequence[str], client: str, origin: str, text: str
) -> list[Taken]:
    everybody = [f"{user}@{DOMAIN}" for user in recipients]
    assert smtp.mail(sender)[0] == 250
    answers = [smtp.rcpt(to) for to in everybody]
    taken = [to for to, (code, _) in zip(everybody, answers, strict=True) if code == 250]
    if not taken:
        raise smtplib.SMTPRecipientsRefused(dict(zip(everybody, answers, strict=True)))
    lines = (f"From: {sender}", f"To: {everybody[0]}", f"Message-ID: <{id(smtp)}@outside.example>", "", text)
    code, said = smtp.data("\r\n".join(lines) + "\r\n")
    found = _QUEUED.search(said)
    assert code == 250 and found, (code, said)
    queue_id = (found[1] or found[2]).decode()
    return [Taken(queue_id, to, client, origin) for to in taken]
