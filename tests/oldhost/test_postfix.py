"""What counts and how often: aliases, filters, forwards, refusals, and mail whose fate takes time."""

from __future__ import annotations

import pytest

from probes.observation import Use, to_ms
from tests.oldhost.loglines import T0, WRITTEN, facts, gone, hits, log, mails, outside, parser, to, unread

START = to_ms(T0)
SENT = "sent (delivered to mailbox)"
PASSED = "sent (250 2.0.0 Ok: queued as 4NEW)"
NEW = "mx1.new.example[198.51.100.20]:25"
LATER = "deferred (connect to mx1.new.example[198.51.100.20]:25: Connection refused)"
FILTER = "127.0.0.1[127.0.0.1]:10024"


def told(*said: str | tuple[float, str], domain: str = "example.com") -> list[tuple[str, str, str]]:
    reading = parser(domain)
    seen = reading.feed(log(*said), WRITTEN) + reading.flush()
    assert unread(seen) == 0
    return hits(seen)


def filtered(queue_id: str, message_id: str, client: str = "localhost[127.0.0.1]") -> tuple[str, ...]:
    return (
        f"smtpd {queue_id}: client={client}",
        f"cleanup {queue_id}: message-id={message_id}",
        f"qmgr {queue_id}: from=<alice@sender.example>, size=900, nrcpt=1 (queue active)",
    )


BOB = ("bob@example.com", "outside", "delivered")
AGAIN = "sent (250 2.0.0 from MTA(smtp:[127.0.0.1]:10025): 250 2.0.0 Ok: queued as 20B4E3D5BE)"

