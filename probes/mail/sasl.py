"""How to log in: one SASL mechanism (RFC 4422) out of what a server offers. No I/O.

A password goes by PLAIN or LOGIN where TLS with a verified name protects it: servers that keep only hashes
often offer CRAM-MD5 and cannot do it, and each refused login brings a lock-out nearer. Without such TLS
CRAM-MD5 comes first, since it does not hand the password out. A token goes by OAUTHBEARER or XOAUTH2 only.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Collection, Iterator

from msgspec import Struct

from probes.secret import Secret, Token
from probes.service import Service


class Mechanism(Struct, frozen=True, kw_only=True):
    """One exchange. ``initial`` is the initial response (RFC 4422 section 3.3), None where the server speaks
    first; ``answer`` turns each challenge, decoded, into the response to it."""

    name: str
    initial: bytes | None
    answer: Callable[[bytes], bytes]


def choose(offered: Collection[str], login: str, secret: Secret, service: Service) -> Mechanism | None:
    """The best mechanism of those that the server offers; None where it offers none that will do."""
    names = {name.upper() for name in offered}
    for name in order(secret, private(service)):
        if name in names:
            return _MAKE[name](login, secret.reveal(), service)
    return None


def order(secret: Secret, safe: bool) -> tuple[str, ...]:
    """``safe``: the wire is encrypted and the peer is who was meant."""
    if isinstance(secret, Token):
        # RFC 7628 section 3; Microsoft and Google have their own, older one.
        return ("OAUTHBEARER", "XOAUTH2") if safe else ()  # RFC 6750 section 5.3: never without TLS
    return ("PLAIN", "LOGIN", "CRAM-MD5") if safe else ("CRAM-MD5", "PLAIN", "LOGIN")


def private(service: Service) -> bool:
    return service.tls != "none" and service.verify


def plain(login: str, password: str, service: Service) -> Mechanism:
    """RFC 4616: UTF-8, no authorisation identity."""
    initial = f"\0{login}\0{password}".encode()
    return Mechanism(name="PLAIN", initial=initial, answer=lambda _: b"")


def _login(login: str, password: str, service: Service) -> Mechanism:
    """Never standardised: two challenges, whose words differ from server to server."""
    answers: Iterator[bytes] = iter((login.encode(), password.encode()))
    return Mechanism(name="LOGIN", initial=None, answer=lambda _: next(answers, b""))


def cram_md5(login: str, password: str, service: Service) -> Mechanism:
    """RFC 2195 section 2."""

    def answer(challenge: bytes) -> bytes:
        return f"{login} {hmac.new(password.encode(), challenge, hashlib.md5).hexdigest()}".encode()

    return Mechanism(name="CRAM-MD5", initial=None, answer=answer)


def _xoauth2(login: str, token: str, service: Service) -> Mechanism:
    """As Google and Microsoft document it: a challenge is the reason of a refusal, answered with nothing."""
    initial = f"user={login}\x01auth=Bearer {token}\x01\x01".encode()
    return Mechanism(name="XOAUTH2", initial=initial, answer=lambda _: b"")


def _oauthbearer(login: str, token: str, service: Service) -> Mechanism:
    """RFC 7628 section 3.1; a refusal's reason is answered with one ^A (section 3.2.3)."""
    name = login.replace("=", "=3D").replace(",", "=2C")  # RFC 5801 section 4: saslname
    place = f"host={service.shown_name}\x01port={service.port}"
    initial = f"n,a={name},\x01{place}\x01auth=Bearer {token}\x01\x01".encode()
    return Mechanism(name="OAUTHBEARER", initial=initial, answer=lambda _: b"\x01")


_MAKE: dict[str, Callable[[str, str, Service], Mechanism]] = {
    "PLAIN": plain,
    "LOGIN": _login,
    "CRAM-MD5": cram_md5,
    "XOAUTH2": _xoauth2,
    "OAUTHBEARER": _oauthbearer,
}
