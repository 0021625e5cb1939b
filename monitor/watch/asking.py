"""What a watch asks of the world, as the schedules see it; ``monitor.watch.world`` is the real one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any, Protocol

from monitor.plan.model import Account
from probes.observation import CanarySent, Observation, Queue, Side, Skip
from probes.sight import Delegated, Server, Sight, Target, Tell

__all__ = ["Asking", "Delegated", "Server", "Sight", "Target", "Tell"]


class Asking(Protocol):
    """No method raises for anything that the world does; what it does is an observation.

    ``tell`` hears each observation the moment it is made; all of them are returned as well.
    """

    async def discover(self, tell: Tell) -> Delegated:
        """Walk the delegation anew. ``tell`` hears what the parent's servers say of it."""
        ...

    async def port53(self, tell: Tell) -> None:
        """Follow whether port 53 is intercepted here, and tell of each change; for ever. Answers that other
        methods tell of are ``intercepted`` where they can't be believed."""
        ...

    async def authority(self, server: Server, hosts: Sequence[str], tell: Tell) -> Sequence[Observation]: ...

    async def hosts(self, hosts: Sequence[str], tell: Tell) -> Sequence[Observation]:
        """A and AAAA of exchanges as their own zones' authorities serve them."""
        ...

    async def records(self, server: Server, tell: Tell) -> Sequence[Observation]:
        """What else an authority of the domain serves that may name a mail host: SPF, SRV, imap.…"""
        ...

    async def resolver(self, resolver: str, hosts: Sequence[str], tell: Tell) -> Sequence[Observation]:
        """The domain's MX first, then the hosts' addresses: one question after the other, a gap apart."""
        ...

    async def canary(
        self, route: str, account: Account, target: Target | None, tell: Tell
    ) -> Sequence[Observation]: ...

    def mailbox(self, side: Side, account: Account, position: Any) -> AsyncIterator[Sight]:
        """Follow one mailbox from ``position`` (None: from its beginning); ends when it is disconnected."""
        ...

    def log(self, position: Any) -> AsyncIterator[Sight]: ...

    async def queue(self) -> Queue | Skip:
        """What waits in the old host's queue; a ``skip`` where it cannot be told."""
        ...

    def sent(self, seen: CanarySent) -> None:
        """A canary that is on record, of this watch or of one before: the old host's log may show it."""
        ...

    async def close(self) -> None: ...
