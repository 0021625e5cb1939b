"""A plan's mailbox, opened for one errand: by ``rescue`` and ``cleanup``, beside whatever watches it."""

from __future__ import annotations

import asyncio

from monitor.plan.model import Account, CutoverPlan
from monitor.watch.vault import Vault, login
from probes.endpoints import Endpoints
from probes.mail.carrier import Carrier
from probes.mail.connect import connected, resolved
from probes.mail.imap import Gone, NoLogin
from probes.mail.routes import Login, clean
from probes.observation import Side

AT_A_TIME = 4  # accounts: a provider allows few connections, and the watch has some of them
ROUND_TRIP = 30.0


async def opened(plan: CutoverPlan, vault: Vault, side: Side, account: Account) -> Carrier:
    """A session that is logged in. Raises ``Gone`` or ``OSError`` where there is none to be had, and
    ``Failure`` where the secret is not."""
    service = (plan.old if side == "old" else plan.new).imap
    if service is None:
        raise Gone(f"the plan has no [{side}.imap]")
    secret = await vault.secret(side, account)
    try:
        sock = await connected(await resolved(service), service.port, Endpoints(plan.endpoints), [])
    except OSError as error:
        raise Gone(f"{side}: {error}") from None
    session = Carrier(sock, service, ROUND_TRIP)
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


def ended(session: Carrier) -> None:
    session.close()
    session.free()
