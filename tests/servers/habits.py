"""Resolvers of every make with a habit each, and farms of caches behind dnsdist: real daemons, one address
each, all of which know the stage's root alone."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Sequence
from pathlib import Path

import dns.rcode

from tests.servers.addresses import DNS
from tests.servers.daemon import Daemon, program
from tests.servers.nsd import asked
from tests.servers.zones import DOMAIN

PROGRAMS = ("unbound", "kresd", "pdns_recursor", "named", "dnsmasq", "dnsdist")
_HINTS = ". 3600 IN NS a.root.example.\na.root.example. 3600 IN A {root}\n"
_UNBOUND = """\
server:
  interface: {address}@{port}
  outgoing-interface: {address}
  access-control: 127.0.0.0/8 allow
  do-not-query-localhost: no
  do-daemonize: no
  do-ip6: no
  use-syslog: no
  username: ""
  chroot: ""
  directory: "{home}"
  pidfile: ""
  num-threads: 1
  module-config: "iterator"
  root-hints: "{home}/root.hints"
  local-zone: "example." nodefault
  {extra}
remote-control:
  control-enable: no
"""
_KRESD = """\
modules.unload('ta_update')
modules.unload('ta_signal_query')
modules.load('hints')
net.ipv6 = false
net.listen('{address}', {port}, {{ kind = 'dns' }})
net.outgoing_v4('{address}')
option('ALLOW_LOCAL', true)
trust_anchors.remove('.')
cache.size = 8 * MB
hints.root_file('{home}/root.hints')
{extra}
"""
_PDNS = """\
local-address={address}
local-port={port}
query-local-address={address}
hint-file={home}/root.hints
socket-dir={home}
allow-from=127.0.0.0/8
dont-query=
dnssec=off
daemon=no
write-pid=no
disable-syslog=yes
security-poll-suffix=
threads=1
setuid=
{extra}
"""
_NAMED = """\
options {{
  directory "{home}";
  pid-file none;
  session-keyfile none;
  listen-on port {port} {{ 127.0.0.1; }};
  listen-on-v6 {{ none; }};
  query-source address {address};
  max-cache-size 8m;
  recursion yes;
  allow-query {{ any; }};
  dnssec-validation no;
  empty-zones-enable no;
  {extra}
}};
controls {{ }};
zone "." {{ type hint; file "{home}/root.hints"; }};
"""


class Farm:
    """Makes daemons in a directory of their own; ``last`` is the last part of each one's address."""

    def __init__(self, block: str, root: str, directory: Path) -> None:
        self._block, self._root, self._directory = block, root, directory
        self._ports: dict[int, int] = {}

    def address(self, last: int) -> str:
        return f"{self._block}.{last}"

    def real(self, last: int) -> tuple[str, int]:
        """Where it really listens."""
        return ("127.0.0.1", self._ports[last]) if last in self._ports else (self.address(last), DNS)

    def unbound(self, last: int, *extra: str) -> Daemon:
        home, config = self._written(f"unbound-{last}", last, "unbound.conf", _UNBOUND, "\n  ".join(extra))
        return self._daemon(last, home, ["unbound", "-d", "-c", str(config)])

    def kresd(self, last: int, *extra: str) -> Daemon:
        home, config = self._written(f"kresd-{last}", last, "kresd.conf", _KRESD, "\n".join(extra))
        return self._daemon(last, home, ["kresd", "-n", "-c", str(config), str(home)])

    def pdns(self, last: int, *extra: str) -> Daemon:
        home, _ = self._written(f"pdns-{last}", last, "recursor.conf", _PDNS, "\n".join(extra))
        return self._daemon(last, home, ["pdns_recursor", f"--config-dir={home}"])

    def named(self, last: int, *extra: str) -> Daemon:
        self._ports[last] = _free_port()  # it listens on addresses that an interface has, and no others
        home, config = self._written(f"named-{last}", last, "named.conf", _NAMED, "\n  ".join(extra))
        return self._daemon(last, home, ["named", "-g", "-n", "1", "-c", str(config)])

    def dnsmasq(self, last: int, upstream: int, *extra: str) -> Daemon:
        """Forwards to another of the farm."""
        home = self._home(f"dnsmasq-{last}")
        address = self.address(last)
        return self._daemon(last, home, [
            "dnsmasq", "-k", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--pid-file",
            "--user=root", f"--listen-address={address}", "--bind-interfaces", f"--port={DNS}",
            "--log-facility=-", "--cache-rr=MX",
            f"--server={self.address(upstream)}#{DNS}@{address}", *extra,
        ])  # fmt: skip

    def dnsdist(self, last: int, upstreams: Sequence[int], *lines: str) -> Daemon:
        """Passes each question on to the next of the upstreams."""
        home = self._home(f"dnsdist-{last}")
        servers = [
            f"newServer({{address='{self.address(u)}:{DNS}', source='{self.address(last)}',"
            " healthCheckMode='up'})"
            for u in upstreams
        ]
        setup = [f"setLocal('{self.address(last)}:{DNS}')", "setACL('127.0.0.0/8')", *servers,
                 "setServerPolicy(roundrobin)", "setSecurityPollSuffix('')", *lines]  # fmt: skip
        config = home / "dnsdist.conf"
        config.write_text("\n".join(setup) + "\n")
        return self._daemon(last, home, ["dnsdist", "--supervised", "--disable-syslog", "-C", str(config)])

    def _home(self, name: str) -> Path:
        home = self._directory / name
        home.mkdir()
        (home / "root.hints").write_text(_HINTS.format(root=self._root))
        return home

    def _written(self, name: str, last: int, file: str, template: str, extra: str) -> tuple[Path, Path]:
        home = self._home(name)
        config = home / file
        config.write_text(
            template.format(address=self.address(last), port=self.real(last)[1], home=home, extra=extra)
        )
        return home, config

    def _daemon(self, last: int, home: Path, command: list[str]) -> Daemon:
        address, port = self.real(last)
        return Daemon(home.name, [program(command[0]), *command[1:]], home, lambda: _resolves(address, port))


def _free_port() -> int:
    """Free for TCP and UDP on 127.0.0.1, as far as can be told."""
    while True:
        with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
            tcp.bind(("127.0.0.1", 0))
            with contextlib.suppress(OSError):
                udp.bind(tcp.getsockname())
                return int(tcp.getsockname()[1])


def _resolves(address: str, port: int) -> bool:
    """Whether it finds its way to the domain; asked for what no test looks at."""
    answer = asked(address, port, DOMAIN, "TXT", timeout=2)
    return answer is not None and answer.rcode() == dns.rcode.NOERROR and bool(answer.answer)
