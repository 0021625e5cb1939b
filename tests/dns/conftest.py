from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.dns import lying
from tests.servers.daemon import needs


@pytest.fixture(scope="module")
def behind() -> Iterator[lying.Behind]:
    needs("unbound")
    with tempfile.TemporaryDirectory(prefix="mx-") as name, lying.resolvers(Path(name)) as servers:
        yield servers
