"""Courier IMAP as a mail host's mailboxes: the second make beside Dovecot, with other habits."""

from __future__ import annotations

import base64
import imaplib
import os
import ssl
from hashlib import sha256
from pathlib import Path

from tests.servers.addresses import IMAP, IMAPS
from tests.servers.daemon import Daemon
from tests.servers.dovecot import Session
from tests.servers.host import MAIL_GID, MAIL_UID
from tests.servers.room import Room

PROGRAMS = ("usr/sbin/couriertcpd", "usr/bin/imapd", "usr/lib/courier/courier-authlib/authdaemond")
JUNK = ".Junk"  # Maildir++: INBOX.Junk
COURIER = 53030

# What its own start scripts set up, for both ports (RFC 3501 with STARTTLS; RFC 8314 section 3.2).
_START = """\
set -e
trap 'kill $auth $plain $tls; exit' TERM
lib=/usr/lib/courier
export MAILDIRPATH=Maildir IMAP_CAPABILITY="IMAP4rev1 UIDPLUS CHILDREN NAMESPACE SORT QUOTA IDLE"
export IMAP_CAPABILITY_TLS="$IMAP_CAPABILITY AUTH=PLAIN" IMAP_IDLE_TIMEOUT={idle} IMAP_ENHANCEDIDLE=0
export IMAP_STARTTLS=YES IMAP_TLS_REQUIRED=1 IMAP_EMPTYTRASH= IMAP_UMASK=022 SENDMAIL=/bin/false
export COURIERTLS=/usr/bin/couriertls TLS_CERTFILE=/etc/courier/imapd.pem TLS_VERIFYPEER=NONE
export TLS_DHPARAMS= TLS_CACHEFILE= TLS_TRUSTCERTS=
makeuserdb
$lib/courier-authlib/authdaemond &
auth=$!
listen="couriertcpd -address={address} -maxprocs=40 -maxperip={each} -nodnslookup -noidentlookup"
$listen {imap} \
  $lib/courier/imaplogin /usr/bin/imapd Maildir &
plain=$!
IMAP_TLS=1 IMAP_TLS_REQUIRED=0 $listen {imaps} \
  /usr/bin/couriertls -server -tcpd -user=courier $lib/courier/imaplogin /usr/bin/imapd Maildir &
tls=$!
wait
"""
_AUTH = """\
authmodulelist="authuserdb"
daemons=2
authdaemonvar=/run/courier/authdaemon
"""


class Courier:
    """``users``: logins and passwords. ``certificate``: key and chain (PEM) for ``name``."""

    def __init__(
        self, shared: Path, address: str, name: str, certificate: Path, ca: Path, users: dict[str, str],
        each: int = 20,
    ) -> None:  # fmt: skip
        self.address, self.name, self._users = address, name, users
        self.mail = shared / "courier-mail"
        self.ca = ca
        self._tls = ssl.create_default_context(cafile=ca)
        self._room = room = Room("courier", shared, {"courier": COURIER})
        room.folder("run/courier/authdaemon", 0o750, COURIER)
        room.folder("etc/courier")
        room.write("etc/courier/authdaemonrc", _AUTH)
        room.write("etc/courier/imapd.pem", certificate.read_text(), 0o600, COURIER)
        for user in users:
            maildir(maildir(self.mail / user / "Maildir") / JUNK)
        room.write("etc/courier/userdb", self._userdb(), 0o600)
        start = _START.format(address=address, imap=IMAP, imaps=IMAPS, each=each, idle=1)
        command = room.command("/bin/sh", "-c", start)
        self.daemon = Daemon("courier", command, shared, self._lets_in)

    def _userdb(self) -> str:
        def line(user: str, password: str) -> str:
            home = self.mail / user
            digest = "{SHA256}" + base64.b64encode(sha256(password.encode()).digest()).decode()
            owner = f"uid={MAIL_UID}|gid={MAIL_GID}|home={home}|mail={home}/Maildir"
            return f"{user}\t{owner}|systempw={digest}\n"

        return "".join(line(*pair) for pair in self._users.items())

    def session(self, user: str) -> Session:
        session = Session(self.address, self.name, IMAPS, self._tls, True)
        session.login(user, self._users[user])
        return session

    def opened(self) -> None:
        """Each folder has been opened by its user once. Until then Courier counts it anew, with another
        UIDVALIDITY, for whoever only looks (RFC 3501 section 2.3.1.1 asks it to remember)."""
        for user in self._users:
            with self.session(user) as session:
                session.select()
                session.select("INBOX.Junk")

    def _lets_in(self) -> bool:
        try:
            self.session(next(iter(self._users))).logout()
        except imaplib.IMAP4.error:
            return False
        return True


def maildir(path: Path) -> Path:
    """A new Maildir (or Maildir++ folder) that belongs to the mail user."""
    for folder in (path, *(path / name for name in ("tmp", "new", "cur"))):
        folder.mkdir(parents=True, exist_ok=True)
        os.chown(folder, MAIL_UID, MAIL_GID)
    os.chown(path.parent, MAIL_UID, MAIL_GID)
    return path
