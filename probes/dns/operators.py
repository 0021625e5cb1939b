"""How some operators' resolvers can be known: what they call themselves, and from where they ask others.

Each operator tells how to recognise its service, or publishes the networks that it asks from. A name that
no longer fits proves nothing by itself: operators change them (see ``honesty``).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable

from msgspec import Struct

from probes.dns.wire import Question

# Each answers with the address of the resolver that asks it.
WHOAMI = (Question("whoami.ds.akahelp.net.", "TXT"), Question("o-o.myaddr.l.google.com.", "TXT"))
_ID_SERVER = Question("id.server.", "TXT", "CH")  # RFC 4892 section 2
_STRING = re.compile(r'"((?:[^"\\]|\\.)*)"')
MOST_STRINGS = 32


class Operator(Struct, frozen=True, kw_only=True):
    """``asks`` is answered with a text that ``says`` matches, ``nsid`` matches the server's identifier
    (RFC 5001), whoami names see an address in ``networks``; ``recurses``: it asks authorities itself and from
    addresses of its own. What is empty is not known."""

    asks: Question | None = None
    says: str = ""
    nsid: str = ""
    networks: tuple[str, ...] = ()
    recurses: bool = False


OPERATORS: dict[str, Operator] = {
    # https://developers.google.com/speed/public-dns/faq#locations, https://www.gstatic.com/ipranges/goog.json
    "google": Operator(
        recurses=True,
        nsid=r"gpdns-[a-z0-9-]+",
        networks=(
            "8.8.4.0/24", "8.8.8.0/24", "64.233.160.0/19", "66.102.0.0/20", "66.249.64.0/19",
            "72.14.192.0/18", "74.125.0.0/16", "108.177.0.0/17", "142.250.0.0/15", "172.217.0.0/16",
            "172.253.0.0/16", "173.194.0.0/16", "192.178.0.0/15", "209.85.128.0/17",
            "216.58.192.0/19", "216.239.32.0/19",
            "2001:4860::/32", "2404:6800::/32", "2607:f8b0::/32", "2800:3f0::/32", "2a00:1450::/32",
            "2c0f:fb50::/32",
        ),
    ),
    # https://developers.cloudflare.com/1.1.1.1/troubleshooting/, https://www.cloudflare.com/ips/
    "cloudflare": Operator(
        recurses=True,
        asks=_ID_SERVER,
        says=r"(?i)[a-z]{3}[0-9]{0,4}",
        networks=(
            "103.21.244.0/22", "103.22.200.0/22", "103.31.4.0/22", "104.16.0.0/12", "108.162.192.0/18",
            "131.0.72.0/22", "141.101.64.0/18", "162.158.0.0/15", "172.64.0.0/13", "173.245.48.0/20",
            "188.114.96.0/20", "190.93.240.0/20", "197.234.240.0/22", "198.41.128.0/17", "2400:cb00::/32",
            "2405:8100::/32", "2405:b500::/32", "2606:4700::/32", "2803:f800::/32", "2a06:98c0::/29",
            "2c0f:f248::/32",
        ),
    ),
    # https://docs.quad9.net/FAQs/ ("Detecting DNS Transparent Redirection"); in many others' networks
    "quad9": Operator(
        recurses=True,
        asks=_ID_SERVER,
        says=r"(?i)res[0-9]+\.[a-z0-9.-]+(?:\.pch\.net|\.quad9\.net)",
        nsid=r"res[0-9]+\..+",
    ),
    # https://support.opendns.com ("debug.opendns.com"): "server r3.yyz" among other texts
    "opendns": Operator(
        recurses=True, asks=Question("debug.opendns.com.", "TXT"), says=r"server [a-z0-9.-]+"
    ),
    "cleanbrowsing": Operator(asks=_ID_SERVER, says=r"(?i)cleanbrowsing .*"),
}  # fmt: skip


def strings(rrset: Iterable[str]) -> list[list[str]]:
    """The texts of each TXT record, from its presentation form (RFC 1035 section 5.1)."""
    return [_STRING.findall(rdata)[:MOST_STRINGS] for rdata in rrset]


def recognised(pattern: str, rrset: Iterable[str]) -> bool:
    """Whether any text of a TXT RRset is such a one."""
    return any(re.fullmatch(pattern, text) for record in strings(rrset) for text in record)


def egress(rrset: Iterable[str]) -> frozenset[str]:
    """The resolver's address in a whoami name's answer; a client's network beside it is passed over."""
    found = set()
    for record in strings(rrset):
        texts = record[1:] if record[:1] == ["ns"] else record
        if record[:1] in (["ecs"], ["ip"]) or len(texts) != 1:
            continue
        try:
            found.add(str(ipaddress.ip_address(texts[0])))
        except ValueError:
            continue
    return frozenset(found)


def belongs(operator: Operator, address: str) -> bool:
    """Whether an address is in the operator's networks."""
    ip = ipaddress.ip_address(address)
    return any(ip in ipaddress.ip_network(network) for network in operator.networks)
