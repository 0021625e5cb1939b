"""What an answer says: decoded once by dnspython, recognised again when only its id and TTLs differ."""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any

import dns.edns
import dns.flags
import dns.message
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset
from msgspec import Struct

from probes.dns.wire import HEADER, Query, Question, recognisable, records_of, ttls_of
from probes.observation import DnsOutcome

KEPT = 16384
LAYOUTS = 8  # ways in which one question's answers of one length may be laid out
LONGEST_KEPT = 4096  # octets of an answer that is to be recognised
LONGEST_NSID = 128
MOST_ALIASES = 16
# Types whose rdata is names and numbers only: lower case is the same data (RFC 4343 section 3).
_LOWERED = frozenset({"A", "AAAA", "CNAME", "MX", "NS", "PTR", "SOA", "SRV"})
_RECOGNISED = _LOWERED | {"TXT"}
LONGEST_TTL = 0x7FFFFFFF  # seconds (RFC 2181 section 8)
_SINGLE = frozenset({"CNAME", "SOA"})
# RFC 8914 sections 4.7 to 4.13: the validator found the data bogus.
_BOGUS = frozenset(range(6, 13))
RCODES: dict[int, DnsOutcome] = {
    dns.rcode.NXDOMAIN: "nxdomain",
    dns.rcode.REFUSED: "refused",
    dns.rcode.NOTIMP: "refused",
    dns.rcode.NOTAUTH: "refused",
    dns.rcode.FORMERR: "malformed",
    dns.rcode.BADVERS: "malformed",
}


class Soa(Struct, frozen=True):
    """The SOA in an answer: whose it is, its serial, and ``minimum`` (seconds; RFC 2308 section 4)."""

    zone: str
    serial: int
    minimum: int


class Content(Struct, frozen=True, kw_only=True):
    """What an answer says, its TTLs aside. Names are absolute and in lower case.

    ``chain``: the aliases followed, from the question's name on; ``ns`` and ``cut``: the NS RRset of the
    authority section and its owner; ``glue``: names and addresses of the additional section.
    """

    outcome: DnsOutcome
    rrset: tuple[str, ...] = ()
    aa: bool = False
    ra: bool = False
    tc: bool = False
    rcode: int = 0
    ede: tuple[int, ...] = ()
    nsid: str | None = None
    chain: tuple[str, ...] = ()
    cut: str = ""
    ns: tuple[str, ...] = ()
    glue: tuple[tuple[str, str], ...] = ()
    soa: Soa | None = None


class Decoded:
    """Content, and which of the message's TTLs (by number) count for it: those of the aliases and the RRset,
    or, for a negative answer, those of the aliases and the SOA; and those of the NS RRset."""

    __slots__ = ("content", "minimum", "ns_ttls", "ttls")

    def __init__(self, content: Content, ttls: Sequence[int] = (), ns_ttls: Sequence[int] = ()) -> None:
        self.content = content
        # RFC 2308 section 5: the lesser of the SOA's own TTL and its minimum field; an alias may end before
        negative = content.outcome != "answer" and content.soa is not None
        self.minimum = content.soa.minimum if negative and content.soa else LONGEST_TTL
        self.ttls, self.ns_ttls = _picking(ttls), _picking(ns_ttls)

    def read(self, ttls: Sequence[int]) -> Read:
        """``ttls``: all of the message, as signed numbers; one with the most significant
        bit set is 0 (RFC 2181 section 8)."""
        ttl = ns_ttl = 0
        if self.ttls is not None:
            least = min(self.ttls(ttls))
            ttl = 0 if least < 0 else least if least < self.minimum else self.minimum
        if self.ns_ttls is not None:
            least = min(self.ns_ttls(ttls))
            ns_ttl = 0 if least < 0 else least
        return Read(self.content, ttl, ns_ttl)


def _picking(numbers: Sequence[int]) -> Callable[[Sequence[int]], tuple[int, ...]] | None:
    """Takes the items of these numbers; None for none."""
    if not numbers:
        return None
    if len(numbers) == 1:
        return itemgetter(slice(numbers[0], numbers[0] + 1))
    return itemgetter(*numbers)


class Read(Struct, frozen=True):
    """One answer as it came: content and TTLs in seconds. ``ttl`` is the least of the alias chain and the
    RRset, for a negative answer the negative TTL (RFC 2308 section 5)."""

    content: Content
    ttl: int = 0
    ns_ttl: int = 0


