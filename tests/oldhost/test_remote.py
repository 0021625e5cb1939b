"""The log of another machine over SSH: a real server, its rotations, its silence, and who it is."""

from __future__ import annotations

import asyncio
import gzip
import threading
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import asyncssh
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from probes.logsource import Ssh
from probes.observation import Observation, Skip
from probes.oldhost.follow import Follower, follow_log
from probes.oldhost.opening import readable
from probes.oldhost.remote import RemoteStorage
from tests.oldhost.loglines import facts, mails, parser, unread
from tests.oldhost.test_follow import (
    LENGTH,
    copied,
    dated,
    expected,
    kept,
    message,
    read,
    recent,
    renamed,
    spans,
)  # fmt: skip


class Server:
    """An SSH server on loopback that hands out files, with keys of its own."""

    def __init__(self, keys: Path) -> None:
        self.keys, self.port = keys, 0
        keys.mkdir()
        host, user, stranger = (asyncssh.generate_private_key("ssh-ed25519") for _ in range(3))
        for name, key in (("user", user), ("stranger", stranger)):
            key.write_private_key(str(keys / name))
            (keys / name).chmod(0o600)
        self._host, self._user = host, user
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever)
        self._thread.start()
        self.connections: list[Any] = []
        self.run(self._listen())
        (keys / "known_hosts").write_text(f"[127.0.0.1]:{self.port} {host.export_public_key().decode()}")
        (keys / "other_hosts").write_text(f"[127.0.0.1]:{self.port} {user.export_public_key().decode()}")

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(20)

    async def _listen(self) -> None:
        seen = self.connections

        class Watching(asyncssh.SSHServer):
            def connection_made(self, conn: Any) -> None:
                seen.append(conn)

        allowed = asyncssh.import_authorized_keys(self._user.export_public_key().decode())
        self._server = await asyncssh.create_server(
            Watching, "127.0.0.1", self.port, server_host_keys=[self._host], authorized_client_keys=allowed,
            sftp_factory=True,
        )  # fmt: skip
        self.port = self._server.sockets[0].getsockname()[1]

    def drop(self) -> None:
        """Every connection is lost."""
        self.loop.call_soon_threadsafe(lambda: [one.abort() for one in self.connections])

    def close(self) -> None:
        async def end() -> None:
            self._server.close()
            for one in self.connections:
                one.abort()
            await self._server.wait_closed()
            await asyncio.sleep(0)

        self.run(end())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
        self.loop.close()

    def source(self, path: Path, key: str = "user", hosts: str = "known_hosts") -> Ssh:
        return Ssh(
            host="127.0.0.1", port=self.port, user="watcher", path=str(path), key=self.keys / key,
            known_hosts=self.keys / hosts,
        )  # fmt: skip


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    made = Server(tmp_path_factory.mktemp("ssh") / "keys")
    yield made
    made.close()


def follower(source: Ssh, position: Any = None) -> Follower:
    return Follower(source, parser(), "old", 0, True, position)


@pytest.mark.parametrize("rotate", [renamed, dated, copied])
@given(at=st.integers(200, LENGTH), later=st.integers(0, 4000), stopped=st.booleans())
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_rotated_anywhere_whether_watched_or_not(
    tmp_path: Path, server: Server, rotate: Callable[[Path], None], at: int, later: int, stopped: bool
) -> None:
    """Read up to ``at``; then more lines are written, it is rotated, and the rest goes to the new file."""
    for old in tmp_path.iterdir():
        old.unlink()
    raw, path = recent(), tmp_path / "mail.log"
    path.write_bytes(raw[:at])
    one = follower(server.source(path))
    seen = read(one)
    turn = raw.find(b"\n", min(at + later, len(raw)) - 1) + 1
    with path.open("ab") as file:
        file.write(raw[at:turn])
    if stopped:
        one.close()
    rotate(path)
    if not stopped:
        seen += read(one)
    with path.open("ab") as file:
        file.write(raw[turn:])
    if stopped:
        one = follower(server.source(path), kept(one))
    seen += read(one) + read(one)
    one.close()
    assert facts(seen) == expected(raw)
    assert unread(seen) == 0


