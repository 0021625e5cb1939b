from __future__ import annotations

import asyncio
import stat
import tomllib
from pathlib import Path

import pytest

from monitor.rehearsal import zones
from monitor.rehearsal.scenarios import SCENARIOS
from monitor.rehearsal.world import World

SPEED = 250.0  # TTLs stay at their least, 1 s: at this speed few senders learn of the change


@pytest.mark.parametrize("name", SCENARIOS)
async def test_every_letter_lands_or_is_refused_and_the_log_tells_what_old_took(
    name: str, tmp_path: Path
) -> None:
    async with World(SCENARIOS[name], SPEED, tmp_path) as world:
        async with asyncio.timeout(30):
            await world.play()
            while world.old.queued:
                await asyncio.sleep(0.01)
        truth, log = world.truth, world.log_path.read_text()
    assert truth.sent and truth.missing() <= {refused.message_id for refused in truth.refused}
    for sent in truth.sent:
        taken = f"message-id={sent.message_id}\n" in log
        assert taken == (sent.host == "mail.old.example")
    assert "mail.old.example" in {s.host for s in truth.sent}
    assert not truth.refused or name == "lost-on-new"
    assert (truth.landed_on("old") - truth.landed_on("new") == set()) or name != "local-trap"


async def test_the_history_lies_in_the_log_and_in_both_mailboxes(world: World) -> None:
    log = world.log_path.read_text().splitlines()
    assert sum("message-id=" in line for line in log) == world.history > 200
    for store in (world.old.store, world.new.store):
        assert sum(len(f.messages) for m in store for f in m.folders.values()) == world.history
    stamps = [line.split()[0] for line in log if "client=" in line]
    assert stamps == sorted(stamps)


async def test_the_plan_names_everything_and_its_secrets_are_the_owners_only(world: World) -> None:
    plan = tomllib.loads(world.plan_path.read_text())
    assert plan["mx"]["planned"] == [m.rstrip(".") for m in zones.NEW_SET]
    assert f"{zones.OLD_ADDRESS}:25" in plan["endpoints"]
    secrets = list(world.directory.glob("*.secret"))
    assert len(secrets) == 8
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in secrets)
    assert all(p.stat().st_mode & 0o077 == 0 for p in world.directory.glob("m*.pem"))


def test_the_command_offers_every_scenario() -> None:
    """The command names them itself, so that its help loads none of the servers."""
    from monitor.commands.rehearse import SCENARIOS as OFFERED

    assert tuple(SCENARIOS) == OFFERED
