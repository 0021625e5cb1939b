"""A new host that greylists (RFC 6647): a real Postfix that asks postgrey. A canary comes late, and comes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from probes.endpoints import Endpoints
from probes.mail.canary import Signer, compose
from probes.mail.routes import Outgoing, send
from probes.observation import now
from probes.sight import Target
from tests.mail.conftest import signer as signer
from tests.mail.test_greylisting import DELAY, LISTEN
from tests.mail.test_greylisting import postgrey as postgrey
from tests.servers.addresses import SMTP
from tests.servers.daemon import needs, wait_until
from tests.servers.host import USERS
from tests.servers.stage import PROGRAMS, Stage, letters
from tests.servers.zones import DOMAIN, NEW_HOSTS

pytestmark = pytest.mark.servers

SENDER = "canary@watch.monitor.example"


@pytest.fixture
def stage(postgrey: int) -> Iterator[Stage]:
    needs(*PROGRAMS)
    built = Stage()
    main = built.new.directory / "config" / "main.cf"
    asking = f"smtpd_recipient_restrictions = check_policy_service inet:{LISTEN}:{postgrey}\n"
    main.write_text(main.read_text() + asking)
    with built:
        yield built


async def test_a_canary_is_put_off_and_lands(stage: Stage, signer: Signer) -> None:
    first, again, other = [await handed(stage, signer, user) for user in (USERS[0], USERS[0], USERS[1])]
    for late in (first, other):
        assert set(late[:-1]) == {"deferred"} and late[-1] == "accepted"
    assert again == ["accepted"]
    assert "Greylisted" in stage.new.log.read_text()


async def handed(stage: Stage, signer: Signer, user: str) -> list[str]:
    """The outcomes of one canary's attempts; returns when it lies in the mailbox."""
    canary, recipient = signer.mint(), f"{user}@{DOMAIN}"
    message = compose(signer, canary, "to-new", SENDER, recipient, now())
    out = Outgoing(canary=canary, route="to-new", sender=SENDER, recipient=recipient, message=message)
    ends = Endpoints({"198.51.100.20:25": f"{stage.addresses.new[0]}:{SMTP}"})
    to = Target(NEW_HOSTS[0], "198.51.100.20")
    done = await send(out, to, ends, "watch.monitor.example", 30, pauses=(DELAY / 4, DELAY, DELAY))
    wait_until(lambda: any(canary in name for name, _ in letters(stage.new, user)), "the canary lands")
    return [one.outcome for one in done.attempts]
