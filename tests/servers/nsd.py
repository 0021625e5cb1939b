"""NSD, three times: the root with ``example.``, and a primary and a secondary of the zones below."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import dns.exception
import dns.message
import dns.query
import dns.rdatatype

from tests.servers.daemon import Daemon, program, run
from tests.servers.zones import file_of

_SERVER = """\
server:
  ip-address: {address}
  port: 53
  server-count: 1
  username: ""
  chroot: ""
  database: ""
  zonesdir: "{directory}"
  pidfile: "{directory}/nsd.pid"
  xfrdfile: "{directory}/xfrd.state"
  zonelistfile: "{directory}/zone.list"
  xfrdir: "{directory}"
  rrl-ratelimit: 0
  verbosity: 2
remote-control:
  control-enable: yes
  control-interface: "{directory}/control"
"""


class Nsd:
    """One server: its files, its daemon, its control."""

    def __init__(self, name: str, address: str, directory: Path, zones: Sequence[str]) -> None:
        self.address = address
        self.directory = directory / name
        self.directory.mkdir()
        self._config = self.directory / "nsd.conf"
        self._config.write_text(_SERVER.format(address=address, directory=self.directory))
        command = [program("nsd"), "-d", "-c", str(self._config)]
        self.daemon = Daemon(name, command, self.directory, lambda: all(map(self.serial, zones)))

    def serve(self, apex: str, secondary: str | None = None, notify: bool = False) -> None:
        """Serve a zone from its file, and to ``secondary`` by AXFR; with ``notify`` it is told of changes
        (RFC 1996), else it learns of one only when it asks by itself."""
        lines = [f'zonefile: "{file_of(self.directory, apex)}"']
        if secondary:
            lines += [f"provide-xfr: {secondary} NOKEY", f"outgoing-interface: {self.address}"]
        if secondary and notify:
            lines += [f"notify: {secondary} NOKEY"]
        self._zone(apex, lines)

    def copy(self, apex: str, primary: str) -> None:
        """Serve a zone as it is transferred from ``primary``."""
        lines = [f"request-xfr: AXFR {primary}@53 NOKEY", f"allow-notify: {primary} NOKEY"]
        self._zone(apex, [*lines, f"outgoing-interface: {self.address}", f'zonefile: "{apex}copy"'])

    def _zone(self, apex: str, lines: Sequence[str]) -> None:
        with self._config.open("a") as config:
            config.write("\n  ".join(["zone:", f'name: "{apex}"', *lines]) + "\n")

    def reload(self, apex: str) -> None:
        """Read a changed zone file."""
        self._control("reload", apex)

    def transfer(self, apex: str) -> None:
        """Ask the primary now (SOA, then AXFR)."""
        self._control("transfer", apex)

    def _control(self, *words: str) -> None:
        run(program("nsd-control"), "-c", str(self._config), *words)

    def serial(self, apex: str) -> int | None:
        """The zone's serial here now; None where it is not served."""
        answer = asked(self.address, 53, apex, "SOA")
        return answer.answer[0][0].serial if answer is not None and answer.answer else None

    def serves(self, apex: str, serial: int) -> bool:
        """Whether this serial is all that is served: while NSD reloads, its old process and its new one
        answer by turns."""
        return all(self.serial(apex) == serial for _ in range(10))


def asked(address: str, port: int, name: str, kind: str, timeout: float = 0.5) -> dns.message.Message | None:
    """One question over UDP; None where no answer comes."""
    question = dns.message.make_query(name, dns.rdatatype.from_text(kind))
    try:
        return dns.query.udp(question, address, port=port, timeout=timeout)
    except (dns.exception.DNSException, OSError):
        return None
