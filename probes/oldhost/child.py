"""A program of the operator's: run to its end, or read while it goes on. Bounded, without a shell."""

from __future__ import annotations

import asyncio
import fcntl
import os
import select
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress

from msgspec import Struct

_PIPE = 1 << 20  # bytes that the kernel holds for us, where it lets us
_KEPT = 4096  # of what is said on stderr
_SAID = 300  # characters of it that are told
_ENDING = 0.2  # seconds that a program is given to end once it has closed its output


class CannotRun(Exception):
    """Why a program cannot be started, in a few words."""


class Output(Struct, frozen=True):
    """``trouble``: why there is none, in a few words; None where the program ended well."""

    text: bytes = b""
    trouble: str | None = None


async def output(argv: Sequence[str], seconds: float, limit: int) -> Output:
    """What a program prints. It is ended after ``seconds`` and at ``limit`` bytes; never raises for what the
    program does."""
    try:
        child = await asyncio.to_thread(Child, argv)
    except CannotRun as error:
        return Output(trouble=str(error))
    try:
        return await asyncio.to_thread(_whole, child, argv[0], seconds, limit)
    finally:
        child.kill()


def _whole(child: Child, name: str, seconds: float, limit: int) -> Output:
    until, found = time.monotonic() + seconds, bytearray()
    trouble = None
    while (data := child.read(limit + 1 - len(found), 1.0)) is not None:
        found += data
        if len(found) > limit:
            trouble = f"{name} printed more than {limit >> 20} MiB"
        elif time.monotonic() >= until:
            trouble = f"{name} took longer than {seconds:g} s"
        if trouble is not None:
            child.kill()
            break
    code, how = child.close()
    return Output(bytes(found), trouble or (how if code else None))


class Child:
    """A running program, the first of a process group of its own; each method blocks for a moment at most.
    Raises :class:`CannotRun`."""

    def __init__(self, argv: Sequence[str]) -> None:
        self._name = argv[0]
        try:
            self._process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                start_new_session=True, bufsize=0,
            )  # fmt: skip
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "bad name"
            raise CannotRun(f"{self._name} cannot be run: {reason.lower()}") from None
        assert self._process.stdout is not None and self._process.stderr is not None
        self._out, self._err = self._process.stdout.fileno(), self._process.stderr.fileno()
        self._said = b""
        for descriptor in (self._out, self._err):
            os.set_blocking(descriptor, False)
        with suppress(OSError):
            fcntl.fcntl(self._out, fcntl.F_SETPIPE_SZ, _PIPE)

    def read(self, limit: int, patience: float) -> bytes | None:
        """What was printed, at most ``limit`` bytes: b"" where nothing comes within ``patience`` seconds,
        None where nothing more will come."""
        found = bytearray()
        data: bytes | None = b""
        while len(found) < limit:
            data = self._read(limit - len(found), 0 if found else patience)
            if not data:
                break
            found += data
        self._hear()
        return bytes(found) if found or data is not None else None

    def _read(self, limit: int, patience: float) -> bytes | None:
        ready = select.poll()
        ready.register(self._out, select.POLLIN)
        if not ready.poll(patience * 1000):
            return b""
        try:
            return os.read(self._out, min(limit, _PIPE)) or None
        except BlockingIOError:
            return b""

    def _hear(self) -> None:
        with suppress(BlockingIOError):
            while said := os.read(self._err, 1 << 16):
                self._said = (self._said + said)[-_KEPT:]

    def close(self) -> tuple[int, str]:
        """End it, if it runs. Its status, and how it ended with the last line that it said."""
        with suppress(subprocess.TimeoutExpired):  # after its output it may end by itself
            self._process.wait(_ENDING)
        self.kill()
        code = self._process.wait()
        self._hear()
        for pipe in (self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()
        return code, self._ended(code)

    def kill(self) -> None:
        """End it with its children, from any thread; :meth:`close` is still to be called."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def _ended(self, code: int) -> str:
        how = f"{self._name} ended " + (f"by signal {-code}" if code < 0 else f"with status {code}")
        lines = [line.strip() for line in self._said.decode(errors="replace").splitlines() if line.strip()]
        return f"{how}: {lines[-1][:_SAID]}" if lines else how
