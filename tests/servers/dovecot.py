"""Dovecot as one mail host: IMAP for the users, passwords for Postfix, delivery by LMTP where it is new."""

from __future__ import annotations

import imaplib
import socket
import ssl
from pathlib import Path

from tests.servers.daemon import Daemon, program
from tests.servers.host import MAIL_GID, MAIL_UID, MailHost

TIMEOUT = 20.0

_CONFIG = """\
base_dir = {home}/run
state_dir = {home}/state
log_path = {home}/dovecot.log
auth_verbose = yes
protocols = imap lmtp
listen = {address}
ssl = required
ssl_cert = <{certificate}
ssl_key = <{certificate}
disable_plaintext_auth = yes
auth_mechanisms = plain login
auth_username_format = {username}
mail_location = maildir:{mail}/%Ln
mail_uid = {uid}
mail_gid = {gid}
first_valid_uid = {uid}
first_valid_gid = {gid}
maildir_stat_dirs = yes
passdb {{
  driver = passwd-file
  args = scheme=PLAIN {home}/users
}}
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={mail}/%Ln
}}
namespace inbox {{
  inbox = yes
  separator = /
  mailbox Junk {{
    special_use = \\Junk
    auto = subscribe
  }}
  mailbox Sent {{
    special_use = \\Sent
    auto = subscribe
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
service lmtp {{
  unix_listener {queue}/private/dovecot-lmtp {{
    user = postfix
    mode = 0600
  }}
}}
service auth {{
  unix_listener {queue}/private/auth {{
    user = postfix
    mode = 0600
  }}
}}
"""


class Dovecot:
    """Of a host that is prepared; Postfix may be started before or after it."""

    def __init__(self, host: MailHost, ca: Path) -> None:
        self.host = host
        self._tls = ssl.create_default_context(cafile=ca)
        home = host.directory / "dovecot"
        self._write(home)
        command = [program("dovecot"), "-F", "-c", str(home / "dovecot.conf")]
        self.daemon = Daemon(f"dovecot-{host.side}", command, home, self._lets_in, log=home / "dovecot.log")

    def _write(self, home: Path) -> None:
        host = self.host
        config = _CONFIG.format(
            home=home, address=host.addresses[0], certificate=host.certificate, mail=host.mail, uid=MAIL_UID,
            gid=MAIL_GID, queue=host.queue, username="%Lu" if host.side == "old" else "%Ln",
            imap=0 if host.implicit_tls else host.imap_port,
            imaps=host.imap_port if host.implicit_tls else 0,
        )  # fmt: skip
        (home / "dovecot.conf").write_text(config)
        users = "".join(f"{host.login(user)}:{host.password(user)}\n" for user in host.users)
        (home / "users").write_text(users)

    def session(self, user: str) -> Session:
        """This user's, logged in over TLS with the host's name verified."""
        host = self.host
        session = Session(host.addresses[0], host.name, host.imap_port, self._tls, host.implicit_tls)
        if not host.implicit_tls:
            session.starttls(self._tls)
        session.login(host.login(user), host.password(user))
        return session

    def _lets_in(self) -> bool:
        try:
            self.session(self.host.users[0]).logout()
        except imaplib.IMAP4.error:
            return False
        return True


class Session(imaplib.IMAP4):
    """Connects to an address and verifies a name: the machine's own resolver knows none of the names."""

    def __init__(self, address: str, name: str, port: int, tls: ssl.SSLContext, implicit: bool) -> None:
        self._address, self._tls, self._implicit = address, tls, implicit
        super().__init__(name, port, TIMEOUT)

    def _create_socket(self, timeout: float | None) -> socket.socket:
        plain = socket.create_connection((self._address, self.port), timeout)
        return self._tls.wrap_socket(plain, server_hostname=self.host) if self._implicit else plain
