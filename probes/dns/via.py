"""By which way a server is asked: the transports and what each needs to know.

``UDP`` (TCP where its answer is cut short) and ``TCP`` need nothing; ``dot(name)``, ``doh(url)`` and
``doq(name)`` verify the server's certificate against that name (RFC 8310 section 5.1); the last needs the
optional extra ``doq``.
"""

from __future__ import annotations

import base64
import ipaddress
from typing import Literal
from urllib.parse import urlsplit

from msgspec import Struct

Transport = Literal["udp", "tcp", "dot", "doh", "doq"]
Method = Literal["POST", "GET"]
# RFC 7858 section 3.1, RFC 8484 section 4.1 (https), RFC 9250 section 4.1.1
PORTS: dict[Transport, int] = {"udp": 53, "tcp": 53, "dot": 853, "doh": 443, "doq": 853}


class Via(Struct, frozen=True):
    """``name``: whom the certificate must name; empty: the address that is asked (as an IP SAN).

    ``url``: DoH's URI template (RFC 8484 section 4.1) with or without its ``{?dns}``; the host in it is
    what the certificate must name, its port the one to connect to; the address comes from who asks.
    """

    transport: Transport = "udp"
    name: str = ""
    url: str = ""
    method: Method = "POST"

    @property
    def encrypted(self) -> bool:
        return self.transport in ("dot", "doh", "doq")

    @property
    def port(self) -> int:
        """Raises ``ValueError`` where the URL is none."""
        return self.place.port if self.transport == "doh" else PORTS[self.transport]

    @property
    def place(self) -> Place:
        """DoH's URL in parts. Raises ``ValueError``."""
        return Place.of(self.url)


class Place(Struct, frozen=True):
    """Where DoH is spoken: the host (a name or an address, without brackets), port, authority and path."""

    host: str
    port: int
    authority: str
    path: str

    @staticmethod
    def of(url: str) -> Place:
        base = url.partition("{")[0]
        parts = urlsplit(base)
        if parts.scheme != "https" or not parts.hostname or parts.username is not None:
            raise ValueError(f"{url!r} is not an https URL")
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        if not base.isascii() or not base.isprintable() or " " in base:
            raise ValueError(f"{url!r} is not a URL in ASCII")
        return Place(parts.hostname, parts.port or PORTS["doh"], parts.netloc, path)

    def asking(self, wire: bytes) -> str:
        """The path of a GET (RFC 8484 section 4.1): the query in base64url without padding (section 6)."""
        dns = base64.urlsafe_b64encode(wire).rstrip(b"=").decode("ascii")
        return f"{self.path}{'&' if '?' in self.path else '?'}dns={dns}"


UDP = Via()
TCP = Via("tcp")


def dot(name: str = "") -> Via:
    return Via("dot", name=name)


def doh(url: str, method: Method = "POST") -> Via:
    return Via("doh", url=url, method=method)


def doq(name: str = "") -> Via:
    return Via("doq", name=name)


def is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


class How(Struct, frozen=True, kw_only=True):
    """How a question is put: whether recursion is desired; with EDNS or without; with EDNS, whether the
    server's identifier and signatures are wanted, too."""

    rd: bool
    edns: bool = True
    nsid: bool = True
    dnssec: bool = False
    via: Via = UDP
