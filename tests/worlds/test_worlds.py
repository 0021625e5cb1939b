"""The worlds themselves: what they say is what happens in them, and it is the same whenever it is asked."""

from __future__ import annotations

import json
from math import inf
from pathlib import Path
from random import Random

import pytest

from monitor.recording import judge, read
from monitor.verdict.judge import Judge
from probes.observation import Plan
from tests.worlds.__main__ import write
from tests.worlds.caches import BEHAVED, NEVER, Cache, Span, Word
from tests.worlds.kinds import Kind, kinds
from tests.worlds.score import real_time
from tests.worlds.truth import truth_of
from tests.worlds.watching import record
from tests.worlds.world import build
from tests.worlds.zone import LONG_AGO, Authority, Version, secondary

ZONE = [Version(LONG_AGO, "old", 3600), Version(1000, "old", 60), Version(2000, "new", 600)]
KINDS = {kind.name: kind for kind in kinds()}


def test_every_kind_says_what_it_is_in_a_sentence() -> None:
    assert len(KINDS) >= 35
    assert all(kind.about.endswith(".") and kind.weight > 0 for kind in KINDS.values())


def test_a_secondary_lags_and_never_goes_back() -> None:
    late = secondary("203.0.113.2", ZONE, [0, 5000, 100])
    assert [late.at(t).leads for t in (0, 2099, 2100, 9000)] == ["old", "old", "new", "new"]
    assert late.at(2050).ttl == 3600, "it never had the lowered TTL"
    assert late.old_until(9000) == 2100 + 3600
    assert secondary("203.0.113.1", ZONE, [0, 0, 0]).old_until(9000) == 1000 + 3600
    assert Authority("203.0.113.3", ZONE[:1]).old_until(9000) == inf


@pytest.mark.parametrize("habit", sorted(BEHAVED))
@pytest.mark.parametrize("busy", [20.0, 2000.0, inf])
def test_a_well_behaved_cache_holds_nothing_longer_than_the_truth_says(habit: Word, busy: float) -> None:
    chance = Random(f"{habit} {busy}")
    servers = [secondary(f"203.0.113.{k}", ZONE, [0, 30 * k, 40 * k]) for k in range(3)]
    upstream = Cache(chance, servers) if habit == "forwarder" else None
    cache = Cache(chance, servers, habit, busy, upstream=upstream)
    told = [(t, cache.ask(t)) for t in range(0, 20_000, 97)]
    until = max(server.old_until(20_000) for server in servers)
    assert max(span.end for span in cache.held) <= until
    assert all(answer.leads == "new" for t, answer in told if t >= until)
    assert all(cache.old_at(t) for t, answer in told if answer.leads == "old")


def test_the_others_do_hold_it_longer_and_say_so_or_do_not() -> None:
    server = [secondary("203.0.113.1", ZONE, [0, 0, 0])]

    def asked(habit: Word, t: float, cut: Span = NEVER) -> tuple[str | None, int, bool]:
        cache = Cache(Random(1), server, habit, cut=cut, longer=5000)
        cache.ask(1990)  # 60 s of life
        return tuple(cache.ask(t))  # type: ignore[return-value]

    assert asked("plain", 2051) == ("new", 600, False)
    assert asked("minimum", 2051) == ("old", 3539, False)
    assert asked("stretch", 2051) == ("old", 30, False) and asked("stretch", 7100)[0] == "new"
    unreachable = Span(2000, 9000)
    assert asked("stale", 2051, unreachable) == ("old", 30, True)
    assert asked("quiet-stale", 2051, unreachable) == ("old", 30, False)
    assert asked("plain", 2051, unreachable)[0] is None, "SERVFAIL"
    assert asked("stale", 9001, unreachable)[0] == "new"


@pytest.mark.parametrize("name", ["out-of-order", "delegation", "clock-back"])
def test_a_world_is_written_for_replay_with_its_truth(name: str, tmp_path: Path) -> None:
    assert write(f"{name}-3", 1, tmp_path) == 0
    path = tmp_path / f"{name}-3.jsonl"
    first = path.read_bytes()
    write(f"{name}-3", 1, tmp_path)
    assert path.read_bytes() == first, "the seed decides everything"
    replayed = [(j.at, j.verdict) for j in judge(read(path), str(path))]
    seen, post, known = record(build(KINDS[name], 1, 3))
    assert isinstance(seen[0], Plan)
    assert replayed == [(j.at, j.verdict) for j in Judge(seen[0]).run(seen)]
    truth = json.loads((tmp_path / f"{name}-3.truth.json").read_text())
    assert truth["old_data_until"] and truth["free_at"] and truth["senders"] and truth["mail"]
    assert truth["free_at"] >= truth["old_data_until"] or known is None
    assert truth_of(build(KINDS[name], 1, 3), post, known).world.name == f"{name}-3"


def test_a_jumping_clock_is_read_back() -> None:
    ahead, back = (build(KINDS[name], 1, 0) for name in ("clock-ahead", "clock-back"))
    for world in (ahead, back):
        jump, at = world.watch.jump, world.watch.jump_at
        assert real_time(world, at - abs(jump) - 1) == at - abs(jump) - 1
        assert real_time(world, at + abs(jump) + 100) == at + abs(jump) - jump + 100


def test_a_kind_may_not_invent_a_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.worlds import kinds as module

    (tmp_path / "common.toml").write_text((module.FOLDER / "common.toml").read_text())
    (tmp_path / "odd.toml").write_text('about = "Odd."\n[zone]\nserial = 1\n')
    monkeypatch.setattr(module, "FOLDER", tmp_path)
    with pytest.raises(ValueError, match=r"odd\.toml: \[zone\] has no serial"):
        module.read_kinds()
    assert isinstance(KINDS["plain"], Kind)
