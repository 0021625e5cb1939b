from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from monitor.rehearsal.scenarios import SMOOTH
from monitor.rehearsal.world import World


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """The servers of a cutover that has not begun."""
    async with World(SMOOTH, 1, tmp_path) as built:
        yield built
