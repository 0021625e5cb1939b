"""Authoritative servers of the rehearsal: what RFC 1034 section 4.3.2 makes of a few small zones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import dns.edns
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset
from msgspec import Struct

from monitor.rehearsal.dnsserver import DnsServer

UDP_PAYLOAD = 1232
Key = tuple[str, str]  # owner name and type, absolute and lower case


class Records(Struct, frozen=True, kw_only=True):
    ttl: int
    rdata: tuple[str, ...]


class Zone(Struct, frozen=True, kw_only=True):
    """One zone as it is served: apex, serial, records by owner and type. SOA is made from the serial."""

    apex: str
    serial: int
    records: Mapping[Key, Records]
    negative_ttl: int = 5

    def find(self, owner: str, rtype: str) -> Records | None:
        if rtype == "SOA" and owner == self.apex:
            timers = f"60 10 3600 {self.negative_ttl}"
            soa = f"ns1.rehearsal.example. hostmaster.rehearsal.example. {self.serial} {timers}"
            return Records(ttl=self.negative_ttl, rdata=(soa,))
        return self.records.get((owner, rtype))

    def exists(self, owner: str) -> bool:
        """Whether the name or anything below it exists (an empty non-terminal is no NXDOMAIN: RFC 8020)."""
        below = "." + owner if owner != "." else "."
        return owner == self.apex or any(n == owner or n.endswith(below) for n, _ in self.records)

    def cut(self, owner: str) -> str | None:
        """The delegation point at or above ``owner`` and below the apex, if there is one."""
        labels = owner.rstrip(".").split(".")
        for start in range(len(labels) - 1, -1, -1):
            name = ".".join(labels[start:]) + "."
            if name != self.apex and _within(name, self.apex) and (name, "NS") in self.records:
                return name
        return None


def _within(name: str, apex: str) -> bool:
    return apex == "." or name == apex or name.endswith("." + apex)


class Authority:
    """One authoritative server with its own copy of the zones: a secondary simply has an older one."""

    def __init__(self, name: str, address: str, zones: Iterable[Zone]) -> None:
        self.name = name
        self.address = address
        self._zones: dict[str, Zone] = {}
        self._server = DnsServer(self._answer)
        self.load(zones)

    def load(self, zones: Iterable[Zone]) -> None:
        """Take these zones in place of those of the same apex (a reload, or a finished transfer)."""
        self._zones |= {zone.apex: zone for zone in zones}

    @property
    def zones(self) -> tuple[Zone, ...]:
        return tuple(self._zones.values())

    async def start(self) -> int:
        return await self._server.start()

    async def close(self) -> None:
        await self._server.close()

    async def _answer(self, wire: bytes, tcp: bool) -> bytes | None:
        query = parse(wire)
        if query is None:
            return None
        return to_wire(self.respond(query), query, tcp)

    def respond(self, query: dns.message.Message) -> dns.message.Message:
        response = dns.message.make_response(query)
        question = query.question[0]
        owner = question.name.to_text().lower()
        zone = self._closest(owner, dns.rdatatype.to_text(question.rdtype))
        if zone is None:
            response.set_rcode(dns.rcode.REFUSED)
            return response
        cut = zone.cut(owner)
        # RFC 4035 section 3.1.4.1: what is to be known of a cut's DS, the zone above it knows.
        if cut is not None and (cut, question.rdtype) != (owner, dns.rdatatype.DS):
            self._refer(response, zone, cut)
        else:
            self._authoritative(response, zone, owner, dns.rdatatype.to_text(question.rdtype))
        return response

    def _closest(self, owner: str, rtype: str) -> Zone | None:
        """The zone with the longest apex (a DS belongs to the parent's: RFC 4035 section 3.1.4.1)."""
        fitting = [
            z
            for z in self._zones.values()
            if _within(owner, z.apex) and not (rtype == "DS" and owner == z.apex)
        ]
        return max(fitting, key=lambda z: len(z.apex) if z.apex != "." else 0, default=None)

    def _refer(self, response: dns.message.Message, zone: Zone, cut: str) -> None:
        """A referral: NS in the authority section, glue in the additional, no AA."""
        servers = zone.records[cut, "NS"]
        response.authority.append(rrset(cut, "NS", servers))
        for server in servers.rdata:
            glue = zone.find(server, "A")
            if glue is not None:
                response.additional.append(rrset(server, "A", glue))

    def _authoritative(self, response: dns.message.Message, zone: Zone, owner: str, rtype: str) -> None:
        response.flags |= dns.flags.AA
        records = zone.find(owner, rtype)
        alias = zone.find(owner, "CNAME")
        if records is None and alias is not None:
            self._follow(response, zone, owner, alias, rtype)
            return
        if records is not None:
            response.answer.append(rrset(owner, rtype, records))
            self._additional(response, records, rtype)
            return
        soa = zone.find(zone.apex, "SOA")
        assert soa is not None
        response.authority.append(rrset(zone.apex, "SOA", soa))
        if not zone.exists(owner):
            response.set_rcode(dns.rcode.NXDOMAIN)

    def _follow(
        self, response: dns.message.Message, zone: Zone, owner: str, alias: Records, rtype: str
    ) -> None:
        """RFC 1034 section 4.3.2, step 3a: on with the alias's target, if that is in this zone."""
        found = rrset(owner, "CNAME", alias)
        if found in response.answer:
            return
        response.answer.append(found)
        target = alias.rdata[0]
        if _within(target, zone.apex) and zone.cut(target) is None:
            self._authoritative(response, zone, target, rtype)

    def _additional(self, response: dns.message.Message, records: Records, rtype: str) -> None:
        """The addresses of exchanges and name servers that this server has (RFC 1035 section 3.3.9)."""
        if rtype not in ("MX", "NS"):
            return
        for target in dict.fromkeys(rdata.split()[-1] for rdata in records.rdata):
            zone = self._closest(target, "A")
            found = zone.find(target, "A") if zone is not None else None
            if found is not None:
                response.additional.append(rrset(target, "A", found))


def rrset(owner: str, rtype: str, records: Records) -> dns.rrset.RRset:
    return dns.rrset.from_text_list(owner, records.ttl, "IN", rtype, list(records.rdata))


def parse(wire: bytes) -> dns.message.Message | None:
    """A query with one question, or None: what cannot be parsed gets no answer."""
    try:
        query = dns.message.from_wire(wire)
    except (dns.exception.DNSException, ValueError):
        return None
    asked = not query.flags & dns.flags.QR and len(query.question) == 1
    return query if asked else None


def to_wire(response: dns.message.Message, query: dns.message.Message, tcp: bool) -> bytes:
    """Whole by TCP; by UDP at most what the asker takes, with TC where that is too little."""
    if tcp:
        return response.to_wire(max_size=65535)
    size = min(query.payload, UDP_PAYLOAD) if query.edns >= 0 else 512
    return response.to_wire(max_size=max(size, 512), prefer_truncation=True)
