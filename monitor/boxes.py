"""A plan's mailbox, opened for one errand: by ``rescue`` and ``cleanup``, beside whatever watches it."""

from __future__ import annotations

import asyncio
import re

from monitor.plan.model import Account, CutoverPlan
from monitor.watch.vault import Vault, login
from probes.endpoints import Endpoints
from probes.mail.carrier import Carrier
from probes.mail.connect import connected, resolved
from probes.mail.imap import Gone, NoLogin
from probes.mail.popcarrier import PopCarrier
from probes.mail.routes import Login, clean
from probes.observation import Side
from probes.secret import Secret
from probes.service import Service

AT_A_TIME = 4  # accounts: a provider allows few connections, and the watch has some of them
ROUND_TRIP = 30.0
# A maildrop is one session's alone (RFC 1939 section 4): the watch's own visit is soon over.
_TAKEN = re.compile(r"IN-USE|LOGIN-DELAY|lock|in use", re.IGNORECASE)
VISITS, BETWEEN = 8, 5.0

Opened = Carrier | PopCarrier


async def opened(plan: CutoverPlan, vault: Vault, side: Side, account: Account) -> Opened:
    """A session that is logged in. Raises ``Gone`` or ``OSError`` where there is none to be had, and
    ``Failure`` where the secret is not."""
    host = plan.old if side == "old" else plan.new
    if host.mailboxes is None:
        raise Gone(f"the plan has no [{side}.imap]")
    secret = await vault.secret(side, account)
    for _ in range(VISITS - 1):
        try:
            return await _opened(plan, side, host.mailboxes, host.protocol == "pop3", account, secret)
        except Gone as error:
            if not (host.protocol == "pop3" and _TAKEN.search(str(error))):
                raise
        await asyncio.sleep(BETWEEN)
    return await _opened(plan, side, host.mailboxes, True, account, secret)


async def _opened(
    plan: CutoverPlan, side: Side, service: Service, pop: bool, account: Account, secret: Secret
) -> Opened:
    try:
        sock = await connected(await resolved(service), service.port, Endpoints(plan.endpoints), [])
    except OSError as error:
        raise Gone(f"{side}: {error}") from None
    session: Opened = (PopCarrier if pop else Carrier)(sock, service, ROUND_TRIP)
    try:
        await asyncio.to_thread(session.open, login(side, account), secret)
    except (Gone, NoLogin) as error:
        ended(session)
        said = clean(str(error), Login(login(side, account), secret))
        what = "the login is refused" if isinstance(error, NoLogin) else "no session"
        raise Gone(f"{side}: {what}: {said}") from None
    except BaseException:
        session.close()  # its worker gives it back
        raise
    return session


def ended(session: Opened) -> None:
    session.close()
    session.free()
