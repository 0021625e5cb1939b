"""What ``mxcutover dns`` makes of what was said: the judgement, the time it gives, the page, its patience."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal, get_args
from unicodedata import category

import dns.flags
import dns.message
import dns.rdatatype
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

import monitor.glance
from monitor.glance.agreement import agreement
from monitor.glance.document import document, line
from monitor.glance.following import Cadence, wait
from monitor.glance.judge import picture
from monitor.glance.known import Addresses, Hop, Known, Resolver
from monitor.glance.page import page
from monitor.glance.picture import Picture
from monitor.glance.question import Expectation, asked
from monitor.glance.said import Said
from monitor.glance.survey import Survey
from monitor.glance.text import cells, clean, fit, paint, wrap
from monitor.wording.dns_en import DNS
from probes import observation
from probes.dns.dnssec import Anchors
from probes.sight import Server
from tests.dns import signed
from tests.dns.scripted import ADDRESS, Send, scripted

AT = datetime(2026, 11, 20, 12, tzinfo=UTC)
OLD, NEW = ("10 mail.old.example.",), ("10 mx1.new.example.", "20 mx2.new.example.")
SERVERS = (Server("ns1.example.jp.", "192.0.2.1"), Server("ns2.example.jp.", "192.0.2.2"))
SIX = Server("ns1.example.jp.", "2001:db8::1")


def after(seconds: float) -> datetime:
    return AT + timedelta(seconds=seconds)


def said(address: str, rrset: tuple[str, ...] = (), seconds: float = 0, **other: Any) -> Said:
    outcome = other.pop("outcome", "answer" if rrset else "timeout")
    return Said(at=after(seconds), address=address, outcome=outcome, transport="udp", rrset=rrset, **other)


class World:
    """A question whose expectation is the new RRset, and what was said of it."""

    def __init__(
        self, resolvers: int = 1, expect: tuple[str, ...] | None = NEW, quorum: float = 0.9,
        servers: tuple[Server, ...] = SERVERS,
    ) -> None:  # fmt: skip
        who = tuple(
            Resolver(id=f"203.0.113.{n}", platform=f"p{n}", operator=f"Op {n}") for n in range(resolvers)
        )
        self.known = Known(asked("example.jp", "MX", expect or ()), who, quorum)
        self.hop = Hop(name="example.jp.", zone="example.jp.", servers=servers)
        self.known.hops = (self.hop,)

    def authority(self, address: str, rrset: tuple[str, ...] = (), seconds: float = 0, **other: Any) -> None:
        self.known.authority(self.hop, said(address, rrset, seconds, **other))

    def authorities(self, rrset: tuple[str, ...], seconds: float = 0, **other: Any) -> None:
        for server in self.hop.servers:
            self.authority(server.address, rrset, seconds, **other)

    def resolver(self, number: int, rrset: tuple[str, ...] = (), seconds: float = 0, **other: Any) -> None:
        id_ = f"203.0.113.{number}"
        self.known.resolver(self.known.resolvers[id_], said(id_, rrset, seconds, **other))

    def seen(self, seconds: float = 0) -> Picture:
        return picture(self.known, after(seconds))

    def codes(self, seconds: float = 0) -> list[str]:
        return [reason.code for reason in self.seen(seconds).reasons]


# The judgement

WORDS: dict[str, tuple[tuple[str, ...], str]] = {
    "new": (NEW, "answer"), "shuffled": (NEW[::-1], "answer"), "old": (OLD, "answer"),
    "mixed": ((*NEW, *OLD), "answer"), "part": (NEW[:1], "answer"), "nodata": ((), "nodata"),
    "nxdomain": ((), "nxdomain"), "timeout": ((), "timeout"), "refused": ((), "refused"),
    "servfail": ((), "servfail"), "lame": (NEW, "lame"), "blocked": (NEW, "blocked"), "bogus": ((), "bogus"),
    "intercepted": ((), "intercepted"),
}  # fmt: skip
RIGHT, WRONG = {"new", "shuffled"}, {"old", "mixed", "part", "nodata", "nxdomain", "bogus"}


@given(
    authorities=st.lists(st.sampled_from(sorted(WORDS)), min_size=0, max_size=4),
    resolvers=st.lists(st.sampled_from(sorted(WORDS)), min_size=0, max_size=12),
    quorum=st.floats(0, 1),
)
@settings(max_examples=400)
def test_it_holds_only_where_all_say_so_and_enough_do(
    authorities: list[str], resolvers: list[str], quorum: float
) -> None:
    servers = tuple(Server(f"ns{n}.example.jp.", f"192.0.2.{n}") for n in range(len(authorities)))
    world = World(len(resolvers), quorum=quorum, servers=servers)
    for server, word in zip(servers, authorities, strict=True):
        world.authority(server.address, WORDS[word][0], outcome=WORDS[word][1])
    for number, word in enumerate(resolvers):
        world.resolver(number, WORDS[word][0], outcome=WORDS[word][1])
    heard = [word for word in resolvers if word in RIGHT | WRONG - {"bogus"}]
    enough = bool(heard) and len(heard) >= quorum * len(resolvers) - 1e-6
    wrong = set(authorities) & WRONG or set(resolvers) & WRONG
    all_heard = bool(authorities) and set(authorities) <= RIGHT
    expected: Literal["holds", "differs", "unknown"]
    expected = "differs" if wrong else "holds" if all_heard and enough else "unknown"
    assert world.seen().result == expected
    assert not world.seen().over  # one answer each is never the end of a watch


def test_without_an_expectation_the_authorities_are_right() -> None:
    world = World(2, expect=None)
    world.authorities(OLD)
    world.resolver(0, OLD)
    world.resolver(1, NEW)
    assert world.codes() == ["dns.resolvers.give"]
    world.authority("192.0.2.2", NEW, 1)
    assert world.codes(1) == ["dns.authorities.differ"]
    assert {group.agrees for group in (*world.seen().served, *world.seen().held)} == {None}


def test_platforms_count_and_not_addresses() -> None:
    world = World(0)
    who = tuple(Resolver(id=f"8.8.8.{n}", platform="google", operator="Google") for n in range(9))
    one = Resolver(id="9.9.9.9", platform="quad9", operator="Quad9")
    world.known = Known(world.known.asked, (*who, one), 0.9)
    world.known.hops = (world.hop,)
    world.authorities(NEW)
    for resolver in who:
        world.known.resolver(resolver, said(resolver.id, NEW))
    world.known.resolver(one, said(one.id))
    assert world.codes() == ["dns.resolvers.few"]


def test_an_ipv6_address_without_a_way_there_is_excused_by_its_own_name_alone() -> None:
    world = World(1, servers=(*SERVERS, SIX))
    world.authorities(NEW)
    world.resolver(0, NEW)
    world.authority(SIX.address, outcome="noroute")
    assert world.seen().result == "holds" and world.seen().remarks[0].code == "dns.remark.no_ipv6"
    world.authority(SERVERS[0].address, outcome="timeout")
    assert world.codes() == ["dns.authorities.silent"]


def test_who_differed_last_and_fell_silent_is_unknown_whatever_the_quorum() -> None:
    world = World(3, quorum=0.1)
    world.authorities(NEW)
    world.resolver(0, OLD, ttl=10)
    world.resolver(0, seconds=5)
    for number in (1, 2):
        world.resolver(number, NEW)
    assert world.seen(5).result == "differs"  # it holds it for five seconds more
    assert world.codes(11) == ["dns.resolvers.dark"]


def test_a_name_server_without_an_address_is_not_heard() -> None:
    world = World(1, servers=(*SERVERS, Server("ns3.example.jp.", "")))
    world.authorities(NEW)
    world.resolver(0, NEW)
    world.known.of_authorities.pop(("example.jp.", ""))
    assert world.codes() == ["dns.authorities.silent"]


def test_what_is_worth_a_remark() -> None:
    world = World(2)
    world.known.hops = (replace(world.hop, parent_only=("ns3.example.jp.",), zone_only=("ns4.example.jp.",)),)
    world.authority("192.0.2.1", ("0 .",), serial=1, ttl=60)
    world.authority("192.0.2.2", outcome="nodata", serial=2)
    world.known.exchanges = (
        Addresses(name="a.example.", addresses=("192.0.2.9",), alias="b.example."),
        Addresses(name="c.example."),
        Addresses(name="d.example.", addresses=("192.0.2.9",), differ=True),
    )
    found = [reason.code.removeprefix("dns.remark.") for reason in world.seen().remarks]
    assert found == [
        "parent", "zone", "serials", "null_mx", "implicit_mx", "mx_alias", "no_address", "addresses_differ",
    ]  # fmt: skip
    world = World(2)
    world.authorities(NEW, ttl=60)
    world.resolver(0, NEW, ttl=3600)
    (longer,) = world.seen().remarks
    assert longer.code == "dns.remark.longer" and longer.args == {"n": 1, "ttl": 60.0, "most": 3600.0}


def test_every_reason_has_words_in_both_languages() -> None:
    folder = Path(monitor.glance.__file__).parent
    text = "".join(path.read_text("utf-8") for path in folder.glob("*.py"))
    codes = set(re.findall(r'"(dns\.[a-z0-9_.]+)"', text))
    assert len(codes) > 40 and sorted(codes - set(DNS)) == []
    outcomes = set(get_args(observation.DnsOutcome)) | {"noroute", "blocked", "address"}
    assert sorted({f"dns.outcome.{o}" for o in outcomes} - set(DNS)) == []
    made = re.compile(r"dns\.(word|outcome)\.")
    assert sorted(code for code in set(DNS) - codes if not made.match(code)) == []


# By when


def horizon(world: World, seconds: float) -> tuple[str, float | None]:
    found = world.seen(seconds).horizon
    return found.state, None if found.by is None else (found.by - AT).total_seconds()


def test_the_horizon_is_the_last_old_sight_and_its_ttl() -> None:
    world = World()
    world.authorities(OLD, 0, ttl=600)
    assert horizon(world, 0) == ("open", None)
    world.authority("192.0.2.1", NEW, 10, ttl=60)
    world.authority("192.0.2.2", OLD, 20, ttl=600)
    assert horizon(world, 20) == ("open", None)
    world.authority("192.0.2.2", NEW, 30, ttl=60)
    assert horizon(world, 30) == ("by", 630.0)
    world.authority("192.0.2.2", OLD, 40, ttl=60)
    world.authority("192.0.2.2", NEW, 50, ttl=60)
    assert horizon(world, 50) == ("by", 630.0)


def test_a_cache_that_announced_more_than_the_ttl_tells_of_a_longer_one() -> None:
    """The TTL was lowered before the change; who cached it before still has the long one."""
    world = World()
    world.authorities(OLD, 0, ttl=60)
    world.resolver(0, OLD, 1, ttl=3000)
    world.authorities(NEW, 10, ttl=60)
    assert horizon(world, 10) == ("by", 3001.0)
    world.resolver(0, OLD, 3100, ttl=3000)  # past what it announced itself: it does not count for more
    assert horizon(world, 3100) == ("by", 3001.0)
    (at,) = [at for held in world.seen(3100).held for at in held.who]
    assert at.overstays


def test_a_ttl_that_no_authority_told_is_unknown() -> None:
    world = World(2)
    world.authorities(NEW)
    world.resolver(0, OLD, ttl=100)
    world.resolver(1, NEW)
    found = world.seen().horizon
    assert (found.state, found.by, found.seen_by) == ("unknown", None, after(100))
    world.authority("192.0.2.1", outcome="timeout")
    assert world.seen().horizon.reason.code == "dns.when.silent"


def test_an_absence_has_the_negative_ttl() -> None:
    world = World(2)
    world.authorities(NEW, 5, negative_ttl=300)
    world.resolver(0, outcome="nxdomain", ttl=100)
    world.resolver(1, NEW)
    assert horizon(world, 5) == ("by", 305.0)
    world.resolver(1, OLD, 6, ttl=50)
    assert horizon(world, 6)[0] == "unknown"


def test_nothing_else_seen_is_nothing_to_wait_for() -> None:
    world = World()
    world.authorities(NEW)
    world.resolver(0, NEW)
    assert horizon(world, 0) == ("none", None)


def test_it_is_over_when_all_have_said_it_three_times_and_the_horizon_has_passed() -> None:
    world = World(1)
    world.authorities(OLD, 0, ttl=100)
    world.authorities(NEW, 1)
    for seconds in (2, 3):
        world.resolver(0, NEW, seconds)
        assert not world.seen(200).over
    world.resolver(0, NEW, 4)
    assert not world.seen(50).over and world.seen(101).over
    world.resolver(0, OLD, 102, ttl=5, cache="other")
    assert not world.seen(103).over


# Patience


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([(OLD, 170.0, {})], 171.0),  # until it runs out, and no question before
        ([(OLD, 1174.0, {})], 300.0),  # somebody may empty it
        ([(OLD, 3.0, {})], 20.0),
        ([(NEW, 170.0, {})], 20.0),
        ([(NEW, 170.0, {})] * 3, 300.0),
        ([(OLD, 30.0, {"ede": (3,)})], 60.0),
        ([((), 0.0, {})], 40.0),
        ([((), 0.0, {})] * 2, 80.0),
        ([((), 0.0, {})] * 9, 300.0),
        ([(OLD, 90.0, {"cache": "a"}), (NEW, 170.0, {"cache": "b"})], 91.0),
    ],
)
def test_who_is_asked_again_when(
    words: list[tuple[tuple[str, ...], float, dict[str, Any]]], expected: float
) -> None:
    world = World()
    world.authorities(NEW)
    for rrset, ttl, other in words:
        world.resolver(0, rrset, ttl=int(ttl), **other)
    track = world.known.of_resolvers["203.0.113.0"]
    assert wait(track, agreement(world.known), Cadence(), AT) == expected


# What is shown

TEXT = st.text(st.characters(codec=None), max_size=60) | st.sampled_from(
    ["\x1b[2J", "[/red]", "\u202emoc.elgoog", "\udcff", "例え" * 40, "x" * 300, "\x9b31m", "a\u0301" * 30, ""]
)


@given(rdata=st.lists(TEXT, max_size=4), name=TEXT, cache=TEXT, alias=TEXT, data=st.data())
@settings(max_examples=150, deadline=None)
def test_a_page_fits_whatever_it_holds(
    rdata: list[str], name: str, cache: str, alias: str, data: st.DataObject
) -> None:
    world = World(3, servers=(Server(name, "192.0.2.1"), SIX))
    world.known.resolvers = {
        id_: Resolver(id=id_, platform=name, operator=name, filtering="malware")
        for id_ in world.known.resolvers
    }
    world.authority("192.0.2.1", tuple(rdata), outcome="answer", serial=7)
    world.authority(
        SIX.address, outcome=data.draw(st.sampled_from(["noroute", "bogus", "lame"])), dnssec=cache
    )
    world.resolver(0, tuple(rdata), ttl=2**31, cache=cache or None, ede=(3, 22))
    world.resolver(1, outcome="servfail")
    world.resolver(2, OLD, ttl=5)
    world.known.exchanges = (Addresses(name=name, addresses=tuple(rdata), alias=alias, differ=True, ttl=5),)
    world.known.intercepted = alias
    width, height = data.draw(st.integers(20, 200)), data.draw(st.integers(4, 60))
    language: Literal["en", "ja"] = data.draw(st.sampled_from(["en", "ja"]))
    seen = world.seen()
    for rows in (None, height):
        lines = paint(page(seen, width, language, rows), width, False)
        assert rows is None or len(lines) <= rows
        assert all(cells(one) <= width for one in lines)
        assert {category(char)[0] for one in lines for char in one} <= set("LMNPSZ")
        assert not {"\u2028", "\u2029"} & set("".join(lines))
    assert line(document(seen, 10)).count("\n") == 0


@given(text=TEXT, width=st.integers(4, 90))
def test_what_is_cut_and_wrapped_fits(text: str, width: int) -> None:
    assert cells(fit(text, width)) == width
    lines = wrap(text, width)
    assert all(cells(one) <= width + 2 for one in lines)  # a closing mark may hang over
    assert "".join("".join(lines).split()) == "".join(clean(text).split())


def test_a_small_screen_keeps_who_differs() -> None:
    world = World(40)
    world.authorities(NEW)
    for number in range(40):
        world.resolver(number, OLD if number % 2 else NEW, ttl=100 + number)
    text = "\n".join(paint(page(world.seen(), 80, "en", 23), 80, False))
    assert "✗ NOT AS EXPECTED" in text and "20 of 40" in text
    assert "203.0.113.39" in text and "more" in text and "ALL CACHES CHANGED" in text


# What was expected


@given(order=st.permutations(list(NEW)), upper=st.booleans(), dots=st.booleans())
def test_neither_order_nor_case_nor_the_last_dot_matter(order: list[str], upper: bool, dots: bool) -> None:
    texts = [text if dots else text.removesuffix(".") for text in order]
    found = asked("example.jp", "MX", [text.upper() if upper else text for text in texts]).expected
    assert found == Expectation("MX", NEW)
    assert found.met_by(NEW[::-1]) and not found.met_by(NEW[:1]) and not found.met_by((*NEW, *OLD))


@pytest.mark.parametrize(
    ("kind", "expected", "served", "same"),
    [
        ("TXT", 'v=DKIM1; p="x"', '"v=DKIM1; p=\\"x\\""', True),
        ("TXT", "x" * 300, f'"{"x" * 120}" "{"x" * 180}"', True),
        ("TXT", '"a" "b"', '"ab"', True),
        ("TXT", "V=SPF1 MX", '"v=spf1 mx"', False),
        ("AAAA", "2001:DB8:0::1", "2001:db8::1", True),
        ("A", "192.0.2.1", "192.0.2.11", False),
        ("CAA", '0 issue "ca.example"', '0 issue "ca.example"', True),
        ("TLSA", "3 1 1 " + "AB" * 32, "3 1 1 " + "ab" * 32, True),
        ("SRV", "0 1 993 IMAP.example.jp", "0 1 993 imap.example.jp.", True),
        ("TYPE65280", "\\# 2 ABCD", "\\# 2 abcd", True),
        ("MX", "0 .", "0 .", True),
        ("MX", "010 mail.example.jp", "10 mail.example.jp.", True),
    ],
)
def test_rdata_is_compared_by_what_it_says(kind: str, expected: str, served: str, same: bool) -> None:
    found = asked("example.jp", kind, [expected]).expected
    assert found is not None and found.met_by((served,)) is same


# An authority whose answers no validator takes


@pytest.mark.parametrize("forged", [False, True])
async def test_a_bogus_zone_is_broken_for_those_who_validate(forged: bool) -> None:
    day, at = timedelta(days=1), datetime.now(UTC)
    when = {"begin": at - day, "end": at + day}
    key, other = signed.Key(), signed.Key()
    served = {
        "DNSKEY": dns.message.from_wire(signed.keys(key, **when)).answer,
        "MX": dns.message.from_wire(signed.mx(other if forged else key, *NEW, **when)).answer,
    }

    def on_udp(wire: bytes, send: Send) -> None:
        answer = dns.message.make_response(dns.message.from_wire(wire))
        answer.flags |= dns.flags.AA
        answer.answer = served.get(dns.rdatatype.to_text(answer.question[0].rdtype), [])
        send(answer.to_wire(max_size=4096))

    world = World(1, servers=(Server("ns1.example.jp.", ADDRESS),))
    world.resolver(0, NEW)
    async with scripted(on_udp) as (server, exchange):
        survey = Survey(world.known, exchange, server.endpoints)
        survey._anchors["example.jp."] = anchors = Anchors()
        anchors.learn("example.jp.", [(key.ds(),)], 300, True, time.monotonic())
        await survey.authorities()
    seen = world.seen()
    said_ = (seen.unheard or seen.served[0].servers)[0].said
    assert said_ is not None and said_.dnssec == ("forged" if forged else "secure")
    assert seen.result == ("differs" if forged else "holds")
    assert [r.code for r in seen.reasons] == ["dns.authorities.bogus" if forged else "dns.holds"]
