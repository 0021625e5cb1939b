"""A mail host's identity: what its Postfix and its Dovecot must agree on."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Literal

from msgspec import Struct

from tests.servers.addresses import IMAP, IMAPS, SUBMISSION, SUBMISSIONS
from tests.servers.zones import DOMAIN

Side = Literal["old", "new"]
USERS = ("anna", "ben", "carol")
# Nobody's own numbers: mailboxes belong to no user of the machine.
MAIL_UID = MAIL_GID = 53025


class MailHost(Struct, frozen=True, kw_only=True):
    """``certificate`` holds key and chain (PEM); ``directory`` everything that the host writes; ``zone`` is
    the time zone of its log, whose stamps name none (RFC 3164 section 4.1.2)."""

    side: Side
    name: str
    addresses: tuple[str, ...]
    directory: Path
    certificate: Path
    zone: str | None
    users: tuple[str, ...] = USERS

    @property
    def queue(self) -> Path:
        return self.directory / "queue"

    @property
    def mail(self) -> Path:
        """Below it a Maildir for each user."""
        return self.directory / "mail"

    @property
    def log(self) -> Path:
        return self.directory / "mail.log"

    @property
    def submission_port(self) -> int:
        """STARTTLS on the old host, implicit TLS on the new one (RFC 8314 section 3.3)."""
        return SUBMISSION if self.side == "old" else SUBMISSIONS

    @property
    def imap_port(self) -> int:
        return IMAP if self.side == "old" else IMAPS

    @property
    def implicit_tls(self) -> bool:
        return self.side == "new"

    def login(self, user: str) -> str:
        """The old host's users log in with their address, the new one's with a bare name."""
        return f"{user}@{DOMAIN}" if self.side == "old" else user

    def password(self, user: str) -> str:
        return f"{self.side}-secret-of-{user}"

    def maildir(self, user: str) -> Path:
        return self.mail / user

    def prepare(self) -> None:
        """Its folders, with the owners that Postfix and Dovecot insist on."""
        self.directory.mkdir(mode=0o711)
        for folder in (self.queue, self.directory / "config", self.directory / "dovecot"):
            folder.mkdir(mode=0o755)
        self.mail.mkdir(mode=0o755)
        os.chown(self.mail, MAIL_UID, MAIL_GID)
        for folder in (self.directory / "data", self.queue / "private"):
            folder.mkdir(mode=0o700)
            shutil.chown(folder, "postfix")
