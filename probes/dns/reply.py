"""What comes of one question."""

from __future__ import annotations

from msgspec import Struct

from probes.dns.answers import Content, Soa
from probes.observation import DnsOutcome


class Reply(Struct, frozen=True):
    """What came of one question.

    ``transport``: the one it came by (``udp``, ``tcp``, ``dot``, ``doh``, ``doq``). ``ttl`` in seconds: the
    least along the aliases and the RRset; for a negative answer the negative TTL. ``ns_ttl``: of the NS RRset
    in the authority section. ``detail``: why an encrypted transport brought no answer, for people.
    ``wire``: the whole answer, if it was asked for with its signatures.
    """

    content: Content
    transport: str
    ttl: int = 0
    ns_ttl: int = 0
    rtt_ms: float | None = None
    detail: str = ""
    wire: bytes = b""

    @property
    def outcome(self) -> DnsOutcome:
        return self.content.outcome

    @property
    def rrset(self) -> tuple[str, ...]:
        return self.content.rrset

    @property
    def aa(self) -> bool:
        return self.content.aa

    @property
    def ede(self) -> tuple[int, ...]:
        return self.content.ede

    @property
    def nsid(self) -> str | None:
        return self.content.nsid

    @property
    def soa(self) -> Soa | None:
        return self.content.soa


def silent(outcome: DnsOutcome, transport: str = "udp", detail: str = "") -> Reply:
    return Reply(Content(outcome=outcome), transport, detail=detail)