MALFORMED = Decoded(Content(outcome="malformed"))
Unpack = Callable[[bytes], tuple[Any, ...]]
_Key = tuple[Query, int, bytes]  # the question, the answer's length, its header but the id


class _Layout:
    """One way in which answers to a question are laid out, and those that are known, by all that is not a
    TTL, an id or the question."""

    __slots__ = ("form", "known", "unpack")

    def __init__(self, form: str) -> None:
        self.form = form
        self.unpack: Unpack = struct.Struct(form).unpack
        self.known: dict[tuple[bytes, ...], Decoded] = {}


class Answers:
    """Remembers what it decoded. ``read`` never raises, whatever the bytes.

    ``decoded`` counts what was new. The oldest are forgotten beyond ``kept``.
    """

    def __init__(self, kept: int = KEPT) -> None:
        self._kept = kept
        self._layouts: dict[_Key, list[_Layout]] = {}
        self._order: deque[tuple[_Key, _Layout, tuple[bytes, ...]]] = deque()
        self.decoded = 0

    def read(self, wire: bytes, query: Query) -> Read:
        """``wire`` is at least a header and the question of ``query``."""
        for layout in self._layouts.get((query, len(wire), wire[2:HEADER]), ()):
            parts = layout.unpack(wire)
            found = layout.known.get(parts[::2])
            if found is not None:
                return found.read(parts[1::2])
        return self._new(wire, query)

    def _new(self, wire: bytes, query: Query) -> Read:
        self.decoded += 1
        start = HEADER + query.length
        records = records_of(wire, start)
        if records is None:
            return MALFORMED.read(())
        found = decode(wire, query)
        form = layout_of(len(wire), start, ttls_of(records))
        parts = struct.unpack(form, wire)
        usual = query.question.type in _RECOGNISED and len(wire) <= LONGEST_KEPT
        if usual and recognisable(wire, records):
            self._keep((query, len(wire), wire[2:HEADER]), form, parts[::2], found)
        return found.read(parts[1::2])

    def _keep(self, key: _Key, form: str, parts: tuple[bytes, ...], found: Decoded) -> None:
        layouts = self._layouts.setdefault(key, [])
        layout = next((known for known in layouts if known.form == form), None)
        if layout is None:
            layout = _Layout(form)
            layouts.append(layout)
            if len(layouts) > LAYOUTS:
                del layouts[0]
        layout.known[parts] = found
        self._order.append((key, layout, parts))
        if len(self._order) > self._kept:
            self._forget()

    def _forget(self) -> None:
        key, layout, parts = self._order.popleft()
        layout.known.pop(parts, None)
        layouts = self._layouts.get(key, [])
        if not layout.known and layout in layouts:
            layouts.remove(layout)
            if not layouts:
                del self._layouts[key]


def layout_of(size: int, start: int, places: Sequence[int]) -> str:
    """How ``struct`` takes a message apart from ``start`` on: octets and TTLs in turn, then what remains."""
    form, at = [f"!{start}x"], start
    for place in places:
        form.append(f"{place - at}si")
        at = place + 4
    return "".join(form) + f"{size - at}s"


def decode(wire: bytes, query: Query) -> Decoded:
    """By dnspython, strictly; whatever it refuses, or is no response to a query, is ``malformed``."""
    if wire[2] & 0xF8 != 0x80:
        return MALFORMED
    try:
        message = dns.message.from_wire(wire, one_rr_per_rrset=True)
        return _content(message, query)
    except Exception:  # hostile bytes: dnspython raises its own, ValueError, UnicodeError and others
        return MALFORMED


class _Records:
    """The records of one section, each with its number among the message's TTLs."""

    def __init__(self, rrsets: Sequence[dns.rrset.RRset], first: int, cls: str) -> None:
        self.rows = [
            (r.name.to_text().lower(), dns.rdatatype.to_text(r.rdtype), _rdata(r), first + i)
            for i, r in enumerate(rrsets)
            if dns.rdataclass.to_text(r.rdclass) == cls
        ]

    def of(self, owner: str, kind: str) -> list[tuple[str, int]]:
        return [(rdata, n) for o, k, rdata, n in self.rows if o == owner and k == kind]

    def first(self, kind: str) -> str | None:
        return next((o for o, k, _, _ in self.rows if k == kind), None)


def _rdata(rrset: dns.rrset.RRset) -> str:
    text: str = rrset[0].to_text()
    return text.lower() if dns.rdatatype.to_text(rrset.rdtype) in _LOWERED else text


