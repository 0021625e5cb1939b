"""Real name servers that speak DoT and DoH, under a test CA, each on ports of its own."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable
from pathlib import Path

from msgspec import Struct

from monitor.rehearsal.certificates import CertificateAuthority
from tests.servers.daemon import Daemon, program
from tests.servers.nsd import asked

NAME = "dns.test"
ZONE = "example.jp."
MANY = tuple(f"{n} mx{n}.a-rather-long-name-of-an-exchange.example." for n in range(60))
PATH = "/dns-query"

_ZONE = """\
example.jp. 300 IN SOA ns.example.jp. root.example.jp. 7 60 60 600 60
example.jp. 300 IN NS ns.example.jp.
ns.example.jp. 300 IN A 192.0.2.53
example.jp. 300 IN MX 10 mail.example.jp.
example.jp. 300 IN MX 20 backup.example.net.
"""

_UNBOUND = """\
server:
  interface: {address}@{dns}
  interface: {address}@{dot}
  interface: {address}@{doh}
  tls-port: {dot}
  https-port: {doh}
  tls-service-key: "{pem}"
  tls-service-pem: "{pem}"
  access-control: 127.0.0.0/8 allow
  do-daemonize: no
  do-ip6: no
  use-syslog: no
  username: ""
  chroot: ""
  directory: "{directory}"
  pidfile: ""
  num-threads: 1
  module-config: "iterator"
  nsid: "ascii_unbound-1"
  local-zone: "example.jp." static
{local}
remote-control:
  control-enable: no
"""

_BIND = """\
tls test {{ cert-file "{pem}"; key-file "{pem}"; }};
http test {{ endpoints {{ "{path}"; }}; }};
options {{
  directory "{directory}";
  pid-file none;
  session-keyfile none;
  listen-on port {dns} {{ {address}; }};
  listen-on port {dot} tls test {{ {address}; }};
  listen-on port {doh} tls test http test {{ {address}; }};
  listen-on-v6 {{ none; }};
  recursion no;
  server-id "bind-1";
}};
controls {{ }};
zone "example.jp" {{ type primary; file "{directory}/example.jp.zone"; }};
"""

_DNSDIST = """\
setLocal("{address}:{dns}")
addTLSLocal("{address}:{dot}", "{pem}", "{pem}")
addDOHLocal("{address}:{doh}", "{pem}", "{pem}", "{path}")
newServer({{address="{behind}", checkName="example.jp."}})
setACL("127.0.0.0/8")
"""


class Place(Struct, frozen=True):
    """Where one server listens; ``logical``: the address by which it is known."""

    logical: str
    address: str
    dns: int
    dot: int
    doh: int

    @property
    def endpoints(self) -> dict[str, str]:
        ports = {53: self.dns, 853: self.dot, 443: self.doh}
        return {f"{self.logical}:{p}": f"{self.address}:{q}" for p, q in ports.items()}


def place(logical: str) -> Place:
    """Three free ports of 127.0.0.1: BIND listens on no loopback address that no interface names."""
    with contextlib.ExitStack() as stack:
        ports = [_free(stack) for _ in range(3)]
    return Place(logical, "127.0.0.1", *ports)


def _free(stack: contextlib.ExitStack) -> int:
    while True:
        tcp = stack.enter_context(socket.socket())
        udp = stack.enter_context(socket.socket(type=socket.SOCK_DGRAM))
        tcp.bind(("127.0.0.1", 0))
        port: int = tcp.getsockname()[1]
        with contextlib.suppress(OSError):
            udp.bind(("127.0.0.1", port))
            return port


def certificate(authority: CertificateAuthority, directory: Path, name: str = NAME) -> Path:
    """The certificate of ``name`` with its key, in one file."""
    authority.server_context(name)
    return directory / f"{name}.pem"


def _settings(directory: Path, at: Place, pem: Path, **more: object) -> dict[str, object]:
    settings = {"directory": directory, "pem": pem, "path": PATH, "address": at.address}
    return {**settings, "dns": at.dns, "dot": at.dot, "doh": at.doh, **more}


def _ready(at: Place) -> Callable[[], object]:
    return lambda: asked(at.address, at.dns, ZONE, "SOA")


def unbound(directory: Path, at: Place, pem: Path) -> Daemon:
    records = [f"  local-data: '{line}'" for line in _ZONE.splitlines()]
    records += [f"  local-data: 'many.{ZONE} 300 IN MX {rdata}'" for rdata in MANY]
    config = directory / "unbound.conf"
    config.write_text(_UNBOUND.format(**_settings(directory, at, pem, local="\n".join(records))))
    return Daemon("unbound", [program("unbound"), "-d", "-p", "-c", str(config)], directory, _ready(at))


def bind(directory: Path, at: Place, pem: Path) -> Daemon:
    zone = _ZONE + "".join(f"many.{ZONE} 300 IN MX {rdata}\n" for rdata in MANY)
    (directory / "example.jp.zone").write_text(zone)
    config = directory / "named.conf"
    config.write_text(_BIND.format(**_settings(directory, at, pem)))
    return Daemon("bind", [program("named"), "-g", "-n", "1", "-c", str(config)], directory, _ready(at))


def dnsdist(directory: Path, at: Place, pem: Path, behind: Place) -> Daemon:
    config = directory / "dnsdist.conf"
    server = f"{behind.address}:{behind.dns}"
    config.write_text(_DNSDIST.format(**_settings(directory, at, pem, behind=server)))
    command = [program("dnsdist"), "--supervised", "--disable-syslog", "-C", str(config)]
    return Daemon("dnsdist", command, directory, _ready(at))
