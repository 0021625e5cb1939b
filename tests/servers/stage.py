"""The whole stage: name servers, resolvers, the old and the new mail host, each a real daemon.

```
   root ── example. ── move.example.   primary ──AXFR──▶ secondary        (NSD)
                             ▲
        Unbound, Knot Resolver (caches)
             ▲                                          old: Postfix, Dovecot (STARTTLS)
   outside senders ───────────── by MX ───────────────▶ new: Postfix, Dovecot (implicit TLS)
```
"""

from __future__ import annotations

import email
import ssl
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType

from monitor.rehearsal.certificates import CertificateAuthority
from tests.servers import resolvers, zones
from tests.servers.addresses import draw
from tests.servers.daemon import Daemon, wait_until
from tests.servers.dovecot import Dovecot
from tests.servers.host import USERS, MailHost, Side
from tests.servers.nsd import Nsd
from tests.servers.postfix import Postfix
from tests.servers.senders import Post

PROGRAMS = ("nsd", "nsd-control", "unbound", "kresd", "postfix", "postqueue", "postmap", "dovecot")
APEX = f"{zones.DOMAIN}."
OLD_ZONE = "Asia/Tokyo"


class Stage:
    """``with Stage() as stage: …``: everything runs and answers; before the change, old is the MX.

    ``ttl`` is that of the domain's records, ``host_ttl`` that of the hosts' addresses; with ``destination``
    the domain is one of old's own (``mydestination``), else a virtual one. ``directory`` is the stage's
    own and gone at the end: pytest's temporary folders are closed to the servers' unprivileged processes,
    and too deep for the names of UNIX sockets.
    """

    def __init__(
        self, ttl: int = 5, host_ttl: int = 10, users: tuple[str, ...] = USERS, destination: bool = False
    ) -> None:
        self.addresses = draw()
        self._temporary = tempfile.TemporaryDirectory(prefix="mx-")
        self.directory = Path(self._temporary.name)
        self.directory.chmod(0o711)
        self._ttl = ttl
        self._serial = 1
        self._users = users
        self._authority = CertificateAuthority(self.directory)
        self.ca = self._authority.path
        self.old = self._host("old", (zones.OLD_HOST,), (self.addresses.old,), OLD_ZONE)
        self.new = self._host("new", zones.NEW_HOSTS, self.addresses.new, None)
        fallback = self.addresses.new[0] if destination else None
        self.old_mta = Postfix(self.old, self.addresses.outsiders, fallback)
        self.new_mta = Postfix(self.new, self.addresses.outsiders)
        self.old_imap, self.new_imap = (Dovecot(h, self.ca) for h in (self.old, self.new))
        self._build_dns(host_ttl)
        self.daemons = self._daemons()
        self.post = Post(self.addresses, ssl.create_default_context(cafile=self.ca))

    def __enter__(self) -> Stage:
        try:
            with ThreadPoolExecutor(len(self.daemons)) as pool:
                list(pool.map(Daemon.start, self.daemons))
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """All servers end, also where one of them does not want to."""
        try:
            with ThreadPoolExecutor(len(self.daemons)) as pool:
                list(pool.map(Daemon.stop, self.daemons))
        finally:
            self._temporary.cleanup()

    def log(self) -> str:
        """What the servers said last, for the report of a test that failed."""
        return "\n".join(daemon.log() for daemon in self.daemons)

    # -- building it ----------------------------------------------------------------------------------

    def _host(
        self, side: Side, names: tuple[str, ...], addresses: tuple[str, ...], zone: str | None
    ) -> MailHost:
        self._authority.server_context(*names)
        host = MailHost(
            side=side, name=names[0], addresses=addresses, directory=self.directory / side,
            certificate=self.directory / f"{names[0]}.pem", zone=zone, users=self._users,
        )  # fmt: skip
        host.prepare()
        return host

    def _build_dns(self, host_ttl: int) -> None:
        addresses, children = self.addresses, zones.CHILDREN
        self.root = Nsd("root", addresses.root, self.directory, zones.PARENTS)
        self.primary = Nsd("primary", addresses.primary, self.directory, children)
        self.secondary = Nsd("secondary", addresses.secondary, self.directory, children)
        zones.write_parents(self.root.directory, addresses)
        zones.write_hosts(self.primary.directory, addresses, host_ttl)
        zones.write_domain(self.primary.directory, addresses, self._serial, self._ttl, zones.OLD_MX)
        for apex in zones.PARENTS:
            self.root.serve(apex)
        for apex in children:
            # The domain's own secondary is not told of changes: it lags until it asks.
            self.primary.serve(apex, addresses.secondary, notify=apex != APEX)
            self.secondary.copy(apex, addresses.primary)

    def _daemons(self) -> list[Daemon]:
        servers = [server.daemon for server in (self.root, self.primary, self.secondary)]
        caches = [make(self.addresses, self.directory) for make in (resolvers.unbound, resolvers.knot)]
        hosts = [part.daemon for part in (self.old_mta, self.new_mta, self.old_imap, self.new_imap)]
        return [*servers, *caches, *hosts]

    # -- what happens on it -----------------------------------------------------------------------------

    def change_mx(self, mx: tuple[str, ...] = zones.NEW_MX) -> None:
        """At the primary. The secondary still serves what it has."""
        self._serial += 1
        zones.write_domain(self.primary.directory, self.addresses, self._serial, self._ttl, mx)
        self.primary.reload(APEX)
        wait_until(lambda: self.primary.serves(APEX, self._serial), "the primary serves the change")

    def secondary_catches_up(self) -> None:
        self.secondary.transfer(APEX)
        wait_until(lambda: self.secondary.serves(APEX, self._serial), "the secondary serves the change")

    def copy(self, users: Sequence[str] | None = None) -> int:
        """What lies on old and not on new is appended there, as a last run of imapsync does; of all users or
        of these. How many."""
        copied = 0
        for user in self.old.users if users is None else users:
            there = {message_id for message_id, _ in letters(self.new, user)}
            missing = [raw for message_id, raw in letters(self.old, user) if message_id not in there]
            if missing:
                with self.new_imap.session(user) as session:
                    for raw in missing:
                        session.append("INBOX", "", "", raw)
            copied += len(missing)
        return copied


def letters(host: MailHost, user: str) -> Iterator[tuple[str, bytes]]:
    """Message-ID and text of everything in this user's mailbox, read from the Maildir itself."""
    for path in files(host, user):
        raw = path.read_bytes()
        yield str(email.message_from_bytes(raw)["Message-ID"]), raw


def files(host: MailHost, user: str) -> list[Path]:
    """Every message's file, in every folder; a file that is renamed meanwhile may be missing."""
    home = host.maildir(user)
    return [path for part in ("new", "cur") for path in home.glob(f"**/{part}/*") if path.is_file()]


def left_behind(directory: Path) -> list[str]:
    """Processes that still work in this directory: command lines, for people."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            place = str((process / "cwd").readlink())
        except OSError:
            continue
        if f"{directory}/" in f"{place}/" or str(directory) in command:
            found.append(f"{process.name} {command}")
    return found
