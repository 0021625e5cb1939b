"""Behind one address: caches told apart, habits proven or not, and what the verdict makes of both."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.evidence.caches import MOST
from monitor.folding import Fold
from monitor.snapshot import ResolverRow
from monitor.verdict.model import Finding
from monitor.wording import say
from tests.scenarios.world import NEW, NEW_IP, OLD, OLD_IP, START, World, cutover, finding

WHO = "8.8.8.8"
CHANGE = 3600.0  # when both authorities turn, in the worlds below
TTL = 600


def watched(until: float = 7200, ttl: int = TTL, new_ttl: int | None = None, every: int = 60) -> World:
    """Two authorities that turn at CHANGE; nothing of any resolver yet."""
    world = World({"freshness": 900}, resolvers=[WHO])
    for at in range(0, int(until), every):
        for address in world.plan["authorities"]:
            turned = at >= CHANGE
            world.authority(at, address, NEW if turned else OLD, (new_ttl or ttl) if turned else ttl)
    return world


def answers(world: World, told: Iterable[tuple[float, float]], rrset: tuple[str, ...] = OLD) -> World:
    """Answers at times, each with the moment at which its record runs out; TTLs are cut to seconds."""
    for at, ends in told:
        world.resolver(at, WHO, rrset, int(ends - at))
    return world


def folded(world: World, at: float) -> Fold:
    fold = Fold()
    for seen in world.observations():
        fold.add(seen)
    fold.advance(START + timedelta(seconds=at))
    return fold


def row(world: World, at: float = 7200) -> ResolverRow:
    shot = folded(world, at).snapshot(START + timedelta(seconds=at))
    assert shot is not None
    return shot.resolvers[0]


def judged(world: World, at: float) -> Finding:
    """The requirement's finding at that time."""
    judgement = folded(world, at).judgement(START + timedelta(seconds=at))
    assert judgement is not None
    return finding(judgement, "resolvers")


def habits(world: World, at: float = 7200) -> dict[str, float | None]:
    return {h.habit: h.seconds for h in row(world, at).habits}


# Telling caches apart


def test_eight_named_caches_of_which_one_holds_old_until_a_time() -> None:
    world = watched()
    for n in range(8):
        world.resolver(CHANGE + 10 + n, WHO, OLD if n == 3 else NEW, 500, cache=f"gpdns-{n}")
    shown = row(world, CHANGE + 30)
    assert [c.cache for c in shown.caches if c.leads == "old"] == ["gpdns-3"] and len(shown.caches) == 8
    found = judged(world, CHANGE + 30)
    assert (found.state, found.code) == ("unmet", "resolvers.cache")
    said = say(found.code, found.args)
    assert "(gpdns-3)" in said and "8 caches seen behind it, 7 new, 1 old" in said


def test_a_record_that_counts_down_is_one_cache_however_ttls_are_rounded() -> None:
    world = watched()
    for n in range(40):
        at = 100 + n * 14.7
        world.resolver(at, WHO, OLD, int(700 - at) + n % 2, rtt_ms=40)
    assert [c.answers for c in row(world).caches] == [40]


def test_a_cache_that_fetches_again_when_its_record_has_run_out_is_still_one() -> None:
    assert len(row(answers(watched(), [(t, t + 600) for t in range(0, 3600, 601)])).caches) == 1
    early = [(0.0, 600.0), (596.0, 1196.0), (1190.0, 1790.0)]  # BIND and Knot Resolver fetch before the end
    assert len(row(answers(watched(), early)).caches) == 1


def test_nameless_caches_are_told_apart_by_when_their_records_run_out() -> None:
    ends = (3900.0, 4000.0, 4100.0)
    world = answers(watched(), [(t, ends[t % 3]) for t in range(3500, 3800, 10)])
    shown = row(world, 3800)
    assert len(shown.caches) == 3 and {c.cache for c in shown.caches} == {None}


def test_old_data_with_another_end_after_new_was_seen_is_another_cache() -> None:
    world = answers(watched(), [(3500, 3650)])
    answers(world, [(3660, 4260), (3700, 4260)], NEW)
    answers(world, [(3710, 4100)])
    shown = row(world, 3720)
    assert sorted(c.leads for c in shown.caches) == ["new", "old"]
    assert judged(world, 3720).code == "resolvers.old"


