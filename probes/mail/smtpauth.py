"""AUTH of SMTP (RFC 4954) by one mechanism: each refused one brings a lock-out nearer."""

from __future__ import annotations

import base64
from collections.abc import Sequence

from aiosmtplib import SMTP, SMTPAuthenticationError, SMTPException

from probes.mail.sasl import Mechanism, choose, plain
from probes.secret import Secret, Token
from probes.service import Service

MOST_TURNS = 5


async def authenticate(client: SMTP, login: str, secret: Secret, service: Service) -> None:
    """After EHLO. Raises ``SMTPAuthenticationError`` where it is refused, ``SMTPException`` where the server
    offers nothing that will do, and what else ``aiosmtplib`` raises."""
    offered = client.server_auth_methods
    mechanism = choose(offered, login, secret, service)
    if mechanism is None and not offered and not isinstance(secret, Token):
        mechanism = plain(login, secret.reveal(), service)  # some do not say what they take
    if mechanism is None:
        kind = "an OAuth token" if isinstance(secret, Token) else "a password"
        raise SMTPException(f"the server takes no login with {kind} (it offers: {_shown(offered)})")
    await _exchange(client, mechanism)


def _shown(offered: Sequence[str]) -> str:
    return " ".join(offered).upper()[:200] or "none"


async def _exchange(client: SMTP, mechanism: Mechanism) -> None:
    """RFC 4954 section 4: an empty initial response is written as "="."""
    name = mechanism.name.encode()
    first = [] if mechanism.initial is None else [base64.b64encode(mechanism.initial) or b"="]
    response = await client.execute_command(b"AUTH", name, *first)
    for _ in range(MOST_TURNS):
        if response.code != 334:
            break
        try:
            challenge = base64.b64decode(response.message)
        except ValueError:
            challenge = b""
        response = await client.execute_command(base64.b64encode(mechanism.answer(challenge)))
    if response.code != 235:
        raise SMTPAuthenticationError(response.code, response.message)
