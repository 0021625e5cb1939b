"""Answers of a signed zone, made here: each fault that a zone may have is one word."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import dns.dnssec
import dns.flags
import dns.message
import dns.name
import dns.rdatatype
import dns.rrset
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from dns.rdtypes.ANY.DNSKEY import DNSKEY

from probes.dns.wire import Question

AT = datetime(2026, 11, 20, 12, tzinfo=UTC)
ZONE = dns.name.from_text("example.jp.")
MX = Question("example.jp.", "MX")
DAY = timedelta(days=1)
MAKERS = {
    8: lambda: rsa.generate_private_key(65537, 2048),
    13: lambda: ec.generate_private_key(ec.SECP256R1()),
    15: ed25519.Ed25519PrivateKey.generate,
}


class Key:
    """A key pair; ``ds`` as the parent would serve it."""

    def __init__(self, algorithm: int = 13, flags: int = 257) -> None:
        self.private: Any = MAKERS[algorithm]()
        self.dnskey: DNSKEY = dns.dnssec.make_dnskey(self.private.public_key(), algorithm, flags)

    def ds(self, digest: str = "SHA256") -> str:
        return str(dns.dnssec.make_ds(ZONE, self.dnskey, digest, policy=dns.dnssec.allow_all_policy))

    def sign(
        self, rrset: dns.rrset.RRset, begin: datetime = AT - DAY, end: datetime = AT + DAY,
        signer: dns.name.Name = ZONE,
    ) -> dns.rrset.RRset:  # fmt: skip
        signature = dns.dnssec.sign(
            rrset, self.private, signer, self.dnskey, inception=begin, expiration=end,
            policy=dns.dnssec.allow_all_policy,
        )  # fmt: skip
        return dns.rrset.from_rdata(rrset.name, rrset.ttl, signature)


def rrset(owner: str, kind: str, *rdata: str) -> dns.rrset.RRset:
    return dns.rrset.from_text_list(owner, 300, "IN", kind, list(rdata))


def keys(*own: Key, signed_by: Sequence[Key] | None = None, **when: datetime) -> bytes:
    """The DNSKEY RRset as it is served, signed by the first key."""
    found = dns.rrset.from_rdata(ZONE, 300, *(key.dnskey for key in own))
    signatures = [key.sign(found, **when) for key in (own[:1] if signed_by is None else signed_by)]
    return message(Question("example.jp.", "DNSKEY"), [found, *signatures])


def message(
    question: Question, answer: Sequence[dns.rrset.RRset], authority: Sequence[dns.rrset.RRset] = ()
) -> bytes:
    query = dns.message.make_query(question.name, question.type, want_dnssec=True)
    response = dns.message.make_response(query)
    response.flags |= dns.flags.AA
    response.answer, response.authority = list(answer), list(authority)
    return response.to_wire(max_size=65535)


def mx(key: Key, *rdata: str, **when: Any) -> bytes:
    found = rrset("example.jp.", "MX", *(rdata or ("10 mx1.new.example.",)))
    return message(MX, [found, key.sign(found, **when)])


def denied(
    key: Key, *types: str, proof: str = "example.jp.", proven: bool = True, question: Question = MX
) -> bytes:
    """NODATA, with an NSEC of these types at ``proof``; ``proven``: the NSEC is signed."""
    soa = rrset("example.jp.", "SOA", "ns.example.jp. root.example.jp. 7 3600 600 86400 300")
    nsec = rrset(proof, "NSEC", f"zz.example.jp. {' '.join(types)} RRSIG NSEC")
    return message(question, [], [soa, key.sign(soa), nsec, *([key.sign(nsec)] if proven else [])])
