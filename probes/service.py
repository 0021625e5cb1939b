"""One mail service of a host, and how its TLS is to be verified."""

from __future__ import annotations

import ssl
from functools import lru_cache
from pathlib import Path
from typing import Literal

from msgspec import Struct

Tls = Literal["implicit", "starttls", "none"]


class Service(Struct, frozen=True, kw_only=True):
    """One mail service of a host: where it is and how its TLS is to be verified.

    ``address`` is an IP address to use instead of looking ``host`` up; ``tls_name`` the name that the
    certificate must show (``host`` if None); ``ca_file`` trusts these CAs in place of the system's;
    ``verify = false`` is the plan's named exception and is shown in every report. ``connections``: the most
    that the watch may have there at a time, None where only the host's refusals tell.
    """

    host: str
    port: int
    tls: Tls
    address: str | None = None
    tls_name: str | None = None
    ca_file: Path | None = None
    verify: bool = True
    connections: int | None = None

    @property
    def shown_name(self) -> str:
        """The name that the certificate must show and that SNI asks for, without the final dot."""
        return (self.tls_name or self.host).rstrip(".")


@lru_cache(maxsize=64)
def tls_context(ca_file: Path | None, verify: bool) -> ssl.SSLContext:
    """One context for all connections that trust alike: a context of its own costs 900 kB a connection.

    Raises ``OSError`` (``ssl.SSLError`` among them) where ``ca_file`` is no file of certificates.
    """
    context = ssl.create_default_context(cafile=str(ca_file) if ca_file else None)
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
