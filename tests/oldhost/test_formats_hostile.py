"""Lines of any mail server that nobody means well with: never an exception, never a hit that none proves."""

from __future__ import annotations

import re
import time
from itertools import zip_longest

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from probes.observation import decode, encode
from probes.oldhost.reader import MailLog
from tests.oldhost.formatlab import LABS, lines
from tests.oldhost.loglines import WRITTEN, hits, unread

HEADS = [
    b"Nov 22 21:25:30 old exim[98]: ",
    b"2026-11-22 21:25:30 ",
    b"2026-11-22 21:25:30.123 [98] ",
    b"Nov 22 21:25:30 old exim[98]: [1/3] ",
    b"Nov 22 21:25:30 old exim[98]: [2/3] ",
    b"Nov 22 21:25:30 old sm-mta[143]: ",
    b"@400000006b03605f1d5acf04 ",
    b"Nov 22 21:25:30 old qmail: ",
    b"Nov 22 21:25:30 old smtpd[64]: ",
    b"Nov 22 21:25:30 old courierd: ",
    b"Nov 22 21:25:30 old courierlocal: ",
    b"Nov 22 21:25:30 old courieresmtpd: ",
    b"Nov 22 21:25:30 old imapd: ",
    b"2026-11-22T21:37:43.516Z ",
    b"2026-11-22T21:37:43.516Z,",
    b"Nov 22 21:25:30 old dovecot: ",
    b"#Fields: ",
    b"",
]
PARTS = [
    b"1xVF3y-00001a-1P ",
    b"<= ",
    b"=> ",
    b"== ",
    b"** ",
    b"bob <bob@example.com>",
    b" H=",
    b"(x) [1.2.3.4]",
    b" P=esmtp",
    b" A=x:bob@example.com",
    b" id=<",
    b' T="',
    b"\\",
    b" for bob@example.com",
    b"Completed",
    b" rejected RCPT <",
    b"6AMLQp9j000143: ",
    b"from=<",
    b"to=<bob@example.com>",
    b", nrcpts=99999999999",
    b", msgid=<",
    b", relay=x [1.2.3.4]",
    b", mailer=local",
    b", stat=Sent",
    b"<bob@example.com>... User unknown",
    b"info msg 1: bytes 1 from <> qp 2 uid 0",
    b"starting delivery 1: msg 1 to local bob@example.com",
    b"delivery 1: success: did_0+1+0/qp_2/",
    b"end msg 1",
    b"new msg 1",
    b"bounce msg 1 qp 2",
    b"tcpserver: pid 1 from 1.2.3.4",
    b"tcpserver: end 1 status 0",
    b"f09ad866b127b7f4 smtp ",
    b"connected address=",
    b"message msgid=de04f898 nrcpt=1",
    b"mda delivery evpid=de04f898ee651096 ",
    b"envelope evpid=de04f898ee651096 from=<> to=<bob@example.com>",
    b"result=Ok",
    b"smtp-in: Accepted message ",
    b"newmsg,id=000000000024808A.000000006B035F32.000000FE: dns; x ([1.2.3.4])",
    b"id=000000000024808A.000000006B035F32.000000FE,from=<>,addr=<bob@example.com>,",
    b"success: ",
    b"completed,id=",
    b"LOGIN, user=bob, ip=[1.2.3.4]",
    b"[NOTICE] [3A9FB491.1] [core] ",
    b"level=NOTICE uuid=3A9FB491.1 origin=core message=",
    b"queue code=OK ",
    b"recipient <bob@example.com> code=OK",
    b"disconnect ip=1.2.3.4 relay=Y helo=",
    b"message mid=<x> size=1",
    b",,,,,,SMTP,RECEIVE,1,<x>,y,bob@example.com",
    b"date-time,source,event-id,recipient-address",
    b'"',
    b"lmtp(bob@example.com)<1><x>: msgid=<x>: saved mail to INBOX",
    b"\0",
    b"\xff",
    b"\r",
    b"[1.2.3.4]",
    b">",
    b", ",
]
LAB_LINES = [line for lab in LABS for line in lines(lab)]
MADE = st.builds(
    lambda head, parts: head + b"".join(parts), st.sampled_from(HEADS), st.lists(st.sampled_from(PARTS))
)
ANY = st.one_of(MADE, st.sampled_from(LAB_LINES), st.binary(max_size=200))
CUT = st.builds(
    lambda line, at, junk: line[:at] + junk + line[at:],
    st.sampled_from(LAB_LINES),
    st.integers(0, 300),
    st.sampled_from([b"", *PARTS]),
)


def log() -> MailLog:
    return MailLog("example.com", lambda _: None, own=["192.0.2.10"], zone="UTC")


@given(st.lists(st.one_of(ANY, CUT), max_size=25), st.booleans())
@settings(max_examples=400, deadline=None)
def test_any_lines_at_all(said: list[bytes], live: bool) -> None:
    reading = log()
    seen = reading.feed(said, WRITTEN, live)
    again = log()
    again.restore(msgspec.json.decode(msgspec.json.encode(reading.state())))
    assert again.state() == reading.state()
    seen += again.tick(WRITTEN + 60_000) + again.flush()
    for one in seen:
        assert decode(encode(one)).at == one.at
    assert any(b"example.com" in line.lower() or PROOF.search(line) for line in said) or not hits(seen)


# What proves that a message was taken, and for whom: without these there is no hit.
PROOF = re.compile(
    rb" (?:<=|=>|->) |info msg|newmsg|nrcpt=\d+ \(queue|: to=<?|starting delivery"
    rb"|smtp (?:message|envelope)|delivery evpid|courier(?:local|esmtp): id="
    rb"|module=esmtp|queue code=OK|message=queue|lmtp\("
)


