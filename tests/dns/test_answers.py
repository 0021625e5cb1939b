"""The decoder: any bytes in, no exception out, and never an answer that dnspython would not give."""

from __future__ import annotations

import dns.exception
import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
from hypothesis import given, settings
from hypothesis import strategies as st

from probes.dns.answers import Answers, Read
from probes.dns.wire import HEADER, Query, Question, recognisable, records_of, ttl_places

NAMES = ("example.jp.", "mail.example.jp.", "a.example.jp.", "mx1.new.example.", "b\\.c.example.")
RDATA = {
    "MX": ("10 mail.example.jp.", "20 MX1.new.example.", "0 ."),
    "A": ("192.0.2.1", "192.37.2.1", "198.51.100.7"),
    "AAAA": ("2001:db8::1",),
    "CNAME": ("a.example.jp.", "mx1.new.example."),
    "NS": ("ns1.example.jp.", "ns2.example.net."),
    "SOA": ("ns1.example.jp. root.example.jp. 2026112001 60 60 60 300",),
    "TXT": ('"v=spf1 -all"', '"Mixed" "Case"'),
}
QUERIES = {
    (name, kind, rd): Query(Question(name, kind), rd=rd, edns=True, nsid=True)
    for name in NAMES for kind in RDATA for rd in (False, True)
}  # fmt: skip

_SINGLE = (dns.rdatatype.CNAME, dns.rdatatype.SOA)
records = st.builds(
    lambda owner, kind, ttl, n: dns.rrset.from_text(owner, ttl, "IN", kind, (RDATA[kind] * 3)[n]),
    st.sampled_from(NAMES), st.sampled_from(sorted(RDATA)),
    st.sampled_from((0, 1, 60, 300, 0x7FFFFFFF)), st.integers(0, 2),
)  # fmt: skip


@st.composite
def answers(draw: st.DrawFn) -> tuple[Query, bytes]:
    """A whole message, more or less an answer."""
    query = QUERIES[draw(st.sampled_from(sorted(QUERIES)))]
    case = draw(st.sampled_from((b"", b"\x20" * query.length, (b"\0\x20" * query.length)[: query.length])))
    wire, _ = query.patched(draw(st.binary(min_size=2, max_size=2)), case)
    message = dns.message.make_response(dns.message.from_wire(wire))
    message.set_rcode(
        draw(st.sampled_from([dns.rcode.NOERROR] * 4 + [dns.rcode.NXDOMAIN, dns.rcode.SERVFAIL]))
    )
    message.flags |= draw(st.sampled_from([dns.flags.AA, dns.flags.RA, dns.flags.AA | dns.flags.RA]))
    for section in (message.answer, message.authority, message.additional):
        section.extend(draw(st.lists(records, max_size=4)))
    return query, message.to_wire(max_size=65535)


@st.composite
def mangled(draw: st.DrawFn) -> tuple[Query, bytes]:
    """Such a message with octets changed, pointers put in, a piece cut off or put on. The question stands:
    what does not repeat it never gets to the decoder."""
    query, wire = draw(answers())
    start = HEADER + query.length
    octets = bytearray(wire)
    places = st.integers(0, len(octets) - 1).filter(lambda i: not HEADER - 8 <= i < start)
    for _ in range(draw(st.integers(0, 4))):
        octets[draw(places)] = draw(
            st.sampled_from((0, 1, 2, 0xC0, 0xC0, 0xFF, 63, 64)) | st.integers(0, 255)
        )
    cut = draw(st.integers(start, len(octets)) | st.just(len(octets)))
    return query, bytes(octets[:cut]) + draw(st.just(b"") | st.binary(max_size=8))


def truth(wire: bytes, query: Query) -> tuple[set[str], int] | None:
    """What dnspython answers, by its own way along the aliases; None where it finds no answer."""
    try:
        message = dns.message.from_wire(wire)
        assert isinstance(message, dns.message.QueryMessage)
        found = message.resolve_chaining()
    except (dns.exception.DNSException, ValueError, AssertionError):
        return None
    if found.answer is None or message.rcode() != dns.rcode.NOERROR:
        return None
    return {rdata.to_text() for rdata in found.answer}, found.minimum_ttl


def lowered(texts: set[str], kind: str) -> set[str]:
    return texts if kind == "TXT" else {text.lower() for text in texts}


