"""A plan's resolvers: addresses, URLs of DNS over HTTPS, and the words for what is bundled."""

from __future__ import annotations

import re

from monitor.plan import values
from monitor.plan.mistakes import Wrong

PUBLIC, ALL = "public", "all"
LONGEST_URL = 512
WRITE = 'write "public" or an address: "8.8.8.8", or "https://NAME/dns-query"'
# RFC 3986 section 3.3 and 3.4: what may stand in a path and a query, without the template (RFC 8484 4.1)
_REST = re.compile(r"(?:/(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/]|%[0-9A-Fa-f]{2})*)?(?:\?[A-Za-z0-9\-._~=&%/]*)?")
_TEMPLATES = ("{?dns}", "{&dns}")


def public() -> dict[str, str]:
    """Id to operator, of every bundled resolver that a watch asks by default."""
    from probes.dns import catalogue  # only for who reads a plan

    return {entry.id: entry.platform for entry in catalogue.public()}


def named(text: str) -> dict[str, str]:
    """Ids with their operators ("" for a stranger's) of what one entry of the list says.

    Raises :class:`Wrong`.
    """
    from probes.dns import catalogue

    if text == PUBLIC:
        return public()
    if text == ALL:
        return {entry.id: entry.platform for entry in catalogue.everyone()}
    own = resolver(text)
    return {own: next((entry.platform for entry in catalogue.entries_of(own)), "")}


def resolver(text: str) -> str:
    """A resolver's id: its address (RFC 5952), or the URL at which it speaks DNS over HTTPS."""
    if "://" in text:
        return url(text)
    try:
        return values.address(text)
    except Wrong:
        raise Wrong(f"{text!r} is not an IP address", WRITE) from None


def url(text: str) -> str:
    """An https URL in one form: host in lower case (A-labels), no default port, no template at its end."""
    plain = text.strip()
    for template in _TEMPLATES:
        plain = plain.removesuffix(template)
    head, _, rest = plain.partition("://")
    authority, slash, path = rest.partition("/")
    if head.lower() != "https" or len(plain) > LONGEST_URL or not _REST.fullmatch(slash + path):
        raise Wrong(f"{text[:80]!r} is no https URL of a resolver", 'write it as "https://NAME/dns-query"')
    return f"https://{_authority(text, authority)}{slash}{path}"


def _authority(text: str, authority: str) -> str:
    host, colon, port = (
        authority.rpartition(":") if re.search(r":[0-9]+$", authority) else (authority, "", "")
    )
    if not host or "@" in host or (colon and not 0 < int(port[:6]) < 65536):
        raise Wrong(f"{text[:80]!r} names no host", 'write it as "https://NAME/dns-query"')
    bare = values.host(host.strip("[]")).removesuffix(".")
    shown = f"[{bare}]" if ":" in bare else bare
    return shown if not colon or int(port) == 443 else f"{shown}:{int(port)}"
