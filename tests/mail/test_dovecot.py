"""Against the IMAP server that most of the moved mailboxes live on."""

from __future__ import annotations

import imaplib
import shutil
import socket
import ssl
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from imapclient.imap_utf7 import encode

from probes.endpoints import Endpoints
from probes.mail.canary import Signer, compose
from probes.mail.mailbox import Box, Mailboxes
from probes.mail.trace import Place
from probes.observation import AccountState, CanaryLanded, Coverage, Mail, now
from probes.secret import Secret
from probes.service import Service
from tests.mail.conftest import ANNA, Followed
from tests.mail.servers import certificate
from tests.mail.test_mailboxes import contiguous, of
from tests.servers.daemon import Daemon, needs, program

pytestmark = pytest.mark.servers

NAME, ADDRESS, LISTEN = "mail.old.example", "192.0.2.10", "127.0.0.143"
PASSWORD = 'p"a\\ss wört'
UID = 65534

CONFIG = """\
base_dir = {home}/run
state_dir = {home}/state
log_path = {home}/dovecot.log
protocols = imap pop3
auth_mechanisms = plain login cram-md5
listen = {listen}
ssl = required
ssl_cert = <{home}/tls.pem
ssl_key = <{home}/tls.pem
mail_location = maildir:{home}/mail
first_valid_uid = {uid}
first_valid_gid = 1
auth_failure_delay = 0
maildir_stat_dirs = yes
passdb {{
  driver = passwd-file
  args = scheme=PLAIN {home}/users
}}
userdb {{
  driver = static
  args = uid={uid} gid={uid} home={home}/mail
}}
namespace inbox {{
  inbox = yes
  separator = .
  mailbox "&j,dg0TDhMPwwqw-" {{
    special_use = \\Junk
    auto = subscribe
  }}
}}
service pop3-login {{
  inet_listener pop3 {{
    port = 0
  }}
  inet_listener pop3s {{
    port = {pop3s}
  }}
}}
service imap-login {{
  inet_listener imap {{
    port = {imap}
  }}
  inet_listener imaps {{
    port = {imaps}
  }}
}}
"""
JUNK = "迷惑メール"


class Dovecot:
    def __init__(self, home: Path, ports: tuple[int, int, int]) -> None:
        self.home, self.ports = home, ports
        self.ca = certificate(home, NAME)[1]
        shutil.copy(home / f"{NAME}-1.pem", home / "tls.pem")
        (home / "mail").mkdir()
        shutil.chown(home / "mail", UID, UID)
        config = CONFIG.format(
            home=home, listen=LISTEN, uid=UID, imap=ports[0], imaps=ports[1], pop3s=ports[2]
        )
        config = config.replace('"&j,dg0TDhMPwwqw-"', f'"{JUNK}"')
        (home / "dovecot.conf").write_text(config)
        (home / "users").write_text(f"anna:{PASSWORD}\n")
        self.tls = ssl.create_default_context(cafile=self.ca)
        command = [program("dovecot"), "-F", "-c", str(home / "dovecot.conf")]
        self.daemon = Daemon("dovecot", command, home, self._answers, log=home / "dovecot.log")
        self._number = 0

    def _answers(self) -> bool:
        try:
            imaplib.IMAP4(LISTEN, self.ports[0], 5).shutdown()
        except imaplib.IMAP4.error:
            return False
        return True

    def deliver(self, raw: bytes, folder: str = "") -> Path:
        """As an MTA does: into tmp, then into new."""
        self._number += 1
        maildir = self.home / "mail" / folder
        for name in ("tmp", "new", "cur"):
            for path in (maildir, maildir / name):
                path.mkdir(exist_ok=True)
                shutil.chown(path, UID, UID)
        name = f"{int(now().timestamp())}.{self._number}.host"
        (maildir / "tmp" / name).write_bytes(raw)
        shutil.chown(maildir / "tmp" / name, UID, UID)
        return (maildir / "tmp" / name).rename(maildir / "new" / name)

    def save(self, raw: bytes, folder: str) -> None:
        """As its own delivery agent does, which tells whoever listens."""
        command = [program("doveadm"), "-c", str(self.home / "dovecot.conf"), "save", "-u", "anna"]
        subprocess.run([*command, "-m", folder], input=raw, check=True, capture_output=True, timeout=20)

    def service(self, tls: str) -> Service:
        return Service(
            host=NAME,
            port=143 if tls == "starttls" else 993,
            tls=tls,
            address=ADDRESS,
            ca_file=self.ca,  # type: ignore[arg-type]
        )


