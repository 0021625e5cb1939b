"""Where a logical address is really to be reached: the transport layer's own map.

Observations speak of the logical addresses on their standard ports. A plan's ``[endpoints]`` table
sends them elsewhere (rehearsal, tests, tunnels): ``"192.0.2.10:25" = "127.0.0.1:2501"``, or
``"192.0.2.10" = "127.0.0.9"`` for every port. Nothing above the transport knows of it.
"""

from __future__ import annotations

from collections.abc import Mapping


class Endpoints:
    """Maps (address, port) to the (address, port) to connect to; what is not mapped is itself."""

    def __init__(self, table: Mapping[str, str] | None = None) -> None:
        self._table = {split(k): split(v) for k, v in (table or {}).items()}

    def real(self, address: str, port: int) -> tuple[str, int]:
        exact = self._table.get((address, port))
        if exact is not None:
            return exact[0], exact[1] or port
        host = self._table.get((address, None))
        return (host[0], host[1] or port) if host is not None else (address, port)


def split(endpoint: str) -> tuple[str, int | None]:
    """``A:PORT``, ``[A6]:PORT``, ``A`` or ``A6`` in two. Raises ``ValueError`` on a bad port."""
    if endpoint.startswith("["):
        address, _, rest = endpoint[1:].partition("]")
        return address, _port(rest[1:]) if rest.startswith(":") else None
    if endpoint.count(":") == 1:
        address, _, port = endpoint.partition(":")
        return address, _port(port)
    return endpoint, None


def _port(text: str) -> int:
    port = int(text)
    if not 0 < port < 65536:
        raise ValueError(f"{text} is not a port (1 to 65535)")
    return port
