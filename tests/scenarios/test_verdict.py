"""verdict.md, sentence by sentence: observations in, requirement states out."""

from __future__ import annotations

import pytest

from monitor.evidence.fold import Evidence
from monitor.verdict.model import Judgement
from monitor.wording import say
from probes.observation import Plan
from tests.scenarios.world import ACCOUNT, NEW, OLD, OLD_IP, World, clock, cutover, finding

MIXED = ("10 mx1.new.example.", "20 mail.example.jp.")
OTHER = ("10 mx.stranger.example.",)


def last(world: World) -> Judgement:
    return world.judgements()[-1]


def words(world: World) -> list[str]:
    """The verdicts in order, each once while it lasts."""
    seen = [j.verdict for j in world.judgements()]
    return [w for i, w in enumerate(seen) if i == 0 or w != seen[i - 1]]


def state(world: World, name: str) -> tuple[str, str]:
    found = finding(last(world), name)
    return found.state, found.code


def test_a_cutover_without_a_fault_passes_through_every_stage() -> None:
    assert words(cutover(World())) == ["before", "propagating", "draining", "safe"]


def test_safe_comes_exactly_when_the_quiet_time_is_covered() -> None:
    safe = next(j for j in cutover(World()).judgements() if j.verdict == "safe")
    assert (safe.at.minute, safe.at.second) == (15, 0)  # the change at 5 min, quiet_for 600 s


def test_every_reason_can_be_said_in_both_languages() -> None:
    for judgement in cutover(World()).judgements():
        for language in ("en", "ja"):
            assert say(judgement.code, judgement.args, language)
            assert all(say(f.code, f.args, language) for f in judgement.findings)


@pytest.mark.parametrize(
    ("rrset", "code"),
    [
        (OLD, "authority.serves_old"),
        (MIXED, "authority.serves_mixed"),
        (("20 mx1.new.example.",), "authority.serves_differs"),
        (("10 MX1.New.Example.",), "authority.met"),
    ],
)
def test_one_authority_that_serves_anything_else_is_unmet(rrset: tuple[str, ...], code: str) -> None:
    world = cutover(World()).authority(1501, "203.0.113.2", rrset)
    wanted = "met" if code.endswith(".met") else "unmet"
    assert state(world, "authority") == (wanted, code)
    assert last(world).verdict == ("safe" if wanted == "met" else "regressed")


@pytest.mark.parametrize(
    ("rrset", "outcome"), [(OTHER, "answer"), ((), "nodata"), ((), "nxdomain"), (("0 .",), "answer")]
)
def test_other_or_none_at_an_authority_after_the_change_is_an_alarm(
    rrset: tuple[str, ...], outcome: str
) -> None:
    world = cutover(World()).authority(1501, "203.0.113.2", rrset, outcome=outcome)
    assert last(world).verdict == "alarm"


def test_a_timeout_for_mx_is_not_an_implicit_mx_and_nodata_is() -> None:
    apex = cutover(World()).authority(1501, "203.0.113.1", (OLD_IP,), type="A")
    silent = apex.authority(1502, "203.0.113.1", outcome="timeout")
    assert state(silent, "authority")[0] == "met"
    assert state(silent.authority(1503, "203.0.113.1", outcome="nodata"), "authority") == (
        "unmet", "authority.serves_old",
    )  # fmt: skip


def test_addresses_decide_over_names() -> None:
    kept_name = cutover(World()).authority(1501, "203.0.113.1", (OLD_IP,), type="A", name="mx1.new.example.")
    assert state(kept_name, "authority") == ("unmet", "authority.serves_old")
    assert state(kept_name, "horizon") == ("unmet", "horizon.served")


def test_hosted_mail_without_addresses_is_judged_by_its_names() -> None:
    world = cutover(World(new={"mx": ["*.new.example."], "addresses": []}))
    world.authority(1501, "203.0.113.1", ("203.0.113.99",), type="A", name="mx1.new.example.")
    assert state(world, "authority")[0] == "met"


def test_a_silent_authority_is_unknown_and_a_waiver_moves_only_its_own_subject() -> None:
    world = cutover(World(), skip=["authority:203.0.113.2"])
    assert state(world, "authority") == ("unknown", "authority.silent")
    assert last(world).verdict == "blind"
    world.operator(1501, "waive", "authority:203.0.113.2")
    assert state(world, "authority")[0] == "waived"
    assert last(world).verdict == "safe"
    world.operator(1502, "unwaive", "authority:203.0.113.2")
    assert state(world, "authority")[0] == "unknown"


@pytest.mark.parametrize(
    ("field", "name"), [("authorities", "authority"), ("resolvers", "resolvers"), ("routes", "canaries")]
)
def test_an_empty_list_is_unknown_never_met(field: str, name: str) -> None:
    assert state(cutover(World(**{field: []})), name)[0] == "unknown"


