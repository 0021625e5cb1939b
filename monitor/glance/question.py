"""What a person typed, to the one form that the program uses: a name, a type, the rdata that is expected.

Each function raises :class:`~monitor.plan.mistakes.Wrong`.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from functools import lru_cache

import dns.exception
import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rdtypes.ANY.TXT
import dns.reversename
from msgspec import Struct

from monitor.plan.mistakes import Wrong, nearest
from monitor.plan.values import name as host_name

DEFAULT = "MX"
NONE = "none"
_USUAL = ("A", "AAAA", "CAA", "CNAME", "DS", "MX", "NS", "PTR", "SOA", "SRV", "TLSA", "TXT")
_TEXTS = ("TXT", "SPF")
_LONGEST_STRING = 255  # octets of one character-string (RFC 1035 section 3.3)


class Expectation(Struct, frozen=True):
    """The whole RRset that is expected: ``rrset`` in presentation form; empty: no such record."""

    type: str
    rrset: tuple[str, ...]

    def met_by(self, rrset: Sequence[str]) -> bool:
        """Whether these are the same records, neither fewer nor more, in any order."""
        return same(self.type, rrset, self.rrset)


class Asked(Struct, frozen=True):
    """``name`` absolute, lower case, A-labels; ``type`` a mnemonic; ``expected`` None: whatever the
    authorities say."""

    name: str
    type: str
    expected: Expectation | None = None


def asked(name: str, kind: str | None, expected: Sequence[str] = ()) -> Asked:
    """From NAME, TYPE and every ``--expect``. An address stands for its reverse name and PTR."""
    if _is_address(name):
        if kind is not None and kind.upper() != "PTR":
            raise Wrong(f"{name} is an address", f"write a name, or: {name} PTR")
        return _asked(dns.reversename.from_address(name).to_text(), "PTR", expected)
    if "@" in name:
        raise Wrong(f"{name!r} is a mail address", f"write the part after the @: {name.rpartition('@')[2]}")
    return _asked(host_name(name), rtype(kind or DEFAULT), expected)


def _asked(name: str, kind: str, expected: Sequence[str]) -> Asked:
    return Asked(name, kind, expectation(kind, expected) if expected else None)


def _is_address(text: str) -> bool:
    try:
        return not getattr(ipaddress.ip_address(text), "scope_id", None)
    except ValueError:
        return False


def rtype(text: str) -> str:
    """A record type's mnemonic (also ``TYPE65280``: RFC 3597 section 5); no type that only a query has."""
    try:
        number = dns.rdatatype.from_text(text)
    except (dns.exception.DNSException, ValueError):
        near = nearest(text, [kind.lower() for kind in _USUAL])
        like = f" (did you mean {near.upper()}?)" if near else ""
        raise Wrong(f"{text!r} is no record type{like}", f"write one such as {', '.join(_USUAL)}") from None
    if number == 0 or dns.rdatatype.is_metatype(number):
        raise Wrong(f"{text.upper()} is no record's type", f"write one such as {', '.join(_USUAL)}")
    return dns.rdatatype.to_text(number)


def expectation(kind: str, texts: Sequence[str]) -> Expectation:
    """``none`` alone: NODATA or NXDOMAIN."""
    if any(text.strip().lower() == NONE for text in texts):
        if len(texts) > 1:
            raise Wrong("none and a record can't both be expected", "write --expect none alone")
        return Expectation(kind, ())
    return Expectation(kind, tuple(sorted({normal(kind, text) for text in texts}, key=in_order)))


def in_order(rdata: str) -> tuple[int, str]:
    """By the leading number, if there is one (a preference: RFC 1035 section 3.3.9), then by text."""
    first = rdata.partition(" ")[0]
    return (int(first) if first.isascii() and first.isdigit() and len(first) < 6 else 0), rdata


def normal(kind: str, text: str) -> str:
    """Rdata in the presentation form that answers are shown in. Names count as absolute."""
    if not text.strip() or not text.isprintable():
        raise Wrong(f"{text!r} is no rdata of {kind}", _example(kind))
    try:
        return _rdata(kind, text.strip()).to_text()
    except (dns.exception.DNSException, ValueError, OverflowError) as error:
        why = str(error).removesuffix(".")
        raise Wrong(f"{text!r} is no rdata of {kind}{f' ({why})' if why else ''}", _example(kind)) from None


def _example(kind: str) -> str:
    examples = {
        "MX": '"10 mx1.new.example"', "A": "192.0.2.10", "AAAA": "2001:db8::10", "TXT": '"v=spf1 mx -all"',
        "SRV": '"0 1 993 imap.new.example"', "NS": "ns1.new.example", "CNAME": "www.new.example",
    }  # fmt: skip
    return f"write it as {examples.get(kind, 'a zone file has it')}, or none"


def _rdata(kind: str, text: str) -> dns.rdata.Rdata:
    if kind in _TEXTS and not text.startswith('"'):
        whole = text.encode()
        strings = [whole[i : i + _LONGEST_STRING] for i in range(0, len(whole), _LONGEST_STRING)]
        cls = dns.rdtypes.ANY.TXT.TXT
        return cls(dns.rdataclass.IN, dns.rdatatype.from_text(kind), strings)
    words = [word if word.isascii() or kind in _TEXTS else host_name(word) for word in text.split(" ")]
    read = dns.rdata.from_text("IN", kind, " ".join(words), dns.name.root, relativize=False)
    return read if kind in _TEXTS else dns.rdata.from_wire("IN", kind, read.to_digestable(), 0, _size(read))


def _size(rdata: dns.rdata.Rdata) -> int:
    return len(rdata.to_digestable())


@lru_cache(maxsize=4096)
def _key(kind: str, text: str) -> bytes:
    """What two rdata have in common that say the same: lower-case names (RFC 4034 section 6.2), and of a
    text its strings as one, whatever its cuts (RFC 7208 section 3.3)."""
    try:
        rdata = dns.rdata.from_text("IN", kind, text, dns.name.root, relativize=False)
        return b"".join(getattr(rdata, "strings", ())) if kind in _TEXTS else rdata.to_digestable()
    except (dns.exception.DNSException, ValueError, OverflowError):
        return text.encode(errors="surrogateescape")


def same(kind: str, some: Sequence[str], others: Sequence[str]) -> bool:
    """Whether two RRsets of a type are equal; a part of one is not."""
    return {_key(kind, r) for r in some} == {_key(kind, r) for r in others}
