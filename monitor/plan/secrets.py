"""References to secrets, resolved late. No value reaches an exception's text."""

from __future__ import annotations

import importlib
import os
import select
import shlex
import signal
import stat
import subprocess
import sys
import time
from getpass import getpass
from pathlib import Path
from typing import Any

from monitor.exits import Exit, Failure
from probes.secret import Secret, Token

COMMAND_SECONDS = 10.0
LIMIT = 65536
OAUTH_FILES = ("google", "microsoft", "refresh")
_DIRECTORY = "CREDENTIALS_DIRECTORY"


def resolve(reference: str, base: Path, label: str = "", login: str = "") -> Secret:
    """The secret behind ``reference``; relative files are below ``base``. Blocks (a command: 10 s at most).

    ``label`` tells a person at the prompt whose password is asked for; ``login`` is for whom a token is to
    be. An ``oauth:`` reference gives a :class:`Token`. Raises :class:`Failure`: 78 where the
    reference or its file does not do (missing, empty, readable by others), 69 where its source fails.
    """
    scheme, _, rest = reference.strip().partition(":")
    if scheme == "file":
        return _first_line(_read_file(base / Path(rest).expanduser()), f"the secret's file {rest}")
    if scheme == "command":
        return _command(rest)
    if scheme == "credential":
        return _credential(rest)
    if scheme == "keyring":
        return _keyring(rest)
    if scheme == "oauth":
        return _token(rest, base, login)
    if reference.strip() == "prompt":
        return _prompt(label)
    raise Failure("a secret's reference is none of the known forms (mxcutover plan check)", Exit.BAD_PLAN)


def file_of(reference: str, base: Path) -> Path | None:
    """The file that a ``file:`` or ``oauth:KIND:`` reference names, else None."""
    scheme, _, rest = reference.partition(":")
    kind, _, named = rest.partition(":")
    if scheme == "oauth" and kind in OAUTH_FILES:
        return base / Path(named).expanduser()
    return base / Path(rest).expanduser() if scheme == "file" else None


def _token(rest: str, base: Path, login: str) -> Token:
    kind, _, named = rest.partition(":")
    if kind == "command":
        return Token(_command(named).reveal())
    if kind not in OAUTH_FILES:
        raise Failure("a secret's reference is none of the known forms (mxcutover plan check)", Exit.BAD_PLAN)
    from monitor.plan.oauth import token  # only for who has one

    return token(kind, _read_file(base / Path(named).expanduser()), login)


def _read_file(file: Path, private: bool = True) -> bytes:
    """Opened first and judged by what was opened: the file cannot be exchanged in between."""
    try:
        handle = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "bad name"
        raise Failure(f"the secret's file {file} cannot be read: {reason}", Exit.BAD_PLAN) from None
    with os.fdopen(handle, "rb") as opened:
        mode = os.fstat(handle).st_mode
        if not stat.S_ISREG(mode):
            raise Failure(f"the secret's file {file} is not a file", Exit.BAD_PLAN)
        if private and mode & 0o077:
            say = f"others can read the secret's file {file} (mode {mode & 0o777:o}); run: chmod 600 {file}"
            raise Failure(say, Exit.BAD_PLAN)
        return opened.read(LIMIT)


def _first_line(raw: bytes, source: str) -> Secret:
    line = raw.removeprefix(b"\xef\xbb\xbf").partition(b"\n")[0].removesuffix(b"\r")
    try:
        text = line.decode()
    except UnicodeDecodeError:
        raise Failure(f"{source}: its first line is not UTF-8", Exit.BAD_PLAN) from None
    if not text:
        raise Failure(f"{source}: its first line is empty", Exit.BAD_PLAN)
    return Secret(text)


def _credential(name: str) -> Secret:
    """systemd.exec(5), LoadCredential=: one file a credential, in a directory only this service sees."""
    directory = os.environ.get(_DIRECTORY)
    if not directory:
        raise Failure(f"credential:{name}: ${_DIRECTORY} is not set (systemd sets it)", Exit.UNAVAILABLE)
    if "/" in name or name in ("", ".", ".."):
        raise Failure(f"credential:{name} is not a credential's name", Exit.BAD_PLAN)
    return _first_line(_read_file(Path(directory) / name, private=False), f"credential:{name}")


def _command(line: str) -> Secret:
    """The first line that a program prints; no shell. The text of its errors is never repeated."""
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise Failure(f"a secret's command cannot be split into words: {error}", Exit.BAD_PLAN) from None
    if not words:
        raise Failure("a secret's command is empty", Exit.BAD_PLAN)
    try:
        process = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "bad name"
        raise Failure(f"the secret's command {words[0]} cannot be run: {reason}", Exit.UNAVAILABLE) from None
    return _output(process, words[0])


def _output(process: subprocess.Popen[bytes], name: str) -> Secret:
    deadline = time.monotonic() + COMMAND_SECONDS
    try:
        raw = _read_until(process, deadline)
        code = process.wait(max(0.0, deadline - time.monotonic()))
    except (TimeoutError, subprocess.TimeoutExpired):
        say = f"the secret's command {name} took longer than {COMMAND_SECONDS:g} s"
        raise Failure(say, Exit.UNAVAILABLE) from None
    finally:
        _end(process)
    if code != 0:
        raise Failure(f"the secret's command {name} failed (exit {code})", Exit.UNAVAILABLE)
    return _first_line(raw, f"the secret's command {name}")


def _read_until(process: subprocess.Popen[bytes], deadline: float) -> bytes:
    """All output up to its end; what is past ``LIMIT`` is read and dropped. Raises ``TimeoutError``."""
    assert process.stdout is not None
    raw = b""
    while True:
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([process.stdout], [], [], left)[0]:
            raise TimeoutError
        chunk = os.read(process.stdout.fileno(), LIMIT)
        if not chunk:
            return raw
        raw = (raw + chunk)[:LIMIT]


def _end(process: subprocess.Popen[bytes]) -> None:
    """The whole process group, so that nothing it started stays."""
    if process.stdout is not None:
        process.stdout.close()
    if process.returncode is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _keyring(rest: str) -> Secret:
    service, _, user = rest.rpartition("/")
    if not (service and user):
        raise Failure("a keyring reference is keyring:SERVICE/USER", Exit.BAD_PLAN)
    try:
        keyring: Any = importlib.import_module("keyring")
    except ImportError:
        say = "keyring: the package is not installed; run: pip install 'mxcutover[keyring]'"
        raise Failure(say, Exit.UNAVAILABLE) from None
    try:
        value = keyring.get_password(service, user)
    except Exception as error:  # each backend raises its own kinds
        raise Failure(f"the keyring failed: {type(error).__name__}", Exit.UNAVAILABLE) from None
    if not value:
        raise Failure(f"the keyring has no password for {service}/{user}", Exit.UNAVAILABLE)
    return Secret(value)


def _prompt(label: str) -> Secret:
    if not sys.stdin.isatty():
        say = "a secret is to be asked for (prompt), but there is no terminal; write file: or credential:"
        raise Failure(say, Exit.UNAVAILABLE)
    try:
        value = getpass(f"Password of {label}: " if label else "Password: ")
    except EOFError:
        value = ""
    if not value:
        raise Failure("no password was typed", Exit.UNAVAILABLE)
    return Secret(value)
