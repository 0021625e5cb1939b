from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.mail.canary import Signer
from probes.mail.header import fields
from probes.mail.letter import latency, observe
from probes.mail.received import parse
from probes.mail.trace import Place, arrival, authentication, digest, hops, message_id
from probes.observation import Mail, encode, now
from tests.mail.conftest import ANNA, KEY, OLD, PLACES

DATE = "; Wed, 25 Nov 2026 08:59:43 +0000"

# Received field: by, helo, client, protocol, authenticated, id
SPELLINGS = {
    "postfix": (
        "from mta.a.example (mta.a.example [203.0.113.1])\r\n\tby mail.old.example (Postfix) with ESMTPS"
        " id 4F2",
        ("mail.old.example", "mta.a.example", "203.0.113.1", "ESMTPS", False, "4F2"),
    ),
    "postfix, false literal": (
        "from [192.0.2.10] (unknown [203.0.113.66]) by mail.old.example (Postfix) with ESMTP id 1",
        ("mail.old.example", "[192.0.2.10]", "203.0.113.66", "ESMTP", False, "1"),
    ),
    "postfix, client called by": (
        "from by (unknown [IPv6:2001:db8:0::1]) by with (Postfix) with ESMTPSA id by",
        ("with", "by", "2001:db8::1", "ESMTPSA", True, "by"),
    ),
    "postfix, pickup": (
        "by mail.old.example (Postfix, from userid 33) id AB",
        ("mail.old.example", None, None, None, False, "AB"),
    ),
    "exim": (
        "from mta.a.example ([203.0.113.1] helo=[192.0.2.9]) by mx with esmtps (TLS1.3) tls TLS_AES"
        " (Exim 4.96) (envelope-from <x@a.example>) id 1abc-0000-00 for a@b.example",
        ("mx", "[192.0.2.9]", "203.0.113.1", "esmtps tls TLS_AES", False, "1abc-0000-00"),
    ),
    "exim, no name": (
        "from [203.0.113.9] (helo=foo) by mx with esmtpa (Exim 4.96) id 1",
        ("mx", "foo", "203.0.113.9", "esmtpa", True, "1"),
    ),
    "sendmail": (
        "from helo.example (rdns.example [IPv6:2001:db8::5] (may be forged)) (authenticated bits=0)"
        " by host.example (8.15.2/8.15.2) with ESMTPS id x",
        ("host.example", "helo.example", "2001:db8::5", "ESMTPS", True, "x"),
    ),
    "qmail": (
        "from unknown (HELO [192.0.2.10]) (ident@203.0.113.9) by 0 with SMTP",
        ("0", "[192.0.2.10]", "203.0.113.9", "SMTP", False, None),
    ),
    "exchange": (
        "from DB.prod.outlook.com (2603:10a6:10:1::5) by DC.prod.outlook.com (2603:10a6::1) with"
        " Microsoft SMTP Server (version=TLS1_2, cipher=X) id 15.20.1",
        ("dc.prod.outlook.com", "DB.prod.outlook.com", "2603:10a6:10:1::5", "Microsoft SMTP Server", False,
         "15.20.1"),
    ),
    "mapped": (
        "from a (a [::ffff:203.0.113.7]) by b with SMTP id 7", ("b", "a", "203.0.113.7", "SMTP", False, "7"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SPELLINGS)
def test_a_received_field_is_read_as_its_server_means_it(name: str) -> None:
    text, expected = SPELLINGS[name]
    hop = parse(text + DATE)
    found = (hop.by, hop.helo, hop.client, hop.protocol, hop.authenticated, hop.queue_id)
    assert found == expected
    assert hop.at == datetime(2026, 11, 25, 8, 59, 43, tzinfo=UTC)


OUTSIDE = "Received: from mta.a.example (mta.a.example [203.0.113.1]) by {by} (Postfix) with ESMTPS id 4F"
FORGED = "Received: from evil (evil [192.0.2.66]) by mail.old.example (Postfix) with ESMTPSA id EVIL"
LMTP = "Received: from mail.old.example ([127.0.0.1]) by store7.internal with LMTP id xyz"
RELAYED = "Received: from mail.old.example (mail.old.example [192.0.2.10]) by mx1.new.example with ESMTP id N"

# side, header lines top down: origin, client, queue id
ARRIVALS = {
    "outside": ("old", [OUTSIDE.format(by="mail.old.example")], ("outside", "203.0.113.1", "4F")),
    "what a sender put below is hearsay": (
        "old", [OUTSIDE.format(by="mail.old.example"), FORGED], ("outside", "203.0.113.1", "4F"),
    ),
    "through a store of another name": (
        "old", [LMTP, OUTSIDE.format(by="mail.old.example"), FORGED], ("outside", "203.0.113.1", "4F"),
    ),
    "through a filter on the host": (
        "old",
        ["Received: from localhost (localhost [127.0.0.1]) by mail.old.example (Postfix) with ESMTP id 2",
         OUTSIDE.format(by="mail.old.example")],
        ("outside", "203.0.113.1", "4F"),
    ),
    "another name of the same organisation": (
        "old", [OUTSIDE.format(by="in7.old.example")], ("outside", "203.0.113.1", "4F"),
    ),
    "submission": (
        "old",
        ["Received: from pc (home [203.0.113.9]) by mail.old.example (Postfix) with ESMTPSA id S"],
        ("submission", "203.0.113.9", "S"),
    ),
    "local": ("old", ["Received: by mail.old.example (Postfix, from userid 33) id L"], ("local", None, "L")),
    "a co-tenant on loopback": (
        "old",
        ["Received: from www (localhost [::1]) by mail.old.example (Postfix) with ESMTP id L"],
        ("local", "::1", "L"),
    ),
    "behind a proxy": (
        "old",
        ["Received: from mta.a.example (proxy [10.0.0.3]) by mail.old.example with ESMTP id P",
         "Received: from pc by mta.a.example with ESMTP id Q"],
        ("unknown", "10.0.0.3", "P"),
    ),
    "bounce": (
        "old",
        ["Return-Path: <>", "Received: by mail.old.example (Postfix) id B"],
        ("bounce", None, "B"),
    ),
    "a null sender that the sender wrote": (
        "old", [OUTSIDE.format(by="mail.old.example"), "Return-Path: <>"], ("outside", "203.0.113.1", "4F"),
    ),
    "relayed by old": (
        "new", [RELAYED, OUTSIDE.format(by="mail.old.example")], ("outside", "192.0.2.10", "N"),
    ),
    "copied from old": ("new", [OUTSIDE.format(by="mail.old.example")], ("unknown", None, None)),
    "copied from old's store": (
        "new", [LMTP, OUTSIDE.format(by="mail.old.example")], ("unknown", "127.0.0.1", "xyz"),
    ),
    "fetched": (
        "new",
        ["Received: from pop.example [203.0.113.4] by mx1.new.example with POP3 (fetchmail) for <a@b>"],
        ("unknown", None, None),
    ),
    "fetched, and handed over on loopback": (
        "old",
        ["Received: from localhost (localhost [127.0.0.1]) by mail.old.example (Postfix) with ESMTP id F",
         "Received: from pop.isp.example [203.0.113.4] by localhost with POP3 (fetchmail-6.4) for <a@b>"],
        ("unknown", "127.0.0.1", "F"),
    ),
    "late, from the provider's own spool": (
        "old",
        ["Received: from spool.old.example ([192.0.2.33]) by mail.old.example with ESMTP id L",
         OUTSIDE.format(by="spool.old.example")],
        ("outside", "192.0.2.33", "L"),
    ),
    "forwarded back by new": (
        "old",
        ["Received: from mx1.new.example ([198.51.100.20]) by mail.old.example with ESMTP id R",
         OUTSIDE.format(by="mx1.new.example")],
        ("outside", "198.51.100.20", "R"),
    ),
    "no trace": ("new", ["Subject: x"], ("unknown", None, None)),
}  # fmt: skip


@pytest.mark.parametrize("name", ARRIVALS)
def test_how_a_side_took_a_message(name: str) -> None:
    side, lines, expected = ARRIVALS[name]
    found = arrival(fields("\r\n".join(lines).encode()), Place(*PLACES[side]))
    assert (found.origin, found.client, found.queue_id) == expected


def test_hosted_mail_is_known_by_its_organisation() -> None:
    google = Place(["aspmx.l.google.com", "alt1.aspmx.l.google.com"], [], OLD, ["192.0.2.10"])
    header = (
        "Received: by 2002:a05:6402:1234:b0:123 with SMTP id abc\r\n"
        "Received: from mta.a.example (mta.a.example. [203.0.113.1]) by mx.google.com with ESMTPS id g\r\n"
    )
    assert arrival(fields(header.encode()), google).client == "203.0.113.1"
    outlook = Place(["*.mail.protection.outlook.com"], [], OLD, ["192.0.2.10"])
    header = (
        "Received: from A.prod.outlook.com (2603:10a6:10:1::5) by B.prod.outlook.com with HTTPS; x\r\n"
        "Received: from C.mail.protection.outlook.com (2603:10a6:1::9) by A.outlook.office365.com\r\n"
        " with Microsoft SMTP Server id 15.20\r\n"
        "Received: from mta.a.example (203.0.113.1) by C.mail.protection.outlook.com (10.0.0.1) with SMTP\r\n"
    )
    found = arrival(fields(header.encode()), outlook)
    assert found.origin == "outside" and found.client == "203.0.113.1"


def test_one_organisation_on_both_sides_is_told_apart_by_names_alone() -> None:
    new = Place(["cp2.hosting.example"], [], ["cp1.hosting.example"], [])
    assert not new.mine("cp1.hosting.example") and not new.mine("cp3.hosting.example")
    new.learn("node9.hosting.example")
    new.learn("cp1.hosting.example")
    new.learn("localhost")
    assert new.mine("node9.hosting.example") and not new.mine("cp1.hosting.example")
    assert not new.mine("localhost")


def test_a_host_under_another_name_is_known_by_its_addresses() -> None:
    """A rental host's exchange bears the customer's name; the machine behind it has one of its own."""
    asked: list[str] = []

    def lookup(name: str) -> list[str]:
        asked.append(name)
        return {"sv9.rental.example": ["198.51.100.20"], "sv1.former.example": ["192.0.2.99"]}.get(name, [])

    place = Place(["mail.a.example"], ["198.51.100.20"], ["mail.old.example"], ["192.0.2.10"], lookup)
    for name, origin in (
        ("sv9.rental.example", "outside"), ("sv1.former.example", "unknown"), ("mail.old.example", "unknown"),
        ("localhost", "unknown"), ("nowhere.example", "unknown"),
    ):  # fmt: skip
        raw = f"{OUTSIDE.format(by=name)}\r\nMessage-ID: <1@b.example>\r\n".encode()
        for _ in range(2):
            seen = observe(raw, now(), "INBOX", "new", ANNA, place, Signer(KEY))
            assert isinstance(seen, Mail) and seen.origin == origin, name
    assert asked == ["sv9.rental.example", "sv1.former.example", "nowhere.example"]


def test_what_a_nameless_old_host_passes_on_is_no_sender_s_own_choice() -> None:
    new = Place(["mx1.new.example"], [], ["mail.old.example"], [])
    relayed = RELAYED.replace("mx2.new.example", "mx1.new.example")
    assert arrival(fields(relayed.encode()), new).origin == "unknown"
    assert arrival(fields(OUTSIDE.format(by="mx1.new.example").encode()), new).origin == "outside"


def test_only_the_side_s_own_authentication_results_count() -> None:
    place = Place(*PLACES["new"])
    own = "Authentication-Results: mx1.new.example (a (b) c); spf=pass smtp.mailfrom=a; dkim=fail (x; y=z);"
    header = (
        f"Authentication-Results: evil.example; spf=fail\r\n{own}\r\n dkim=pass; dmarc=none\r\n"
        + OUTSIDE.format(by="mx1.new.example")
    )
    assert authentication(fields(header.encode()), place) == {"spf": "pass", "dkim": "pass", "dmarc": "none"}
    below = OUTSIDE.format(by="mta.a.example") + f"\r\n{own}"
    assert authentication(fields(below.encode()), place) is None


def test_a_digest_is_the_same_on_both_hosts() -> None:
    one = b"Received: a\r\nDate: d\r\nFrom: x\r\nSubject: long\r\n  folded\r\n\r\nbody"
    two = b"Received: b\r\nFrom: x\r\nSubject: long folded\r\nX-Spam: no\r\nDate:  d\r\n\r\n"
    assert digest(fields(one)) == digest(fields(two)) is not None
    assert digest(fields(one.replace(b"x", b"y"))) != digest(fields(two))
    assert digest(fields(b"Subject: x\r\n")) is None


def test_message_ids_as_they_stand() -> None:
    assert message_id(fields(b"Message-Id:\r\n <A.b@c> (comment)\r\n")) == "<A.b@c>"
    assert message_id(fields(b"Message-ID: no brackets\r\n")) == "no brackets"
    assert message_id(fields(b"Message-ID:\r\nX: y\r\n")) is None


def test_latency_by_the_better_clock() -> None:
    at = datetime(2026, 11, 20, 12, 0, 30, tzinfo=UTC)
    assert latency(at.replace(second=0), at.replace(second=2), at) == 2000
    assert latency(at.replace(second=28), at.replace(second=29), at) == 2000
    assert latency(at.replace(second=0), at.replace(hour=3), at) == 30_000
    assert latency(at.replace(second=50), None, at) == 0


def near(text: str) -> st.SearchStrategy[bytes]:
    """Arbitrary bytes, and plausible fields with arbitrary pieces in them."""
    piece = st.sampled_from(text.split(" ")) | st.text(max_size=8)
    return st.binary(max_size=500) | st.lists(piece, max_size=40).map(
        lambda p: " ".join(p).encode("utf-8", "replace")
    )


@given(st.lists(near(" ".join(text for text, _ in SPELLINGS.values()) + DATE), max_size=5))
def test_any_bytes_in_a_header_make_an_observation_that_can_be_kept(values: list[bytes]) -> None:
    names = (b"Received: ", b"Message-ID: ", b"Authentication-Results: ", b"Date: ", b"")
    header = b"\r\n".join(n + v for n, v in zip(names, values, strict=False))
    seen = observe(header, now(), "INBOX", "old", ANNA, Place(*PLACES["old"]), Signer(KEY))
    assert isinstance(seen, Mail) and encode(seen)
    assert len(hops(fields(header))) <= 50


def test_a_header_of_millions_of_lines_is_read_only_so_far() -> None:
    header = b"Received: from " + b"(" * 500_000 + b"\r\n" + b"Received: x\r\n" * 300_000
    assert len(hops(fields(header))) <= 50
