"""Authorities: delegations that move, servers that lag, signatures, absent records, aliases; and how each
shape of MX is judged."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import pytest

from monitor.verdict.context import Context
from monitor.verdict.dns import BOGUS
from monitor.verdict.judge import Judge
from monitor.verdict.model import Judgement
from monitor.verdict.servers import remarks
from monitor.wording import say
from probes.dns import dnssec
from probes.observation import to_ms
from tests.scenarios.world import NEW, NEW_IP, OLD, OLD_IP, START, World, cutover, finding

ONE, TWO, PARENT = "203.0.113.1", "203.0.113.2", "192.0.2.100"
HOST = "mx1.new.example."


def last(world: World) -> Judgement:
    return world.judgements()[-1]


def state(world: World, name: str) -> tuple[str, str]:
    found = finding(last(world), name)
    return found.state, found.code


def horizon(world: World) -> float | None:
    """Seconds from the start; None where there is none yet."""
    until = finding(last(world), "horizon").args.get("until")
    return None if until is None else (until - START) / timedelta(seconds=1)


def referral(world: World, at: float, names: Iterable[str], ttl: int = 3600, **more: Any) -> World:
    fields = {"server": "a.jp.", "type": "NS", "outcome": "referral", "aa": False, "serial": None} | more
    return world.authority(at, PARENT, names, ttl, **fields)


# Signatures


@pytest.mark.parametrize("rrset", [(), NEW])
def test_a_bogus_answer_after_the_change_is_an_alarm_until_it_is_mended(rrset: tuple[str, ...]) -> None:
    world = cutover(World()).authority(1501, TWO, rrset, outcome="bogus", dnssec="expired")
    assert last(world).verdict == "alarm" and last(world).code == "verdict.alarm_bogus"
    assert state(world, "authority") == ("unmet", "authority.bogus_expired")
    assert last(world.authority(1531, TWO, NEW, dnssec="secure")).verdict == "safe"


def test_an_answer_that_could_not_be_checked_ends_no_alarm() -> None:
    world = cutover(World()).authority(1501, TWO, NEW, outcome="bogus", dnssec="expired")
    assert last(world.authority(1531, TWO, NEW, dnssec="unchecked")).verdict == "alarm"
    assert (
        last(world.authority(1561, TWO, NEW, dnssec="insecure").authority(1561, ONE, NEW)).verdict == "safe"
    )


def test_a_bogus_answer_before_the_change_is_told_and_no_alarm() -> None:
    world = World().authority(0, ONE, OLD).authority(1, TWO, OLD, outcome="bogus", dnssec="unsigned")
    assert last(world).verdict == "before"
    assert state(world, "authority") == ("unmet", "authority.bogus_unsigned")


def test_a_bogus_answer_is_forgotten_when_it_is_no_longer_fresh() -> None:
    world = cutover(World(), skip=[f"authority:{TWO}"]).authority(1400, TWO, NEW, outcome="bogus")
    assert state(world, "authority") == ("unmet", "authority.bogus")
    assert state(world.authority(1521, ONE, NEW), "authority") == ("unknown", "authority.silent")


def test_a_change_that_was_not_signed_is_seen_and_alarms_at_once() -> None:
    """The zone was edited and not signed again: those who do not validate go to new already."""
    world = World().authority(0, ONE, OLD, ttl=600).authority(0, TWO, OLD)
    world.authority(30, ONE, NEW, outcome="bogus", dnssec="forged")
    assert last(world).verdict == "alarm" and last(world).changed_at is not None
    world.authority(40, TWO, NEW)
    assert horizon(world) == 630, "caches that do not validate stopped to fetch the old one then"


def test_an_exchanges_bogus_address_counts_if_it_is_planned() -> None:
    for name, verdict in ((HOST, "alarm"), ("mail.example.jp.", "safe")):
        world = cutover(World()).authority(
            1501, ONE, (), outcome="bogus", type="A", name=name, dnssec="forged"
        )
        assert last(world).verdict == verdict


def test_every_reason_that_probes_give_has_its_words() -> None:
    assert frozenset(dnssec.BOGUS) == BOGUS
    for why in BOGUS:
        for language in ("en", "ja"):
            assert say(f"authority.bogus_{why}", {"server": ONE, "others": 1}, language)


# The delegation moves

OLD_NS, NEW_NS = ("ns1.old.example.",), ("ns1.new.example.",)


def moving(until: float = 1500) -> World:
    """The domain goes to new name servers at 300 s; the old one (TWO) goes on to serve the old MX."""
    world = World(authorities=[TWO])
    for t in range(0, int(until), 30):
        referral(world, t, OLD_NS if t < 300 else NEW_NS)
        world.authority(t, TWO, OLD, server=OLD_NS[0])
        world.authority(t, TWO, OLD_NS, 600, server=OLD_NS[0], type="NS")
        if t >= 300:
            world.authority(t, ONE, NEW, server=NEW_NS[0])
            world.authority(t, ONE, NEW_NS, 600, server=NEW_NS[0], type="NS")
    return world.add(300, "plan", **world.plan | {"authorities": [ONE, TWO]})


def test_old_name_servers_that_keep_the_old_mx_are_named_with_what_to_do() -> None:
    world = moving()
    found = finding(last(world), "authority")
    assert (found.state, found.code, found.args["server"]) == ("unmet", "authority.left", TWO)
    assert (found.args["until"] - START) / timedelta(seconds=1) == 270 + 3600, (
        "the parent's last word + its TTL"
    )
    assert "the old name servers must serve the new MX" in say(found.code, found.args)
    assert state(world, "horizon") == ("unmet", "horizon.served")


def test_the_horizon_ends_with_the_old_name_servers_and_what_was_to_be_had_of_them() -> None:
    world = moving()
    for t in range(1500, 3900, 30):
        world.authority(t, ONE, NEW, server=NEW_NS[0]).authority(t, TWO, OLD, server=OLD_NS[0])
    world.add(3900, "plan", **world.plan | {"authorities": [ONE]})
    assert horizon(world.authority(3901, ONE, NEW, server=NEW_NS[0])) == 3900 + 300
    mended = moving().authority(1500, TWO, NEW, server=OLD_NS[0])
    assert horizon(mended) == 300 + 3600, "the old NS RRset may be cached for its own time"


def test_a_name_server_that_is_added_moves_nothing() -> None:
    world = cutover(World())
    for t, names in ((0, OLD_NS), (1400, (*OLD_NS, *NEW_NS))):
        referral(world, t, names, ttl=86400)
        world.authority(t, ONE, names, ttl=86400, type="NS", server=OLD_NS[0])
    assert last(world).verdict == "safe"


def test_a_moved_delegation_without_any_referral_counts_from_the_zones_own_word() -> None:
    world = cutover(World()).authority(299, ONE, OLD_NS, 7200, type="NS")
    world.authority(330, ONE, NEW_NS, 7200, type="NS")
    assert horizon(world) == 330 + 7200


# What is remarked of each server


def remarked(world: World) -> dict[str, list[str]]:
    seen = world.observations()
    judge = Judge(seen[0])
    for _ in judge.run(seen):
        pass
    context = Context(judge.evidence, to_ms(seen[-1].at))
    found = {address: remarks(context, address) for address in context.plan.authorities}
    for language in ("en", "ja"):
        assert all(say(f"ui.{r.code}", r.args, language) for row in found.values() for r in row)
    return {address: [r.code for r in row] for address, row in found.items()}


def test_the_parents_word_is_held_against_the_zones() -> None:
    """ns1 with stale glue, ns2 that only the parent names, a hidden ns3 that is behind, ns4 that has left."""
    addresses = ["203.0.113.1", "203.0.113.9", "203.0.113.2", "203.0.113.3", "203.0.113.4"]
    world = World(authorities=addresses)
    names = dict(zip(addresses, ("ns1.x.", "ns1.x.", "ns2.x.", "ns3.x.", "ns4.x."), strict=True))
    referral(world, 0, ("ns1.x.", "ns2.x.", "ns4.x."), 86400)
    referral(world, 500, ("ns1.x.", "ns2.x."), 86400)
    referral(world, 500, ("203.0.113.9", "203.0.113.7"), name="ns1.x.", type="A")
    world.authority(500, "203.0.113.4", ("203.0.113.1",), type="A", name="ns1.x.", server="ns4.x.")
    for address in addresses:
        zone = ("ns4.x.",) if names[address] == "ns4.x." else ("ns1.x.", "ns3.x.")
        world.authority(500, address, zone, type="NS", server=names[address])
        more = {"dnssec": "secure"} if names[address] == "ns1.x." else {}
        serial = 7 if names[address] == "ns3.x." else 8
        world.authority(500, address, OLD, server=names[address], serial=serial, **more)
    world.authority(501, "203.0.113.2", (), server="ns2.x.", outcome="bogus", dnssec="expired", serial=8)
    assert remarked(world) == {
        "203.0.113.1": ["remark.no_glue", "remark.secure"],
        "203.0.113.9": ["remark.glue_only", "remark.secure"],
        "203.0.113.2": ["remark.expired", "remark.parent_only"],
        "203.0.113.3": ["remark.zone_only", "remark.behind"],
        "203.0.113.4": ["remark.left"],
    }


# Servers that lag


def test_a_server_that_is_behind_is_named_with_its_serial() -> None:
    world = cutover(World(), skip=[f"authority:{TWO}"]).authority(1499, ONE, NEW, serial=4294967295)
    world.authority(1500, ONE, NEW, serial=3)
    world.authority(1500, TWO, OLD, serial=4294967290)
    found = finding(last(world), "authority")
    assert found.code == "authority.serves_old"
    assert (found.args["serial"], found.args["newest"]) == (4294967290, 3), "serials go round (RFC 1982)"
    assert "serial 4294967290, the newest is 3" in say(found.code, found.args)


def test_a_serial_that_comes_after_the_answer_counts_as_well() -> None:
    world = cutover(World()).authority(1489, ONE, NEW, serial=20).authority(1490, TWO, OLD, serial=None)
    world.authority(1490, TWO, ("ns. root. 9 1 1 1 1",), type="SOA", serial=9)
    assert finding(last(world), "authority").args["serial"] == 9


@pytest.mark.parametrize("outcome", ["lame", "refused", "servfail", "timeout"])
def test_a_server_without_an_answer_is_unknown_and_why_is_said(outcome: str) -> None:
    world = cutover(World(), skip=[f"authority:{TWO}"]).authority(1499, TWO, outcome=outcome)
    found = finding(last(world), "authority")
    assert (found.state, found.code, found.args["why"]) == ("unknown", "authority.silent", (outcome,))


# What was not there before


def test_the_negative_ttl_of_an_absent_mx_enters_the_horizon() -> None:
    world = World()
    for address in (ONE, TWO):
        world.authority(0, address, (), 1800, outcome="nodata").authority(100, address, NEW)
    assert horizon(world) == 100 + 1800


@pytest.mark.parametrize("outcome", ["nxdomain", "nodata"])
def test_the_negative_ttl_of_a_new_host_enters_the_horizon(outcome: str) -> None:
    world = World()
    for address in (ONE, TWO):
        for kind in ("A", "AAAA"):
            world.authority(0, address, (), 1800, outcome=outcome, type=kind, name=HOST)
        world.authority(0, address, OLD).authority(30, address, NEW)
    assert horizon(world) == 30 + 300, "as long as it is nowhere, nothing can be said of it"
    for address in (ONE, TWO):
        world.authority(60, address, (NEW_IP,), type="A", name=HOST)
        world.authority(60, address, (), 1800, outcome="nodata", type="AAAA", name=HOST)
    assert horizon(world) == 60 + 1800


def test_a_second_address_family_that_comes_later_moves_nothing() -> None:
    world = cutover(World(new={"mx": [HOST], "addresses": [NEW_IP, "2001:db8::20"]}))
    for t in (10, 700):
        world.authority(t, ONE, (NEW_IP,), type="A", name=HOST)
        world.authority(t, ONE, (), 86400, outcome="nodata", type="AAAA", name=HOST)
    world.authority(1400, ONE, ("2001:db8::20",), type="AAAA", name=HOST)
    assert state(world, "horizon")[0] == "met"


def test_a_secondary_that_still_lacks_the_new_host_holds_the_horizon() -> None:
    own = "mx1.example.jp."
    world = cutover(World(expected_mx=[f"10 {own}"], new={"mx": [own], "addresses": [NEW_IP]}), until=30)
    for t in (0, 600):
        for address in (ONE, TWO):
            world.authority(t, address, OLD if t == 0 else (f"10 {own}",))
            there = t > 0 and address == ONE
            world.authority(t, address, (NEW_IP,) if there else (), 900, type="A", name=own,
                            outcome="answer" if there else "nxdomain")  # fmt: skip
    assert state(world, "horizon") == ("unmet", "horizon.served")
    assert finding(last(world), "horizon").args["server"] == TWO
    assert horizon(world.authority(630, TWO, (NEW_IP,), type="A", name=own)) == 630 + 900


def test_every_kind_of_ttl_enters_the_horizon() -> None:
    """MX, A, AAAA and NS, each with the longest life in its turn."""
    records = {
        "A": ((OLD_IP,), (NEW_IP,)), "AAAA": (("2001:db8::10",), ("2001:db8::20",)), "MX": (OLD, NEW),
        "NS": (OLD_NS, NEW_NS),
    }  # fmt: skip
    sides = {
        "old": {"mx": ["mail.example.jp."], "addresses": [OLD_IP, "2001:db8::10"]},
        "new": {"mx": [HOST], "addresses": [NEW_IP, "2001:db8::20"]},
    }
    for long in records:
        world = World(**sides)
        for address in (ONE, TWO):
            for t in (0, 100):
                for kind, data in records.items():
                    name = HOST if kind in ("A", "AAAA") else "example.jp."
                    world.authority(
                        t, address, data[t > 0], 5000 if kind == long else 60, type=kind, name=name
                    )
        assert horizon(world) == 5100, long


# Shapes of MX


@pytest.mark.parametrize(
    ("plan", "rrset", "code"),
    [
        # several of equal preference, in any order
        ({"expected_mx": ["10 mx1.new.example.", "10 mx2.new.example."],
          "new": {"mx": ["*.new.example."], "addresses": [NEW_IP]}},
         ("10 mx2.new.example.", "10 mx1.new.example."), "met"),
        ({"expected_mx": ["10 mx1.new.example.", "10 mx2.new.example."],
          "new": {"mx": ["*.new.example."], "addresses": [NEW_IP]}},
         ("10 mx1.new.example.",), "serves_differs"),
        # a backup that still points at old
        ({}, ("10 mx1.new.example.", "20 mail.example.jp."), "serves_mixed"),
        # the null MX
        ({}, ("0 .",), "serves_none"),
        # the domain itself is its exchange
        ({"expected_mx": ["10 example.jp."], "new": {"mx": ["example.jp."], "addresses": [NEW_IP]}},
         ("10 example.jp.",), "met"),
        # internationalised names are A-labels throughout
        ({"expected_mx": ["10 mx1.xn--wgv71a119e.jp."],
          "new": {"mx": ["mx1.xn--wgv71a119e.jp."], "addresses": [NEW_IP]}},
         ("10 MX1.xn--WGV71A119E.jp.",), "met"),
    ],
)  # fmt: skip
def test_each_shape_of_mx_has_its_judgement(plan: dict[str, Any], rrset: tuple[str, ...], code: str) -> None:
    world = World(**plan)
    world.operator(5, "cutover")
    for address in (ONE, TWO):
        world.authority(0, address, OLD).authority(10, address, rrset)
        world.authority(10, address, (NEW_IP,), type="A", name="example.jp.")
    assert state(world, "authority")[1] == f"authority.{code}"


def test_mx_at_the_apex_is_old_for_as_long_as_the_domains_address_is() -> None:
    world = World(
        expected_mx=["10 example.jp."],
        old={"mx": ["example.jp."], "addresses": [OLD_IP]},
        new={"mx": ["example.jp."], "addresses": [NEW_IP]},
    )
    for address in (ONE, TWO):
        world.authority(0, address, ("10 example.jp.",)).authority(0, address, (OLD_IP,), 900, type="A")
    assert state(world, "authority")[1] == "authority.serves_old"
    for address in (ONE, TWO):
        world.authority(50, address, (NEW_IP,), 900, type="A").authority(51, address, ("10 example.jp.",))
    assert state(world, "authority")[1] == "authority.met"
    assert horizon(world) == 50 + 900


def test_implicit_mx_is_judged_by_the_domains_own_address() -> None:
    world = World()
    for address in (ONE, TWO):
        world.authority(0, address, (), 600, outcome="nodata").authority(0, address, (OLD_IP,), 60, type="A")
    assert state(world, "authority")[1] == "authority.serves_old"
    for address in (ONE, TWO):
        world.authority(90, address, NEW)
    assert horizon(world) == 90 + 600, "that there was no MX may be cached for the negative TTL"


def test_an_exchange_that_is_an_alias_is_judged_by_where_it_leads() -> None:
    world = World()
    for address in (ONE, TWO):
        world.authority(0, address, OLD)
        world.authority(60, address, (OLD_IP,), 3600, type="A", name=HOST).authority(60, address, NEW)
        world.authority(60, address, ("old.cloud.example.",), type="CNAME", name=HOST)
    assert state(world, "authority")[1] == "authority.serves_old"
    for address in (ONE, TWO):
        world.authority(90, address, (NEW_IP,), type="A", name=HOST).authority(90, address, NEW)
    assert state(world, "authority")[1] == "authority.met" and horizon(world) == 90 + 3600
