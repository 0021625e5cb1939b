"""The server that is asked: NSD on many loopback addresses, on a core of its own where there are two."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

from tests.servers.addresses import draw
from tests.servers.daemon import PATH, Daemon, program
from tests.servers.nsd import asked

PORT = 5300
ZONE = "bench.example."
NAMES = 10

_CONFIG = """\
server:
{addresses}
  server-count: 1
  username: ""
  chroot: ""
  database: ""
  zonesdir: "{directory}"
  pidfile: "{directory}/nsd.pid"
  xfrdfile: ""
  zonelistfile: "{directory}/zone.list"
  xfrdir: "{directory}"
  rrl-ratelimit: 0
remote-control:
  control-enable: no
zone:
  name: {zone}
  zonefile: "zone"
"""


class Cores(Struct, frozen=True):
    """Which core the client runs on, and which the server; None where there is no choice."""

    client: int | None = None
    server: int | None = None

    @staticmethod
    def found() -> Cores:
        """Two different ones, where the system has two and lets a process choose."""
        if not hasattr(os, "sched_getaffinity"):
            return Cores()
        cores = sorted(os.sched_getaffinity(0))
        return Cores(cores[0], cores[-1]) if len(cores) > 1 else Cores()


@contextlib.contextmanager
def pinned(core: int | None) -> Iterator[None]:
    """What is started within runs on this core."""
    if core is None:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def names() -> list[str]:
    return [f"d{n}.{ZONE}" for n in range(NAMES)]


def exchanges(name: str) -> tuple[str, ...]:
    """The MX RRset of one of the names, as presentation text."""
    return (f"10 mx1.{name}", f"20 mx2.{name}")


@contextlib.contextmanager
def serving(many: int, core: int | None) -> Iterator[list[str]]:
    """The addresses that it answers on. Raises ``SystemExit`` where NSD is not installed."""
    if shutil.which("nsd", path=PATH) is None:
        raise SystemExit("the benchmark asks NSD: install Debian's package nsd")
    block = draw()
    addresses = [block.at(n) for n in range(1, many + 1)]
    with tempfile.TemporaryDirectory(prefix="mx-bench-") as name:
        directory = Path(name)
        directory.joinpath("zone").write_text("".join(f"{line}\n" for line in _zone()))
        config = directory / "nsd.conf"
        listens = "\n".join(f"  ip-address: {address}@{PORT}" for address in addresses)
        config.write_text(_CONFIG.format(addresses=listens, directory=directory, zone=ZONE))
        command = [program("nsd"), "-d", "-c", str(config)]
        daemon = Daemon("nsd", command, directory, lambda: asked(addresses[-1], PORT, ZONE, "SOA"))
        with pinned(core):
            daemon.start()
        with daemon_ended(daemon):
            yield addresses


@contextlib.contextmanager
def daemon_ended(daemon: Daemon) -> Iterator[None]:
    try:
        yield
    finally:
        daemon.stop()


def _zone() -> Iterator[str]:
    yield f"{ZONE} 0 IN SOA ns1.{ZONE} root.{ZONE} 1 60 60 600 60"
    for server, address in (("ns1", "192.0.2.53"), ("ns2", "198.51.100.53")):
        yield f"{ZONE} 0 IN NS {server}.{ZONE}"
        yield f"{server}.{ZONE} 0 IN A {address}"
    for name in names():
        # Nothing is to be had from a cache, also where a contender's can't be switched off.
        for rdata in exchanges(name):
            yield f"{name} 0 IN MX {rdata}"