def test_the_end_that_the_last_old_answer_announced_must_have_passed() -> None:
    """However new the answers in between are."""
    world = answers(watched(), [(3590, 4190)])
    answers(world, [(t, 4900) for t in range(4100, 4190, 10)], NEW)
    assert (judged(world, 4189).code, judged(world, 4191).state) == ("resolvers.old", "met")


def test_a_named_cache_that_held_old_at_the_change_must_be_seen_again() -> None:
    def told(again: bool) -> str:
        world = watched().resolver(CHANGE - 50, WHO, OLD, 300, cache="nrt")
        for n in range(5):
            world.resolver(CHANGE + 700 + n * 60, WHO, NEW, 300, cache="sin")
        if again:
            world.resolver(CHANGE + 1100, WHO, NEW, 300, cache="nrt")
        return judged(world, CHANGE + 1200).state

    assert (told(False), told(True)) == ("unmet", "met")


def test_a_name_of_long_ago_holds_nobody_up() -> None:
    world = watched().resolver(100, WHO, OLD, 300, cache="nrt-of-last-week")
    for n in range(5):
        world.resolver(CHANGE + 700 + n * 60, WHO, NEW, 300, cache="sin")
    assert judged(world, CHANGE + 1000).state == "met"


def test_id_server_tells_that_there_are_several() -> None:
    world = answers(watched(), [(3500, 4100)])
    for n in range(3):
        world.resolver(3510 + n, WHO, [f'"cache-{n}"'], name="id.server.", type="TXT", cache=f"cache-{n}")
    assert len(row(world, 3600).caches) == 1
    dns = folded(world, 3600).dns()
    assert dns is not None and len(dns.resolvers[WHO].caches) == 3


@given(st.lists(st.booleans(), min_size=MOST + 1, max_size=300))
def test_any_number_of_names_is_bounded_and_old_is_never_forgotten_for_new(old: list[bool]) -> None:
    world = World(resolvers=[WHO])
    world.authority(0, "203.0.113.1", OLD).authority(1, "203.0.113.1", NEW)
    for n, was_old in enumerate(old):
        world.resolver(2 + n, WHO, OLD if was_old else NEW, 30, cache=f"nonce-{n}")
    caches = row(world, len(old) + 3).caches
    assert len(caches) <= MOST
    kept = sum(c.leads == "old" for c in caches)
    assert kept >= min(sum(old), MOST - 1)


def test_answers_since_the_authorities_turned_are_counted() -> None:
    world = answers(watched(), [(t, t + 300) for t in range(3000, 3600, 60)])
    answers(world, [(t, t + 300) for t in range(4000, 4600, 60)], NEW)
    assert row(world).draws == 10


# Habits


def test_an_ordinary_resolver_has_none() -> None:
    world = answers(watched(), [(t, t - t % 600 + 600) for t in range(0, 4200, 50)])
    answers(world, [(t, t - t % 600 + 600) for t in range(4200, 7200, 50)], NEW)
    assert habits(world) == {}


def test_the_same_ttl_again_and_again_is_no_countdown() -> None:
    constant = answers(watched(), [(t, t + 333) for t in range(0, 1000, 100)])
    assert habits(constant, 1000) == {"constant": None}
    assert len(row(constant, 1000).caches) == 1


def test_the_authoritys_own_ttl_again_and_again_may_be_many_empty_caches() -> None:
    fresh = [(t, t + TTL) for t in range(0, 1000, 100)]
    assert habits(answers(watched(), fresh), 1000) == {}
    after = [(t, t + TTL) for t in range(3610, 4110, 50)]  # old, though nobody serves it any more
    assert "constant" in habits(answers(watched(), [*fresh, *after]), 4120)


def test_more_life_than_any_authority_gives_to_new_data_is_raised() -> None:
    world = answers(watched(), [(3700, 7300)], NEW)
    assert habits(world) == {"raises": 3600.0}