def test_wholly_waived_is_unknown_never_met() -> None:
    world = cutover(World()).operator(1, "waive", "resolver:8.8.8.8").operator(1, "waive", "resolver:9.9.9.9")
    assert state(world, "resolvers") == ("unknown", "resolvers.none")


def test_the_horizon_is_the_next_other_answer_plus_the_ttl() -> None:
    world = World().authority(0, "203.0.113.1", OLD, ttl=3600).authority(100, "203.0.113.1", OLD, ttl=60)
    found = finding(last(world.authority(200, "203.0.113.1", NEW)), "horizon")
    assert (found.state, found.code) == ("unmet", "horizon.until")
    assert found.eta is not None and found.eta.timestamp() - world.observations()[0].at.timestamp() == 3700


def test_old_data_never_seen_is_unknown_unless_the_plan_states_its_ttl() -> None:
    blind = World().authority(10, "203.0.113.1", NEW).authority(10, "203.0.113.2", NEW)
    assert state(blind, "horizon") == ("unknown", "horizon.unseen")
    stated = World({"old_ttl": 3600}).authority(10, "203.0.113.1", NEW).authority(20, "203.0.113.2", NEW)
    assert finding(last(stated), "horizon").args["until"].minute == 0
    assert state(stated, "horizon") == ("unmet", "horizon.until")


def test_a_ttl_lowered_too_late_keeps_its_old_longer_horizon() -> None:
    world = cutover(World({"old_ttl": 7200}))
    assert state(world, "horizon") == ("unmet", "horizon.until")
    outlived = cutover(World().resolver(2, "8.8.8.8", OLD, ttl=900))
    found = finding(last(outlived), "horizon")
    assert found.eta is not None and found.eta.day == 21  # first sight + the default of a day


def test_a_ttl_that_was_seen_being_lowered_explains_the_life_that_resolvers_still_show() -> None:
    world = World()
    for t in range(0, 1500, 30):
        for address in world.plan["authorities"]:
            world.authority(t, address, OLD if t < 600 else NEW, 900 if t < 60 else 60)
    world.resolver(100, "8.8.8.8", OLD, 850)  # fetched at 50 s, when 900 s were given
    assert finding(last(world), "horizon").args["since"].minute == 16  # 60 s + 900 s
    world.resolver(101, "9.9.9.9", OLD, 880)  # runs out later than anything that was seen may
    found = finding(last(world), "horizon")
    assert found.eta is not None and found.eta.day == 21


def test_a_dark_authority_that_last_served_old_holds_the_horizon_while_delegated() -> None:
    world = cutover(World(), skip=["authority:203.0.113.2"]).authority(5, "203.0.113.2", OLD)
    world.operator(6, "waive", "authority:203.0.113.2")
    assert state(world, "horizon") == ("unmet", "horizon.served")
    world.add(1501, "plan", **world.plan | {"authorities": ["203.0.113.1"]})
    assert state(world, "horizon") == ("unmet", "horizon.until")


def test_a_resolver_needs_its_samples_and_a_quorum_of_platforms() -> None:
    world = cutover(World({"settle_samples": 3}), until=390)
    assert state(world, "resolvers") == ("unmet", "resolvers.few")
    silent = cutover(World(), skip=["resolver:9.9.9.9"])
    assert state(silent, "resolvers") == ("unknown", "resolvers.quorum")
    one_platform = World(platforms={"8.8.8.8": "google", "9.9.9.9": "google"})
    assert state(cutover(one_platform, skip=["resolver:9.9.9.9"]), "resolvers")[0] == "met"
    assert state(cutover(World({"quorum": 0.5}), skip=["resolver:9.9.9.9"]), "resolvers")[0] == "met"


def test_a_cache_that_still_holds_old_speaks_for_its_resolver() -> None:
    world = cutover(World()).resolver(1480, "8.8.8.8", OLD, ttl=30, cache="nrt")
    world.resolver(1490, "8.8.8.8", NEW, cache="sin")
    assert state(world, "resolvers") == ("unmet", "resolvers.cache")
    assert (
        state(world.resolver(1495, "8.8.8.8", NEW, cache="nrt"), "resolvers")[0] == "unmet"
    )  # until it expires


@pytest.mark.parametrize("more", [{"ede": [3]}, {}])
def test_a_resolver_past_its_own_expiry_is_overstaying(more: dict[str, list[int]]) -> None:
    world = cutover(World()).resolver(1490, "9.9.9.9", OLD, ttl=30, **more)
    assert state(world, "resolvers") == ("unmet", "resolvers.overstaying")
    assert last(world).verdict == "regressed"


