"""The mailbox watch on a second make of IMAP server, whose habits are not Dovecot's: Maildir++ names, no
SPECIAL-USE, no CONDSTORE, no UIDNEXT at EXAMINE, messages moved into "cur" by whoever looks."""

from __future__ import annotations

import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from monitor.rehearsal.certificates import CertificateAuthority
from probes.endpoints import Endpoints
from probes.mail.canary import Signer, compose
from probes.mail.mailbox import Box, Mailboxes
from probes.mail.trace import Place
from probes.observation import AccountState, CanaryLanded, Coverage, Mail, now
from probes.secret import Secret
from probes.service import Service
from tests.mail.conftest import ANNA, Followed
from tests.mail.test_dovecot import letter
from tests.mail.test_mailboxes import contiguous, of
from tests.servers.addresses import IMAP, IMAPS, draw
from tests.servers.courier import JUNK, PROGRAMS, Courier
from tests.servers.host import MAIL_GID, MAIL_UID
from tests.servers.room import needs_unpacked

pytestmark = pytest.mark.servers

NAME, ADDRESS, PASSWORD = "mail.old.example", "192.0.2.10", "secret-of-anna"
USERS = {"anna": PASSWORD, "ben": "secret-of-ben"}


class Delivering:
    """Hands messages to a Maildir as an MTA does: into tmp, then into new."""

    def __init__(self, courier: Courier) -> None:
        self._home = courier.mail / "anna" / "Maildir"
        self._number = 0

    def __call__(self, raw: bytes, folder: str = "") -> None:
        self._number += 1
        place = self._home / folder if folder else self._home
        draft = place / "tmp" / f"{int(now().timestamp())}.M{self._number:06}.host"
        draft.write_bytes(raw.replace(b"\r\n", b"\n"))
        os.chown(draft, MAIL_UID, MAIL_GID)
        draft.rename(place / "new" / draft.name)

    def flags(self) -> set[str]:
        """Of all messages: what stands after ":2," in their names."""
        names = [path.name for path in self._home.glob("**/cur/*")]
        return {name.partition(":2,")[2] for name in names}


@pytest.fixture
def courier() -> Iterator[Courier]:
    needs_unpacked(*PROGRAMS)
    with tempfile.TemporaryDirectory(prefix="mx-") as name:
        place = Path(name)
        place.chmod(0o711)
        authority = CertificateAuthority(place)
        authority.server_context(NAME)
        made = Courier(place, draw().old, NAME, place / f"{NAME}.pem", authority.path, USERS, each=4)
        with made.daemon:
            made.opened()
            yield made


@pytest.fixture
async def pool(courier: Courier, signer: Signer) -> AsyncIterator[Mailboxes]:
    ports = {143: IMAP, 993: IMAPS}
    ends = Endpoints({f"{ADDRESS}:{port}": f"{courier.address}:{real}" for port, real in ports.items()})
    made = Mailboxes(signer, ends, poll=0.5, coverage=1.0)
    yield made
    await made.close()


def box(courier: Courier, tls: str = "implicit", user: str = "anna", password: str = PASSWORD) -> Box:
    async def secret() -> Secret:
        return Secret(password)

    service = Service(
        host=NAME, port=143 if tls == "starttls" else 993, tls=tls, address=ADDRESS, ca_file=courier.ca  # type: ignore[arg-type]
    )  # fmt: skip
    return Box(
        side="old", account=ANNA, service=service, login=user, secret=secret, refused=lambda: None,
        place=Place([NAME], [ADDRESS]),
    )  # fmt: skip


@pytest.mark.parametrize("tls", ["implicit", "starttls"])
async def test_history_new_mail_and_junk_without_a_flag_changed(
    courier: Courier, pool: Mailboxes, signer: Signer, tls: str
) -> None:
    deliver = Delivering(courier)
    for number in range(60):
        deliver(letter(number))
    deliver(letter(99), JUNK)
    followed = Followed(pool, box(courier, tls))
    await followed.until(of(Coverage))
    expected = {f"<{number}@a.example>" for number in (*range(60), 99)}
    assert {m.message_id for m in followed.of(Mail)} == expected
    for route, folder in (("to-old", ""), ("mx", JUNK)):
        canary = signer.mint()
        deliver(compose(signer, canary, route, "c@watch.example", ANNA, now()), folder)
        (landed,) = await followed.until(of(CanaryLanded, canary=canary))
        assert landed.folder == ("INBOX.Junk" if folder else "INBOX")
    await followed.stop()
    contiguous(followed.seen, 1.0)
    assert deliver.flags() <= {""}


async def test_a_restarted_server_is_gone_on_with_and_nothing_counts_twice(
    courier: Courier, pool: Mailboxes
) -> None:
    deliver = Delivering(courier)
    deliver(letter(1))
    first = Followed(pool, box(courier))
    await first.until(of(Coverage))
    courier.daemon.stop()
    ended = now()
    await first.until_over()
    assert first.of(AccountState)[-1].state == "unreachable"
    assert contiguous(first.seen, 1.0)[1] <= ended
    deliver(letter(2))
    courier.daemon.start()
    second = Followed(pool, box(courier), first.position)
    await second.until(of(Coverage))
    assert [m.message_id for m in second.of(Mail)] == ["<2@a.example>"]
    assert contiguous(first.seen + second.seen, 1.0)[1] > ended
    await second.stop()


async def test_a_wrong_password_is_told_and_the_other_account_goes_on(
    courier: Courier, pool: Mailboxes
) -> None:
    good, bad = Followed(pool, box(courier)), Followed(pool, box(courier, user="ben", password="wrong"))
    await bad.until_over()
    (state,) = bad.of(AccountState)
    assert state.state == "refused" and "Login failed" in state.detail
    await good.until(of(Coverage))
    await good.stop()
