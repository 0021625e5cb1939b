"""Whether an answer of the server is decoded once, whatever its id, its TTLs and the case of its letters."""

from __future__ import annotations

import random
import socket

from probes.dns.answers import Answers
from probes.dns.wire import HEADER, Query, Question, ttl_places
from tests.benchmarks.server import PORT, exchanges, names


def decoded_beyond_the_first(address: str, many: int) -> int:
    """How many of ``many`` such variations of one answer took the slow way. Raises ``AssertionError`` for a
    wrong answer."""
    name, source, known = names()[0], random.Random(1), Answers()
    query = Query(Question(name, "MX"), rd=False, edns=True, nsid=True)
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.settimeout(5)
        sock.sendto(query.patched(b"\0\1", b"")[0], (address, PORT))
        wire = bytearray(sock.recv(4096))
    places = ttl_places(bytes(wire), HEADER + query.length)
    assert places
    for _ in range(many):
        ttl = source.getrandbits(31)
        wire[:2] = source.randbytes(2)
        wire[HEADER : HEADER + query.length] = query.patched(b"\0\1", source.randbytes(query.length))[1]
        for place in places:
            wire[place : place + 4] = ttl.to_bytes(4, "big")
        read = known.read(bytes(wire), query)
        assert (read.content.rrset, read.ttl) == (exchanges(name), ttl)
    return known.decoded - 1
