"""Another machine's files over SSH's file transfer (SFTP), as a :class:`Storage`. Blocking.

Needs asyncssh (``mxcutover[ssh]``). The host's key must stand in known_hosts, and keys alone log in: from the
agent, the usual files, or the one that is named. SFTP names no inodes: a file is told by its first line.
"""

from __future__ import annotations

import asyncio
import errno
import getpass
import io
import os
import stat
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import CancelledError, Future
from pathlib import Path
from typing import IO, Any, TypeVar, cast

from probes.logsource import Ssh
from probes.oldhost.storage import Facts

SECONDS = 30.0  # for one request, and for a login
HEAD = 1024  # bytes of a file in which its first line is looked for
_ALIVE_EVERY, _ALIVE_MISSED = 15, 3
T = TypeVar("T")


class RemoteStorage:
    """Connects with the first request, on a thread of its own. A lost connection stays lost: whoever reads
    begins anew with another one."""

    def __init__(self, ssh: Ssh) -> None:
        self._ssh = ssh
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._connection: Any = None
        self._sftp: Any = None
        self._closed = False
        self._under_way: set[Future[Any]] = set()

    # -- the storage ----------------------------------------------------------------------------------

    def open(self, path: Path) -> IO[bytes]:
        handle = self.call(lambda: self._sftp.open(str(path), "rb"))
        return cast("IO[bytes]", RemoteFile(self, handle))

    def facts(self, path: Path) -> Facts:
        return _facts(self.call(lambda: self._sftp.stat(str(path))))

    def facts_of(self, file: IO[bytes]) -> Facts:
        return _facts(self.call(_handle(file).stat))

    def pread(self, file: IO[bytes], size: int, offset: int) -> bytes:
        return _bytes(self.call(lambda: _handle(file).read(size, offset)))

    def entries(self, folder: Path) -> list[Path]:
        names = self.call(lambda: self._sftp.listdir(str(folder)))
        return [folder / str(name) for name in names if name not in (".", "..") and "/" not in name]

    def same(self, file: IO[bytes], path: Path) -> bool:
        """By size and time, else by the first line: no two files of one log begin with the same."""
        if self.facts_of(file) == self.facts(path):
            return True
        with self.open(path) as other:
            return self._head(file) == self._head(other)

    def _head(self, file: IO[bytes]) -> bytes:
        return self.pread(file, HEAD, 0).partition(b"\n")[0]

    def close(self) -> None:
        """From any thread: requests that wait are given up."""
        self._closed = True
        for waiting in list(self._under_way):
            waiting.cancel()
        loop, thread = self._loop, self._thread
        if loop is not None and thread is not None:
            loop.call_soon_threadsafe(self._end)
            thread.join(2)

    # -- the connection -------------------------------------------------------------------------------

    def call(self, ask: Callable[[], Awaitable[T]]) -> T:
        """The answer to one request. Raises ``ConnectionError`` where there is none, ``OSError`` where it
        says what is wrong with a file."""
        if self._closed or threading.current_thread() is self._thread:
            raise ConnectionAbortedError(errno.ECONNABORTED, "connection closed")
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            self._thread = threading.Thread(target=self._run, args=(self._loop,), daemon=True)
            self._thread.start()
        future = asyncio.run_coroutine_threadsafe(self._answer(ask), self._loop)
        self._under_way.add(future)
        try:
            return future.result(3 * SECONDS)
        except (CancelledError, TimeoutError):
            future.cancel()
            raise ConnectionAbortedError(errno.ECONNABORTED, "no answer") from None
        finally:
            self._under_way.discard(future)

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        asyncio.set_event_loop(loop)
        try:
            loop.run_forever()
            left = asyncio.all_tasks(loop)
            for task in left:
                task.cancel()
            loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
            loop.run_until_complete(loop.shutdown_default_executor())
        finally:
            loop.close()

    def _end(self) -> None:
        if self._connection is not None:
            self._connection.abort()
        if self._loop is not None:
            self._loop.stop()

    async def _answer(self, ask: Callable[[], Awaitable[T]]) -> T:
        try:
            import asyncssh
        except ImportError:
            raise ConnectionError("asyncssh is not installed; run: pip install 'mxcutover[ssh]'") from None
        try:
            async with asyncio.timeout(SECONDS):
                if self._sftp is None:
                    await self._connect(asyncssh)
                return await ask()
        except asyncssh.SFTPError as error:
            raise _of_file(asyncssh, error) from None
        except TimeoutError:
            raise ConnectionAbortedError(errno.ETIMEDOUT, f"no answer within {SECONDS:g} s") from None
        except asyncssh.Error as error:
            raise ConnectionError(_why(error)) from None
        except (OSError, ValueError) as error:  # before it was connected, or a key that cannot be used
            raise ConnectionError(getattr(error, "strerror", None) or str(error)) from None

    async def _connect(self, asyncssh: Any) -> None:
        ssh = self._ssh
        options: dict[str, Any] = {"preferred_auth": "publickey"}
        if ssh.known_hosts is not None:
            options["known_hosts"] = str(ssh.known_hosts)
        if ssh.key is not None:
            options["client_keys"] = [str(ssh.key)]
        self._connection = await asyncssh.connect(
            ssh.host, ssh.port, username=ssh.user or getpass.getuser(), connect_timeout=SECONDS,
            login_timeout=SECONDS, keepalive_interval=_ALIVE_EVERY, keepalive_count_max=_ALIVE_MISSED,
            **options,
        )  # fmt: skip
        self._sftp = await self._connection.start_sftp_client()


class RemoteFile(io.RawIOBase):
    """One open file of a :class:`RemoteStorage`, for reading."""

    def __init__(self, storage: RemoteStorage, handle: Any) -> None:
        self._storage, self.handle = storage, handle
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        if whence == os.SEEK_END:
            offset += self._storage.facts_of(cast("IO[bytes]", self)).size
        elif whence == os.SEEK_CUR:
            offset += self._at
        self._at = max(0, offset)
        return self._at

    def tell(self) -> int:
        return self._at

    def read(self, size: int | None = -1) -> bytes:
        if size is None or size < 0:
            return self.readall()
        data = _bytes(self._storage.call(lambda: self.handle.read(size, self._at)))
        self._at += len(data)
        return data

    def readinto(self, buffer: Any) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        if not self.closed:
            super().close()
            try:
                self._storage.call(self.handle.close)
            except OSError:
                return


def _handle(file: IO[bytes]) -> Any:
    return cast("RemoteFile", file).handle


def _bytes(data: object) -> bytes:
    return data if isinstance(data, bytes) else b""


def _facts(seen: Any) -> Facts:
    """SFTP's attributes, each of which a server may leave out."""
    mode = seen.permissions
    regular = mode is None or stat.S_IFMT(mode) in (0, stat.S_IFREG)
    return Facts(seen.size or 0, float(seen.mtime or 0), 0, regular)


def _of_file(asyncssh: Any, error: Any) -> OSError:
    """What is wrong with a file; where it is the connection, that."""
    if isinstance(error, asyncssh.SFTPNoSuchFile):
        return FileNotFoundError(errno.ENOENT, "no such file")
    if isinstance(error, asyncssh.SFTPPermissionDenied):
        return PermissionError(errno.EACCES, "permission denied")
    if isinstance(error, (asyncssh.SFTPNoConnection, asyncssh.SFTPConnectionLost)):
        return ConnectionResetError(errno.ECONNRESET, "connection lost")
    return OSError(errno.EIO, _why(error))


def _why(error: Any) -> str:
    return str(error.reason or type(error).__name__)[:300]
