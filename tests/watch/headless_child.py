"""A headless watch of the world in memory, ended by a signal. Argument: the journal."""

from __future__ import annotations

import sys
from pathlib import Path

from monitor.exits import Failure
from monitor.watch.running import run
from tests.watch.fake import World, plan

if __name__ == "__main__":
    try:
        sys.exit(run(plan(), Path(sys.argv[1]), World, headless=True))
    except Failure as failure:
        print(failure, file=sys.stderr)
        sys.exit(failure.code)
