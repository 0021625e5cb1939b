"""What an authoritative server said, as an observation."""

from __future__ import annotations

from typing import Any

from probes.dns.exchange import Reply
from probes.observation import AuthorityAnswer, now
from probes.sight import Server


def observed(server: Server, name: str, kind: str, reply: Reply, **other: Any) -> AuthorityAnswer:
    """``reply`` to the question for ``name`` and ``kind``, seen just now. ``other``: fields in place of the
    reply's own."""
    fields: dict[str, Any] = {
        "transport": reply.transport, "outcome": reply.outcome, "rrset": reply.rrset, "ttl": reply.ttl,
        "aa": reply.aa, "rtt_ms": reply.rtt_ms, "serial": None,
    }  # fmt: skip
    return AuthorityAnswer(
        at=now(), server=server.name, address=server.address, name=name, type=kind, **(fields | other)
    )
