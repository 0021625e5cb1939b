"""Canaries as a log knows them that names no Message-ID: by what the server answered to their DATA."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final

from probes.observation import CanarySent, to_ms
from probes.oldhost.names import canonical

NEAR = 300_000  # ms between the reply, by this clock, and the message, by the log host's
MOST = 5_000
_WORDS: Final = re.compile(r"qp \d+|[0-9A-Za-z.-]{8,}")


class Accepted:
    """``addresses`` and ``hosts`` of the server whose log it is: no other's reply counts."""

    def __init__(self, addresses: Collection[str], hosts: Collection[str]) -> None:
        self._addresses = frozenset(canonical(one) for one in addresses)
        self._hosts = frozenset(hosts)
        self._names: dict[str, tuple[str, int]] = {}  # queue id -> (canary, when)

    def hear(self, seen: CanarySent) -> None:
        here = seen.host in self._hosts or (seen.address and canonical(seen.address) in self._addresses)
        if seen.outcome != "accepted" or not here:
            return
        for word in _WORDS.findall((seen.reply or "")[:500]):
            name = word.strip(".")
            if any(c.isdigit() for c in name):
                self._names.pop(name, None)
                self._names[name] = seen.canary, to_ms(seen.at)
        while len(self._names) > MOST:
            del self._names[next(iter(self._names))]

    def canary(self, name: str, at: int) -> str | None:
        """The canary that was queued as ``name`` at ``at`` (ms); names are used again after a while."""
        found = self._names.get(name)
        return found[0] if found is not None and abs(found[1] - at) <= NEAR else None
