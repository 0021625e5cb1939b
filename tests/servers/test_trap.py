"""The local-delivery trap, with a Postfix that still has the domain in ``mydestination`` after the change.

DNS has turned everywhere, outside mail goes to new, old takes nothing: all that is seen says that old may
go. Only mail that is handed in *at* old shows that old would swallow its users' mail. So two people watch the
same move, with one canary key: one plans the route ``via-old``, the other does not.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.servers.daemon import needs
from tests.servers.planfile import write_plan
from tests.servers.play import copied_until_safe, watched
from tests.servers.senders import Writing
from tests.servers.stage import PROGRAMS, Stage
from tests.servers.test_cutover import letters_sent, somebody_found_new, until
from tests.servers.watching import mxcutover, watching

pytestmark = pytest.mark.servers

TTL = 3
PAUSE = 0.8
WITHOUT = ("via-new", "to-old", "mx")


@pytest.fixture
def stage() -> Iterator[Stage]:
    needs(*PROGRAMS)
    with Stage(ttl=TTL, destination=True) as built:
        yield built


async def test_the_trap_is_found_by_via_old_and_by_nothing_else(stage: Stage, tmp_path: Path) -> None:
    plans = [planned(stage, tmp_path / name, routes) for name, routes in
             (("with", ("via-old", *WITHOUT)), ("without", WITHOUT))]  # fmt: skip
    async with (
        Writing(stage.post, None, PAUSE, stage.old.users),
        watching(plans[0]) as careful,
        watching(plans[1]) as careless,
    ):
        for watch in (careful, careless):
            await watched(watch)
        await letters_sent(stage.post.truth, 15)
        for plan in plans:
            await mxcutover("cutover", "-j", str(journal(plan)))
        stage.change_mx()
        await somebody_found_new(stage)
        stage.secondary_catches_up()
        await until(lambda: stage.old_mta.waiting() == 0, "old's queue is empty")
        await copied_until_safe(stage, careless)
        await careful.until(others_are_met, "all but the canaries are met")
        assert careful.verdicts == ["before", "propagating", "draining"], str(careful)
        await the_trap_is_named(plans[0])
        stage.old_mta.relay(stage.addresses.new[0])
        await careful.verdict("safe")
        assert await careful.stop() == await careless.stop() == 0


def planned(stage: Stage, directory: Path, routes: tuple[str, ...]) -> Path:
    directory.mkdir()
    plan = write_plan(stage, directory, TTL, routes)
    key = Path(f"{journal(plan)}.key")
    key.touch(mode=0o600)
    key.write_bytes(b"k" * 32)
    return plan


def journal(plan: Path) -> Path:
    return plan.with_name("cutover.journal")


def others_are_met(watch: Any) -> bool:
    states: dict[str, str] = watch.states
    return states.get("canaries") == "unmet" and {*states.values()} == {"met", "unmet"} and (
        sum(state == "unmet" for state in states.values()) == 1
    )  # fmt: skip


async def the_trap_is_named(plan: Path) -> None:
    said = json.loads(await mxcutover("status", "--json", str(journal(plan)), codes=(10,)))
    by_name = {requirement["name"]: requirement for requirement in said["requirements"]}
    trap = by_name.pop("canaries")
    assert (trap["state"], trap["code"]) == ("unmet", "canaries.trap") and "via-old" in trap["reason"]
    assert {requirement["state"] for requirement in by_name.values()} == {"met"}
