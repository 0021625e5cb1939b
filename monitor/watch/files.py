"""Room for one open file a mailbox."""

from __future__ import annotations

import contextlib
import resource

SPARE = 512  # the journal, the resolvers' sockets, logs


def make_room(connections: int) -> None:
    """Raise this process's own limit on open files (setrlimit(2)) towards what so many connections need, as
    far as the hard limit lets it. Where it does not, those beyond it are told as unreachable."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + SPARE
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and wanted > soft:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
