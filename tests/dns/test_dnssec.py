"""What a validator would make of each answer that a signed zone's server may give."""

from __future__ import annotations

import dns.dnssec
import dns.name
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from probes.dns import dnssec
from probes.dns.dnssec import BOGUS, Anchors, Trust, Validator
from probes.dns.wire import Question
from tests.dns.signed import AT, DAY, MX, ZONE, Key, denied, keys, message, mx, rrset

KSK, ZSK, STRANGER = Key(), Key(flags=256), Key()
SERVED = keys(KSK, ZSK)


def made(answer: bytes, served: bytes = SERVED, *ds: str, question: Question = MX) -> str:
    return Validator(served, Trust("example.jp.", ((ds or (KSK.ds(),)),))).check(answer, question, AT)


@pytest.mark.parametrize("algorithm", [8, 13, 15])
def test_a_zone_without_a_fault_is_secure(algorithm: int) -> None:
    ksk, zsk = Key(algorithm), Key(algorithm, 256)
    served = keys(ksk, zsk)
    assert made(mx(zsk), served, ksk.ds()) == "secure"
    assert made(mx(zsk), served, ksk.ds("SHA384")) == "secure"
    assert made(mx(zsk), served, ksk.ds("SHA1")) == "secure"
    assert made(denied(zsk, "A", "NS"), served, ksk.ds()) == "secure"


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (mx(ZSK, end=AT - DAY / 24), "expired"),
        (mx(ZSK, begin=AT + DAY / 24), "early"),
        (mx(STRANGER), "forged"),
        (message(MX, [rrset("example.jp.", "MX", "10 mx1.new.example.")]), "unsigned"),
        # the zone was edited and not signed again
        (
            message(MX, [rrset("example.jp.", "MX", "10 x.example."),
                         ZSK.sign(rrset("example.jp.", "MX", "10 mx1.new.example."))]),
            "forged",
        ),
        (message(MX, []), "no_denial"),
        (denied(ZSK, "A", proven=False), "unsigned"),
        (denied(ZSK, "A", "MX"), "no_denial"),
        (denied(STRANGER, "A"), "forged"),
    ],
    ids=str.split("ended early stranger unsigned edited empty bare other_denial strange_denial"),
)  # fmt: skip
def test_each_fault_of_an_answer_is_named(answer: bytes, why: str) -> None:
    assert made(answer) == why


@pytest.mark.parametrize(
    ("served", "ds", "why"),
    [
        (SERVED, STRANGER.ds(), "no_match"),
        (message(Question("example.jp.", "DNSKEY"), []), KSK.ds(), "no_key"),
        (keys(KSK, ZSK, signed_by=()), KSK.ds(), "unsigned"),
        (keys(KSK, ZSK, signed_by=[ZSK]), KSK.ds(), "forged"),
        (keys(KSK, ZSK, end=AT - DAY / 2), KSK.ds(), "expired"),
        (keys(KSK), KSK.ds(), "forged"),  # the key that signed the MX is not among them
        (SERVED, KSK.ds().replace(" 13 ", " 12 "), "insecure"),  # an algorithm that nobody knows
        (SERVED, KSK.ds().replace(" 2 ", " 3 "), "insecure"),  # a digest that nobody knows
    ],
    ids=str.split("other_key no_keys unsigned half_signed ended missing algorithm digest"),
)
def test_each_fault_of_the_chain_is_named(served: bytes, ds: str, why: str) -> None:
    assert made(mx(ZSK), served, ds) == why


def test_a_weak_digest_is_not_looked_at_beside_a_better_one() -> None:
    assert made(mx(ZSK), SERVED, STRANGER.ds("SHA256"), KSK.ds("SHA1")) == "no_match"
    assert made(mx(ZSK), SERVED, STRANGER.ds(), KSK.ds()) == "secure", "one of several is enough"


