"""One real daemon: started under the warden, waited for by asking it, ended with everything it started."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType

import pytest

WARDEN = Path(__file__).with_name("warden.py")
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
PATIENCE = 40.0  # seconds; for what takes a blink on an idle machine
_SHOWN = 40_000


def needs(*programs: str) -> None:
    """Skip the test, or fail it under CI, where these programs are not installed or nobody is root.

    Root is needed for port 53 on the stage's own loopback addresses and for Postfix, which no other user
    may start.
    """
    lacking = [program for program in programs if shutil.which(program, path=PATH) is None]
    reason = f"not installed: {', '.join(lacking)}" if lacking else ""
    if os.geteuid() != 0:
        reason = reason or "only root can start these servers"
    if reason and os.environ.get("CI") == "true":
        pytest.fail(f"{reason} (.ci/run installs what is needed)")
    if reason:
        pytest.skip(reason)


def program(name: str) -> str:
    """The path of a program that ``needs`` has found."""
    found = shutil.which(name, path=PATH)
    if found is None:
        raise FileNotFoundError(name)
    return found


def run(*command: str) -> str:
    """A command to its end; its output. Raises ``AssertionError`` with it where it fails."""
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=PATIENCE, check=False, env=_environment()
    )
    assert done.returncode == 0, f"{command}: exit {done.returncode}: {done.stdout}{done.stderr}"
    return done.stdout


def _environment(zone: str | None = None) -> dict[str, str]:
    """What a service manager would give: no settings of the person who runs the tests but the time zone."""
    zone = zone or os.environ.get("TZ")
    return {"PATH": PATH, "LC_ALL": "C", **({"TZ": zone} if zone else {})}


def wait_until(holds: Callable[[], object], what: str, seconds: float = PATIENCE) -> None:
    """Ask again and again. Raises ``TimeoutError`` where ``what`` never comes."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {seconds:.0f} s")
        time.sleep(0.05)


class Daemon:
    """``with Daemon(name, command, directory, ready): …``. ``ready`` asks the server itself and tells whether
    it answered. ``log`` is the daemon's own log where that is not its output; ``zone`` the time zone it
    lives in (IANA), the machine's own if None."""

    def __init__(
        self, name: str, command: Sequence[str], directory: Path, ready: Callable[[], object],
        log: Path | None = None, zone: str | None = None,
    ) -> None:  # fmt: skip
        self.name = name
        self._command = list(command)
        self._directory = directory
        self._ready = ready
        self._output = directory / f"{name}.output"
        self._log = log
        self._zone = zone
        self._warden: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Daemon:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def running(self) -> bool:
        return self._warden is not None and self._warden.poll() is None

    def start(self) -> None:
        """Returns when it answers. Raises ``AssertionError`` with its log where it does not."""
        with self._output.open("ab") as output:
            self._warden = subprocess.Popen(
                [sys.executable, "-I", "-S", str(WARDEN), *self._command],
                stdin=subprocess.PIPE, stdout=output, stderr=output, cwd=self._directory,
                env=_environment(self._zone), start_new_session=True,
            )  # fmt: skip
        try:
            wait_until(lambda: not self.running or self._answers(), f"{self.name} answers")
        except BaseException:
            self.stop()
            raise
        assert self.running, f"{self.name} ended of itself\n{self.log()}"

    def stop(self) -> None:
        """Returns when nothing of it is left. May be called again."""
        if self._warden is None:
            return
        assert self._warden.stdin is not None
        self._warden.stdin.close()
        try:
            self._warden.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._warden.kill()
            self._warden.wait()
            raise
        finally:
            self._warden = None

    def log(self) -> str:
        """The end of what it said, for people."""
        texts = [
            f"--- {path.name}\n{path.read_text(errors='replace')[-_SHOWN:]}"
            for path in (self._output, self._log)
            if path is not None and path.exists()
        ]
        return "\n".join(texts)

    def _answers(self) -> bool:
        try:
            return bool(self._ready())
        except (OSError, EOFError):
            return False
