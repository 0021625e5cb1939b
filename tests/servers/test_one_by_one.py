"""Fifty accounts that move one by one: whoever has moved is unknown to the old host's local(8), which passes
their mail on to new (``fallback_transport``); the others go on as before. The MX changes after the last one.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from probes.observation import Mail, Observation
from tests.servers.daemon import needs
from tests.servers.host import USERS
from tests.servers.planfile import write_plan
from tests.servers.play import copied_until_safe, watched
from tests.servers.senders import Writing
from tests.servers.stage import PROGRAMS, Stage
from tests.servers.test_cutover import (
    ORDER,
    Played,
    ids,
    letters_sent,
    nothing_is_lost_and_nothing_was_touched,
    recorded,
    somebody_found_new,
    until,
)
from tests.servers.watching import mxcutover, watching

pytestmark = pytest.mark.servers

TTL = 3
PAUSE = 0.4
PEOPLE = (*USERS, *(f"user{number}" for number in range(4, 51)))


@pytest.fixture
def stage() -> Iterator[Stage]:
    needs(*PROGRAMS)
    with Stage(ttl=TTL, users=PEOPLE, destination=True) as built:
        yield built


async def test_fifty_accounts_move_one_by_one(stage: Stage, tmp_path: Path) -> None:
    plan = write_plan(stage, tmp_path, TTL)
    truth, journal = stage.post.truth, plan.with_name("cutover.journal")
    async with Writing(stage.post, stage.old, PAUSE, PEOPLE) as writing:
        await letters_sent(truth, 20)
        async with watching(plan) as watch:
            await watched(watch)
            await letters_sent(truth, 40)
            await everybody_moves(stage)
            writing.colleague_at = stage.new
            await mxcutover("cutover", "-j", str(journal))
            stage.change_mx()
            await somebody_found_new(stage)
            stage.secondary_catches_up()
            await copied_until_safe(stage, watch)
            await writing.stop()
            code = await watch.stop()
    there = set(ids(stage.old))
    relayed = [sent for sent in truth.taken_by(stage.old) if sent.message_id not in there]
    played = Played(truth=truth, watch=watch, code=code, journal=journal, relayed=relayed)
    assert watch.verdicts == ORDER and code == 0, str(watch)
    assert len(relayed) > 20, "moved users were written to"
    what_old_took_is_a_hit_whether_it_kept_it_or_passed_it_on(stage, played, await recorded(played, tmp_path))
    nothing_is_lost_and_nothing_was_touched(stage, played)


async def everybody_moves(stage: Stage) -> None:
    """Each: old knows the user no more, then what lies there is copied, while everybody goes on writing."""
    for number, user in enumerate(PEOPLE, 1):
        await asyncio.to_thread(stage.old_mta.keep, PEOPLE[number:])
        await asyncio.to_thread(stage.copy, (user,))
    await asyncio.to_thread(stage.old_mta.reload)
    await until(lambda: stage.old_mta.waiting() == 0, "old's queue is empty")


def what_old_took_is_a_hit_whether_it_kept_it_or_passed_it_on(
    stage: Stage, played: Played, seen: Sequence[Observation]
) -> None:
    taken = {sent.message_id: sent for sent in played.truth.taken_by(stage.old)}
    relayed = {sent.message_id for sent in played.relayed}
    mail = [m for m in seen if isinstance(m, Mail) and m.side == "old" and m.origin != "canary"]
    logged = {str(m.message_id): m for m in mail if m.source == "log"}
    assert Counter(m.message_id for m in mail if m.source == "log") == Counter(taken.keys())
    assert {name: m.recipient for name, m in logged.items()} == {n: s.recipient for n, s in taken.items()}
    assert {n for n, m in logged.items() if m.disposition == "relayed"} == relayed
    assert {m.disposition for m in logged.values()} == {"delivered", "relayed"}
    assert Counter(m.message_id for m in mail if m.source == "mailbox") == Counter(taken.keys() - relayed)