def test_one_signature_that_holds_is_enough() -> None:
    found = rrset("example.jp.", "MX", "10 mx1.new.example.")
    late = ZSK.sign(found, end=AT - DAY)
    late.update(KSK.sign(found))
    assert made(message(MX, [found, late])) == "secure"


def test_the_least_kind_of_several_anchors_decides() -> None:
    trust = Trust("example.jp.", ((KSK.ds(),), (STRANGER.ds(),)))
    assert Validator(SERVED, trust).check(mx(ZSK), MX, AT) == "no_match"


def test_another_zone_below_this_one_is_none_of_its_business() -> None:
    question, below = Question("mail.example.jp.", "A"), dns.name.from_text("mail.example.jp.")
    found = rrset("mail.example.jp.", "A", "192.0.2.1")
    answer = message(question, [found, STRANGER.sign(found, signer=below)])
    assert made(answer, question=question) == "unchecked"
    soa = rrset("mail.example.jp.", "SOA", "ns. root. 7 3600 600 86400 300")
    assert made(message(question, [], [soa]), question=question) == "unchecked"


def test_aliases_and_wildcards() -> None:
    question = Question("www.example.jp.", "A")
    alias, target = (
        rrset("www.example.jp.", "CNAME", "a.example.jp."),
        rrset("a.example.jp.", "A", "192.0.2.1"),
    )
    away = rrset("www.example.jp.", "CNAME", "a.example.net.")
    assert made(message(question, [alias, ZSK.sign(alias), target, ZSK.sign(target)]), question=question) == (
        "secure"
    )
    assert made(message(question, [alias, target, ZSK.sign(target)]), question=question) == "unsigned"
    assert made(message(question, [alias, ZSK.sign(alias), target]), question=question) == "unsigned"
    assert made(message(question, [away, ZSK.sign(away)]), question=question) == "secure"
    dname = rrset("example.jp.", "DNAME", "example.net.")
    made_up = rrset("www.example.jp.", "CNAME", "www.example.net.")
    assert made(message(question, [dname, ZSK.sign(dname), made_up]), question=question) == "secure"
    wild = rrset("*.example.jp.", "A", "192.0.2.1")
    expanded, signature = rrset("www.example.jp.", "A", "192.0.2.1"), ZSK.sign(wild)
    signature.name = expanded.name
    nsec = rrset("example.jp.", "NSEC", "zz.example.jp. A RRSIG NSEC")
    proof = [nsec, ZSK.sign(nsec)]
    assert made(message(question, [expanded, signature], proof), question=question) == "secure"
    assert made(message(question, [expanded, signature]), question=question) == "no_denial"


@pytest.mark.parametrize(("types", "made_of_it"), [("A RRSIG", "secure"), ("A MX RRSIG", "no_denial")])
def test_hashed_denial(types: str, made_of_it: str) -> None:
    hashed = dns.dnssec.nsec3_hash(ZONE, "AABB", 10, 1)
    nsec3 = rrset(f"{hashed}.example.jp.", "NSEC3", f"1 1 10 AABB {hashed} {types}")
    soa = rrset("example.jp.", "SOA", "ns. root. 7 3600 600 86400 300")
    answer = message(MX, [], [soa, ZSK.sign(soa), nsec3, ZSK.sign(nsec3)])
    assert made(answer) == made_of_it