@given(st.lists(st.sampled_from([line for line in LAB_LINES if not PROOF.search(line)]), max_size=60))
@settings(max_examples=200, deadline=None)
def test_no_line_but_a_proof_makes_a_hit(said: list[bytes]) -> None:
    reading = log()
    assert hits(reading.feed(said, WRITTEN) + reading.tick(WRITTEN + 4_000_000) + reading.flush()) == []


FORGED = [
    # The sender's text (Message-ID, HELO, subject, address) is no field of the line.
    b'1xVF3y-00001a-1P <= a@x H=(y) [203.0.113.9] P=esmtp S=1 id=x T="=> bob@example.com R=r T=t"',
    b'1xVF3y-00001a-1P <= "x => bob@example.com R=r"@x H=(y) [203.0.113.9] P=esmtp S=1 id=x',
    b"6AMLQp9j000143: from=<a>, size=1, nrcpts=1, msgid=<to=<bob@example.com>, mailer=local, stat=Sent>",
    b'f09ad866b127b7f4 smtp failed-command command="HELO smtp envelope to=<bob@example.com>" result="500"',
]


@pytest.mark.parametrize("said", FORGED)
@pytest.mark.parametrize("head", [b"Nov 22 21:25:30 old exim[98]: ", b"Nov 22 21:25:30 old sm-mta[9]: ",
                                  b"Nov 22 21:25:30 old smtpd[64]: "])  # fmt: skip
def test_the_senders_text_proves_nothing(said: bytes, head: bytes) -> None:
    reading = log()
    assert hits(reading.feed([head + said], WRITTEN) + reading.flush()) == []


COSTLY = [
    b"1xVF3y-00001a-1P <= a@x H=(" + b"(" * 4000 + b") P=" * 500,
    b"1xVF3y-00001a-1P <= a@x" + b" H=(x" * 1500,
    b"1xVF3y-00001a-1P <= a@x H=(x) [1.2.3.4] id=x" + b' T="\\' * 1500,
    b"1xVF3y-00001a-1P => |" + b" <" * 3500,
    b"1xVF3y-00001a-1P => a" + b" (b)" * 1900,
    b'1xVF3y-00001a-1P => "' + b"\\" * 7900,
    b"H=(x) [1.2.3.4] F=<a> " + b" rejected RCPT <" * 500,
    b"6AMLQp9j000143: to=" + b"<a@x>," * 1300 + b" stat=Sent",
    b"6AMLQp9j000143: from=<" + b">, a=<" * 1300,
    b"6AMLQp9j000143: " + b"<a>... " * 1100,
    b"info msg 1: bytes 1 from <" + b"> qp 1 uid " * 700,
    b"starting delivery 1: msg 1 to local " + b"a" * 7900,
    b"f09ad866b127b7f4 mda delivery " + b"evpid=<" * 1100,
    b"f09ad866b127b7f4 smtp envelope " + b'to="' * 1900,
    b"smtp-in: New session f09ad866b127b7f4 from host " + b"[" * 7800,
    b"newmsg,id=000000000024808A.000000006B035F32.000000FE" + b",auth=" * 1300,
    b"id=000000000024808A.000000006B035F32.000000FE,from=<" + b">,addr=<" * 950,
    b"error,relay=1.2.3.4,from=<" + b">,to=<" * 1300,
    b"[NOTICE] [3A9FB491.1] [core] recipient <" + b"> a=<" * 1500,
    b"[NOTICE] [3A9FB491.1] [core] queue" + b' a="' * 1900,
    b'level=NOTICE uuid=3A9FB491.1 origin=core message="' + b"\\" * 7900,
    b"lmtp(" + b"<" * 7900,
    b"lmtp(a)" + b"<a>" * 2600 + b": msgid=",
    b"lmtp(a): " + b"Info: " * 1300,
    b",,,,,,SMTP,RECEIVE,1,<x>,y," + b"bob@example.com;" * 480,
]


@pytest.mark.parametrize("rest", COSTLY, ids=lambda rest: repr(rest[:40]))
def test_no_line_costs_more_than_its_length(rest: bytes) -> None:
    said = [head + rest[:8000] + b"example.com" for head in HEADS[:-2]]
    reading = log()
    started = time.process_time()
    reading.feed(said * 3, WRITTEN)
    assert time.process_time() - started < 2


def test_mixed_lines_of_all_servers_in_one_file() -> None:
    """Each line goes to its own format, and what one server tells changes nothing of another."""
    chosen = ("postfix-long", "exim-all", "sendmail", "qmail", "opensmtpd", "courier", "haraka")
    labs = [lab for lab in LABS if lab.name in chosen]
    mixed = [line for row in zip_longest(*map(lines, labs)) for line in row if line is not None]
    reading = log()
    seen = reading.feed(mixed, WRITTEN) + reading.flush()
    assert reading.heard == ("postfix", "exim", "sendmail", "qmail", "opensmtpd", "courier", "haraka")
    alone = [
        hit for lab in labs for one in [log()] for hit in hits(one.feed(lines(lab), WRITTEN) + one.flush())
    ]
    assert sorted(hits(seen)) == sorted(alone)
    assert unread(seen) == 0
    at_once = log()
    seen = at_once.feed_text(b"".join(line + b"\n" for line in mixed), WRITTEN) + at_once.flush()
    assert sorted(hits(seen)) == sorted(alone) and unread(seen) == 0
