"""Queries as bytes, made once and patched for each use; and where the TTLs stand in an answer.

RFC 1035 section 4.1 (format), RFC 6891 (EDNS0), RFC 5001 (NSID).
"""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence

import dns.exception
import dns.name
import dns.rdataclass
import dns.rdatatype
from msgspec import Struct

UDP_PAYLOAD = 1232  # what passes unfragmented nearly everywhere (DNS Flag Day 2020)
MOST_RECORDS = 512  # in one answer; more is nobody's MX
HEADER = 12
RD = 0x0100
TC = 0x02  # in the third octet of the header
OPT = 41
_NSID = 3
_DO = 0x8000  # in the OPT record's TTL (RFC 6891 section 6.1.3)
_PADDING = 12
_BLOCK = 128
_CASE = 0x20
_RR = struct.Struct("!HHIH")
_COUNTS = struct.Struct("!HHHH")
# Types whose rdata has no name in it: A, TXT, AAAA and OPT.
_NAMELESS = frozenset({1, 16, 28, OPT})
# Every place that can be read as a compression pointer (RFC 1035 section 4.1.4), overlapping ones too.
_POINTER = re.compile(rb"(?=([\xc0-\xff])(.))", re.DOTALL)


class Question(Struct, frozen=True):
    """What is asked: an absolute name in lower case, a record type's mnemonic, a class."""

    name: str
    type: str
    cls: str = "IN"


class Query:
    """One question's wire, made once. ``patched`` gives it an id and the case of its letters."""

    __slots__ = (
        "_head",
        "_letters",
        "_opt",
        "_question",
        "dnssec",
        "edns",
        "length",
        "plain",
        "question",
        "rd",
    )

    def __init__(
        self, question: Question, *, rd: bool, edns: bool, nsid: bool, padded: bool = False,
        dnssec: bool = False,
    ) -> None:  # fmt: skip
        """``padded``: for an encrypted transport; ``dnssec``: signatures are wanted, too (RFC 3225).

        Raises ``ValueError`` where the name or the type cannot be put into a query.
        """
        self.question, self.rd, self.edns, self.dnssec = question, rd, edns, dnssec and edns
        try:
            name = dns.name.from_text(question.name).canonicalize().to_wire()
            kind = dns.rdatatype.from_text(question.type)
            cls = dns.rdataclass.from_text(question.cls)
        except (dns.exception.DNSException, UnicodeError, ValueError, IndexError) as error:
            raise ValueError(f"{question.name!r} {question.type} cannot be asked: {error}") from None
        assert name is not None
        # The question section in lower case, and its octets.
        self.plain = name + struct.pack("!HH", kind, cls)
        self.length = len(self.plain)
        self._question = int.from_bytes(self.plain, "big")
        letters = bytes(_CASE if 97 <= b <= 122 else 0 for b in name) + bytes(4)
        self._letters = int.from_bytes(letters, "big")
        self._head = struct.pack("!HHHHH", RD if rd else 0, 1, 0, 0, 1 if edns else 0)
        self._opt = _opt(nsid, HEADER + self.length if padded else None, dnssec) if edns else b""

    def patched(self, id_: bytes, case: bytes) -> tuple[bytes, bytes]:
        """The query and its question section alone. ``id_``: two octets; ``case``: as many random ones as
        the question section has (0x20: draft-vixie-dnsext-dns0x20-00), or none for all lower case."""
        question = self.plain
        if case:
            mixed = self._question ^ (int.from_bytes(case, "big") & self._letters)
            question = mixed.to_bytes(self.length, "big")
        return b"%b%b%b%b" % (id_, self._head, question, self._opt), question


def _opt(nsid: bool, before: int | None, dnssec: bool) -> bytes:
    """The OPT pseudo-record (RFC 6891 section 6.1.2), asking for the server's identifier or not, and for
    signatures or not.

    ``before``: octets of the message before it, if the whole is to be padded (RFC 7830) to a multiple of 128
    (RFC 8467 section 4.1).
    """
    options = struct.pack("!HH", _NSID, 0) if nsid else b""
    if before is not None:
        size = -(before + 1 + _RR.size + len(options) + 4) % _BLOCK
        options += struct.pack("!HH", _PADDING, size) + bytes(size)
    return b"\0" + _RR.pack(OPT, UDP_PAYLOAD, _DO if dnssec else 0, len(options)) + options


def same_question(said: bytes, plain: bytes) -> bool:
    """Whether a question section is the plain one but for the case of its name (RFC 4343 section 3)."""
    return said[:-4].lower() == plain[:-4] and said[-4:] == plain[-4:]


class Record(Struct, frozen=True):
    """Where one resource record stands: its type, the offsets of its fixed fields and its end."""

    kind: int
    at: int
    end: int

    @property
    def ttl(self) -> int:
        """The offset of its TTL (RFC 1035 section 4.1.3)."""
        return self.at + 4


def records_of(wire: bytes, start: int) -> list[Record] | None:
    """The records from ``start`` on; None where it is no whole message."""
    _, *counts = _COUNTS.unpack_from(wire, 4)
    if sum(counts) > MOST_RECORDS:
        return None
    records, at = [], start
    try:
        for _ in range(sum(counts)):
            at = _past_name(wire, at)
            kind, _, _, size = _RR.unpack_from(wire, at)
            records.append(Record(kind, at, at + _RR.size + size))
            at = records[-1].end
    except (IndexError, struct.error):
        return None
    return records if at == len(wire) else None


def ttl_places(wire: bytes, start: int) -> list[int] | None:
    """Offsets of the TTL of each record from ``start`` on, OPT aside; None where it is no whole message."""
    records = records_of(wire, start)
    return None if records is None else ttls_of(records)


def ttls_of(records: Sequence[Record]) -> list[int]:
    return [record.ttl for record in records if record.kind != OPT]


def _past_name(wire: bytes, at: int) -> int:
    while length := wire[at]:
        if length >= 0xC0:
            return at + 2
        at += 1 + length
    return at + 1


def recognisable(wire: bytes, records: Sequence[Record]) -> bool:
    """Whether no name in it can depend on its id or on a TTL: no pointer leads into one.

    Then two messages that are equal but for id and TTLs say the same. Everything that can be read as a
    pointer is taken for one, but where no name can begin.
    """
    moving = {at + i for at in ttls_of(records) for i in range(4)}
    nameless = bytearray(len(wire))
    for record in records:
        end = record.end if record.kind in _NAMELESS else record.at + _RR.size
        nameless[record.at : end] = b"\1" * (end - record.at)
    return not any(
        _reads(wire, found.start(), moving)
        for found in _POINTER.finditer(wire, HEADER)
        if not nameless[found.start()]
    )


def _reads(wire: bytes, at: int, moving: set[int]) -> bool:
    """Whether a name that is read from ``at`` passes over one of these octets, or over the header. What has
    more labels than a name may have (RFC 1035 section 2.3.4) is none, nor what points ahead or at itself."""
    labels = 0
    while at < len(wire) and labels < 128:
        length = wire[at]
        size = 2 if length >= 0xC0 else 1 + length
        if at < HEADER or any(i in moving for i in range(at, at + size)):
            return True
        if length >= 0xC0 and at + 1 < len(wire):
            target = (length & 0x3F) << 8 | wire[at + 1]
            if target >= at:
                return False
            at = target
        elif length == 0 or length > 63:
            return False
        else:
            at += size
            labels += 1
    return False