def test_a_ttl_lowered_before_the_watch_looks_alike_and_is_not_named() -> None:
    world = answers(watched(), [(t, 3500) for t in range(0, 3500, 100)])
    answers(world, [(3510, 3510 + TTL)])
    assert habits(world, 3550) == {}


def test_records_fetched_during_the_watch_with_too_much_life_are_raised() -> None:
    world = answers(watched(), [(0, 900), (910, 1810), (1815, 2715)])
    assert habits(world, 2720) == {"raises": 900.0}


def test_a_ttl_that_an_authority_has_just_raised_is_not_the_resolvers_doing() -> None:
    world = answers(watched(until=CHANGE + 130), [(3700, 7300)], NEW)
    for address in world.plan["authorities"]:
        world.authority(3730, address, NEW, 3600)
    assert habits(world, 3740) == {}


def test_lives_that_are_always_cut_to_one_length_are_capped() -> None:
    world = answers(watched(), [(t, t + 120) for t in range(0, 1210, 121)])
    assert habits(world, 1220) == {"caps": 120.0}


def test_lives_of_any_length_come_from_another_cache_on_the_way() -> None:
    lives = (600, 340, 77, 512, 201, 430, 90, 333)
    at, told = 0.0, []
    for life in lives:
        told.append((at, at + life))
        at += life + 1
    assert habits(answers(watched(), told), 3500) == {}


@pytest.mark.parametrize("code", [3, 19])
def test_a_stale_answer_is_named_by_its_flag(code: int) -> None:
    world = answers(watched(), [(3500, 3700)]).resolver(3800, WHO, OLD, 30, ede=[code])
    assert habits(world, 3810) == {"overstaying": None, "stale": None}
    assert row(world, 3810).caches[0].until == START + timedelta(seconds=3700), "not 30 s more each time"
    assert judged(world, 3810).code == "resolvers.overstaying"


def test_old_past_its_own_end_is_overstaying_also_without_a_flag() -> None:
    world = answers(watched(until=3840), [(3500, 3700), (3800, 3830), (3831, 3861)])
    assert habits(world, 3835) == {"overstaying": None}
    found = judged(world, 3835)
    assert found.code == "resolvers.overstaying" and found.eta is None


def test_where_several_are_told_apart_a_later_end_is_anothers_until_no_cache_may_have_it() -> None:
    both = [(3500.0, 3700.0), (3510.0, 4100.0), (3520.0, 3700.0), (3710.0, 4150.0)]
    assert habits(answers(watched(until=3720), both), 3720) == {}
    beyond = [*both, (4160.0, 4190.0), (4210.0, 4240.0)]
    assert habits(answers(watched(until=4220), beyond), 4220) == {"overstaying": None}


def test_what_was_fetched_again_from_an_authority_that_still_serves_old_is_no_overstaying() -> None:
    world = World({"freshness": 900}, resolvers=[WHO])
    for at in range(0, 2400, 60):
        world.authority(at, "203.0.113.1", NEW if at >= 600 else OLD, 300)
        world.authority(at, "203.0.113.2", NEW if at >= 1800 else OLD, 300)
    answers(world, [(t, t - t % 300 + 300) for t in range(0, 1790, 25)])
    assert habits(world, 2400) == {}


# The verdict beside these


@pytest.mark.parametrize("code", [4, 15, 16, 17, 18])
def test_a_blocked_answer_is_neither_old_nor_new(code: int) -> None:
    world = cutover(World())
    world.resolver(1495, "9.9.9.9", (), outcome="nxdomain", ede=[code])
    assert judged(world, 1500).state == "met"


def test_a_kept_name_is_old_for_as_long_as_its_old_address_lives() -> None:
    """The MX stays, the exchange's address moves: the address record's end decides."""
    kept = World(
        {"freshness": 3000}, resolvers=[WHO], new={"mx": ["mail.example.jp."], "addresses": [NEW_IP]},
        expected_mx=list(OLD),
    )  # fmt: skip
    for at in range(0, 2400, 60):
        for address in kept.plan["authorities"]:
            ip = NEW_IP if at >= 600 else OLD_IP
            kept.authority(at, address, [ip], 900, name="mail.example.jp.", type="A")
            kept.authority(at + 1, address, OLD, 60)
    for at in range(0, 2400, 30):
        ip = OLD_IP if at < 1430 else NEW_IP
        kept.resolver(at, WHO, [ip], 900 - (at + 370) % 900, name="mail.example.jp.", type="A")
        kept.resolver(at + 1, WHO, OLD, 60 - at % 60)
    found = judged(kept, 1000)
    assert (found.state, found.code) == ("unmet", "resolvers.old")
    assert found.eta == START + timedelta(seconds=1430)
    assert judged(kept, 2400).state == "met"
    assert "overstaying" not in habits(kept, 2400)