def test_history_in_packed_files_and_lines_in_the_old_file_after_its_rotation(
    tmp_path: Path, server: Server
) -> None:
    path = tmp_path / "mail.log"
    path.with_name("mail.log.2.gz").write_bytes(gzip.compress(message(1, 900)))
    path.with_name("mail.log.1").write_bytes(message(2, 600))
    path.write_bytes(message(3))
    one = follower(server.source(path))
    seen = read(one)
    late = path.open("ab")
    path.with_name("mail.log.1").rename(path.with_name("mail.log.3"))
    renamed(path)
    late.write(message(4))
    late.close()
    path.write_bytes(message(5))
    seen += read(one) + read(one)
    one.close()
    assert [m.message_id for m in mails(seen)] == [f"<{n}@x>" for n in range(1, 6)]
    assert len(spans(seen)) == 1


def test_a_lost_connection_says_nothing_about_the_log(tmp_path: Path, server: Server) -> None:
    """The follower ends; another goes on from the same place, and nothing is missing between."""
    path = tmp_path / "mail.log"
    path.write_bytes(message(1))
    one = follower(server.source(path))
    seen = read(one)
    position = kept(one)
    server.drop()
    with path.open("ab") as file:
        file.write(message(2))
    with pytest.raises(ConnectionError):
        for _ in range(50):
            found, _waits = one.look()
            assert not found or not mails(found)
    one.close()
    one = follower(server.source(path), position)
    seen += read(one)
    one.close()
    assert [m.message_id for m in mails(seen)] == ["<1@x>", "<2@x>"]
    assert len(spans(seen)) == 1


async def test_the_iterator_says_why_it_ends(tmp_path: Path, server: Server) -> None:
    path = tmp_path / "mail.log"
    path.write_bytes(message(1))
    seen: list[Observation] = []
    async with asyncio.timeout(30):
        async for found, _position in follow_log(server.source(path), domain="example.com.", poll=0.01):
            seen += found
            server.drop()
    (skip,) = [o for o in seen if isinstance(o, Skip)]
    assert skip.subject == "log:old" and skip.reason.startswith(f"127.0.0.1:{path}: ")


async def test_it_can_be_cancelled_while_the_server_says_nothing(tmp_path: Path, server: Server) -> None:
    path = tmp_path / "mail.log"
    path.write_bytes(message(1))
    silent = await asyncio.start_server(lambda r, w: None, "127.0.0.1", 0)
    source = Ssh(
        host="127.0.0.1", port=silent.sockets[0].getsockname()[1], path=str(path), key=server.keys / "user"
    )
    sights = follow_log(source, domain="example.com.")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            async for _ in sights:
                raise AssertionError("there is nothing to see")
    silent.close()


def test_who_the_server_is_and_whom_it_lets_in(tmp_path: Path, server: Server) -> None:
    path = tmp_path / "mail.log"
    path.write_bytes(message(1))
    assert readable(server.source(path)) is None
    assert "not trusted" in str(readable(server.source(path, hosts="other_hosts")))
    assert "permission denied" in str(readable(server.source(path, key="stranger")))
    assert readable(server.source(tmp_path / "none")) == "no such file"
    assert readable(server.source(tmp_path)) in ("is a directory", "not a regular file")
    gone = Ssh(host="127.0.0.1", port=1, path=str(path), key=server.keys / "user")
    assert "refused" in str(readable(gone)) or "connect" in str(readable(gone))


def test_what_a_server_leaves_out_or_makes_up(server: Server, tmp_path: Path) -> None:
    storage = RemoteStorage(server.source(tmp_path))
    (tmp_path / "a b\n.log").write_bytes(b"x\n")
    assert [p.name for p in storage.entries(tmp_path)] == ["a b\n.log"]
    with storage.open(tmp_path / "a b\n.log") as file:
        assert (storage.facts_of(file).size, storage.facts_of(file).inode, file.read()) == (2, 0, b"x\n")
    storage.close()
    with pytest.raises(ConnectionError):
        storage.facts(tmp_path)
