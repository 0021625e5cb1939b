"""BIND and Knot DNS as authorities of zones that lie in files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tests.servers.daemon import Daemon, program
from tests.servers.nsd import asked
from tests.servers.zones import file_of

_NAMED = """\
options {{
  directory "{home}";
  listen-on port {port} {{ 127.0.0.1; }};
  listen-on-v6 {{ none; }};
  pid-file none;
  session-keyfile "{home}/session.key";
  recursion no;
  dnssec-validation no;
  minimal-responses {minimal};
  rate-limit {{ exempt-clients {{ any; }}; }};
}};
controls {{ }};
"""

_KNOT = """\
server:
  listen: {address}@53
  rundir: "{home}"
database:
  storage: "{home}"
log:
  - target: stderr
    any: warning
zone:
"""


def named(port: int, home: Path, zones: Path, apexes: Sequence[str], minimal: bool = True) -> Daemon:
    """BIND, at 127.0.0.1: it listens on no address that the interface has not. ``zones``: the zone files'
    folder; ``minimal``: no more in an answer than must be."""
    home.mkdir()
    parts = [_NAMED.format(home=home, port=port, minimal="yes" if minimal else "no")]
    parts += [f'zone "{apex}" {{ type primary; file "{file_of(zones, apex)}"; }};' for apex in apexes]
    config = home / "named.conf"
    config.write_text("\n".join(parts) + "\n")
    command = [program("named"), "-g", "-n", "1", "-c", str(config)]
    return Daemon("named", command, home, lambda: _up("127.0.0.1", port, apexes))


def knotd(address: str, home: Path, zones: Path, apexes: Sequence[str]) -> Daemon:
    home.mkdir()
    lines = [
        f'  - domain: "{apex}"\n    file: "{file_of(zones, apex)}"\n    zonefile-load: whole'
        for apex in apexes
    ]
    config = home / "knot.conf"
    config.write_text(_KNOT.format(home=home, address=address) + "\n".join(lines) + "\n")
    command = [program("knotd"), "-c", str(config)]
    return Daemon("knotd", command, home, lambda: _up(address, 53, apexes))


def _up(address: str, port: int, apexes: Sequence[str]) -> bool:
    answers = [asked(address, port, apex, "SOA") for apex in apexes]
    return all(answer is not None and answer.answer for answer in answers)
