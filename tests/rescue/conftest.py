from __future__ import annotations

import socket
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.mail.test_dovecot import LISTEN
from tests.rescue.stage import Host, Stage
from tests.servers.daemon import needs


@pytest.fixture(scope="package")
def hosts() -> Iterator[tuple[Host, Host]]:
    """Two servers for all tests, each of which has a user of its own on both. Not under pytest's own
    directory, which only root may enter."""
    needs("dovecot")
    with tempfile.TemporaryDirectory(prefix="mxcutover-rescue-") as name, ExitStack() as running:
        Path(name).chmod(0o755)
        old, new = (_host(Path(name) / side) for side in ("old", "new"))
        running.enter_context(old.daemon)
        running.enter_context(new.daemon)
        yield old, new


def _host(home: Path) -> Host:
    home.mkdir(mode=0o755)
    return Host(home, _ports())


@pytest.fixture
def stage(hosts: tuple[Host, Host], tmp_path: Path) -> Stage:
    """Both mailboxes empty."""
    for host in hosts:
        host.next_user()
    return Stage(*hosts, tmp_path)


def _ports() -> tuple[int, int, int]:
    """Free ones for IMAP, IMAPS and POP3S."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(3)]
        for one in sockets:
            one.bind((LISTEN, 0))
        imap, imaps, pop3s = (one.getsockname()[1] for one in sockets)
        return imap, imaps, pop3s
