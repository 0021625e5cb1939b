"""A Dovecot for thousands of idle users: any name with one password, a maildir each, TLS only."""

from __future__ import annotations

import contextlib
import imaplib
import os
import shutil
import socket
import ssl
import tempfile
from collections.abc import Iterator
from itertools import count
from pathlib import Path

from tests.benchmarks.server import pinned
from tests.mail.servers import certificate
from tests.servers.daemon import PATH, Daemon, program

NAME, ADDRESS, PASSWORD, UID = "mail.bench.example", "127.0.0.144", "geheim", 65534

_CONFIG = """\
base_dir = {home}/run
state_dir = {home}/state
log_path = {home}/dovecot.log
protocols = imap
listen = {address}
ssl = required
ssl_cert = <{home}/tls.pem
ssl_key = <{home}/tls.pem
mail_location = maildir:{home}/mail/%u
first_valid_uid = {uid}
first_valid_gid = 1
default_vsz_limit = 4G
passdb {{
  driver = static
  args = password={password}
}}
userdb {{
  driver = static
  args = uid={uid} gid={uid} home={home}/mail/%u
}}
namespace inbox {{
  inbox = yes
  separator = .
  mailbox Junk {{
    special_use = \\Junk
    auto = create
  }}
}}
service imap-login {{
  service_count = 0
  client_limit = 5000
  process_limit = 1
  inet_listener imap {{
    port = 0
  }}
  inet_listener imaps {{
    port = {port}
  }}
}}
# Many connections a process: the system gives one user few inotify instances.
service imap {{
  service_count = 0
  client_limit = 100
  process_limit = 200
}}
service anvil {{
  client_limit = 20000
}}
service auth {{
  client_limit = 20000
}}
"""


class Dovecot:
    def __init__(self, home: Path, port: int) -> None:
        self.home, self.port = home, port
        self.ca = certificate(home, NAME)[1]
        shutil.copy(home / f"{NAME}-1.pem", home / "tls.pem")
        (home / "mail").mkdir()
        shutil.chown(home / "mail", UID, UID)
        config = _CONFIG.format(home=home, address=ADDRESS, uid=UID, password=PASSWORD, port=port)
        (home / "dovecot.conf").write_text(config)
        command = [program("dovecot"), "-F", "-c", str(home / "dovecot.conf")]
        self.daemon = Daemon("dovecot", command, home, self._answers, log=home / "dovecot.log")
        self._numbers = count()

    def _answers(self) -> bool:
        try:
            self.session("nobody").logout()
        except imaplib.IMAP4.error:
            return False
        return True

    def session(self, user: str) -> imaplib.IMAP4:
        context = ssl.create_default_context(cafile=self.ca)
        context.check_hostname = False
        made = imaplib.IMAP4_SSL(ADDRESS, self.port, ssl_context=context, timeout=20)
        made.login(user, PASSWORD)
        return made

    def deliver(self, user: str, raw: bytes) -> None:
        """As an MTA does: into tmp, then into new. The user has logged in before: the maildir is there."""
        name = f"{next(self._numbers)}.{os.getpid()}.host"
        maildir = self.home / "mail" / user
        (maildir / "tmp" / name).write_bytes(raw)
        shutil.chown(maildir / "tmp" / name, UID, UID)
        (maildir / "tmp" / name).rename(maildir / "new" / name)


@contextlib.contextmanager
def running(core: int | None) -> Iterator[Dovecot]:
    """Raises ``SystemExit`` where Dovecot is not installed, or nobody is root (mail processes are another
    user's)."""
    if shutil.which("dovecot", path=PATH) is None or os.geteuid() != 0:
        raise SystemExit("the benchmark watches a Dovecot: install dovecot-imapd, and run it as root")
    with socket.socket() as one:
        one.bind((ADDRESS, 0))
        port = one.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="mx-bench-") as name:
        Path(name).chmod(0o755)
        made = Dovecot(Path(name), port)
        with pinned(core):
            made.daemon.start()
        try:
            yield made
        finally:
            made.daemon.stop()
