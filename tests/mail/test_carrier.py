"""A server that talks nonsense to who copies from it: an end in time, never a fault."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from probes.mail.carrier import Carrier, Entry, internal, plain_flags
from probes.mail.imap import Gone, NoLogin, Refused
from probes.secret import Secret
from probes.service import Service
from tests.mail.servers import serving
from tests.mail.test_hostile_imap import HEADER, imap

SINCE = datetime(2026, 11, 20, tzinfo=UTC)
WORDS = st.sampled_from(
    (
        b'* 1 FETCH (UID 7 FLAGS (\\\\Seen) INTERNALDATE "25-Nov-2026 08:59:43 +0000" BODY[] "x")\r\n',
        b"* 1 FETCH (UID 7 FLAGS 5 INTERNALDATE 7 BODY[HEADER]<0> NIL)\r\n",
        b"* 1 FETCH (UID 7 FLAGS NIL)\r\n",
        b"* 1 FETCH (UID x)\r\n",
        b"* 1 FETCH ((((\r\n",
        b'* LIST 7 NIL "\\xff"\r\n',
        b'* LIST (\\\\Junk) "/" {3}\r\n&-&\r\n',
        b"* SEARCH 7 seven\r\n",
        b"* OK [UIDVALIDITY many] x\r\n",
        b"* OK [UIDNEXT 9] x\r\n",
        b"* BYE\r\n",
        b"TAG NO not today\r\n",
        b"TAG BAD what\r\n",
        b"+ go on\r\n",
        b"* 1 EXISTS\r\n",
        b"* CAPABILITY\r\n",
        b"TAG OK [APPENDUID 1 99] done\r\n",
    )
) | st.binary(max_size=60).map(lambda b: b.replace(b"{", b"") + b"\r\n")
VERBS = (b"LIST", b"EXAMINE", b"SEARCH", b"FETCH", b"APPEND", b"SELECT", b"STORE", b"EXPUNGE")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.sampled_from(VERBS), st.lists(WORDS, max_size=3).map(b"".join), min_size=1))
def test_nonsense_ends_the_session_or_is_refused(said: dict[bytes, bytes]) -> None:
    asyncio.run(asyncio.wait_for(_through(said), 20))


async def _through(said: dict[bytes, bytes]) -> None:
    async with serving(imap(dict(said))) as port:
        await asyncio.to_thread(_use, port)


def _use(port: int) -> None:
    service = Service(host="mail.old.example", port=port, tls="none", address="127.0.0.1")
    session = Carrier(socket.create_connection(("127.0.0.1", port)), service, 0.3)
    date = datetime(2026, 11, 25, tzinfo=UTC)
    steps: tuple[Callable[[], object], ...] = (
        lambda: [folder.name for folder in session.folders()],
        lambda: [entry.identities for entry in session.entries("INBOX", SINCE)],
        lambda: session.whole("INBOX", Entry(key=7, date=date, flags=(), header=())),
        lambda: session.add("INBOX", HEADER, ("\\Seen",), date),
        lambda: session.having("INBOX", "Message-ID", "mxcutover."),
        lambda: session.take_away("INBOX", 5, [7]),
    )
    try:
        session.open("anna", Secret("x"))
        for step in steps:
            with contextlib.suppress(Refused):
                step()
    except (Gone, NoLogin):
        pass
    finally:
        session.close()
        session.free()


def test_a_date_is_written_as_imap_has_it() -> None:
    zone = timezone(timedelta(hours=9))
    assert internal(datetime(2026, 11, 1, 9, 0, 5, tzinfo=zone)) == "01-Nov-2026 09:00:05 +0900"


def test_only_flags_that_can_be_set_are_taken_over() -> None:
    given_ = (b"\\Seen", b"\\Recent", b"$Label1", b"a b", b"x{1}", b'"', b"\\*", b"NonJunk", b"\xff")
    assert plain_flags(given_) == ("$Label1", "NonJunk", "\\Seen")
    assert len(plain_flags([b"k%d" % n for n in range(500)])) == 100
