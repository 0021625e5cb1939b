"""Port 53 intercepted: each sign by itself, and whole examinations over loopback."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from probes.dns import honesty
from probes.dns.examining import NOWHERE, Resolver, Subjects, examine
from probes.dns.exchange import Content, Exchange, Reply
from probes.dns.honesty import Honesty, Sign, judge
from probes.dns.operators import OPERATORS, belongs, egress, recognised
from probes.dns.via import doh, dot
from probes.observation import DnsOutcome
from tests.dns import lying
from tests.dns.lying import GOOGLE, NAMES, QUAD9, ROOTS, asking
from tests.servers.daemon import needs


def reply(
    outcome: DnsOutcome = "answer", *rrset: str, aa: bool = False, ra: bool = False, nsid: str | None = None,
    rtt: float | None = 20.0,
) -> Reply:  # fmt: skip
    content = Content(outcome=outcome, rrset=rrset, aa=aa, ra=ra, nsid=nsid)
    return Reply(content=content, transport="udp", rtt_ms=rtt)


SILENT = reply("timeout", rtt=None)


# Each sign


@pytest.mark.parametrize(
    ("address", "answer", "root", "sign", "proof"),
    [
        (ROOTS[0], reply("answer", "a.root-servers.net.", aa=True), True, False, False),
        (ROOTS[0], reply("answer", "a.root-servers.net.", ra=True), True, True, True),
        (ROOTS[0], reply("answer", "a.root-servers.net.", aa=True, ra=True), True, True, True),
        (ROOTS[0], reply("answer", "a.root-servers.net."), True, True, True),
        (ROOTS[0], reply("refused", ra=True), True, True, True),
        (ROOTS[0], reply("refused"), True, False, False),
        (ROOTS[0], SILENT, True, False, False),
        ("203.0.113.1", reply("answer", aa=True, ra=True), False, False, False),  # serves and recurses
        ("203.0.113.1", reply("answer"), False, False, False),  # lame
        ("203.0.113.1", reply("answer", ra=True), False, True, False),
    ],
)
def test_an_authoritys_answer_that_a_recursive_resolver_gave(
    address: str, answer: Reply, root: bool, sign: bool, proof: bool
) -> None:
    found = honesty.recursion(address, answer, root=root)
    assert (found is not None, found is not None and found.proof) == (sign, proof)


def test_an_answer_from_nowhere_is_proof_when_two_networks_gave_one() -> None:
    assert honesty.nowhere(dict.fromkeys(NOWHERE, SILENT)) == []
    (lone,) = honesty.nowhere({NOWHERE[0]: reply("refused", rtt=2), NOWHERE[1]: SILENT, NOWHERE[3]: SILENT})
    assert (lone.subject, lone.proof) == (NOWHERE[0], False), "somebody's laboratory, perhaps"
    both = honesty.nowhere({NOWHERE[0]: reply("servfail"), NOWHERE[1]: reply()})
    assert [sign.proof for sign in both] == [True, True]
    mixed = honesty.nowhere({NOWHERE[0]: reply(), NOWHERE[3]: reply()})
    assert [sign.proof for sign in mixed] == [False, False], "one of each IP version"


@pytest.mark.parametrize(
    ("platform", "answer", "sign"),
    [
        ("cloudflare", reply("answer", '"yul01"'), False),
        ("cloudflare", reply("answer", '"LHR"'), False),
        ("cloudflare", reply("answer", '"resolver7.isp.example"'), True),
        ("cloudflare", reply("refused"), True),
        ("cloudflare", reply("servfail"), False),
        ("cloudflare", SILENT, False),
        ("quad9", reply("answer", '"res860.qfra3.rrdns.pch.net"'), False),
        ("quad9", reply("answer", '"res120.qyul1.on.quad9.net"'), False),
        ("quad9", reply("answer", '"unbound 1.17"'), True),
        ("quad9", reply("nxdomain"), True),
        ("opendns", reply("answer", '"flags 20"', '"server r3.yyz"', '"originid 0"'), False),
        ("opendns", reply("nxdomain"), True),
        ("google", reply("answer", '"anything"'), False),
    ],
)
def test_who_a_resolver_says_it_is(platform: str, answer: Reply, sign: bool) -> None:
    found = honesty.identity("192.0.2.1", platform, OPERATORS[platform], answer)
    assert (found is not None) == sign
    assert found is None or not found.proof


@pytest.mark.parametrize(
    ("nsid", "sign"), [("gpdns-nrt", False), (None, False), ("waw03", True), ("\x1b[31mgpdns-nrt", True)]
)
def test_the_identifier_with_its_answers(nsid: str | None, sign: bool) -> None:
    assert bool(honesty.nsid("8.8.8.8", "google", OPERATORS["google"], reply(nsid=nsid))) == sign


@pytest.mark.parametrize(
    ("rrset", "seen"),
    [
        (('"ns" "172.253.1.9"', '"ecs" "203.0.113.0/24/0"', '"ip" "203.0.113.9"'), {"172.253.1.9"}),
        (('"2404:6800:4008:c06::1"', '"edns0-client-subnet 203.0.113.0/24"'), {"2404:6800:4008:c06::1"}),
        (('"ns"', '"x"', "", '"', '"1.2.3.4" "5.6.7.8"'), set()),
        ((), set()),
    ],
)
def test_from_where_it_asks(rrset: tuple[str, ...], seen: set[str]) -> None:
    assert egress(rrset) == seen
    google = OPERATORS["google"]
    assert all(belongs(google, address) for address in seen)
    assert honesty.foreign("8.8.8.8", "google", google, reply("answer", *rrset)) is None


def test_another_networks_egress_is_a_sign_and_a_shared_one_is_proof() -> None:
    isp = reply("answer", '"ns" "198.18.0.7"')
    sign = honesty.foreign("8.8.8.8", "google", OPERATORS["google"], isp)
    assert sign is not None and (sign.seen, sign.proof) == ("198.18.0.7", False)
    assert honesty.foreign("9.9.9.9", "quad9", OPERATORS["quad9"], isp) is None, "its networks are not known"
    one = frozenset({"198.18.0.7"})
    both = honesty.shared(
        {("8.8.8.8", "google"): one, ("9.9.9.9", "quad9"): one, ("1.1.1.1", "cloudflare"): frozenset()}
    )
    assert {(s.platform, s.proof) for s in both} == {("google", True), ("quad9", True)}
    assert honesty.shared({("8.8.8.8", "google"): one, ("8.8.4.4", "google"): one}) == []


def test_a_name_that_does_not_exist_and_yet_does() -> None:
    landing, gone = reply("answer", "198.18.0.80"), reply("nxdomain")
    assert honesty.differs("8.8.8.8", "google", landing, gone) is not None
    assert honesty.differs("8.8.8.8", "google", landing, landing) is None, "the operator does so itself"
    assert honesty.differs("8.8.8.8", "google", gone, gone) is None
    assert honesty.differs("8.8.8.8", "google", landing, SILENT) is None


def test_a_round_trip_too_short_for_its_way_is_never_proof() -> None:
    far = [reply(rtt=90.0), reply(rtt=42.0)]
    sign = honesty.fast_resolver("8.8.8.8", "google", reply(rtt=2.0), far)
    assert sign is not None and not sign.proof
    assert honesty.fast_resolver("8.8.8.8", "google", reply(rtt=30.0), far) is None
    assert (
        honesty.fast_resolver("8.8.8.8", "google", reply(rtt=0.1), [reply(rtt=1.0), reply(rtt=0.9)]) is None
    )
    assert honesty.fast_resolver("8.8.8.8", "google", reply(rtt=2.0), far[:1]) is None, "a connection's first"
    near = {address: reply(rtt=1.5) for address in ROOTS[:3]}
    assert {s.subject for s in honesty.fast_authorities(near, [40.0, 60.0])} == set(near)
    assert honesty.fast_authorities(near | {ROOTS[3]: reply(rtt=35.0)}, [40.0]) == []
    assert honesty.fast_authorities(dict(list(near.items())[:2]), [40.0]) == []
    assert honesty.fast_authorities(near, []) == []


def test_an_encrypted_answer_makes_a_sign_proof_or_none_at_all() -> None:
    sign = Sign("identity", "1.1.1.1", "x", platform="cloudflare")
    assert honesty.confirmed(sign, None) == sign
    assert honesty.confirmed(sign, True) == Sign("identity", "1.1.1.1", "x", True, "cloudflare")
    assert honesty.confirmed(sign, False) is None, "what we know of the operator is out of date"


def test_a_pattern_is_matched_whole() -> None:
    assert recognised("a+", ['"aaa"']) and not recognised("a+", ['"aaab"', "aaa"])


# The conclusion


def sign(kind: honesty.Kind, subject: str = "192.0.2.251", proof: bool = False, platform: str = "") -> Sign:
    return Sign(kind, subject, "", proof, platform)


@pytest.mark.parametrize(
    ("signs", "clean", "verdict"),
    [
        ([], 3, "honest"),
        ([], 0, "unknown"),
        ([sign("fast")], 3, "unknown"),
        ([sign("identity"), sign("identity", "1.1.1.1")], 3, "unknown"),
        ([sign("nowhere", proof=True)], 0, "intercepted"),
        ([sign("identity"), sign("egress")], 3, "intercepted"),
    ],
)
def test_one_proof_or_two_signs_of_different_kinds(signs: list[Sign], clean: int, verdict: str) -> None:
    assert judge(signs, clean).verdict == verdict


def test_only_what_is_affected_is_disbelieved() -> None:
    everywhere = judge([sign("nowhere", proof=True)], 0)
    assert everywhere.affects("8.8.8.8", "google") and everywhere.affects("203.0.113.1", authority=True)
    assert not everywhere.affects("2001:4860:4860::8888", "google"), "the other IP version"
    google = judge([sign("identity", "8.8.8.8", True, "google")], 1)
    assert google.affects("8.8.8.8", "google") and google.affects("8.8.4.4", "google")
    assert not google.affects("1.1.1.1", "cloudflare") and not google.affects("203.0.113.1", authority=True)
    two = judge([*google.signs, sign("egress", "9.9.9.9", True, "quad9")], 1)
    assert two.affects("1.1.1.1", "cloudflare") and not two.affects("203.0.113.1", authority=True)
    assert not Honesty(verdict="unknown", signs=everywhere.signs).affects("8.8.8.8")


# Whole examinations


EVERYBODY = Subjects(
    domain="example.jp.",
    nowhere=NOWHERE,
    roots=ROOTS,
    authorities=(lying.OWN,),
    resolvers=tuple(
        Resolver(address, platform, (doh(f"https://{NAMES[address]}/dns-query"), dot(NAMES[address])))
        for address, platform in ((GOOGLE, "google"), (QUAD9, "quad9"))
    ),
)


async def examined(
    behind: lying.Behind, lies: set[str] | None, subjects: Subjects = EVERYBODY, **more: Any
) -> Honesty:
    """``lies``: for whom the middlebox answers; None: for everybody."""
    lying_for = lambda address: lies is None or address in lies  # noqa: E731
    async with lying.net(behind, lying_for, NOWHERE, **more) as net, asking(net) as exchange:
        return await examine(exchange, subjects, timeout=1)


async def test_an_honest_network_shows_no_sign(behind: lying.Behind) -> None:
    """Every round trip here is a fraction of a millisecond: that alone is nothing."""
    found = await examined(behind, set())
    assert (found.verdict, found.signs) == ("honest", ())
    assert found.clean >= len(ROOTS) + 2


async def test_a_middlebox_that_answers_for_everybody(behind: lying.Behind) -> None:
    found = await examined(behind, None)
    assert found.verdict == "intercepted"
    assert {"nowhere", "recursion", "identity", "egress", "differs"} <= {sign.kind for sign in found.signs}
    proofs = {(sign.kind, sign.subject) for sign in found.signs if sign.proof}
    assert {
        ("identity", QUAD9),
        ("egress", GOOGLE),
        ("recursion", ROOTS[0]),
        ("nowhere", NOWHERE[0]),
    } <= proofs
    assert all(found.affects(address, authority=True) for address in (*ROOTS, lying.OWN))


async def test_one_operator_alone_is_answered_for(behind: lying.Behind) -> None:
    found = await examined(behind, {GOOGLE})
    assert found.verdict == "intercepted" and {sign.platform for sign in found.signs} == {"google"}
    assert found.affects("8.8.4.4", "google")
    assert not found.affects(QUAD9, "quad9") and not found.affects(lying.OWN, authority=True)


async def test_without_encrypted_transports_it_takes_two_signs(
    behind: lying.Behind,
) -> None:
    plain = tuple(msgspec.structs.replace(who, ways=()) for who in EVERYBODY.resolvers)
    subjects = Subjects(domain="example.jp.", roots=ROOTS, resolvers=plain[:1])
    found = await examined(behind, {GOOGLE}, subjects)
    assert (found.verdict, {sign.kind for sign in found.signs}) == ("unknown", {"egress"}), "one weak sign"
    both = await examined(behind, {GOOGLE, QUAD9}, msgspec.structs.replace(subjects, resolvers=plain))
    assert both.verdict == "intercepted", "two operators that ask from one address"


async def test_an_operator_that_has_changed_its_name_is_no_liar() -> None:
    needs("unbound")
    with tempfile.TemporaryDirectory(prefix="mx-") as name, lying.resolvers(Path(name), "pdns-9") as servers:
        found = await examined(servers, set())
    assert (found.verdict, found.signs) == ("honest", ()), "it says the same by an encrypted transport"


async def test_an_authority_that_is_lame_and_recursive_is_one_weak_sign(behind: lying.Behind) -> None:
    found = await examined(behind, {lying.OWN})
    assert (found.verdict, {sign.kind for sign in found.signs}) == ("unknown", {"recursion"})


async def test_silence_says_nothing(behind: lying.Behind) -> None:
    found = await examined(behind, None, liar=lambda wire: None)
    assert (found.verdict, found.signs, found.clean) == ("unknown", (), 0)


@given(st.binary(max_size=300))
@settings(max_examples=25, deadline=None)
def test_hostile_octets_are_a_sign_at_most(octets: bytes) -> None:
    async def go() -> Honesty:
        empty = lying.Behind({}, Path("none"))
        async with lying.net(empty, lambda _: True, (), lambda wire: wire[:2] + b"\x80" + octets) as net:
            exchange = Exchange(net.closed)
            try:
                return await examine(exchange, Subjects(roots=ROOTS[:1], trusted=False), timeout=0.05)
            finally:
                await exchange.close()

    assert asyncio.run(go()).verdict in ("honest", "unknown", "intercepted")
