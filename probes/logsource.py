"""Where a mail log is read: each kind of source by what it takes to open it."""

from __future__ import annotations

from pathlib import Path
from typing import TypeAlias

from msgspec import Struct


class Files(Struct, frozen=True):
    """Files of this machine: one log with its rotated siblings, or a pattern (``*``, ``?``, ``[…]``)."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)


class Journal(Struct, frozen=True):
    """The systemd journal of this machine, of these units (none: of all)."""

    units: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"the journal of {', '.join(self.units)}" if self.units else "the journal"


class Command(Struct, frozen=True):
    """What a program prints, a line of the log a line: ``("ssh", "old", "tail", "-F", …)``. No shell."""

    argv: tuple[str, ...]

    def __str__(self) -> str:
        return " ".join(self.argv)


class Ssh(Struct, frozen=True, kw_only=True):
    """Files of another machine over SSH's SFTP. ``path`` as in :class:`Files`, absolute. None: ``user`` as
    whoever watches, ``known_hosts`` and ``key`` as OpenSSH has them (the agent's keys are tried as well)."""

    host: str
    path: str
    user: str | None = None
    port: int = 22
    known_hosts: Path | None = None
    key: Path | None = None

    def __str__(self) -> str:
        return f"{self.host}:{self.path}"


Source: TypeAlias = Files | Journal | Command | Ssh
