"""A root directory of its own for a server whose package cannot be installed beside the others.

``.ci/unpack`` puts the packages' files into ``.servers/root``. A room sees them laid over the machine's own
``/usr``, has its own ``/etc`` and ``/var`` where such servers have their paths and users compiled in, and
shares the network and the stage's directory with everything else. The mounts live in a namespace of the
daemon's own and end with it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.servers.daemon import needs
from tests.servers.host import MAIL_GID, MAIL_UID

UNPACKED = Path(__file__).parents[2] / ".servers" / "root"

# As init: mounts seen by nobody else, then the server in its new root. $1: unpacked, $2: the room,
# $3: the directory that stays where it is.
_ENTER = """\
set -e
mount -t overlay -o ro,lowerdir="$1/usr":/usr overlay "$2/usr"
for device in null zero random urandom; do mount --bind "/dev/$device" "$2/dev/$device"; done
mount --rbind /proc "$2/proc"
mount --bind "$3" "$2$3"
room=$2
shift 3
exec chroot "$room" "$@"
"""
_PASSWD = """\
root:x:0:0::/:/bin/sh
nobody:x:65534:65534::/:/usr/sbin/nologin
mail:x:{uid}:{gid}::{home}:/bin/sh
"""


def needs_unpacked(*programs: str) -> None:
    """As ``needs``, for programs below ``.servers/root``."""
    needs("unshare", "mount", "chroot")
    lacking = [program for program in programs if not (UNPACKED / program).exists()]
    if lacking and os.environ.get("CI") == "true":
        pytest.fail(f"not unpacked: {', '.join(lacking)} (.ci/unpack does it)")
    if lacking:
        pytest.skip(f"not unpacked: {', '.join(lacking)} (.ci/unpack does it)")


class Room:
    """``shared`` is the directory that the server and the tests both see, at the same path; the room is made
    below it. ``users``: the names that the server's package would have made, with their numbers (each a user
    and a group); "mail" owns the mailboxes."""

    def __init__(self, name: str, shared: Path, users: Mapping[str, int]) -> None:
        self.root = shared / name / "room"
        self._shared = shared
        for folder in ("usr", "dev", "proc", "etc", "run", "tmp", "var/lib", "var/spool", "var/log"):
            (self.root / folder).mkdir(parents=True)
        (self.root / str(shared).lstrip("/")).mkdir(parents=True)
        for link in ("bin", "sbin", "lib", "lib64"):
            (self.root / link).symlink_to(f"usr/{link}")
        (self.root / "var/run").symlink_to("/run")
        for device in ("null", "zero", "random", "urandom"):
            self.device(device).touch()
        (self.root / "tmp").chmod(0o1777)
        self._people(users)

    def _people(self, users: Mapping[str, int]) -> None:
        passwd = _PASSWD.format(uid=MAIL_UID, gid=MAIL_GID, home=self._shared)
        group = f"root:x:0:\nnogroup:x:65534:\nmail:x:{MAIL_GID}:\n"
        for name, number in users.items():
            passwd += f"{name}:x:{number}:{number}::/:/usr/sbin/nologin\n"
            group += f"{name}:x:{number}:\n"
        self.write("etc/passwd", passwd)
        self.write("etc/group", group)
        self.write("etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\n")
        self.write("etc/hosts", "127.0.0.1 localhost\n")
        self.write("etc/services", "smtp 25/tcp\n")

    def write(self, path: str, text: str, mode: int = 0o644, owner: int = 0) -> Path:
        """A file of the room's; its path outside."""
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(mode)
        os.chown(file, owner, owner)
        return file

    def device(self, name: str) -> Path:
        """Below ``/dev`` of the room; its path outside."""
        return self.root / "dev" / name

    def folder(self, path: str, mode: int = 0o755, owner: int = 0, group: int | None = None) -> None:
        folder = self.root / path
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(mode)
        os.chown(folder, owner, owner if group is None else group)

    def command(self, *command: str) -> list[str]:
        """What runs ``command`` in the room, as root."""
        enter = ["unshare", "--mount", "/bin/sh", "-c", _ENTER, "enter"]
        return [*enter, str(UNPACKED), str(self.root), str(self._shared), *command]
