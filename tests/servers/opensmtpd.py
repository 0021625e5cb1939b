"""OpenSMTPD as the old host. It logs to the system's log, whose socket is here the test's own.

No TLS and so no submission: this version's TLS fails here with Debian 12's OpenSSL (a handshake ends
with "EVP lib"), with an EC key and with an RSA one.
"""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from pathlib import Path

from tests.servers.addresses import SMTP
from tests.servers.courier import maildir
from tests.servers.daemon import Daemon
from tests.servers.handing import Client
from tests.servers.room import Room
from tests.servers.zones import DOMAIN, OLD_HOST

PROGRAMS = ("usr/sbin/smtpd", "usr/libexec/opensmtpd/mail.maildir")
DAEMON, QUEUE = 53032, 53033

_CONFIG = """\
table people file:/etc/smtpd/people
listen on {address} port {smtp} hostname {name}
action "keep" maildir "{home}/mail/%{{rcpt.user}}" virtual <people>
action "onward" relay host "smtp://{onward}"
match from any for domain "{domain}" action "{action}"
"""
_STAMPED = re.compile(rb"<\d+>(... .. ..:..:..) (.*)", re.DOTALL)


class SystemLog(threading.Thread):
    """Takes what syslog(3) sends and writes it as a syslog daemon does, with the host's name (RFC 3164)."""

    def __init__(self, path: Path, log: Path) -> None:
        super().__init__(daemon=True)
        self._log = log
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        path.chmod(0o666)

    def run(self) -> None:
        with self._log.open("ab", buffering=0) as out:
            while datagram := self._socket.recv(65536):
                if found := _STAMPED.match(datagram.rstrip(b"\0\n")):
                    out.write(b"%s mail %s\n" % found.groups())

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RD)
        self.join()
        self._socket.close()


class OpenSmtpd:
    def __init__(self, shared: Path, address: str, users: tuple[str, ...], zone: str) -> None:
        self.address = address
        self._home = home = shared / "opensmtpd"
        self._room = room = Room("opensmtpd", shared, {"opensmtpd": DAEMON, "opensmtpq": QUEUE})
        for user in users:
            maildir(home / "mail" / user)
        room.folder("var/lib/opensmtpd/empty")
        room.folder("var/spool/smtpd", 0o711)
        room.folder("etc/smtpd")
        room.write("etc/smtpd/people", "".join(f"{user}@{DOMAIN} mail\n" for user in users))
        self.log = home / "mail.log"
        self.log.touch()
        self._write("keep", "localhost")
        self._system = SystemLog(room.device("log"), self.log)
        self._system.start()
        command = room.command("/usr/sbin/smtpd", "-F", "-f", "/etc/smtpd/smtpd.conf")
        self.daemon = Daemon("opensmtpd", command, home, self._greets, log=self.log, zone=zone)

    def _write(self, action: str, onward: str) -> None:
        config = _CONFIG.format(
            name=OLD_HOST, domain=DOMAIN, address=self.address, smtp=SMTP, home=self._home,
            action=action, onward=onward,
        )  # fmt: skip
        self._room.write("etc/smtpd/smtpd.conf", config)

    def relay(self, to: str, port: int) -> None:
        """From now on pass the domain's mail on; the server is started anew."""
        self._write("onward", f"{to}:{port}")
        self.daemon.stop()
        self.daemon.start()

    def close(self) -> None:
        """The end of its log, when the daemon has stopped."""
        self._system.close()

    def _greets(self) -> bool:
        with Client(self.address, SMTP) as smtp:
            return smtp.noop()[0] == 250
