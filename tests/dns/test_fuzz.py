"""A hundred thousand mutated answers: what the probe takes for an answer, dnspython reads so, too.

Each goes the whole way of a datagram: matched to a question that waits, recognised or decoded, judged. Whole
messages and all that has been learned of former ones stay in between, as in a long watch. Seeded.
"""

from __future__ import annotations

import random
import socket
from collections import Counter
from collections.abc import Callable

import dns.edns
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdatatype
import dns.rrset
from msgspec import Struct

from probes.dns.exchange import Exchange, Reply
from probes.dns.udp import Arrival, Asked, Server, Silence
from probes.dns.via import How
from probes.dns.wire import HEADER, Query, Question, ttl_places

MANY = 100_000
NEW = "10 mx1.new.example."
OLD = "10 mx.old.example."
NAME, ALIAS = "example.jp.", "alias.example.jp."
ID = b"\x5a\xa5"


class Case(Struct, frozen=True):
    """A question as it was sent, and a whole answer to it."""

    query: Query
    question: bytes
    wire: bytes


def records(owner: str, kind: str, *rdata: str) -> list[dns.rrset.RRset]:
    """One set for each record: dnspython shuffles a set's records."""
    return [dns.rrset.from_text(owner, 300, "IN", kind, one) for one in rdata]


SOA = records("example.jp.", "SOA", "ns1.example.jp. root.example.jp. 7 60 60 600 60")
NS = records("example.jp.", "NS", "ns1.example.jp.", "ns2.example.net.")
GLUE = records("ns1.example.jp.", "A", "192.0.2.53", "192.12.2.53")
# Name and type asked, the RCODE, and the three sections.
BODIES = [
    (NAME, "MX", 0, records(NAME, "MX", OLD), [], []),
    (NAME, "MX", 0, records(NAME, "MX", NEW), [], []),
    (NAME, "MX", 0, records(NAME, "MX", NEW, "20 mx2.new.example."), [], []),
    (NAME, "MX", 0, records(NAME, "MX", OLD, "20 mx2.new.example."), NS, GLUE),
    (NAME, "MX", 0, [], SOA, []),
    (NAME, "MX", 3, [], SOA, []),
    (NAME, "MX", 2, [], [], []),
    (NAME, "MX", 0, [], NS, GLUE),
    (ALIAS, "MX", 0, [*records(ALIAS, "CNAME", NAME), *records(NAME, "MX", OLD)], [], []),
    (NAME, "A", 0, records(NAME, "A", "192.0.2.1", "192.11.0.9"), [], []),
    (NAME, "TXT", 0, records(NAME, "TXT", '"v=spf1 mx -all"'), [], []),
]  # fmt: skip


def cases(exchange: Exchange) -> list[Case]:
    """With EDNS and without; by an authority and by a resolver; the letters mixed and not."""
    made = []
    for number, (name, kind, rcode, *sections) in enumerate(BODIES):
        for edns in (False, True):
            for rd in (False, True):
                query = exchange.query(Question(name, kind), How(rd=rd), edns)
                assert query is not None
                noise = bytes((number * 37 + i * 11) % 256 for i in range(query.length)) if rd else b""
                wire, question = query.patched(ID, noise)
                made.append(Case(query, question, whole(wire, rcode, sections, rd, edns)))
    return made


def whole(query: bytes, rcode: int, sections: list[list[dns.rrset.RRset]], rd: bool, edns: bool) -> bytes:
    message = dns.message.make_response(dns.message.from_wire(query), recursion_available=rd)
    message.set_rcode(dns.rcode.Rcode(rcode))
    if not rd:
        message.flags |= dns.flags.AA
    if edns:
        stale = dns.edns.EDEOption(dns.edns.EDECode.STALE_ANSWER)
        message.use_edns(0, options=[dns.edns.GenericOption(dns.edns.NSID, b"tyo-1"), stale])
    message.answer, message.authority, message.additional = sections
    return message.to_wire(max_size=4096)


# Mutations of a message in place; each takes the source of chance and the length of the question


def octet(m: bytearray, source: random.Random, length: int) -> None:
    m[source.randrange(len(m))] = source.getrandbits(8)


def bit(m: bytearray, source: random.Random, length: int) -> None:
    m[source.randrange(len(m))] ^= 1 << source.randrange(8)


def telling(m: bytearray, source: random.Random, length: int) -> None:
    """Behind the question, where what is said begins."""
    if len(m) > HEADER + length:
        m[source.randrange(HEADER + length, len(m))] = source.choice(
            (0, 1, 2, 5, 15, 16, 0xC0, 0xC1, 0xFF, 63)
        )


def pointer(m: bytearray, source: random.Random, length: int) -> None:
    at = source.randrange(HEADER, len(m) - 1)
    m[at : at + 2] = (0xC000 | source.randrange(len(m) + 4)).to_bytes(2, "big")


def count(m: bytearray, source: random.Random, length: int) -> None:
    m[source.choice((5, 7, 9, 11))] = source.choice((0, 1, 2, 3, 255))


def flags(m: bytearray, source: random.Random, length: int) -> None:
    m[source.choice((2, 3))] ^= 1 << source.randrange(8)


