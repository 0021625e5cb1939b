"""The stage's own loopback addresses: a /24 of 127.0.0.0/8 that nobody else listens on.

Drawn anew for each stage, so that runs beside each other do not meet. Name servers are on port 53 of
their own addresses, as resolvers follow a delegation to no other port; everything else is on high ports,
to which the plan's ``[endpoints]`` lead.
"""

from __future__ import annotations

import random
import socket

from msgspec import Struct

SMTP, SUBMISSION, SUBMISSIONS, IMAP, IMAPS, DNS = 2525, 5870, 4650, 1430, 9930, 5300
STANDARD = {SMTP: 25, SUBMISSION: 587, SUBMISSIONS: 465, IMAP: 143, IMAPS: 993, DNS: 53}
_TRIES = 50


class Addresses(Struct, frozen=True):
    """Who has which address; ``block`` is "127.a.b"."""

    block: str

    def at(self, last: int) -> str:
        return f"{self.block}.{last}"

    @property
    def root(self) -> str:
        return self.at(1)

    @property
    def primary(self) -> str:
        return self.at(2)

    @property
    def secondary(self) -> str:
        return self.at(3)

    @property
    def unbound(self) -> str:
        return self.at(4)

    @property
    def knot(self) -> str:
        return self.at(5)

    @property
    def old(self) -> str:
        return self.at(10)

    @property
    def new(self) -> tuple[str, str]:
        return self.at(20), self.at(21)

    def outside(self, number: int) -> str:
        """An outside sender's, from which its connections really come."""
        return self.at(100 + number)

    @property
    def outsiders(self) -> str:
        """All of them, as a network."""
        return f"{self.at(96)}/27"


def draw() -> Addresses:
    """A block where port 53 is free. Raises ``OSError`` where none is to be had."""
    for _ in range(_TRIES):
        # Not 127.0 and not 127.255: distributions and resolvers have their habits there.
        found = Addresses(f"127.{random.randint(1, 254)}.{random.randint(1, 254)}")
        if _free(found.root, 53) and _free(found.old, SMTP):
            return found
    raise OSError("no loopback block with a free port 53: does a name server listen on every address?")


def _free(address: str, port: int) -> bool:
    with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
        try:
            tcp.bind((address, port))
            udp.bind((address, port))
        except OSError:
            return False
    return True
