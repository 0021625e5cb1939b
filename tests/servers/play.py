"""What the people of a move do, apart from what is particular to one of them."""

from __future__ import annotations

import asyncio

from tests.servers.stage import Stage
from tests.servers.watching import Watching

EVERY = 2.0  # seconds between two runs of the copier


async def watched(watch: Watching) -> None:
    """Every mailbox or log that quiet is judged by has been looked at."""
    await watch.until(lambda w: w.states.get("quiet") == "unmet", "old is watched")


async def copied_until_safe(stage: Stage, watch: Watching) -> None:
    """Stragglers are copied again and again, as with imapsync, until the watch says safe."""
    safe = asyncio.create_task(watch.verdict("safe"))
    while not safe.done():
        await asyncio.to_thread(stage.copy)
        await asyncio.wait([safe], timeout=EVERY)
    await safe
