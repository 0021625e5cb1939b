"""Domains and addresses as logs spell them."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import ip_address

import idna


def domain_forms(domain: str) -> tuple[str, ...]:
    """The domain as logs may spell it, lower case: A-labels, and U-labels where it has them (RFC 6531)."""
    ascii_form = domain.rstrip(".").lower()
    try:
        unicode_form = idna.decode(ascii_form)
    except (idna.IDNAError, UnicodeError):
        return (ascii_form,)
    return (ascii_form,) if unicode_form == ascii_form else (ascii_form, unicode_form)


@lru_cache(maxsize=4096)
def canonical(address: str) -> str:
    """One spelling of an IP address; an IPv4-mapped one as IPv4 (RFC 4291 section 2.5.5.2)."""
    try:
        found = ip_address(address)
    except ValueError:
        return address.lower()
    mapped = getattr(found, "ipv4_mapped", None)
    return str(mapped or found)


@lru_cache(maxsize=4096)
def loopback(address: str) -> bool:
    try:
        return ip_address(canonical(address)).is_loopback
    except ValueError:
        return False
