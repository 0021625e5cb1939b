"""Two recursive resolvers of different make, Unbound and Knot Resolver, that know the stage's root alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import dns.rcode

from tests.servers.addresses import DNS, Addresses
from tests.servers.daemon import Daemon, program
from tests.servers.nsd import asked
from tests.servers.zones import DOMAIN

_HINTS = """\
. 3600 IN NS a.root.example.
a.root.example. 3600 IN A {root}
"""

_UNBOUND = """\
server:
  interface: {address}@{port}
  outgoing-interface: {address}
  access-control: 127.0.0.0/8 allow
  do-not-query-localhost: no
  do-daemonize: no
  do-ip6: no
  use-syslog: no
  log-queries: no
  username: ""
  chroot: ""
  directory: "{directory}"
  pidfile: ""
  num-threads: 1
  module-config: "{modules}"
  root-hints: "{directory}/root.hints"
  nsid: "ascii_unbound-1"
  local-zone: "example." nodefault
remote-control:
  control-enable: no
"""

# Stubborn by default: never a TTL below 5 s (cache.min_ttl), as some providers' resolvers do.
_KNOT = """\
modules = {{ 'hints', 'nsid' }}
modules.unload('ta_update')
modules.unload('ta_signal_query')
net.ipv6 = false
net.listen('{address}', {port}, {{ kind = 'dns' }})
net.outgoing_v4('{address}')
option('ALLOW_LOCAL', true)
trust_anchors.remove('.')
cache.size = 8 * MB
hints.root_file('{directory}/root.hints')
nsid.name('knot-1')
"""


def unbound(
    addresses: Addresses, directory: Path, anchors: Sequence[str] = (),
    ready: Callable[[], object] | None = None,
) -> Daemon:  # fmt: skip
    """It validates by ``anchors`` (DS records), if there are any."""
    home = _home(directory, "unbound", addresses)
    config = home / "unbound.conf"
    modules = "validator iterator" if anchors else "iterator"
    text = _UNBOUND.format(address=addresses.unbound, port=DNS, directory=home, modules=modules)
    config.write_text(text + "server:\n" + "".join(f'  trust-anchor: "{anchor}"\n' for anchor in anchors))
    command = [program("unbound"), "-d", "-c", str(config)]
    return Daemon("unbound", command, home, ready or (lambda: resolves(addresses.unbound)))


def knot(addresses: Addresses, directory: Path) -> Daemon:
    home = _home(directory, "knot", addresses)
    config = home / "kresd.conf"
    config.write_text(_KNOT.format(address=addresses.knot, port=DNS, directory=home))
    command = [program("kresd"), "-n", "-c", str(config), str(home)]
    return Daemon("knot", command, home, lambda: resolves(addresses.knot))


def _home(directory: Path, name: str, addresses: Addresses) -> Path:
    home = directory / name
    home.mkdir()
    (home / "root.hints").write_text(_HINTS.format(root=addresses.root))
    return home


def resolves(address: str) -> bool:
    """Whether it finds its way from the root to the domain's authorities. What it answers is not cached
    for long, and is not the domain's MX."""
    answer = asked(address, DNS, DOMAIN, "TXT")
    return answer is not None and answer.rcode() == dns.rcode.NOERROR and bool(answer.answer)