def cut(m: bytearray, source: random.Random, length: int) -> None:
    del m[source.randrange(len(m)) :]


def piece(m: bytearray, source: random.Random, length: int) -> None:
    """A piece of it again, somewhere else."""
    at, size = source.randrange(len(m)), source.randrange(1, 24)
    m[(to := source.randrange(HEADER, len(m) + 1)) : to] = m[at : at + size]


def more(m: bytearray, source: random.Random, length: int) -> None:
    m += source.randbytes(source.randrange(1, 16))


def ttls(m: bytearray, source: random.Random, length: int) -> None:
    for place in ttl_places(bytes(m), HEADER + length) or ():
        m[place : place + 4] = source.getrandbits(source.choice((8, 16, 32))).to_bytes(4, "big")


def letters(m: bytearray, source: random.Random, length: int) -> None:
    m[source.randrange(HEADER, min(len(m), HEADER + length))] ^= 0x20


MUTATIONS: list[Callable[[bytearray, random.Random, int], None]] = [
    octet, bit, telling, telling, pointer, count, flags, cut, piece, more, ttls, ttls, ttls, letters,
]  # fmt: skip


def mutated(case: Case, other: Case, source: random.Random) -> bytes:
    m = bytearray(case.wire)
    if source.random() < 0.05:  # the head of one message, the body of another
        m[HEADER + case.query.length :] = other.wire[HEADER + other.query.length :]
    for _ in range(source.choice((0, 1, 1, 1, 2, 2, 3, 5))):
        if len(m) > HEADER + 1:
            source.choice(MUTATIONS)(m, source, case.query.length)
    return bytes(m)


# What the probe makes of it, and what dnspython does


class Matching:
    """The way of a datagram to a question that waits for it."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange, self._udp = exchange, exchange._udp
        self._port = self._udp._ports[socket.AF_INET].take(0)
        self._server = Server(("192.0.2.53", 53), ())
        self._events: list[Arrival | Silence] = []

    def reply(self, case: Case, wire: bytes) -> Reply | None:
        """None: it was not taken for an answer to this question."""
        asked = Asked(self._server, case.query, 0.0, lambda _, event: self._events.append(event), None)
        asked.port, asked.id, asked.tries = self._port, ID, 1
        self._server.keeps_case = True
        self._port.waiting[ID] = (asked, case.question, case.question != case.query.plain, 1.0)
        self._udp._arrived(self._port, wire, self._server.real, 1.5)
        self._udp._forget(asked)
        if not self._events:
            return None
        event = self._events.pop()
        assert isinstance(event, Arrival) and not self._port.waiting
        return self._exchange.read(event, case.query, "udp")


def truth(case: Case, wire: bytes) -> tuple[set[str], int] | None:
    """RRset and TTL, if dnspython reads an answer to this question in it."""
    try:
        message = dns.message.from_wire(wire)
        if not isinstance(message, dns.message.QueryMessage) or not message.flags & dns.flags.QR:
            return None
        if message.id != int.from_bytes(ID, "big") or message.opcode() != dns.opcode.QUERY:
            return None
        (question,) = message.question
        asked = case.query.question
        if question.name != dns.name.from_text(asked.name) or question.rdtype != dns.rdatatype.from_text(
            asked.type
        ):
            return None
        found = message.resolve_chaining()
    except (dns.exception.DNSException, ValueError):
        return None
    if found.answer is None or message.rcode() != dns.rcode.NOERROR:
        return None
    texts = {rdata.to_text() for rdata in found.answer}
    return (texts if asked.type == "TXT" else {text.lower() for text in texts}), found.minimum_ttl


def agrees(case: Case, wire: bytes, reply: Reply | None) -> None:
    """Both find the same answer, or both none; the probe alone insists on its own letters."""
    true = truth(case, wire)
    if reply is None:
        letters_differ = not wire.startswith(case.question, HEADER)
        assert true is None or letters_differ, wire.hex()
    elif reply.outcome == "answer":
        assert true == (set(reply.rrset), reply.ttl), wire.hex()
    else:
        assert true is None and not reply.rrset, wire.hex()


async def test_a_mutated_answer_says_what_dnspython_reads_in_it() -> None:
    source, exchange, seen = random.Random(20261125), Exchange(), Counter[str]()
    # Nothing is sent here: a server that changes letters is not asked again.
    exchange._udp._again = lambda asked, now: None  # type: ignore[method-assign]
    matching, all_cases = Matching(exchange), cases(exchange)
    try:
        for _ in range(MANY):
            case = source.choice(all_cases)
            wire = mutated(case, source.choice(all_cases), source)
            reply = matching.reply(case, wire)
            agrees(case, wire, reply)
            seen["dropped" if reply is None else reply.outcome] += 1
    finally:
        await exchange.close()
    # It was worth its while: much was taken, much of it known again, and each outcome came up.
    assert seen["answer"] > MANY / 10 and seen["malformed"] > MANY / 10 and seen["dropped"] > MANY / 10
    assert seen.total() - seen["dropped"] - exchange.answers.decoded > MANY / 10
    assert {"nodata", "nxdomain", "servfail", "referral", "refused"} < set(seen)