def test_a_resolver_that_answered_old_last_and_fell_silent_is_unknown_whatever_the_quorum() -> None:
    world = cutover(World({"quorum": 0.1}), skip=["resolver:9.9.9.9"]).resolver(400, "9.9.9.9", OLD, ttl=10)
    assert state(world, "resolvers") == ("unknown", "resolvers.dark")


def test_the_local_delivery_trap_is_found_by_via_old_and_named() -> None:
    world = cutover(World()).canary(1480, "via-old", "old")
    assert state(world, "canaries") == ("unmet", "canaries.trap")
    assert "local domains" in say(*(lambda f: (f.code, f.args))(finding(last(world), "canaries")))


def test_diagnostic_routes_do_not_gate_and_an_unsent_route_is_unknown() -> None:
    world = cutover(World(routes=["via-old", "mx", "to-new"]), skip=["route:to-new"])
    assert state(world, "canaries")[0] == "met"
    assert state(cutover(World(), skip=["route:mx"]), "canaries") == ("unknown", "canaries.silent")


def test_a_canary_that_new_accepted_and_lost_is_an_alarm_until_it_lands_late() -> None:
    world = cutover(World()).canary(1400, "mx", None, canary="c-late")
    world.canary(1405, "via-old")
    assert last(world).verdict != "alarm"  # others of the route have concluded since
    lost = (
        cutover(World(), until=1480).canary(1475, "mx", None, canary="c-late").covered(1480, 1560, "log:old")
    )
    assert last(lost).verdict == "alarm"
    lost.add(1561, "canary.landed", canary="c-late", side="new", account=ACCOUNT, folder="Junk",
             protocol="imap", latency_ms=86000, hops=[])  # fmt: skip
    assert last(lost).verdict == "regressed"
    assert state(lost, "canaries") == ("unmet", "canaries.landed_late")


def test_a_canary_rejected_by_new_is_an_alarm_and_by_old_is_not() -> None:
    refused = {"outcome": "rejected", "reply": "550 5.1.1 no such user"}
    assert last(cutover(World()).canary(1490, "mx", None, **refused)).verdict == "alarm"
    by_old = refused | {"host": "mail.example.jp.", "address": OLD_IP}
    assert last(cutover(World()).canary(1490, "via-old", None, **by_old)).verdict == "regressed"


@pytest.mark.parametrize(
    ("more", "counts"),
    [
        ({}, True),
        ({"disposition": "relayed"}, True),
        ({"recipient": "", "origin": "unknown"}, True),
        ({"origin": "local"}, True),
        ({"disposition": "rejected"}, False),
        ({"disposition": "rejected", "reply": "454 4.7.1 Relay access denied"}, True),
        ({"origin": "canary"}, False),
    ],
)
def test_what_counts_as_a_hit_on_old(more: dict[str, str], counts: bool) -> None:
    world = cutover(World()).mail(1400, "old", "late", **more)
    assert (state(world, "quiet") == ("unmet", "quiet.hit")) is counts


def test_a_waived_sender_is_no_hit_and_no_straggler() -> None:
    world = cutover(World()).mail(1400, "old", "late", client="203.0.113.78")
    world.operator(1500, "waive", "sender:203.0.113.78")
    assert last(world).verdict == "safe"


def test_uncovered_time_does_not_count_and_does_not_reset() -> None:
    world = cutover(World(), skip=["log:old"]).covered(0, 600, "log:old").covered(1200, 1500, "log:old")
    quiet = finding(last(world), "quiet")
    assert (quiet.state, quiet.args["quiet"]) == ("met", 600.0)


def test_an_interval_with_lines_not_understood_does_not_count() -> None:
    world = cutover(World()).covered(1000, 1030, "log:old", not_understood=2)
    judged = world.judgements()
    assert finding(judged[-1], "quiet").args["quiet"] == 1170.0


def test_quiet_is_unknown_when_the_last_freshness_is_not_covered() -> None:
    world = cutover(World(), skip=["log:old"]).covered(0, 1300, "log:old")
    assert state(world, "quiet") == ("unknown", "quiet.uncovered")
    assert last(world).verdict == "blind"


def test_every_listed_mailbox_must_be_watched_where_there_is_no_log() -> None:
    two = World(accounts=[ACCOUNT, "b@example.jp"])
    world = cutover(two, skip=["log:old"]).covered(0, 1500, f"mailbox:old:{ACCOUNT}")
    assert state(world, "quiet") == ("unknown", "quiet.unwatched")
    assert state(world.covered(0, 1500, "mailbox:old:b@example.jp"), "quiet")[0] == "met"


