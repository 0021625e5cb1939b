"""Exim as the old host, with the log that it writes itself."""

from __future__ import annotations

import os
from pathlib import Path

from tests.servers.addresses import SMTP, SUBMISSION
from tests.servers.courier import maildir
from tests.servers.daemon import Daemon
from tests.servers.handing import Client
from tests.servers.room import Room
from tests.servers.zones import DOMAIN, OLD_HOST

PROGRAMS = ("usr/sbin/exim4",)
EXIM = 53031

_CONFIG = """\
primary_hostname = {name}
domainlist local_domains = {domain}
local_interfaces = {address}
daemon_smtp_ports = {smtp} : {submission}
host_lookup =
rfc1413_hosts =
keep_environment =
log_file_path = {home}/log/%slog
{selector}
timezone = {zone}
smtp_accept_max_per_host = 0
tls_advertise_hosts = *
tls_certificate = /etc/exim4/tls.pem
tls_privatekey = /etc/exim4/tls.pem
acl_smtp_rcpt = rcpt
acl_smtp_data = data
begin acl
rcpt:
  accept authenticated = *
  deny !domains = +local_domains
       message = relay not permitted
  deny !verify = recipient
       message = no such user
  accept
data:
  deny condition = ${{if match{{$message_body}}{{unwanted}}}}
       message = not wanted
  accept
begin routers
moved:
  driver = manualroute
  domains = +local_domains
  condition = ${{if exists{{{home}/moved}}}}
  route_data = ${{readfile{{{home}/moved}}{{}}}}
  self = send
  transport = onward
kept:
  driver = accept
  domains = +local_domains
  local_parts = {users}
  transport = mailbox
begin transports
onward:
  driver = smtp
  hosts_try_fastopen =
  tls_tempfail_tryclear = true
mailbox:
  driver = appendfile
  directory = {home}/mail/$local_part_data
  maildir_format
  user = mail
  group = mail
begin retry
* * F,1h,5s
begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  server_advertise_condition = ${{if def:tls_in_cipher}}
  server_prompts = :
  server_condition = ${{if and{{{{eq{{$auth2}}{{{login}}}}}{{eq{{$auth3}}{{{password}}}}}}}}}
  server_set_id = $auth2
"""


class Exim:
    """``selector``: a line for its configuration that says what it logs beyond the default."""

    def __init__(
        self, shared: Path, address: str, certificate: Path, users: tuple[str, ...], login: str,
        password: str, zone: str, selector: str = "",
    ) -> None:  # fmt: skip
        self.address = address
        self._home = home = shared / "exim"
        self._room = room = Room("exim", shared, {"Debian-exim": EXIM})
        (home / "log").mkdir()
        os.chown(home / "log", EXIM, EXIM)
        for user in users:
            maildir(home / "mail" / user)
        room.folder("var/spool/exim4", 0o750, EXIM)
        room.folder("etc/exim4")
        room.write("etc/exim4/tls.pem", certificate.read_text(), 0o640, EXIM)
        config = _CONFIG.format(
            name=OLD_HOST, domain=DOMAIN, address=address, smtp=SMTP, submission=SUBMISSION, home=home,
            users=" : ".join(users), login=login, password=password, zone=zone, selector=selector,
        )  # fmt: skip
        room.write("etc/exim4/exim4.conf", config)
        command = room.command("/usr/sbin/exim4", "-bdf", "-q1s")
        self.log = home / "log" / "mainlog"
        self.daemon = Daemon("exim", command, home, self._greets, log=self.log, zone=zone)

    def relay(self, to: str, port: int) -> None:
        """From now on pass the domain's mail on."""
        (self._home / "moved").write_text(f"{to}::{port}")

    def close(self) -> None:
        """The end of its log, when the daemon has stopped: nothing to do."""

    def _greets(self) -> bool:
        with Client(self.address, SMTP) as smtp:
            return smtp.noop()[0] == 250
