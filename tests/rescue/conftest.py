from __future__ import annotations

import socket
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.mail.test_dovecot import LISTEN, Dovecot
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
    """Free ones for IMAP, IMAPS and POP3S."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(3)]
        for one in sockets:
            one.bind((LISTEN, 0))
        imap, imaps, pop3s = (one.getsockname()[1] for one in sockets)
        return imap, imaps, pop3s