def _content(message: dns.message.Message, query: Query) -> Decoded:
    cls, first = query.question.cls, len(message.answer)
    answers = _Records(message.answer, 0, cls)
    authority = _Records(message.authority, first, cls)
    additional = _Records(message.additional, first + len(message.authority), cls)
    chain, found, numbers = _follow(answers, query.question)
    soa, soa_numbers = _soa(answers if query.question.type == "SOA" else authority)
    cut = authority.first("NS") or ""
    servers = authority.of(cut, "NS")
    rcode, ede = int(message.rcode()), tuple(int(o.code) for o in message.extended_errors())
    outcome = _outcome(message, query, ede, found, soa, cut)
    if chain is None or (message.answer and not (chain or found)):
        outcome = "malformed"  # a loop of aliases, or an answer to something else
    content = Content(
        outcome=outcome,
        rrset=tuple(sorted(set(found))) if outcome == "answer" else (),
        aa=bool(message.flags & dns.flags.AA),
        ra=bool(message.flags & dns.flags.RA),
        tc=bool(message.flags & dns.flags.TC),
        rcode=rcode,
        ede=ede,
        nsid=_nsid(message),
        chain=chain or (),
        cut=cut,
        ns=tuple(sorted({rdata for rdata, _ in servers})),
        glue=tuple((o, rdata) for o, k, rdata, _ in additional.rows if k in ("A", "AAAA")),
        soa=soa,
    )
    if outcome != "answer":
        numbers = [*numbers, *soa_numbers] if soa else []
    return Decoded(content, numbers, [n for _, n in servers])


def _follow(answers: _Records, question: Question) -> tuple[tuple[str, ...] | None, list[str], list[int]]:
    """Aliases passed, rdata and TTL numbers (RFC 1034 section 3.6.2).

    The chain is None where there is no one way: a loop, or a name with two aliases (RFC 2181 section 10.1).
    """
    owner, chain, numbers = question.name.lower(), list[str](), list[int]()
    while not (rows := answers.of(owner, question.type)):
        alias = answers.of(owner, "CNAME")
        if not alias or question.type == "CNAME":
            return tuple(chain), [], numbers
        owner = alias[0][0]
        looped = owner in chain or owner == question.name or len(chain) >= MOST_ALIASES
        if looped or _several(alias):
            return None, [], []
        chain.append(owner)
        numbers += [n for _, n in alias]
    if question.type in _SINGLE and _several(rows):
        return None, [], []
    return tuple(chain), [rdata for rdata, _ in rows], numbers + [n for _, n in rows]


def _several(rows: Sequence[tuple[str, int]]) -> bool:
    return len({rdata for rdata, _ in rows}) > 1


def _soa(section: _Records) -> tuple[Soa | None, tuple[int, ...]]:
    owner = section.first("SOA")
    if owner is None:
        return None, ()
    rdata, number = section.of(owner, "SOA")[0]
    fields = rdata.split()  # a space within a name is escaped (RFC 1035 section 5.1)
    return Soa(owner, int(fields[2]), int(fields[6])), (number,)


def _outcome(
    message: dns.message.Message, query: Query, ede: Sequence[int], found: Sequence[str],
    soa: Soa | None, cut: str,
) -> DnsOutcome:  # fmt: skip
    rcode = message.rcode()
    if rcode == dns.rcode.NOERROR:
        return "answer" if found else _empty(message, query, soa, cut)
    if rcode == dns.rcode.SERVFAIL and _BOGUS & set(ede):
        return "bogus"
    return RCODES.get(rcode, "servfail")


def _empty(message: dns.message.Message, query: Query, soa: Soa | None, cut: str) -> DnsOutcome:
    """NODATA or a referral (RFC 2308 section 2.2): the latter has NS, no SOA and no AA.

    An alias that leads out of what this server knows says no more than where to ask, either.
    """
    recursed = query.rd and bool(message.flags & dns.flags.RA)
    if soa is not None:
        return "nodata"
    if message.answer:
        return "nodata" if recursed else "referral"
    if recursed or message.flags & dns.flags.AA:
        return "nodata"
    return "referral" if cut else "nodata"


def _nsid(message: dns.message.Message) -> str | None:
    """The identifier as text where it is printable ASCII, else in hexadecimal; None for none."""
    for option in message.options:
        if option.otype == dns.edns.NSID:
            nsid: bytes = option.to_wire() or b""
            printable = all(0x20 <= b <= 0x7E for b in nsid)
            return ((nsid.decode("ascii") if printable else nsid.hex())[:LONGEST_NSID]).strip() or None
    return None