def letter(number: int) -> bytes:
    return (
        "Received: from mta.a.example (mta.a.example [203.0.113.1])\n"
        f"\tby {NAME} (Postfix) with ESMTPS id Q{number}; Wed, 25 Nov 2026 08:59:43 +0000\n"
        f"From: x@a.example\nMessage-ID: <{number}@a.example>\nSubject: 8-bit: \xff\n\nText.\n"
    ).encode("latin-1")


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """Not under pytest's own directory, which only root may enter: mail processes run as another user."""
    needs("dovecot")
    with tempfile.TemporaryDirectory(prefix="mxcutover-dovecot-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def dovecot(home: Path, free_ports: tuple[int, int, int]) -> Iterator[Dovecot]:
    place = Path(tempfile.mkdtemp(dir=home))
    place.chmod(0o755)
    made = Dovecot(place, free_ports)
    with made.daemon:
        yield made


@pytest.fixture
def free_ports() -> tuple[int, int, int]:
    with socket.socket() as one, socket.socket() as two, socket.socket() as three:
        for sock in (one, two, three):
            sock.bind((LISTEN, 0))
        return one.getsockname()[1], two.getsockname()[1], three.getsockname()[1]


@pytest.fixture
async def pool(dovecot: Dovecot, signer: Signer) -> AsyncIterator[Mailboxes]:
    ports = zip((143, 993, 995), dovecot.ports, strict=True)
    ends = Endpoints({f"{ADDRESS}:{port}": f"{LISTEN}:{real}" for port, real in ports})
    made = Mailboxes(signer, ends, poll=0.5, coverage=1.0)
    yield made
    await made.close()


def box(dovecot: Dovecot, tls: str = "implicit", password: str = PASSWORD) -> Box:
    async def secret() -> Secret:
        return Secret(password)

    return Box(
        side="old", account=ANNA, service=dovecot.service(tls), login="anna", secret=secret,
        refused=lambda: None, place=Place([NAME], [ADDRESS]),
    )  # fmt: skip


@pytest.mark.parametrize("tls", ["implicit", "starttls"])
async def test_history_new_mail_and_canaries_without_a_flag_changed(
    dovecot: Dovecot, pool: Mailboxes, signer: Signer, tls: str
) -> None:
    files = [dovecot.deliver(letter(number)) for number in range(120)]
    followed = Followed(pool, box(dovecot, tls))
    await followed.until(of(Coverage))
    assert {m.message_id for m in followed.of(Mail)} == {f"<{n}@a.example>" for n in range(120)}
    assert {(m.origin, m.client) for m in followed.of(Mail)} == {("outside", "203.0.113.1")}
    for route, folder in (("to-old", ""), ("mx", f".{_utf7(JUNK)}")):
        canary = signer.mint()
        message = compose(signer, canary, route, "c@watch.example", ANNA, now(), "ja")
        files.append(dovecot.deliver(message.replace(b"\r\n", b"\n"), folder))
        (landed,) = await followed.until(of(CanaryLanded, canary=canary))
        assert landed.folder == (JUNK if folder else "INBOX") and landed.latency_ms < 20_000
    await followed.stop()
    contiguous(followed.seen, 1.0)
    # Whoever opens it next still finds it new: no \Seen, not even \Recent taken away.
    assert all(path.exists() for path in files)


async def test_junk_and_named_folders_are_told_of_at_once(dovecot: Dovecot, signer: Signer) -> None:
    """One connection covers them by NOTIFY (RFC 5465): the next look would be minutes away."""
    ends = Endpoints({f"{ADDRESS}:993": f"{LISTEN}:{dovecot.ports[1]}"})
    boxes = Mailboxes(signer, ends, poll=250, coverage=300)
    dovecot.deliver(letter(1), ".Lists")
    named = msgspec.structs.replace(box(dovecot), folders=("Lists", "日本", "INBOX"))
    followed = Followed(boxes, named)
    await followed.until(of(AccountState, detail="no folder 日本"))
    assert [m.message_id for m in followed.of(Mail)] == ["<1@a.example>"]
    for number, folder in enumerate(("INBOX", JUNK, "Lists", "INBOX"), 2):
        dovecot.save(letter(number), folder)
        await followed.until(of(Mail, message_id=f"<{number}@a.example>"))
    await followed.stop()
    await boxes.close()


async def test_pop3_shows_the_same_inbox_and_marks_nothing_as_read(
    dovecot: Dovecot, pool: Mailboxes, signer: Signer
) -> None:
    files = [dovecot.deliver(letter(number)) for number in range(60)]
    by_pop3 = msgspec.structs.replace(
        box(dovecot), service=msgspec.structs.replace(dovecot.service("implicit"), port=995), protocol="pop3"
    )
    first = Followed(pool, by_pop3)
    await first.until(of(Coverage))
    assert {m.message_id for m in first.of(Mail)} == {f"<{n}@a.example>" for n in range(60)}
    canary = signer.mint()
    message = compose(signer, canary, "to-old", "c@watch.example", ANNA, now(), "ja")
    files.append(dovecot.deliver(message.replace(b"\r\n", b"\n")))
    (landed,) = await first.until(of(CanaryLanded, canary=canary))
    assert (landed.protocol, landed.folder) == ("pop3", "INBOX")
    await first.stop()
    dovecot.daemon.stop()
    files.append(dovecot.deliver(letter(100)))
    dovecot.daemon.start()
    second = Followed(pool, by_pop3, first.position)
    await second.until(of(Coverage))
    assert [m.message_id for m in second.of(Mail)] == ["<100@a.example>"]
    await second.stop()
    contiguous(first.seen + second.seen, 1.0)
    kept = {path.name: path for path in (dovecot.home / "mail").glob("*/*.host*")}
    assert len(kept) == len(files) and not [name for name in kept if "S" in name.partition(",")[2]]


def _utf7(name: str) -> str:
    return encode(name).decode("ascii")


async def test_a_restarted_server_is_gone_on_with(dovecot: Dovecot, pool: Mailboxes) -> None:
    dovecot.deliver(letter(1))
    first = Followed(pool, box(dovecot))
    await first.until(of(Coverage))
    dovecot.daemon.stop()
    ended = now()
    await first.until_over()
    assert first.of(AccountState)[-1].state == "unreachable"
    assert contiguous(first.seen, 1.0)[1] <= ended
    dovecot.deliver(letter(2))
    down = Followed(pool, box(dovecot), first.position)
    await down.until_over()
    assert not down.of(Coverage) and not down.of(Mail)
    dovecot.daemon.start()
    second = Followed(pool, box(dovecot), first.position)
    await second.until(of(Coverage))
    assert [m.message_id for m in second.of(Mail)] == ["<2@a.example>"]
    assert contiguous(first.seen + second.seen, 1.0)[1] > ended
    await second.stop()


async def test_a_rebuilt_mailbox_has_another_uidvalidity_and_begins_anew(
    dovecot: Dovecot, pool: Mailboxes
) -> None:
    dovecot.deliver(letter(1))
    first = Followed(pool, box(dovecot))
    await first.until(of(Coverage))
    await first.stop()
    dovecot.daemon.stop()
    shutil.rmtree(dovecot.home / "mail")
    dovecot.deliver(letter(2))
    dovecot.deliver(letter(3))
    dovecot.daemon.start()
    begun = now()
    second = Followed(pool, box(dovecot), first.position)
    await second.until(of(Coverage))
    assert {m.message_id for m in second.of(Mail)} == {"<2@a.example>", "<3@a.example>"}
    assert contiguous(second.seen, 1.0)[0] >= begun - timedelta(seconds=1)
    await second.stop()


async def test_mail_that_was_taken_away_unread_is_counted(dovecot: Dovecot, pool: Mailboxes) -> None:
    dovecot.deliver(letter(1))
    first = Followed(pool, box(dovecot))
    await first.until(of(Coverage))
    await first.stop()
    dovecot.deliver(letter(2))
    with imaplib.IMAP4_SSL(LISTEN, dovecot.ports[1], ssl_context=_nameless(dovecot)) as other:
        other.authenticate("PLAIN", lambda _: f"\0anna\0{PASSWORD}".encode())
        other.select("INBOX")
        other.store("1:*", "+FLAGS", "\\Deleted")
        other.expunge()
    second = Followed(pool, box(dovecot), first.position)
    await second.until(of(Coverage))
    assert not second.of(Mail)
    assert {c.not_understood for c in second.of(Coverage) if c.not_understood} == {1}
    await second.stop()


def _nameless(dovecot: Dovecot) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=dovecot.ca)
    context.check_hostname = False
    return context


async def test_a_wrong_password_and_a_wrong_name_are_told(dovecot: Dovecot, pool: Mailboxes) -> None:
    refused = Followed(pool, box(dovecot, password="wrong"))
    await refused.until_over()
    (state,) = refused.of(AccountState)
    assert state.state == "refused" and "AUTHENTICATIONFAILED" in state.detail
    other = msgspec.structs.replace(box(dovecot).service, tls_name="mx1.new.example")
    misnamed = Followed(pool, msgspec.structs.replace(box(dovecot), service=other, account="bela@x.example"))
    await misnamed.until_over()
    (state,) = misnamed.of(AccountState)
    assert state.state == "unreachable" and "mismatch" in state.detail.lower()
