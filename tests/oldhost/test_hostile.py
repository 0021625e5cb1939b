"""Lines that nobody means well with: never an exception, never a hit that no line proves."""

from __future__ import annotations

import time

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from probes.observation import decode, encode
from tests.oldhost.loglines import LAB, WRITTEN, gone, hits, log, mails, outside, parser, to

LAB_LINES = (LAB / "postfix-long.syslog.log").read_bytes().splitlines()
SENT = "sent (delivered to mailbox)"

PIECES = st.sampled_from(
    [*LAB_LINES, b"to=<bob@example.com>, ", b"status=sent (", b"client=", b"[", b"]: ", b"<", b">", b", ",
     b"10B4E3D5BD: ", b"postfix/local[1]: ", b"from=<", b"; from=<", b" proto=", b"nrcpt=99999999999 (queue ",
     b"queued as 10B4E3D5BD", b"forwarded as 10B4E3D5BD", b"removed", b"reject: RCPT from ", b"\0", b"\r",
     b"\xff", b"delay=1e999999, ", b"hold: ", b": Requeue: ", b"uid=0 from=<> orig_id=",
     b"-login: Login: user=<"]
)  # fmt: skip


@given(st.lists(st.one_of(st.binary(max_size=200), st.lists(PIECES, max_size=8).map(b"".join)), max_size=12))
@settings(max_examples=300)
def test_any_lines_at_all(lines: list[bytes]) -> None:
    reading = parser()
    seen = reading.feed(lines, WRITTEN)
    state = msgspec.json.encode(reading.state())
    reading.restore(msgspec.json.decode(state))
    seen += reading.tick(WRITTEN + 60_000) + reading.flush()
    for one in seen:
        assert decode(encode(one)).at == one.at
    proven = any(b"example.com" in line.lower() for line in lines) or b"nrcpt=" in b"".join(lines)
    assert proven or not hits(seen)


@given(st.data())
@settings(max_examples=200)
def test_no_line_but_a_proof_makes_a_hit(data: st.DataObject) -> None:
    """The lab's log in any order and with any lines left out, but without qmgr's and the deliveries."""
    harmless = [line for line in LAB_LINES if b"nrcpt=" not in line and b": to=<" not in line]
    lines = data.draw(st.lists(st.sampled_from(harmless), max_size=40))
    reading = parser()
    assert hits(reading.feed(lines, WRITTEN) + reading.tick(WRITTEN + 4_000_000) + reading.flush()) == []


@given(st.permutations(range(8)))
def test_lines_of_one_message_in_any_order_are_one_hit_at_least(order: list[int]) -> None:
    deliveries = (to("10B4E3D5BD", name, SENT) for name in ("bob@example.com", "x@other.example"))
    said = log(*outside("10B4E3D5BD", nrcpt=2), *deliveries, gone("10B4E3D5BD"), *outside("30B4E3D5BF")[:2])
    reading = parser()
    seen = reading.feed([said[i] for i in order], WRITTEN) + reading.flush()
    assert "bob@example.com" in {recipient for recipient, _, _ in hits(seen)}


FORGED = [
    # A Message-ID is the sender's text: nothing in it is a field of the line.
    "<a> to=<bob@example.com>, relay=local, delay=1, delays=1, dsn=2.0.0, status=sent (x)@evil>",
    "<x@evil>, sasl_method=PLAIN, sasl_username=bob@example.com",
    "<x>: removed",
]


@pytest.mark.parametrize("forged", FORGED)
def test_a_message_id_proves_nothing(forged: str) -> None:
    client, name, _ = outside("10B4E3D5BD", forged)
    reading = parser()
    assert reading.feed(log(client, name), WRITTEN) + reading.flush() == []


@pytest.mark.parametrize(
    "stamp", [b"1970-01-01T00:00:05+00:00", b"0001-01-01T00:00:00Z", b"9999-12-31T23:59:59Z"]
)
@pytest.mark.parametrize("delay", [b"99999999999999999999", b"1.2.3", b"0.1"])
def test_an_impossible_time_hides_no_hit(stamp: bytes, delay: bytes) -> None:
    first, last = log(gone("20B4E3D5BE"), to("10B4E3D5BD", "bob@example.com", SENT))
    last = stamp + last[last.index(b" ") :].replace(b"delay=0.1", b"delay=" + delay)
    reading = parser()
    reading.not_before = WRITTEN - 28 * 86_400_000
    assert len(hits(reading.feed([first, last], WRITTEN) + reading.flush())) == 1


def test_a_newline_in_a_message_id_hides_nothing() -> None:
    """Where a logger writes it out, the forged line may end the message early; it is still a hit."""
    client, name, active = outside("10B4E3D5BD", "<x@evil>")
    forged = log("qmgr 10B4E3D5BD: removed", "smtpd 10B4E3D5BD: client=localhost[127.0.0.1]")
    lines = [*log(client, name), *forged, *log(active, to("10B4E3D5BD", "bob@example.com", SENT))]
    reading = parser()
    seen = reading.feed(lines, WRITTEN) + reading.flush()
    assert [r for r, _, _ in hits(seen)] == ["bob@example.com"]


@pytest.mark.parametrize(
    "raw", [b"\xe6\x97\xa5\xe6\x9c\xac", b"\xff\xfe\x80", b"\x1b[31m\x07", "é".encode() * 300]
)
def test_bytes_of_any_kind_are_kept_and_can_be_written(raw: bytes) -> None:
    said = log(
        *outside("10B4E3D5BD", "<MARK@x>"), to("10B4E3D5BD", "bob@example.com", SENT), gone("10B4E3D5BD")
    )
    reading = parser()
    (mail,) = mails(reading.feed([line.replace(b"MARK", raw) for line in said], WRITTEN))
    assert decode(encode(mail)) == mail
    assert mail.message_id is not None and len(mail.message_id.encode()) <= 1000


COSTLY = [
    b"to=<" + b"x>, orig_to=<" * 600,
    b"to=<" + b"x>, relay=a, " * 600,
    b"to=<x>, relay=a, " + b"a=b, " * 1600,
    b"to=<x>, relay=a, delay=1, " + b"a=b, " * 1600,
    b"reject: RCPT from " + b"; from=< to=< proto= helo=<" * 300,
    b"reject: RCPT" + b" from x[" * 1000,
    b"proxy-accept: END-OF-MESSAGE from x[1]" + b" queued as" * 800,
    b"client=" + b", orig_client=" * 600,
    b"message-id=" + b"<" * 8000,
]


@pytest.mark.parametrize("rest", COSTLY, ids=lambda rest: repr(rest[:50]))
@pytest.mark.parametrize("daemon", [b"smtpd", b"local", b"cleanup"])
def test_no_line_costs_more_than_its_length(rest: bytes, daemon: bytes) -> None:
    line = b"Nov 22 21:22:56 old postfix/" + daemon + b"[1]: 10B4E3D5BD: " + rest[:8000] + b"example.com"
    reading = parser()
    started = time.process_time()
    reading.feed([line] * 20, WRITTEN)
    assert time.process_time() - started < 2
