"""Two Dovecots, a plan that moves between them, and a journal that knows what old took."""

from __future__ import annotations

import contextlib
import imaplib
import json
import re
import ssl
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from msgspec import Struct

from monitor.journal import Journal
from probes.mail.header import fields
from probes.mail.trace import digest, message_id
from probes.observation import Coverage, Hosts, Mail, Observation, Operator, Plan, Policy, now
from tests.mail.test_dovecot import ADDRESS, LISTEN, NAME, PASSWORD, Dovecot

ANNA = "anna@example.jp"
NEW_ADDRESS, NEW_NAME = "198.51.100.20", "mx1.new.example"
RUN = [sys.executable, "-c", "import sys; from monitor.cli import main; sys.exit(main(sys.argv[1:]))"]
_PLAN = """\
version = 1
domain = "example.jp"
[old]
mx = ["mail.old.example"]
addresses = ["{address}"]
[old.imap]
host = "{name}"
address = "{address}"
ca_file = "{old_ca}"
[new]
mx = ["{new_name}"]
addresses = ["{new_address}"]
[new.imap]
host = "{name}"
address = "{new_address}"
ca_file = "{new_ca}"
[mx]
planned = ["10 {new_name}"]
[dns]
resolvers = ["8.8.8.8"]
[canaries]
routes = ["mx"]
[[account]]
address = "anna@example.jp"
login = "{user}"
secret = "file:secret"
[endpoints]
"{address}:993" = "{listen}:{old_port}"
"{address}:995" = "{listen}:{old_pop_port}"
"{new_address}:993" = "{listen}:{new_port}"
"""


class Kept(Struct, frozen=True):
    """A message as IMAP shows it: bytes, INTERNALDATE as the server writes it in UTC, flags, folder."""

    raw: bytes
    date: datetime
    flags: frozenset[str]
    folder: str


class Host(Dovecot):
    """With a mailbox for each of many users, one of whom it is about."""

    def __init__(self, home: Path, ports: tuple[int, int, int]) -> None:
        super().__init__(home, ports)
        config, mail = home / "dovecot.conf", f"{home}/mail"
        config.write_text(config.read_text().replace(mail, f"{mail}/%n"))
        (home / "users").write_text("".join(f"user{n}:{PASSWORD}\n" for n in range(50)))
        self._turn = 0

    @property
    def user(self) -> str:
        return f"user{self._turn}"

    def next_user(self) -> None:
        self._turn += 1


class Stage:
    def __init__(self, old: Host, new: Host, directory: Path) -> None:
        self.old, self.new, self.directory = old, new, directory
        self.plan, self.journal = directory / "cutover.toml", directory / "cutover.journal"
        (directory / "secret").touch(mode=0o600)
        (directory / "secret").write_text(PASSWORD)
        text = _PLAN.format(
            name=NAME, address=ADDRESS, new_name=NEW_NAME, new_address=NEW_ADDRESS, listen=LISTEN,
            old_ca=old.ca, new_ca=new.ca, old_port=old.ports[1], old_pop_port=old.ports[2],
            new_port=new.ports[1], user=old.user,
        )  # fmt: skip
        self.plan.write_text(text)
        self.changed = now() - timedelta(hours=6)

    def record(self, *observations: Observation) -> None:
        """A journal in which the change was made six hours ago and both mailboxes were watched since."""
        began = self.changed - timedelta(hours=1)
        plan = Plan(
            at=began, version=1, domain="example.jp.", old=Hosts(mx=(f"{NAME}.",), addresses=(ADDRESS,)),
            new=Hosts(mx=(f"{NEW_NAME}.",), addresses=(NEW_ADDRESS,)), expected_mx=(f"10 {NEW_NAME}.",),
            authorities=("203.0.113.1",), resolvers=("8.8.8.8",), routes=("mx",), accounts=(ANNA,),
            policy=Policy(),
        )  # fmt: skip
        covered = [
            Coverage(at=self.changed + timedelta(seconds=60), source=f"mailbox:{side}:{ANNA}",
                     from_=self.changed, to=self.changed + timedelta(seconds=60))
            for side in ("old", "new")
        ]  # fmt: skip
        with Journal.create(self.journal, plan) as journal:
            journal.keep([Operator(at=self.changed, action="cutover", subject="", reason="now")])
            journal.keep([*covered, *observations])

    def taken(self, raw: bytes, at: datetime, recipient: str = ANNA) -> Mail:
        """What the mailbox watch would have said of it."""
        those = fields(raw)
        name = message_id(those)
        return Mail(
            at=now(), side="old", accepted_at=at, source="mailbox", recipient=recipient, message_id=name,
            client="203.0.113.7", helo="mta.a.example", origin="outside", disposition="delivered",
            queue_id=None, digest=digest(those) if name is None else None,
        )  # fmt: skip

    def run(self, *arguments: str) -> tuple[int, list[dict[str, str]], str]:
        """``mxcutover rescue``: its exit code, its rows, stderr."""
        command = [*RUN, "rescue", str(self.plan), "--json", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        return done.returncode, [json.loads(line) for line in done.stdout.splitlines()], done.stderr

    def status(self) -> dict[str, Any]:
        """``mxcutover status --json`` by now."""
        command = [*RUN, "status", "--json", str(self.journal)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def stragglers(self) -> tuple[str, str]:
        """The requirement's state and code by now."""
        rows = self.status()["requirements"]
        return next((row["state"], row["code"]) for row in rows if row["name"] == "stragglers")


@contextlib.contextmanager
def session(host: Host) -> Iterator[imaplib.IMAP4_SSL]:
    context = ssl.create_default_context(cafile=host.ca)
    context.check_hostname = False
    with imaplib.IMAP4_SSL(LISTEN, host.ports[1], ssl_context=context) as imap:
        imap.authenticate("PLAIN", lambda _: f"\0{host.user}\0{PASSWORD}".encode())
        yield imap


def put(host: Host, raw: bytes, at: datetime, flags: str = "", folder: str = "INBOX") -> None:
    with session(host) as imap:
        imap.create(folder)
        date = imaplib.Time2Internaldate(at)
        assert imap.append(folder, flags, date, raw)[0] == "OK"


def kept(host: Host) -> list[Kept]:
    """Everything in every folder, without changing it."""
    found = []
    with session(host) as imap:
        names = [re.sub(rb'.*"\." ', b"", row).decode().strip('"') for row in imap.list()[1] if row]
        for name in names:
            assert imap.select(f'"{name}"', readonly=True)[0] == "OK"
            for number in imap.search(None, "ALL")[1][0].split():
                (head, raw), *rest = imap.fetch(number.decode(), "(INTERNALDATE FLAGS BODY.PEEK[])")[1]
                line = head + b"".join(r for r in rest if isinstance(r, bytes))
                found.append(Kept(raw, _date(line), _flags(line), name))
    return found


def _date(line: bytes) -> datetime:
    text = re.search(rb'INTERNALDATE "([^"]+)"', line)
    assert text is not None
    return datetime.strptime(text[1].decode().strip(), "%d-%b-%Y %H:%M:%S %z").astimezone(UTC)


def _flags(line: bytes) -> frozenset[str]:
    text = re.search(rb"FLAGS \(([^)]*)\)", line)
    assert text is not None
    return frozenset(text[1].decode().split()) - {"\\Recent"}