CASES = {
    "local": (
        [*outside("10B4E3D5BD"), to("10B4E3D5BD", "bob@example.com", SENT), gone("10B4E3D5BD")], [BOB],
    ),
    "lmtp over a socket": (
        [*outside("10B4E3D5BD"), to("10B4E3D5BD", "bob@example.com", "sent (250 2.0.0 Saved)", agent="lmtp",
                                    relay="old.example[private/dovecot-lmtp]"), gone("10B4E3D5BD")], [BOB],
    ),
    "lmtp over the loopback": (
        [*outside("10B4E3D5BD"), to("10B4E3D5BD", "bob@example.com", "sent (250 2.0.0 Saved)", agent="lmtp",
                                    relay="127.0.0.1[127.0.0.1]:24"), gone("10B4E3D5BD")], [BOB],
    ),
    "relayed": (
        [*outside("10B4E3D5BD"), to("10B4E3D5BD", "bob@example.com", PASSED, agent="smtp", relay=NEW),
         gone("10B4E3D5BD")], [("bob@example.com", "outside", "relayed")],
    ),
    "instances and services have names": (
        ["postfix-in/smtpd 10B4E3D5BD: client=unknown[2001:db8::7]",
         "postfix-in/authclean/cleanup 10B4E3D5BD: message-id=<a@b>",
         "postfix-in/qmgr 10B4E3D5BD: from=<>, size=3, nrcpt=1 (queue active)",
         to("10B4E3D5BD", "bob@example.com", SENT).replace("local ", "postfix-in/virtual ", 1),
         gone("10B4E3D5BD").replace("qmgr", "postfix-in/qmgr")], [BOB],
    ),
    "RSET": (["smtpd 10B4E3D5BD: client=mx.sender.example[203.0.113.77]",
              "smtpd disconnect from mx.sender.example[203.0.113.77] rset=1"], []),
    "a milter's refusal": (
        [*outside("10B4E3D5BD")[:2],
         "cleanup 10B4E3D5BD: milter-reject: END-OF-MESSAGE from mx[203.0.113.77]: 5.7.1 Spam; "
         "from=<a@b> to=<bob@example.com> proto=ESMTP helo=<mx>"], [],
    ),
    "a recipient's probe": (
        ["cleanup 10B4E3D5BD: message-id=<p@old>",
         "qmgr 10B4E3D5BD: from=<double-bounce@old>, size=1, nrcpt=1 (queue active)",
         to("10B4E3D5BD", "bob@example.com", "deliverable (delivers to mailbox)"), gone("10B4E3D5BD")], [],
    ),
    "an alias within the domain is its mailbox": (
        [*outside("10B4E3D5BD"), to("10B4E3D5BD", "bob@example.com", SENT, orig="info@example.com"),
         gone("10B4E3D5BD")], [BOB],
    ),
    "an alias that leads away": (
        [*outside("10B4E3D5BD"), to("10B4E3D5BD", "bob@gmail.example", PASSED, agent="smtp", relay=NEW,
                                    orig="info@example.com"), gone("10B4E3D5BD")],
        [("info@example.com", "outside", "relayed")],
    ),
    "an alias to both: what stays here decides": (
        [*outside("10B4E3D5BD", nrcpt=2),
         to("10B4E3D5BD", "x@gmail.example", PASSED, agent="smtp", relay=NEW, orig="info@example.com"),
         to("10B4E3D5BD", "bob", SENT, orig="info@example.com"), gone("10B4E3D5BD")],
        [("info@example.com", "outside", "delivered")],
    ),
    "a forward back into the domain": (
        [*outside("10B4E3D5BD"),
         "cleanup 20B4E3D5BE: message-id=<m1@sender.example>",
         to("10B4E3D5BD", "info@example.com", "sent (forwarded as 20B4E3D5BE)"), gone("10B4E3D5BD"),
         "qmgr 20B4E3D5BE: from=<alice@sender.example>, size=3, nrcpt=1 (queue active)",
         to("20B4E3D5BE", "bob@example.com", SENT, orig="info@example.com"), gone("20B4E3D5BE")], [BOB],
    ),
    "a forward without orig_to": (
        [*outside("10B4E3D5BD"),
         to("10B4E3D5BD", "info@example.com", "sent (forwarded as 20B4E3D5BE)"), gone("10B4E3D5BD"),
         "qmgr 20B4E3D5BE: from=<alice@sender.example>, size=3, nrcpt=1 (queue active)",
         to("20B4E3D5BE", "x@gmail.example", PASSED, agent="smtp", relay=NEW), gone("20B4E3D5BE")],
        [("info@example.com", "outside", "relayed")],
    ),
    "a content filter": (
        [*outside("10B4E3D5BD"), *filtered("20B4E3D5BE", "<m1@sender.example>"),
         to("10B4E3D5BD", "bob@example.com", AGAIN, agent="smtp", relay=FILTER), gone("10B4E3D5BD"),
         to("20B4E3D5BE", "bob@example.com", SENT), gone("20B4E3D5BE")], [BOB],
    ),
    "a content filter whose second half is over first": (
        [*outside("10B4E3D5BD"), *filtered("20B4E3D5BE", "<m1@sender.example>"),
         to("20B4E3D5BE", "bob@example.com", SENT), gone("20B4E3D5BE"),
         to("10B4E3D5BD", "bob@example.com", AGAIN, agent="smtp", relay=FILTER), gone("10B4E3D5BD")], [BOB],
    ),
    "a content filter that gives a Message-ID": (
        [*outside("10B4E3D5BD", "<>"), *filtered("20B4E3D5BE", "<made-up@old>"),
         to("20B4E3D5BE", "bob@example.com", SENT), gone("20B4E3D5BE"),
         to("10B4E3D5BD", "bob@example.com", AGAIN, agent="smtp", relay=FILTER), gone("10B4E3D5BD")], [BOB],
    ),
    "a content filter, then on to new": (
        [*outside("10B4E3D5BD"), *filtered("20B4E3D5BE", "<m1@sender.example>"),
         to("10B4E3D5BD", "bob@example.com", AGAIN, agent="smtp", relay=FILTER), gone("10B4E3D5BD"),
         to("20B4E3D5BE", "bob@example.com", PASSED, agent="smtp", relay=NEW), gone("20B4E3D5BE")],
        [("bob@example.com", "outside", "relayed")],
    ),
    "a content filter that says for whom it speaks": (
        [*outside("10B4E3D5BD", "<>"),
         *filtered("20B4E3D5BE", "<n@old>", "localhost[127.0.0.1], orig_queue_id=10B4E3D5BD, "
                                            "orig_client=mx.sender.example[203.0.113.77]"),
         to("10B4E3D5BD", "bob@example.com", AGAIN, agent="smtp", relay=FILTER), gone("10B4E3D5BD"),
         to("20B4E3D5BE", "bob@example.com", SENT), gone("20B4E3D5BE")], [BOB],
    ),
    "a proxy filter before the queue": (
        ["smtpd NOQUEUE: client=mx.sender.example[203.0.113.77]",
         *filtered("20B4E3D5BE", "<m1@sender.example>"),
         "smtpd NOQUEUE: proxy-accept: END-OF-MESSAGE from mx.sender.example[203.0.113.77]: 250 2.0.0 Ok: "
         "queued as 20B4E3D5BE; from=<a@b> to=<bob@example.com> proto=ESMTP helo=<mx>",
         to("20B4E3D5BE", "bob@example.com", SENT), gone("20B4E3D5BE")], [BOB],
    ),
    "a filter by pipe": (
        [*outside("10B4E3D5BD"), "pickup 20B4E3D5BE: uid=110 from=<alice@sender.example>",
         "cleanup 20B4E3D5BE: message-id=<m1@sender.example>",
         to("10B4E3D5BD", "bob@example.com", "sent (delivered via spamassassin service)", agent="pipe",
            relay="spamassassin"),
         gone("10B4E3D5BD"), "qmgr 20B4E3D5BE: from=<alice@sender.example>, size=9, nrcpt=1 (queue active)",
         to("20B4E3D5BE", "bob@example.com", SENT), gone("20B4E3D5BE")], [BOB],
    ),
    "MailScanner": (
        ["smtpd 10B4E3D5BD: client=mx.sender.example[203.0.113.77]",
         "cleanup 10B4E3D5BD: hold: header Received: from x from mx.sender.example[203.0.113.77]; "
         "from=<a@b> to=<bob@example.com> proto=ESMTP helo=<mx>",
         "cleanup 10B4E3D5BD: message-id=<m1@sender.example>",
         "MailScanner Requeue: 10B4E3D5BD.A1B2C to 20B4E3D5BE",
         "qmgr 20B4E3D5BE: from=<a@b>, size=9, nrcpt=1 (queue active)",
         to("20B4E3D5BE", "bob@example.com", SENT), gone("20B4E3D5BE")], [BOB],
    ),
    "held": (
        ["smtpd 10B4E3D5BD: client=mx.sender.example[203.0.113.77]",
         "smtpd 10B4E3D5BD: hold: RCPT from mx.sender.example[203.0.113.77]: <bob@example.com>: Recipient "
         "address triggers HOLD action; from=<a@b> to=<bob@example.com> proto=ESMTP helo=<mx>",
         "cleanup 10B4E3D5BD: message-id=<m1@sender.example>"], [BOB],
    ),
    "thrown away": (
        ["smtpd NOQUEUE: discard: RCPT from mx.sender.example[203.0.113.77]: <bob@example.com>: Recipient "
         "address DISCARD action; from=<a@b> to=<bob@example.com> proto=ESMTP helo=<mx>"], [BOB],
    ),
    "requeued": (
        [*outside("10B4E3D5BD"), to("10B4E3D5BD", "bob@example.com", LATER, dsn="4.4.1"),
         "postsuper 10B4E3D5BD: requeued",
         "pickup 20B4E3D5BE: uid=89 from=<alice@sender.example> orig_id=10B4E3D5BD",
         "cleanup 20B4E3D5BE: message-id=<m1@sender.example>",
         "qmgr 20B4E3D5BE: from=<alice@sender.example>, size=9, nrcpt=1 (queue active)",
         to("20B4E3D5BE", "bob@example.com", SENT), gone("20B4E3D5BE")], [BOB],
    ),
    "a user's own mail, to the domain and out of it": (
        ["submission/smtpd 10B4E3D5BD: client=home[203.0.113.9], sasl_username=eve@b.example",
         *outside("10B4E3D5BD", nrcpt=2)[1:], to("10B4E3D5BD", "bob@example.com", SENT),
         to("10B4E3D5BD", "x@gmail.example", PASSED, agent="smtp", relay=NEW), gone("10B4E3D5BD")],
        [("bob@example.com", "submission", "delivered")],
    ),
    "a web form": (
        ["pickup 10B4E3D5BD: uid=33 from=<www-data>", *outside("10B4E3D5BD")[1:],
         to("10B4E3D5BD", "bob@example.com", SENT), gone("10B4E3D5BD")],
        [("bob@example.com", "local", "delivered")],
    ),
    "over SMTP from the host's own address": (
        [*filtered("10B4E3D5BD", "<w@old>", "old.example[192.0.2.10]"),
         to("10B4E3D5BD", "bob@example.com", SENT), gone("10B4E3D5BD")],
        [("bob@example.com", "local", "delivered")],
    ),
    "the host's own bounce": (
        ["cleanup 20B4E3D5BE: message-id=<b@old>",
         "qmgr 20B4E3D5BE: from=<>, size=9, nrcpt=1 (queue active)",
         "bounce 10B4E3D5BD: sender non-delivery notification: 20B4E3D5BE",
         to("20B4E3D5BE", "bob@example.com", SENT), gone("20B4E3D5BE")],
        [("bob@example.com", "bounce", "delivered")],
    ),
    "a canary": (
        [*outside("10B4E3D5BD", "<canary.1@watch>"), to("10B4E3D5BD", "bob@example.com", SENT),
         gone("10B4E3D5BD")], [("bob@example.com", "canary", "delivered")],
    ),
    "bounced: taken, and nobody has it": (
        [*outside("10B4E3D5BD"), to("10B4E3D5BD", "bob@example.com", "bounced (mailbox full)", dsn="5.2.2"),
         gone("10B4E3D5BD")], [BOB],
    ),
    "a log that begins in the middle": (
        [to("10B4E3D5BD", "bob@example.com", SENT), gone("10B4E3D5BD")],
        [("bob@example.com", "unknown", "delivered")],
    ),
    "nobody is shown": ([*outside("10B4E3D5BD"), gone("10B4E3D5BD")], [("", "outside", "delivered")]),
    "not all are shown": (
        [*outside("10B4E3D5BD", nrcpt=2), to("10B4E3D5BD", "x@other.example", SENT), gone("10B4E3D5BD")],
        [("", "outside", "delivered")],
    ),
    "all are elsewhere": (
        [*outside("10B4E3D5BD"), to("10B4E3D5BD", "x@sub.example.com", SENT), gone("10B4E3D5BD")], [],
    ),
    "the same queue id again": (
        [*outside("10B4E3D5BD"), to("10B4E3D5BD", "bob@example.com", SENT), gone("10B4E3D5BD"),
         *outside("10B4E3D5BD", "<m2@sender.example>"), to("10B4E3D5BD", "bob@example.com", SENT),
         gone("10B4E3D5BD")], [BOB, BOB],
    ),
    "two recipients": (
        [*outside("10B4E3D5BD", nrcpt=2), to("10B4E3D5BD", "BOB@Example.COM", SENT),
         to("10B4E3D5BD", "carol@example.com.", SENT), gone("10B4E3D5BD")],
        [BOB, ("carol@example.com", "outside", "delivered")],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_what_counts(case: str) -> None:
    said, expected = CASES[case]
    assert sorted(told(*said)) == sorted(expected)


def test_one_message_has_its_first_queue_id_and_client_through_a_filter() -> None:
    said, _ = CASES["a content filter that gives a Message-ID"]
    reading = parser()
    (mail,) = mails(reading.feed(log(*said), WRITTEN) + reading.flush())
    assert (mail.queue_id, mail.client) == ("10B4E3D5BD", "203.0.113.77")


# -- time ----------------------------------------------------------------------------------------------


def test_put_off_is_told_within_a_minute_and_passed_on_later_for_the_same_message() -> None:
    reading = parser()
    said = log(*outside("10B4E3D5BD"), to("10B4E3D5BD", "bob@example.com", LATER, agent="smtp", dsn="4.4.1"))
    assert hits(reading.feed(said, START) + reading.tick(START + 30_000)) == []
    (first,) = mails(reading.tick(START + 60_000))
    assert (first.disposition, first.reply) == ("delivered", LATER.partition("(")[2].rstrip(")"))
    assert reading.tick(START + 120_000) == []
    passed = to("10B4E3D5BD", "bob@example.com", PASSED, agent="smtp", relay=NEW)
    later = log((400.0, to("10B4E3D5BD", "bob@example.com", LATER)), passed, gone("10B4E3D5BD"))
    (second,) = mails(reading.feed(later, START + 401_000) + reading.tick(START + 500_000))
    assert second.disposition == "relayed"
    assert (second.queue_id, second.accepted_at) == (first.queue_id, first.accepted_at)


@pytest.mark.parametrize("end", ["sent (delivered to mailbox)", "bounced (no such user)"])
def test_put_off_and_then_kept_or_bounced_counts_once(end: str) -> None:
    reading = parser()
    said = log(*outside("10B4E3D5BD"), to("10B4E3D5BD", "bob@example.com", LATER, agent="smtp", dsn="4.4.1"))
    seen = reading.feed(said, START) + reading.tick(START + 60_000)
    later = log((400.0, to("10B4E3D5BD", "bob@example.com", end)), gone("10B4E3D5BD"))
    assert hits(seen + reading.feed(later, START + 401_000) + reading.tick(START + 500_000)) == [BOB]


def test_in_history_only_the_end_is_told() -> None:
    retries = [(60.0 * n, to("10B4E3D5BD", "bob@example.com", LATER, dsn="4.4.1")) for n in range(1, 5)]
    last = to("10B4E3D5BD", "bob@example.com", PASSED, agent="smtp", relay=NEW)
    assert told(*outside("10B4E3D5BD"), *retries, last, gone("10B4E3D5BD")) == [
        ("bob@example.com", "outside", "relayed")
    ]


def test_a_delivery_without_an_end_is_told_all_the_same() -> None:
    reading = parser()
    reading.feed(log(*outside("10B4E3D5BD"), to("10B4E3D5BD", "bob@example.com", SENT)), START)
    assert hits(reading.tick(START + 12_000)) == [BOB]


def test_a_log_host_whose_clock_runs_ahead_puts_nothing_off() -> None:
    reading = parser()
    ahead = log((9 * 3600.0, outside("10B4E3D5BD")[0]), *outside("10B4E3D5BD")[1:],
                to("10B4E3D5BD", "bob@example.com", LATER, dsn="4.4.1"))  # fmt: skip
    assert hits(reading.feed(ahead, START, live=True) + reading.tick(START + 60_000)) == [BOB]


def test_one_whose_clock_is_late_makes_nothing_of_a_look_in_the_middle() -> None:
    reading = parser()
    said = log(*outside("10B4E3D5BD"), to("10B4E3D5BD", "bob@example.com", SENT), gone("10B4E3D5BD"))
    seen = []
    for number, line in enumerate(said):
        moment = START + 9 * 3_600_000 + number * 1000
        seen += reading.feed([line], moment, live=True) + reading.tick(moment)
    assert hits(seen) == [BOB]


def test_accepted_at_is_when_the_queue_manager_had_it() -> None:
    reading = parser()
    said = log(*outside("10B4E3D5BD"), (300.0, to("10B4E3D5BD", "bob@example.com", SENT)), gone("10B4E3D5BD"))
    (mail,) = mails(reading.feed(said, START + 301_000))
    assert to_ms(mail.accepted_at) == START + 300


def test_what_was_accepted_before_the_beginning_is_not_told() -> None:
    reading = parser()
    reading.not_before = START + 1000
    said = [*outside("10B4E3D5BD"), to("10B4E3D5BD", "bob@example.com", SENT), gone("10B4E3D5BD")]
    assert mails(reading.feed(log(*said), WRITTEN)) == []


# -- logins --------------------------------------------------------------------------------------------


def test_logins_of_the_domain_are_told_once_an_hour_and_the_watchers_own_never() -> None:
    def dovecot(what: str, user: str, rip: str) -> bytes:
        return (
            f"2026-11-22T12:00:09+00:00 oldhost dovecot: {what}-login: Login: user=<{user}>, method=PLAIN, "
            f"rip={rip}, lip=192.0.2.10, mpid=340, secured, session=<x>"
        ).encode()

    said = log(
        "submission/smtpd 10B4E3D5BD: client=home[203.0.113.9], sasl_username=bob@example.com",
        *outside("10B4E3D5BD")[1:],
        "submission/smtpd 30B4E3D5BF: client=w[198.51.100.5], sasl_username=bob@example.com",
        "cleanup 30B4E3D5BF: message-id=<canary.9@watch>",
    )  # fmt: skip
    said += [
        dovecot("imap", "bob@example.com", "203.0.113.9"),
        dovecot("imap", "bob@example.com", "203.0.113.9"),
        dovecot("pop3", "carol", "2001:db8::9"),
        dovecot("imap", "eve@other.example", "203.0.113.9"),
        dovecot("imap", "bob@example.com", "198.51.100.5"),  # from where the canary was submitted
    ]
    used = [(u.account, u.service, u.client) for u in parser().feed(said, WRITTEN) if isinstance(u, Use)]
    assert used == [
        ("bob@example.com", "submission", "203.0.113.9"),
        ("bob@example.com", "imap", "203.0.113.9"),
        ("carol@example.com", "pop3", "2001:db8::9"),
    ]


# -- what cannot be read ---------------------------------------------------------------------------------

GARBLED = {
    b"to=<bob@example.com>, relay=loc": 1,
    b"2026-11-22T12:00:01+00:00 old postfix/local[1]: 10B4E3D5BD: to=<bob@example.com>, relay=loc": 1,
    b"2026-11-22T12:00:01+00:00 old postfix/local[1]: 10B4E3D5BD: to=<bob@EXAMPLE.com>, status=sent": 1,
    b"2026-11-22T12:00:01+00:00 old postfix/local[1]: 10B4E3D5BD: to=<bob@other.example>, relay=loc": 0,
    b"2026-11-22T12:00:01+00:00 old postfix/smtpd[1]: connect from mx.example.com[203.0.113.7]": 0,
    b"2026-11-22T12:00:01+00:00 old postfix/smtpd[1]: warning: hostname example.com does not resolve": 0,
    b"2026-11-22T12:00:01+00:00 old amavis[1]: (1-1) Passed CLEAN, <a@b> -> <bob@example.com>": 0,
    b"2026-11-22T12:00:01+00:00 old rsyslogd: imuxsock lost 9 messages from pid 7 due to rate-limiting": 1,
    b"2026-11-22T12:00:01+00:00 old systemd-journald[1]: Suppressed 12 messages from postfix.service": 1,
    b"\0\0\0\0\0\x002026-11-22T12:00:01+00:00 old postfix/qmgr[1]: 10B4E3D5BD: removed": 1,
    b"2026-11-22T12:00:01+00:00 old postfix/local[1]: " + b"x" * 70_000: 1,
    b"2026-11-22T12:00:01+00:00 old postfix/local[1]: example.com" + b"x" * 9_000: 1,
    b"2026-11-22T12:00:01+00:00 old postfix/local[1]: " + b"x" * 9_000: 0,
}  # fmt: skip


@pytest.mark.parametrize("line", GARBLED, ids=lambda line: repr(line[:90]))
def test_lines_that_cannot_be_read_are_counted_where_they_may_concern_the_domain(line: bytes) -> None:
    assert unread(parser().feed([line], WRITTEN)) == GARBLED[line]


def test_messages_in_flight_are_bounded_and_those_given_up_are_still_told() -> None:
    reading = parser()
    seen = []
    for number in range(25_000):
        seen += reading.feed(log(*outside(f"{number:010X}", f"<{number}@x>")[:3]), WRITTEN)
    assert reading.evicted == 5_000 == len(hits(seen))  # their recipients were never shown
    assert len(reading.state()["postfix"]["messages"]) == 20_000


def test_a_state_from_elsewhere_is_refused_whole() -> None:
    reading = parser()
    before = facts(reading.flush())
    for bad in ({}, {"clock": 1}, {"messages": [[1]]}, {"clock": 1, "watcher": [], "messages": 3}):
        with pytest.raises(ValueError):
            reading.restore(bad)
    assert facts(reading.flush()) == before
