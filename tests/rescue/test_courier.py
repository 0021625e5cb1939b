"""A rescue from and to a server whose habits are not Dovecot's: Maildir++ names, no SPECIAL-USE."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from monitor.rescue.account import Rescuer
from monitor.rescue.ledger import Ledger
from monitor.snapshot import StragglerRow
from probes.mail.carrier import Carrier, Refused
from probes.observation import now
from probes.secret import Secret
from probes.service import Service
from tests.mail.test_courier import NAME, USERS, Delivering
from tests.mail.test_courier import courier as courier  # a fixture
from tests.mail.test_dovecot import letter
from tests.servers.addresses import IMAPS
from tests.servers.courier import JUNK, Courier

pytestmark = pytest.mark.servers


def session(courier: Courier, user: str) -> Carrier:
    service = Service(host=NAME, port=IMAPS, tls="implicit", address=courier.address, ca_file=courier.ca)
    made = Carrier(socket.create_connection((courier.address, IMAPS)), service, 20.0)
    made.open(user, Secret(USERS[user]))
    return made


@pytest.fixture
def sides(courier: Courier) -> Iterator[tuple[Carrier, Carrier]]:
    """Anna's mailbox plays old, Ben's plays new."""
    with closing(session(courier, "anna")) as old, closing(session(courier, "ben")) as new:
        yield old, new
        old.free()
        new.free()


def test_from_courier_to_courier(courier: Courier, sides: tuple[Carrier, Carrier], tmp_path: Path) -> None:
    old, new = sides
    deliver, at = Delivering(courier), now() - timedelta(minutes=5)
    for number in range(4):
        deliver(letter(number), JUNK if number == 3 else "")
    rows = [
        StragglerRow(accepted_at=at, recipient="", message_id=f"<{n}@a.example>", client=None)
        for n in (1, 3, 7)
    ]
    with Ledger(tmp_path / "journal") as ledger:
        done = list(Rescuer("anna@example.jp", old, new, ledger, dry=False).run(rows))
        again = list(Rescuer("anna@example.jp", old, new, ledger, dry=False).run(rows))
    assert [(one.outcome, one.target, one.detail) for one in done] == [
        ("copied", "INBOX", ""), ("copied", "INBOX.Junk", ""), ("absent", "", ""),
    ], done  # fmt: skip
    assert [one.outcome for one in again] == ["earlier", "earlier", "absent"]
    assert deliver.flags() <= {""}
    there = [path for path in (courier.mail / "ben" / "Maildir").glob("**/cur/*") if path.is_file()]
    there += [path for path in (courier.mail / "ben" / "Maildir").glob("**/new/*") if path.is_file()]
    assert len(there) == 2 and all(path.stat().st_size for path in there)


def test_one_message_goes_and_what_its_owner_flagged_as_deleted_stays(
    courier: Courier, sides: tuple[Carrier, Carrier]
) -> None:
    _, new = sides
    for number in range(3):
        new.add("INBOX", letter(number), ("\\Deleted",) if number == 0 else (), now())
    state = new.look_at("INBOX")
    (uid,) = new.having("INBOX", "Message-ID", "<1@a.example>")
    with pytest.raises(Refused, match="UIDVALIDITY"):
        new.take_away("INBOX", state.uid_validity + 1, [uid])
    new.take_away("INBOX", state.uid_validity, [uid])
    new.add("INBOX", letter(4), (), now())
    left = {entry.name: entry.flags for entry in new.entries("INBOX", now() - timedelta(days=1))}
    assert left == {"<0@a.example>": ("\\Deleted",), "<2@a.example>": (), "<4@a.example>": ()}