def test_a_kept_names_address_past_its_end_is_overstaying_and_one_not_asked_again_is_not() -> None:
    def told(late: bool) -> World:
        kept = World(
            {"freshness": 3000}, resolvers=[WHO], new={"mx": ["mail.example.jp."], "addresses": [NEW_IP]},
            expected_mx=list(OLD),
        )  # fmt: skip
        for at, ip in ((0, OLD_IP), (100, NEW_IP)):
            for address in kept.plan["authorities"]:
                kept.authority(at, address, [ip], 60, name="mail.example.jp.", type="A")
                kept.authority(at + 1, address, OLD, 60)
        kept.resolver(90, WHO, OLD, 60).resolver(91, WHO, [OLD_IP], 50, name="mail.example.jp.", type="A")
        kept.resolver(400, WHO, OLD, 60)
        if late:
            kept.resolver(401, WHO, [OLD_IP], 50, name="mail.example.jp.", type="A")
            kept.resolver(402, WHO, OLD, 58)
        return kept

    assert judged(told(True), 410).code == "resolvers.overstaying"
    assert judged(told(False), 410).code == "resolvers.old"


def test_dns_in_the_chart_counts_platforms() -> None:
    world = World(resolvers=["8.8.8.8", "8.8.4.4", "9.9.9.9"], platforms={"8.8.8.8": "g", "8.8.4.4": "g"})
    for who, rrset in (("8.8.8.8", NEW), ("8.8.4.4", OLD), ("9.9.9.9", OLD)):
        world.resolver(5, who, rrset, 60)
    shot = folded(world, 9).snapshot(START + timedelta(seconds=9))
    assert shot is not None and shot.shares[0].dns == 0.25


def test_asked_again_at_its_end_a_resolver_cannot_pass_off_a_stale_record_as_a_new_one() -> None:
    """The end is asked for by the second: then each stale answer is within a second of the last one's end."""
    world = answers(watched(until=3900), [(3500, 3700), (3701, 3731), (3732, 3762), (3763, 3793)])
    assert habits(world, 3710) == {"overstaying": None}
    assert judged(world, 3800).code == "resolvers.overstaying"


@pytest.mark.parametrize("ttl", [0, 1, 30])
def test_a_record_that_goes_on_for_ever_is_overstaying_whatever_ttl_it_shows(ttl: int) -> None:
    told = [(t, 3700.0) for t in range(3610, 3700, 3)] + [(t, float(t + ttl)) for t in range(3700, 4300)]
    assert "overstaying" in habits(answers(watched(until=4300), told), 4300)


def test_a_cap_on_what_is_shown_is_no_end() -> None:
    """A TTL of 600 s, of which never more than 60 are shown."""
    told = [(t, min(3590.0 + 600, t + 60)) for t in range(3590, 4185, 7)]
    world = answers(watched(until=4185), told)
    assert "overstaying" not in habits(world, 4185)
    assert "overstaying" in habits(answers(world, [(t, t + 60) for t in range(4210, 4240, 7)]), 4240)


def test_new_answers_of_the_others_do_not_show_that_a_nameless_cache_has_let_go() -> None:
    """Two caches that give no names; one of them overstays, and each answers when it likes."""
    told = [(3500, 3700), (3510, 4000), (4300, 4330)]
    world = answers(watched(until=6000), told, OLD)
    for at in range(4360, 4360 + 60 * 20, 60):
        world.resolver(at, WHO, NEW, 600 - (at - 4360) % 600)
    assert judged(world, 4550).code == "resolvers.overstaying"  # four new ones; one in 16 times by chance
    assert judged(world, 5500).state == "met"
