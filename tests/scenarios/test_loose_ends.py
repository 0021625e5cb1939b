"""Beside the verdict: what is named, what is not, and that it never blocks."""

from __future__ import annotations

import pytest

from monitor.verdict.model import LooseEnd
from monitor.wording import say
from tests.scenarios.test_verdict import finding, last
from tests.scenarios.world import ACCOUNT, NEW, OLD, World, clock, cutover

DAY = 86400.0


def ends(world: World, kind: str) -> list[LooseEnd]:
    judged = last(world)
    for end in judged.loose_ends:
        assert say(end.code, end.args, "en") and say(end.code, end.args, "ja")
    return [end for end in judged.loose_ends if end.kind == kind]


def record(world: World, name: str, kind: str, *rrset: str) -> World:
    return world.authority(1400, "203.0.113.1", rrset, name=name, type=kind, serial=None)


def test_who_still_uses_old_and_what_waits_there_never_blocks_safe() -> None:
    world = cutover(World())
    world.add(
        200, "use", side="old", account="early@example.jp", service="imap", client=None, seen_at=clock(200)
    )
    world.add(900, "use", side="old", account=ACCOUNT, service="imap", client=None, seen_at=clock(900))
    world.add(950, "queue", side="old", messages=3, oldest_at=clock(100))
    assert last(world).verdict == "safe"
    assert [(e.subject, e.args["service"]) for e in ends(world, "use")] == [(ACCOUNT, "imap")]
    assert [e.args["count"] for e in ends(world, "queue")] == [3]
    emptied = world.add(960, "queue", side="old", messages=0, oldest_at=clock(960))
    assert ends(emptied, "queue") == []


@pytest.mark.parametrize(
    ("name", "kind", "rdata", "named"),
    [
        ("example.jp.", "TXT", '"v=spf1 ip4:192.0.2.10 -all"', True),
        ("example.jp.", "TXT", '"v=spf1 ip4:192.0.2.0/24 -all"', True),
        ("example.jp.", "TXT", '"v=spf1 +a:mail.example.jp ~all"', True),
        ("example.jp.", "TXT", '"v=spf1 include:_spf.new.example -all"', False),
        ("example.jp.", "TXT", '"v=spf1 ip4:not-an-address/99 -all"', False),
        ("imap.example.jp.", "CNAME", "mail.example.jp.", True),
        ("imap.example.jp.", "A", "198.51.100.20", False),
        ("smtp.example.jp.", "A", "192.0.2.10", True),
        ("_imaps._tcp.example.jp.", "SRV", "0 1 993 mail.example.jp.", True),
        ("_mta-sts.example.jp.", "TXT", '"v=STSv1; id=20261101"', True),
        ("imap.elsewhere.example.", "A", "192.0.2.10", False),
    ],
)
def test_records_that_still_name_old(name: str, kind: str, rdata: str, named: bool) -> None:
    world = record(cutover(World()), name, kind, rdata)
    assert last(world).verdict == "safe"
    assert [e.subject for e in ends(world, "record")] == ([f"{name} {kind}"] if named else [])


def test_a_record_that_was_changed_is_no_loose_end_any_more() -> None:
    world = record(cutover(World()), "smtp.example.jp.", "A", "192.0.2.10")
    world.authority(1450, "203.0.113.1", ("198.51.100.20",), name="smtp.example.jp.", type="A")
    assert ends(world, "record") == []


def test_who_writes_monthly_and_was_not_heard_since_is_named() -> None:
    world = World()
    for day in range(20):
        world.mail(day * DAY, "old", f"daily-{day}")
    world.mail(DAY, "old", "monthly", client="203.0.113.5").mail(
        2 * DAY, "old", "moved", client="203.0.113.6"
    )
    change = 20 * DAY
    world.authority(0, "203.0.113.1", OLD).authority(change, "203.0.113.1", NEW)
    world.mail(change + 60, "new", "moved too", client="203.0.113.6")
    assert [(e.subject, e.args["count"]) for e in ends(world, "sender")] == [("203.0.113.5", 1)]


def test_what_cannot_be_observed_is_said() -> None:
    bare = World().authority(0, "203.0.113.1", OLD)
    assert {e.subject for e in ends(bare, "unobserved")} == {"use", "queue", "records", "domains"}
    seen = record(cutover(World()), "example.jp.", "TXT", '"v=spf1 -all"')
    seen.add(950, "queue", side="old", messages=0, oldest_at=clock(950))
    assert {e.subject for e in ends(seen, "unobserved")} == {"domains"}


def ns(world: World, at: float, address: str, rdata: str, **more: object) -> World:
    return world.authority(at, address, (rdata,), type="NS", ttl=7200, serial=None, **more)


def test_a_delegation_that_moves_puts_its_ns_ttl_into_the_horizon() -> None:
    calm = cutover(World())
    assert finding(last(ns(calm, 10, "203.0.113.1", "ns1.example.jp.")), "horizon").state == "met"
    child = ns(calm, 400, "203.0.113.1", "ns.elsewhere.example.")
    found = finding(last(child), "horizon")
    assert (found.state, found.args["until"].timestamp() - child.observations()[0].at.timestamp()) == (
        "unmet", 7600,
    )  # fmt: skip


def test_a_parents_referral_counts_as_much() -> None:
    world = cutover(World())
    for at, name in ((10, "ns1.example.jp."), (500, "ns.elsewhere.example.")):
        ns(world, at, "192.0.2.1", name, outcome="referral", aa=False)
    found = finding(last(world), "horizon")
    assert found.eta is not None and found.eta.timestamp() - world.observations()[0].at.timestamp() == 7700
    assert finding(last(world), "authority").state == "met"  # the parent is no authority of the domain
