"""A network whose port 53 can be taken over: a middlebox stands before every address, real servers behind it.

Behind it are a root server and two operators' resolvers (Unbound, plain and by DoT and DoH under a test CA),
each of which calls itself what that operator's servers do.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path

import dns.flags
import dns.message
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset
from msgspec import Struct

from monitor.rehearsal.authority import Authority
from monitor.rehearsal.certificates import CertificateAuthority
from probes.dns.exchange import Exchange
from probes.dns.walking import ROOT
from probes.endpoints import Endpoints
from tests.dns.encrypting import Place, place
from tests.dns.internet import zone
from tests.dns.scripted import Scripted, Send
from tests.servers.daemon import Daemon, program
from tests.servers.nsd import asked

GOOGLE, QUAD9, OWN = "8.8.8.8", "9.9.9.9", "203.0.113.1"
ROOTS = tuple(server.address for server in ROOT if ":" not in server.address)[:4]
NAMES = {
    GOOGLE: "dns.google",
    QUAD9: "dns.quad9.net",
    "203.0.113.80": "doh.example.jp",
    "103.2.57.5": "public.dns.iij.jp",
}
STRANGER = "192.0.2.53"
DOMAIN = "example.jp."
NEW, OLD = "10 mail.new.example.", "10 mail.old.example."
LIARS_EGRESS, LANDING = "198.18.0.7", "198.18.0.80"

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
  identity: "{identity}"
  nsid: "ascii_{nsid}"
  local-zone: "." static
  local-data: 'example.jp. 60 IN MX {new}'
  local-data: 'whoami.ds.akahelp.net. 60 IN TXT "ns" "{egress}"'
remote-control:
  control-enable: no
"""

_ROOT = f"""
. 60 SOA a.root-servers.net. nstld.verisign-grs.com. 1 60 60 600 60
. 60 NS a.root-servers.net.
a.root-servers.net. 60 A 198.41.0.4
example.jp. 60 NS ns1.example.jp.
ns1.example.jp. 60 A {OWN}
"""
_OWN = f"""
example.jp. 60 SOA ns1.example.jp. root.example.jp. 1 60 60 600 60
example.jp. 60 NS ns1.example.jp.
ns1.example.jp. 60 A {OWN}
example.jp. 60 MX {NEW}
doh.example.jp. 60 A 203.0.113.80
"""


class Behind(Struct, frozen=True):
    """The real servers: ports of 127.0.0.1 by logical address, and the CA of those that speak TLS."""

    resolvers: Mapping[str, Place]
    ca: Path


@contextlib.contextmanager
def resolvers(directory: Path, google_says: str = "gpdns-tst") -> Iterator[Behind]:
    authority = CertificateAuthority(directory)
    authority.server_context(*NAMES.values())
    pem = directory / f"{NAMES[GOOGLE]}.pem"
    places = {GOOGLE: place(GOOGLE), QUAD9: place(QUAD9)}
    names = {
        GOOGLE: ("x", google_says, "172.253.1.1"),
        QUAD9: ("res100.qtst1.on.quad9.net", "res100.qtst1", "74.63.25.1"),
    }
    with contextlib.ExitStack() as stack:
        for address, (identity, nsid, egress) in names.items():
            at = places[address]
            home = directory / f"unbound-{address}"
            home.mkdir()
            config = home / "unbound.conf"
            config.write_text(
                _UNBOUND.format(
                    address=at.address, dns=at.dns, dot=at.dot, doh=at.doh, pem=pem, directory=home,
                    identity=identity, nsid=nsid, egress=egress, new=NEW,
                )
            )  # fmt: skip
            ready = lambda at=at: asked(at.address, at.dns, DOMAIN, "MX")  # noqa: E731
            stack.enter_context(
                Daemon(f"unbound-{address}", [program("unbound"), "-d", "-c", str(config)], home, ready)
            )
        yield Behind(places, authority.path)


# The middlebox


