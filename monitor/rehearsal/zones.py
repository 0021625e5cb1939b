"""The zones that the rehearsal's name servers serve, before and after the change."""

from __future__ import annotations

from monitor.rehearsal.authority import Records, Zone
from monitor.rehearsal.loopback import Pace
from monitor.rehearsal.scenarios import DOMAIN, HOST_TTL, NEGATIVE_TTL, TTL

ROOT = ("a.root.example.", "192.0.2.1")
PRIMARY = ("ns1.rehearsal.example.", "192.0.2.53")
SECONDARY = ("ns2.rehearsal.example.", "203.0.113.53")
OLD_MX = "mail.old.example."
OLD_ADDRESS = "192.0.2.10"
NEW_MX = ("mx1.new.example.", "mx2.new.example.")
NEW_ADDRESSES = ("198.51.100.20", "198.51.100.21")
OLD_SET = (f"10 {OLD_MX}",)
NEW_SET = (f"10 {NEW_MX[0]}", f"20 {NEW_MX[1]}")
SERIAL = 2026112001
_LONG = 3600


def parents() -> tuple[Zone, ...]:
    """The root and ``example.``, which delegates the rehearsal's zones with glue."""
    servers = Records(ttl=_LONG, rdata=(PRIMARY[0], SECONDARY[0]))
    glue = {(name, "A"): Records(ttl=_LONG, rdata=(address,)) for name, address in (PRIMARY, SECONDARY)}
    cuts = {(apex, "NS"): servers for apex in (DOMAIN, "old.example.", "new.example.")}
    own = {
        ("example.", "NS"): Records(ttl=_LONG, rdata=(ROOT[0],)),
        _a(ROOT[0]): Records(ttl=_LONG, rdata=(ROOT[1],)),
    }
    root = {(".", "NS"): Records(ttl=_LONG, rdata=(ROOT[0],)), **own}
    return (
        Zone(apex=".", serial=1, records=root),
        Zone(apex="example.", serial=1, records=own | cuts | glue),
    )


def children(pace: Pace, changed: bool) -> tuple[Zone, ...]:
    """The domain's zone, with the old or the new MX RRset, and those of the two hosts' names."""
    ttl, host_ttl, negative = pace.ttl(TTL), pace.ttl(HOST_TTL), pace.ttl(NEGATIVE_TTL)
    servers = Records(ttl=host_ttl, rdata=(PRIMARY[0], SECONDARY[0]))
    domain = {
        (DOMAIN, "NS"): servers,
        (DOMAIN, "MX"): Records(ttl=ttl, rdata=NEW_SET if changed else OLD_SET),
        (DOMAIN, "TXT"): Records(ttl=host_ttl, rdata=('"v=spf1 mx -all"',)),
        _a(PRIMARY[0]): Records(ttl=host_ttl, rdata=(PRIMARY[1],)),
        _a(SECONDARY[0]): Records(ttl=host_ttl, rdata=(SECONDARY[1],)),
    }
    old = {("old.example.", "NS"): servers, _a(OLD_MX): Records(ttl=host_ttl, rdata=(OLD_ADDRESS,))}
    new = {("new.example.", "NS"): servers} | {
        _a(name): Records(ttl=host_ttl, rdata=(address,))
        for name, address in zip(NEW_MX, NEW_ADDRESSES, strict=True)
    }
    return (
        Zone(apex=DOMAIN, serial=SERIAL + changed, records=domain, negative_ttl=negative),
        Zone(apex="old.example.", serial=SERIAL, records=old, negative_ttl=negative),
        Zone(apex="new.example.", serial=SERIAL, records=new, negative_ttl=negative),
    )


def _a(name: str) -> tuple[str, str]:
    return name, "A"
