"""``mxcutover dns`` once: who agrees, who differs, who is silent, and the exit code that follows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Any

import dns.edns
import dns.message
import dns.rcode
import pytest
from msgspec import Struct, convert

from tests.cli.dnslab import EXPECT_NEW, HOSTS, NAME, NEW, NS1, NS2, OLD, Done, Lab, refuses, saying, silent
from tests.dns.scripted import Send

HURRY = ("--timeout", "0.7")  # where somebody is silent


@pytest.fixture
async def lab() -> AsyncIterator[Lab]:
    async with Lab() as built:
        yield built


def resolvers(done: Done, agrees: bool | None) -> set[str]:
    """Who gives an answer that agrees, or does not."""
    groups = [group for group in done.document["resolvers"] if group["agrees"] is agrees]
    return {who["resolver"] for group in groups for who in group["who"]}


# Agreement and what is none


async def test_all_agree(lab: Lab) -> None:
    await lab.several(3)
    lab.change()
    for cache in await lab.several(2, prefers=1):
        lab.names.remove(cache.habit.address)
    old = await lab.dns("move.example")
    assert old.code == 0 and "ANSWERS DIFFER" in old.output  # three caches still have the old answer
    lab.names = [name for name in lab.caches if name not in lab.names]
    done = await lab.dns("MOVE.example.", "mx", *EXPECT_NEW)
    assert done.code == 0 and "✓ AS EXPECTED" in done.output and done.errors == ""
    assert "ns1.move.example." in done.output and NS2 in done.output
    assert "198.51.100.20" in done.output and "serial 2" in done.output


@pytest.mark.parametrize(
    ("expected", "code"),
    [
        (("20 mx2.new.example.", "10 MX1.New.Example"), 0),
        (("10 mx1.new.example",), 10),  # a part is no match
        (("10 mx1.new.example", "20 mx2.new.example", "30 mx3.new.example"), 10),
        (("20 mx1.new.example", "10 mx2.new.example"), 10),
        (("none",), 10),
        (OLD, 10),
    ],
    ids=["any order and case", "a part", "one more", "other preferences", "none", "old"],
)
async def test_the_whole_rrset_is_meant(lab: Lab, expected: tuple[str, ...], code: int) -> None:
    lab.change()
    await lab.several(2)
    done = await lab.dns("move.example", *(word for e in expected for word in ("--expect", e)), "--json")
    assert done.code == code == done.document["exit"]
    assert done.document["result"] == ("holds" if code == 0 else "differs")


async def test_one_resolver_that_differs_is_named_and_the_majority_proves_nothing(lab: Lab) -> None:
    await lab.resolver("203.0.113.9")
    lab.change()
    await lab.several(9)
    done = await lab.dns("move.example", *EXPECT_NEW, "--json")
    assert done.code == 10 and resolvers(done, False) == {"203.0.113.9"}
    assert done.document["counts"]["platforms_agree"] == 9
    assert [r["code"] for r in done.document["reasons"]] == ["dns.resolvers.give"]
    text = (await lab.dns("move.example", *EXPECT_NEW)).output
    assert "✗ 10 mail.old.example." in text and "203.0.113.9" in text and "until" in text


async def test_authorities_that_differ(lab: Lab) -> None:
    lab.change(lab.ns1)
    await lab.several(2)
    done = await lab.dns("move.example", *EXPECT_NEW, "--json")
    wrong = [group for group in done.document["authorities"] if group["agrees"] is False]
    assert done.code == 10
    assert [(s["server"], s["address"]) for g in wrong for s in g["servers"]] == [("ns2.move.example.", NS2)]
    assert done.document["horizon"]["state"] == "open" and done.document["horizon"]["by"] is None
    assert "dns.remark.serials" in {r["code"] for r in done.document["remarks"]}
    without = await lab.dns("move.example", "--json")
    assert without.code == 0 and without.document["result"] == "differs"
    assert {g["agrees"] for g in without.document["authorities"]} == {None}


# Silence


async def test_silence_is_no_agreement(lab: Lab) -> None:
    """Nobody disagrees, and nothing is proven."""
    lab.change()
    for n in range(3):
        await lab.odd(f"203.0.113.{n + 1}", silent)
    done, without = await asyncio.gather(
        lab.dns("move.example", *EXPECT_NEW, "--json", *HURRY), lab.dns("move.example", *HURRY)
    )
    assert done.code == 30 and done.document["result"] == "unknown"
    assert [(s["outcome"], s["platforms"]) for s in done.document["resolvers_unheard"]] == [("timeout", 3)]
    assert without.code == 0  # the authorities gave an answer


async def test_too_few_answers(lab: Lab) -> None:
    lab.change()
    await lab.several(8)
    await lab.odd("203.0.113.1", silent)
    await lab.odd("203.0.113.2", refuses)
    few = await lab.dns("move.example", *EXPECT_NEW, "--json", *HURRY)
    assert few.code == 30 and few.document["reasons"][0]["code"] == "dns.resolvers.few"
    assert (few.document["counts"]["platforms_heard"], few.document["counts"]["needed"]) == (8, 9)
    assert (await lab.dns("move.example", *EXPECT_NEW, "--quorum", "0.8", *HURRY)).code == 0


async def test_nobody_answers(lab: Lab) -> None:
    for server in (lab.root, lab.ns1, lab.ns2, lab.hosts):
        await server.close()
    await lab.odd("203.0.113.1", silent)
    ways: list[tuple[str, ...]] = [(), EXPECT_NEW, ("--json",), (*EXPECT_NEW, "--quorum", "0")]
    ended = await asyncio.gather(*(lab.dns("move.example", *way, *HURRY) for way in ways))
    assert [done.code for done in ended] == [30] * 4


@pytest.mark.parametrize(
    ("server", "outcome"),
    [(saying(*NEW, flags=0), "lame"), (silent, "timeout"), (refuses, "refused")],
    ids=["lame", "silent", "refusing"],
)
async def test_an_authority_that_does_not_answer_as_one(lab: Lab, server: Any, outcome: str) -> None:
    lab.change()
    await lab.several(2)
    await lab.odd(NS2, server, resolver=False)
    done = await lab.dns("move.example", *EXPECT_NEW, "--json", *HURRY)
    unheard = done.document["authorities_unheard"]
    assert done.code == 30
    assert [(s["address"], s["said"]["outcome"]) for s in unheard] == [(NS2, outcome)]
    assert done.document["reasons"][0]["code"] == "dns.authorities.silent"


# Answers that say something else than they seem to


async def test_a_cached_absence_delays_the_record(lab: Lab) -> None:
    name = "_dmarc.move.example."
    await lab.several(2, warm=(name, "TXT"))
    lab.change(mx=OLD, more=f'{name} 300 TXT "v=DMARC1; p=none"')
    done = await lab.dns("_dmarc.move.example", "txt", "--expect", "v=DMARC1; p=none", "--json")
    assert done.code == 10 and {g["outcome"] for g in done.document["resolvers"]} == {"nxdomain"}
    # The zone itself says for how long an absence may be kept (RFC 2308): 30 s here.
    left = moment(done.document["horizon"]["by"]) - moment(done.document["at"])
    assert done.document["horizon"]["state"] == "by" and 20 < left.total_seconds() <= 31


async def test_absence_can_be_expected(lab: Lab) -> None:
    await lab.several(2, warm=None)
    assert (await lab.dns("gone.move.example", "A", "--expect", "none")).code == 0
    assert (await lab.dns("ns1.move.example", "MX", "--expect", "NONE")).code == 0
    assert (await lab.dns("ns1.move.example", "A", "--expect", "none")).code == 10


async def test_blocked_is_neither_old_nor_new(lab: Lab) -> None:
    lab.change()
    await lab.several(9)
    await lab.odd("203.0.113.1", saying("0 .", ede=15))
    done = await lab.dns("move.example", *EXPECT_NEW, "--json")
    assert done.code == 0 and resolvers(done, False) == set()
    assert [s["outcome"] for s in done.document["resolvers_unheard"]] == ["blocked"]


async def test_stale_is_old_whatever_its_ttl_says(lab: Lab) -> None:
    cache = await lab.resolver("203.0.113.9", stale=True)
    for kept in cache._caches:
        for key, entry in kept.items():
            kept[key] = type(entry)(
                expires=0.0, rcode=entry.rcode, answer=entry.answer, authority=entry.authority
            )
    cache.cut_off = True
    lab.change()
    await lab.several(3)
    done = await lab.dns("move.example", *EXPECT_NEW, "--json")
    (late,) = [who for g in done.document["resolvers"] if g["agrees"] is False for who in g["who"]]
    assert done.code == 10 and late["stale"] and late["said"]["ede"] == [3]
    assert "stale (EDE 3)" in (await lab.dns("move.example", *EXPECT_NEW)).output


async def test_bogus_is_broken_for_those_who_validate(lab: Lab) -> None:
    def bogus(wire: bytes, send: Send) -> None:
        answer = dns.message.make_response(dns.message.from_wire(wire))
        answer.set_rcode(dns.rcode.SERVFAIL)
        answer.use_edns(0, 0, 1232, options=[dns.edns.EDEOption(dns.edns.EDECode.DNSSEC_BOGUS, None)])
        send(answer.to_wire())

    lab.change()
    await lab.several(9)
    await lab.odd("203.0.113.1", bogus)
    done = await lab.dns("move.example", *EXPECT_NEW, "--json")
    assert done.code == 10 and done.document["reasons"][0]["code"] == "dns.bogus"


async def test_an_alias_is_followed_to_whoever_serves_its_end(lab: Lab) -> None:
    lab.change(mx=NEW, more="www.move.example. 60 CNAME www.old.example.")
    await lab.odd("203.0.113.1", saying("192.0.2.80", kind="A"))
    done = await lab.dns("www.move.example", "A", "--expect", "192.0.2.80", "--json")
    served = [
        (g["name"], g["outcome"], g["alias"], {s["address"] for s in g["servers"]})
        for g in done.document["authorities"]
    ]
    assert done.code == 0 and done.document["zones"] == [NAME, "old.example."]
    assert served == [
        ("www.move.example.", "alias", "www.old.example.", {NS1, NS2}),
        ("www.old.example.", "answer", None, {HOSTS}),
    ]
    other = await lab.dns("www.move.example", "A", "--expect", "192.0.2.81", "--json")
    assert other.code == 10 and other.document["reasons"][0]["code"] == "dns.authorities.serve"


async def test_idn_in_either_form() -> None:
    more = "xn--r8jz45g.move.example. 300 MX 10 mx.xn--r8jz45g.move.example."
    async with Lab(more=more) as lab:
        await lab.several(1, warm=None)
        for name in ("例え.move.example", "XN--R8JZ45G.move.example."):
            done = await lab.dns(name, "--expect", "10 mx.例え.move.example")
            assert done.code == 0 and "xn--r8jz45g.move.example. (例え.move.example) MX" in done.output


async def test_hostile_text_reaches_no_terminal(lab: Lab) -> None:
    hostile = r'"\027[2J\027]0;owned\007 [red]\"; {x} %s \194\155"'
    lab.change(mx=OLD, more=f"{NAME} 300 TXT {hostile}")
    await lab.several(1, warm=None)
    done = await lab.dns("move.example", "TXT")
    assert done.code == 0 and "owned" in done.output
    assert all(char.isprintable() or char == "\n" for char in done.output)
    assert "owned" in (await lab.dns("move.example", "TXT", "--json")).document["authorities"][0]["rrset"][0]


async def test_no_colour_on_a_pipe_and_80_columns(lab: Lab) -> None:
    lab.change(lab.ns1)
    await lab.several(2)
    for language in ("en", "ja"):
        done = await lab.dns(
            "move.example", *EXPECT_NEW, "--language", language, FORCE_COLOR="1", COLUMNS="999"
        )
        assert "\x1b" not in done.output
        assert max(map(len, done.output.splitlines())) <= 80


# What is wrong on the command line


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["exa mple.jp"], "is not a domain name"),
        (["suga@example.jp"], "write the part after the @: example.jp"),
        (["example.jp", "MXX"], "did you mean MX?"),
        (["example.jp", "ANY"], "ANY is no record's type"),
        (["192.0.2.1", "MX"], "192.0.2.1 PTR"),
        (["example.jp", "--expect", "mx1.new.example"], "is no rdata of MX"),
        (["example.jp", "A", "--expect", "192.0.2.1\x1b[2J"], "is no rdata of A"),
        (["example.jp", "--expect", "none", "--expect", "10 a.example"], "none and a record"),
        (["example.jp", "--resolver", "dns.google"], "is not an IP address"),
        (["a\x1b[2J.jp"], "is not a domain name"),
        ([""], "is not a domain name"),
    ],
    ids=lambda value: " ".join(value)[:24] if isinstance(value, list) else "",
)
async def test_what_cannot_be_asked(lab: Lab, arguments: list[str], said: str) -> None:
    done = await lab.dns(*arguments)
    assert (done.code, done.output, done.errors.count("\n")) == (2, "", 1)
    assert said in done.errors and "\x1b" not in done.errors


# The JSON object


class Text(Struct, forbid_unknown_fields=True):
    code: str
    text: str


class Span(Struct, forbid_unknown_fields=True):
    min: int
    max: int


class Word(Struct, forbid_unknown_fields=True):
    outcome: str
    rrset: list[str]
    alias: str | None
    ttl: int | None
    expires: datetime | None
    serial: int | None
    cache: str | None
    ede: list[int]
    transport: str
    rtt_ms: float | None
    dnssec: str | None
    at: datetime


class OneServer(Struct, forbid_unknown_fields=True):
    server: str
    address: str | None
    excused: bool
    said: Word | None


class Served(Struct, forbid_unknown_fields=True):
    name: str
    outcome: str
    rrset: list[str]
    alias: str | None
    agrees: bool | None
    ttl: Span
    serials: list[int]
    servers: list[OneServer]


class OneResolver(Struct, forbid_unknown_fields=True):
    resolver: str
    platform: str
    operator: str | None
    country: str | None
    filtering: str
    stale: bool
    overstays: bool
    said: Word


class Held(Struct, forbid_unknown_fields=True):
    outcome: str
    rrset: list[str]
    agrees: bool | None
    platforms: int
    addresses: int
    ttl: Span
    until: datetime
    who: list[OneResolver]


class Unheard(Struct, forbid_unknown_fields=True):
    outcome: str
    platforms: int
    addresses: int
    who: list[OneResolver]


class Counts(Struct, forbid_unknown_fields=True):
    authorities: int
    authorities_heard: int
    authorities_agree: int
    addresses: int
    addresses_heard: int
    addresses_settled: int
    platforms: int
    platforms_heard: int
    platforms_agree: int
    needed: int


class Exchange(Struct, forbid_unknown_fields=True):
    name: str
    addresses: list[str]
    ttl: int | None
    alias: str | None
    differ: bool


class Horizon(Struct, forbid_unknown_fields=True):
    state: str
    by: datetime | None
    seen_by: datetime | None
    reason: Text


class Document(Struct, forbid_unknown_fields=True):
    format: int
    at: datetime
    name: str
    type: str
    expected: list[str] | None
    result: str
    exit: int
    reasons: list[Text]
    zones: list[str]
    authorities: list[Served]
    authorities_unheard: list[OneServer]
    resolvers: list[Held]
    resolvers_unheard: list[Unheard]
    counts: Counts
    exchanges: list[Exchange]
    horizon: Horizon
    remarks: list[Text]
    over: bool


async def test_the_object_has_these_keys_and_no_others(lab: Lab) -> None:
    await lab.resolver("203.0.113.9", caches=("tyo-1",))
    lab.change(lab.ns1)
    await lab.odd("203.0.113.8", silent)
    await lab.odd("203.0.113.7", saying(*NEW, ede=22))
    done = await lab.dns("move.example", *EXPECT_NEW, "--json", *HURRY)
    assert done.output.count("\n") == 1
    found = convert(done.document, Document)
    assert found.exit == done.code == 10 and found.expected == list(NEW)
    assert {e.name: e.addresses for e in found.exchanges} == {
        "mx1.new.example.": ["198.51.100.20"],
        "mx2.new.example.": ["198.51.100.21"],
        "mail.old.example.": ["192.0.2.10"],
    }
    (old,) = [w for g in found.resolvers if not g.agrees for w in g.who if w.resolver == "203.0.113.9"]
    assert old.said.cache == "tyo-1" and old.said.expires is not None
    assert NS1 in {s.address for g in found.authorities for s in g.servers}


async def test_every_key_is_in_the_documentation() -> None:
    text = (Path(__file__).parents[2] / "docs" / "dns.md").read_text("utf-8")
    shapes = (Document, Served, OneServer, Word, Held, OneResolver, Unheard, Counts, Exchange, Horizon, Text)
    missing = {key for shape in shapes for key in shape.__struct_fields__ if f"`{key}`" not in text}
    assert missing == set()


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)