class Middlebox:
    """Stands before every address's port 53. ``lies``: whether it answers for whom it stands there.

    ``liar`` makes the answer; addresses that nobody has are silent unless it lies.
    """

    def __init__(self, lies: Callable[[str], bool], liar: Callable[[bytes], bytes | None]) -> None:
        self.lies, self.liar = lies, liar
        self._tasks: set[asyncio.Task[None]] = set()

    def on_udp(self, address: str, honest: tuple[str, int] | None) -> Callable[[bytes, Send], None]:
        def heard(wire: bytes, send: Send) -> None:
            if self.lies(address):
                if (answer := self.liar(wire)) is not None:
                    send(answer)
            elif honest is not None:
                task = asyncio.ensure_future(relayed(wire, honest, send))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

        return heard

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def relayed(wire: bytes, to: tuple[str, int], send: Send) -> None:
    with contextlib.closing(socket.socket(type=socket.SOCK_DGRAM)) as sock:
        sock.setblocking(False)
        sock.connect(to)
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(sock, wire)
        with contextlib.suppress(OSError):
            send(await loop.sock_recv(sock, 4096))


def cache(wire: bytes) -> bytes | None:
    """What an access provider's cache says: recursion, no authority, a name and an egress of its own, and a
    landing page for what does not exist."""
    query = dns.message.from_wire(wire)
    (question,) = query.question
    response = dns.message.make_response(query, recursion_available=True)
    said = {
        ("example.jp.", "MX"): OLD,
        ("example.jp.", "NS"): "ns1.example.jp.",
        (".", "NS"): "a.root-servers.net.",
        ("id.server.", "TXT"): '"cache3.isp.example"',
        ("whoami.ds.akahelp.net.", "TXT"): f'"ns" "{LIARS_EGRESS}"',
    }.get((question.name.to_text().lower(), dns.rdatatype.to_text(question.rdtype)))
    if question.rdtype == dns.rdatatype.A:
        said = LANDING
    cls = dns.rdataclass.to_text(question.rdclass)
    if said is not None:
        kind = dns.rdatatype.to_text(question.rdtype)
        response.answer.append(dns.rrset.from_text(question.name, 60, cls, kind, said))
    return response.to_wire()


class Net(Struct, frozen=True):
    """``endpoints`` leads to the middlebox by port 53 and past it by the others."""

    endpoints: Mapping[str, str]
    box: Middlebox
    ca: Path

    @property
    def closed(self) -> Endpoints:
        return Closed(self.endpoints)


class Closed(Endpoints):
    """Whom nobody plays is behind a closed port: nothing leaves this machine."""

    def real(self, address: str, port: int) -> tuple[str, int]:
        real = super().real(address, port)
        return ("127.0.0.153", 5399) if real == (address, port) else real


@contextlib.asynccontextmanager
async def net(
    behind: Behind, lies: Callable[[str], bool], nowhere: tuple[str, ...],
    liar: Callable[[bytes], bytes | None] = cache,
) -> AsyncIterator[Net]:  # fmt: skip
    box, table = Middlebox(lies, liar), dict[str, str]()
    honest: dict[str, tuple[str, int] | None] = dict.fromkeys(nowhere)
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(box.close)
        for addresses, text in ((ROOTS, _ROOT), ((OWN,), _OWN)):
            authority = Authority("", addresses[0], [zone(text)])
            honest |= dict.fromkeys(addresses, ("127.0.0.1", await authority.start()))
            stack.push_async_callback(authority.close)
        for address, at in behind.resolvers.items():
            honest[address] = (at.address, at.dns)
            table |= at.endpoints
            honest[STRANGER] = honest[address]
            table |= {f"{other}:443": f"{at.address}:{at.doh}" for other in ("203.0.113.80", "103.2.57.5")}
        for address, real in honest.items():
            scripted = await stack.enter_async_context(Scripted(box.on_udp(address, real)))
            where = f"[{address}]" if ":" in address else address
            table[f"{where}:53"] = f"127.0.0.1:{scripted.port}"
        yield Net(table, box, behind.ca)


@contextlib.asynccontextmanager
async def asking(net: Net) -> AsyncIterator[Exchange]:
    exchange = Exchange(net.closed, ca_file=net.ca)
    try:
        yield exchange
    finally:
        await exchange.close()