def costly(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Counts the signatures that are tried."""
    tried: list[int] = []
    real = dnssec._verifies
    monkeypatch.setattr(dnssec, "_verifies", lambda *args: tried.append(1) or real(*args))
    return tried


def test_a_zone_that_is_made_to_cost_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """KeyTrap: many signatures that fit none of the keys, on many records."""
    tried = costly(monkeypatch)
    found = rrset("example.jp.", "MX", "10 mx1.new.example.")
    bad = ZSK.sign(rrset("example.jp.", "MX", "10 x.example."))
    for n in range(60):
        bad.update(ZSK.sign(rrset("example.jp.", "MX", f"10 x{n}.example.")))
    assert made(message(MX, [found, bad])) == "forged" and len(tried) <= 10, "by the first few"
    with monkeypatch.context() as few:
        few.setattr(dnssec, "MOST_CHECKS", 5)
        assert made(message(MX, [found, bad])) == "costly"
    soa = rrset("example.jp.", "SOA", "ns. root. 7 3600 600 86400 300")
    nsecs = [rrset(f"n{n}.example.jp.", "NSEC", "zz.example.jp. A") for n in range(20)]
    proofs = [part for nsec in nsecs for part in (nsec, ZSK.sign(nsec))]
    late = ZSK.sign(soa)
    for n in range(7):
        late.update(STRANGER.sign(rrset("example.jp.", "SOA", f"ns. root. {n} 3600 600 86400 300")))
    tried.clear()
    assert made(message(MX, [], [soa, late, *proofs])) == "secure" and len(tried) <= 20


def test_all_that_one_server_is_asked_costs_no_more_than_so_much(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = costly(monkeypatch)
    validator = Validator(SERVED, Trust("example.jp.", ((KSK.ds(),),)))
    words = [validator.check(mx(ZSK), MX, AT) for _ in range(300)]
    assert words[:50] == ["secure"] * 50 and words[-1] == "unchecked"
    assert len(tried) <= dnssec.MOST_IN_ALL


ANSWER = mx(ZSK, "10 mx1.new.example.", "20 mx2.new.example.")


@settings(max_examples=400, deadline=None)
@given(st.integers(12, len(ANSWER) - 1), st.integers(1, 255))
def test_no_octet_of_a_signed_answer_can_be_changed_unnoticed(at: int, flip: int) -> None:
    changed = bytearray(ANSWER)
    changed[at] ^= flip
    assert made(bytes(changed)) != "secure" or dns_data(bytes(changed)) == dns_data(ANSWER)


def dns_data(wire: bytes) -> set[str]:
    """The MX data of an answer, the letters' case aside (RFC 4034 section 6.2)."""
    parsed = dns.message.from_wire(wire)
    found = parsed.get_rrset(parsed.answer, ZONE, "IN", "MX")
    return {rdata.to_text().lower() for rdata in found or ()}


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300), st.binary(max_size=300), st.text(max_size=30))
def test_no_octets_raise(answer: bytes, served: bytes, ds: str) -> None:
    trust = Trust("example.jp.", ((ds,), (KSK.ds(),)))
    for wire in (answer, ANSWER[:40] + answer):
        assert Validator(served, trust).check(wire, MX, AT) in (*BOGUS, "unchecked", "insecure")
        assert Validator(SERVED[:60] + served, trust).check(ANSWER, MX, AT) in (*BOGUS, "unchecked")


def test_what_caches_hold_of_the_parents_ds_counts_until_it_runs_out() -> None:
    anchors, one, two = Anchors(), (KSK.ds(),), (STRANGER.ds(),)
    assert anchors.trust(0) is None
    anchors.learn("example.jp.", [one], 3600, True, 0)
    anchors.learn("", None, 0, None, 1)
    assert anchors.trust(10**6) == Trust("example.jp.", (one,)), "what is served now needs no TTL"
    anchors.learn("example.jp.", [two], 3600, None, 300)
    assert anchors.trust(3599) == Trust("example.jp.", (two, one))
    assert anchors.trust(3600) == Trust("example.jp.", (two,))
    anchors.learn("example.jp.", None, 0, None, 301)
    assert anchors.trust(302) == Trust("example.jp.", (two, one)), "a parent that is silent changes nothing"
    anchors.learn("example.jp.", [()], 3600, None, 400)
    assert anchors.trust(401) == Trust("example.jp.", (one, two)), "unsigned now, but not for every cache"
    assert anchors.trust(4000) == Trust("example.jp.", ())
    anchors.learn("example.jp.", [one], 3600, False, 5000)
    assert anchors.trust(5001) == Trust("example.jp.", ()), "below an unsigned zone nobody looks"
