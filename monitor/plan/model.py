"""The plan in memory. Host names are absolute, lower case, A-labels (``mx.new.example.``)."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from msgspec import Struct

from probes.logformat import LogFormat
from probes.logsource import Source
from probes.observation import Policy
from probes.service import Service


class LogSource(Struct, frozen=True, kw_only=True):
    """The old host's mail log. ``format``: what wrote it, "auto" where its lines tell. ``zone`` is an IANA
    name or None for the watcher's own zone."""

    source: Source
    format: LogFormat = "auto"
    history: bool = True
    zone: str | None = None


class Host(Struct, frozen=True, kw_only=True):
    """One side. ``folders`` of each mailbox are watched beside INBOX and the junk folder (IMAP only).
    ``queue_command``: a program and its arguments that list what waits in the host's queue."""

    mx: tuple[str, ...]
    addresses: tuple[str, ...]
    smtp_port: int = 25
    submission: Service | None = None
    imap: Service | None = None
    pop3: Service | None = None
    folders: tuple[str, ...] = ()
    log: LogSource | None = None
    queue_command: tuple[str, ...] = ()

    @property
    def mailboxes(self) -> Service | None:
        """Where mailboxes are read: over IMAP, and over POP3 only where there is no IMAP."""
        return self.imap or self.pop3

    @property
    def protocol(self) -> Literal["imap", "pop3"]:
        """What ``mailboxes`` speaks."""
        return "pop3" if self.imap is None and self.pop3 is not None else "imap"

    @property
    def services(self) -> dict[str, Service]:
        """Those that the plan names, by their table: submission, imap, pop3."""
        named = {"submission": self.submission, "imap": self.imap, "pop3": self.pop3}
        return {called: service for called, service in named.items() if service is not None}


class Account(Struct, frozen=True, kw_only=True):
    """One mailbox on both sides. A ``*_secret`` is a reference (``file:…``, ``command:…``,
    ``credential:NAME``, ``keyring:SERVICE/USER``, ``prompt``), never a password; None means that this
    side cannot be logged in to."""

    address: str
    old_login: str
    new_login: str
    old_secret: str | None = None
    new_secret: str | None = None


class Relay(Struct, frozen=True, kw_only=True):
    """A third party's submission server, for the route ``relay:NAME``: how an outsider's mail comes in, by a
    host with resolvers and habits of its own. ``sender``: the address that it lets this login send as; ""
    for the canaries' own. ``login`` None: it takes mail without one."""

    service: Service
    login: str | None = None
    secret: str | None = None
    sender: str = ""


class Cadence(Struct, frozen=True, kw_only=True):
    """How often, in seconds. ``canary`` is per route."""

    authority: float = 30
    resolver: float = 30
    canary: float = 300
    mailbox: float = 60
    log: float = 1
    coverage: float = 60
    queue: float = 300


class CutoverPlan(Struct, frozen=True, kw_only=True):
    """Everything in one cutover.toml, checked. ``authorities`` None: found by walking the delegation.

    ``resolvers`` are addresses of recursive resolvers, the bundled list already expanded;
    ``daily_canaries``: at most so many in 24 hours, over all routes.
    ``platforms`` maps each to its operator. ``hints`` replaces the root servers' addresses.
    """

    path: Path
    domain: str
    old: Host
    new: Host
    expected_mx: tuple[str, ...]
    accounts: tuple[Account, ...]
    resolvers: tuple[str, ...]
    platforms: dict[str, str]
    routes: tuple[str, ...]
    policy: Policy = Policy()
    cadence: Cadence = Cadence()
    authorities: tuple[str, ...] | None = None
    hints: tuple[str, ...] = ()
    sender: str = ""
    daily_canaries: int = 500
    relays: dict[str, Relay] = {}
    language: Literal["en", "ja"] = "en"
    journal: Path = Path("cutover.journal")
    endpoints: dict[str, str] = {}