def test_demonstrated_sensitivity_counts_only_between_detected_canaries() -> None:
    def watch(*sent: tuple[float, str | None]) -> float:
        world = cutover(
            World({"sensitivity": 700}, routes=["via-old", "mx", "to-old"]), skip=["route:to-old"]
        )
        for at, landed in sent:
            world.canary(at, "to-old", landed, host="mail.example.jp.", address=OLD_IP)
        return float(finding(last(world), "quiet").args["quiet"])

    assert watch((400, "old"), (1000, "old")) == 600
    assert watch((400, "old"), (1200, "old")) == 0, "too far apart"
    assert watch((400, "old"), (700, None), (1000, "old")) == 0, "one between was not seen"


def test_the_bound_needs_the_share_or_the_ceiling() -> None:
    tight = {"share_bound": 0.01}
    assert state(cutover(World(tight)), "quiet") == ("unmet", "quiet.bound")
    assert state(cutover(World(tight | {"quiet_ceiling": 700})), "quiet") == ("met", "quiet.ceiling")
    unmet = cutover(World(tight | {"quiet_ceiling": 700}), skip=["arrivals"])
    assert state(unmet, "quiet") == ("unmet", "quiet.bound")


def test_a_message_on_old_that_new_lacks_is_a_straggler_until_it_is_there() -> None:
    world = cutover(World()).mail(700, "old", "lost")
    assert state(world, "stragglers") == ("unmet", "stragglers.missing")
    waived = cutover(World()).mail(700, "old", "lost").operator(701, "waive", "message:<lost@sender.example>")
    assert state(waived, "stragglers")[0] == "waived"
    assert state(world.mail(1400, "new", "lost"), "stragglers")[0] == "met"
    assert state(cutover(World()).mail(700, "old", "r", disposition="relayed"), "stragglers")[0] == "met"


def test_arrivals_need_real_outside_mail_on_new() -> None:
    assert state(cutover(World(), skip=["arrivals"]), "arrivals") == ("unmet", "arrivals.few")
    assert state(cutover(World(), skip=["log:new"]), "arrivals") == ("unknown", "arrivals.unwatched")
    relays = cutover(World(), skip=["arrivals"])
    for n in range(5):
        relays.mail(1000 + n, "new", n, client=OLD_IP)
    assert state(relays, "arrivals") == ("unmet", "arrivals.few")
    missing = cutover(World()).add(900, "account", side="new", account=ACCOUNT, state="missing", detail="550")
    assert state(missing, "arrivals") == ("unmet", "arrivals.refused")


def test_the_change_is_taken_back_and_a_later_one_starts_anew() -> None:
    world = cutover(World()).authority(1501, "203.0.113.1", OLD)
    assert last(world).verdict == "regressed"
    assert last(world.authority(1502, "203.0.113.2", OLD)).verdict == "before"
    again = world.operator(1510, "cutover")
    assert last(again).verdict == "propagating", "not regressed: it was safe under another change"
    assert last(cutover(World()).operator(1501, "rollback")).verdict == "before"


def test_lost_evidence_alone_blinds_and_does_not_regress() -> None:
    world = cutover(World()).add(1700, "watcher", event="online", detail="")
    assert last(world).verdict == "blind"


def test_deadlines_are_judged_at_their_own_instant() -> None:
    world = cutover(World()).add(1700, "watcher", event="online", detail="")
    blind = next(j for j in world.judgements() if j.verdict == "blind")
    assert 1500 < blind.at.timestamp() - world.observations()[0].at.timestamp() < 1700


def test_mail_read_live_with_a_stamp_of_another_zone_is_no_baseline() -> None:
    world = cutover(World()).mail(1400, "old", "zone", accepted_at="2026-11-19T15:23:20.000Z")
    assert state(world, "quiet") == ("unmet", "quiet.hit")


def test_the_finer_stamp_of_one_message_decides_whichever_is_heard_first() -> None:
    for first, second in (("mailbox", "log"), ("log", "mailbox")):
        world = cutover(World())
        stamps = {"mailbox": 299.0, "log": 299.4}
        for at, source in ((301, first), (302, second)):
            world.add(at, "mail", side="old", accepted_at=clock(stamps[source]), source=source,
                      client="203.0.113.9", recipient=ACCOUNT, message_id="<late@sender.example>", helo=None,
                      origin="outside", disposition="delivered", queue_id=None)  # fmt: skip
        taken = [t for t in folded(world).mail.old if t.message_id == "<late@sender.example>"]
        assert [(t.end - t.at) for t in taken] == [1]


def folded(world: World) -> Evidence:
    seen = world.observations()
    assert isinstance(seen[0], Plan)
    evidence = Evidence(seen[0])
    for one in seen:
        evidence.add(one)
    return evidence