def holds(read: Read, wire: bytes, query: Query) -> None:
    if read.content.outcome != "answer":
        assert not read.content.rrset
        return
    true = truth(wire, query)
    assert true is not None
    assert (set(read.content.rrset), read.ttl) == (lowered(true[0], query.question.type), true[1])


def varied(wire: bytes, query: Query, by: int) -> bytes:
    """The same message with another id and other TTLs."""
    octets = bytearray(wire)
    octets[0:2] = by.to_bytes(2, "big")
    for place in ttl_places(wire, HEADER + query.length) or []:
        octets[place : place + 4] = (by * 65537 % 0x7FFFFFFF).to_bytes(4, "big")
    return bytes(octets)


@settings(max_examples=400, deadline=None)
@given(answers() | mangled(), st.integers(0, 65535))
def test_it_says_what_dnspython_says_the_first_time_and_when_it_knows_it(
    case: tuple[Query, bytes], by: int
) -> None:
    query, wire = case
    known = Answers()
    first = known.read(wire, query)
    holds(first, wire, query)
    assert known.read(wire, query) == first
    other = varied(wire, query, by)
    again = known.read(other, query)
    assert again == Answers().read(other, query)
    holds(again, other, query)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(sorted(QUERIES)), st.binary(min_size=10, max_size=10), st.binary(max_size=300))
def test_noise_behind_a_question_is_no_answer_of_its_own(
    key: tuple[str, str, bool], head: bytes, noise: bytes
) -> None:
    query = QUERIES[key]
    wire = head[:2] + b"\x84" + head[3:4] + b"\0\1" + head[6:10] + b"\0\1" + query.plain + noise
    holds(Answers().read(wire, query), wire, query)


def contradictory(wire: bytes) -> bool:
    """Two aliases or SOAs of one name (RFC 2181 section 10.1): dnspython takes the last, we take none."""
    answer = dns.message.from_wire(wire, one_rr_per_rrset=True).answer
    single = [(r.name, r.rdtype, r[0].to_text().lower()) for r in answer if r.rdtype in _SINGLE]
    return len(set(single)) > len({(name, kind) for name, kind, _ in single})


@settings(max_examples=200, deadline=None)
@given(answers())
def test_whole_answers_are_understood_and_mostly_known_again(case: tuple[Query, bytes]) -> None:
    """Where dnspython finds an answer, so do we, and decode it once."""
    query, wire = case
    known = Answers()
    read = known.read(wire, query)
    if truth(wire, query) is not None:
        assert read.content.outcome == "answer" or contradictory(wire)
    records = records_of(wire, HEADER + query.length)
    assert records is not None
    known.read(varied(wire, query, 4711), query)
    assert known.decoded == 1 and recognisable(wire, records)


def test_a_name_that_leads_into_a_ttl_or_the_id_is_never_taken_as_known() -> None:
    """The exchange's name is a pointer to the record's own TTL, which reads as a label of one letter."""
    query = QUERIES["example.jp.", "MX", False]
    place = HEADER + query.length + 6

    def said(id_: int, letter: bytes, target: int) -> bytes:
        head = id_.to_bytes(2, "big") + b"\x84\0\0\1\0\1\0\0\0\0"
        ttl = b"\1" + letter + b"\0\0"
        pointer = (0xC000 | target).to_bytes(2, "big")
        return head + query.plain + b"\xc0\x0c\0\x0f\0\1" + ttl + b"\0\4\0\x0a" + pointer

    known = Answers()
    for letter in (b"a", b"b"):
        assert known.read(said(7, letter, place), query).content.rrset == (f"10 {letter.decode()}.",)
    # the id 0x0161 reads as "\1a", the flags behind it as a label's type that is none: not an answer
    assert known.read(said(0x0161, b"a", 0), query).content.outcome == "malformed"
    assert known.decoded == 3


def test_what_is_kept_is_bounded() -> None:
    known = Answers(kept=10)
    query = QUERIES["example.jp.", "TXT", True]
    for n in range(50):
        message = dns.message.make_response(
            dns.message.from_wire(query.patched(n.to_bytes(2, "big"), b"")[0])
        )
        message.answer = [dns.rrset.from_text("example.jp.", 5, "IN", "TXT", f'"{"x" * n}"')]
        assert known.read(message.to_wire(), query).content.rrset == (f'"{"x" * n}"',)
    assert sum(len(layout.known) for layouts in known._layouts.values() for layout in layouts) <= 10
    assert len(known._order) <= 10 and len(known._layouts) <= 10
