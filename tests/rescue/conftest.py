from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.mail.test_dovecot import Dovecot
from tests.rescue.stage import Stage
from tests.servers.daemon import needs


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """Both Dovecots, empty. Not under pytest's own directory, which only root may enter."""
    needs("dovecot")
    with tempfile.TemporaryDirectory(prefix="mxcutover-rescue-") as name, ExitStack() as running:
        Path(name).chmod(0o755)
        hosts = []
        for side in ("old", "new"):
            home = Path(name) / side
            home.mkdir(mode=0o755)
            host = Dovecot(home, _ports())
            running.enter_context(host.daemon)
            hosts.append(host)
        yield Stage(hosts[0], hosts[1], tmp_path)


def _ports() -> tuple[int, int, int]:
    import socket

    from tests.mail.test_dovecot import LISTEN

    with socket.socket() as one, socket.socket() as two, socket.socket() as three:
        for each in (one, two, three):
            each.bind((LISTEN, 0))
        return one.getsockname()[1], two.getsockname()[1], three.getsockname()[1]
