"""A watch to be killed. Argument: the journal. Prints a line when it has begun."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from monitor.folding import Fold
from monitor.watch import Watch, opened_journal
from tests.watch.fake import World, plan


async def main(path: Path) -> None:
    world = World()
    journal, servers = await opened_journal(path, plan(), world)
    watch = Watch(plan(), journal, Fold(), on_change=lambda change: None, asking=world, servers=servers)
    print("begun", flush=True)
    await watch.run(asyncio.Event())


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
