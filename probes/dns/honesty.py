"""Does port 53 reach whom it is sent to? Signs that somebody else answers, and what follows from them.

Every check is a pure function of what was heard; ``probes.dns.examining`` asks. Where port 53 is intercepted
(in 259 of 3,047 networks: Liu et al., USENIX Security 2018) an answer proves nothing about the server that it
claims to be from. A false alarm would throw good evidence away, so it takes one sign that is proof by itself,
or two of different kinds. A short round trip is never proof: anycast brings servers near, and on a loopback
everything is.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import msgspec
from msgspec import Struct

from probes.dns.exchange import Reply
from probes.dns.operators import Operator, belongs, egress, recognised

Kind = Literal["nowhere", "recursion", "identity", "egress", "differs", "fast"]
Verdict = Literal["honest", "intercepted", "unknown"]
LONGEST_SEEN = 120
# A round trip is too short at a quarter of what the same way costs otherwise, and 10 ms less at least.
SHORT_SHARE, SHORT_MS = 0.25, 10.0
ENOUGH_FAST = 3  # servers of as many networks
ENOUGH_NOWHERE = 2
_TOLD = ("answer", "nodata", "nxdomain", "refused", "referral")


class Sign(Struct, frozen=True):
    """Something that an honest network does not show. ``subject``: the address that was asked; ``seen``:
    what came back, for people (raw, bounded); ``proof``: enough by itself; ``platform``: of a resolver."""

    kind: Kind
    subject: str
    seen: str = ""
    proof: bool = False
    platform: str = ""

    @property
    def version(self) -> int:
        return ipaddress.ip_address(self.subject).version


class Honesty(Struct, frozen=True, kw_only=True):
    """What an examination found. ``clean``: how many answers were just what an honest network shows."""

    verdict: Verdict
    signs: tuple[Sign, ...] = ()
    clean: int = 0

    def affects(self, address: str, platform: str = "", *, authority: bool = False) -> bool:
        """Whether port 53 of this address may be answered by somebody else.

        Every address of an IP version is affected where servers were answered for that can't do so, or
        don't; where only resolvers were, it is those of that platform, or of all where several were.
        """
        if self.verdict != "intercepted":
            return False
        version = ipaddress.ip_address(address).version
        mine = [sign for sign in self.signs if sign.version == version]
        if any(sign.kind in ("nowhere", "recursion") or sign.subject == address for sign in mine):
            return True
        platforms = {sign.platform for sign in mine if sign.platform}
        return not authority and (len(platforms) >= 2 or platform in platforms)


def judge(signs: Sequence[Sign], clean: int) -> Honesty:
    """One conclusion. No sign and something clean is honest; a lone weak sign, or silence, says nothing."""
    if any(sign.proof for sign in signs) or len({sign.kind for sign in signs}) >= 2:
        return Honesty(verdict="intercepted", signs=tuple(signs), clean=clean)
    verdict: Verdict = "honest" if clean and not signs else "unknown"
    return Honesty(verdict=verdict, signs=tuple(signs), clean=clean)


def answered(reply: Reply) -> bool:
    """Whether anything at all came back."""
    return reply.rtt_ms is not None


def told(reply: Reply) -> bool:
    """Whether it says something about the question: no silence and no failure."""
    return reply.outcome in _TOLD


# The checks


def nowhere(replies: Mapping[str, Reply]) -> list[Sign]:
    """Answers from addresses that are for documentation (RFC 5737, 3849, 9637): nobody has them.

    One may be somebody's laboratory; of two different networks, it is no coincidence.
    """
    heard = {address: reply for address, reply in replies.items() if answered(reply)}
    versions = [ipaddress.ip_address(address).version for address in heard]
    return [
        Sign("nowhere", address, f"{reply.rtt_ms:.0f} ms", versions.count(version) >= ENOUGH_NOWHERE)
        for (address, reply), version in zip(heard.items(), versions, strict=True)
    ]


def recursion(address: str, reply: Reply, *, root: bool) -> Sign | None:
    """An authority's answer to a question without RD that a recursive resolver gave: recursion available,
    and no authority (RFC 1035 section 4.1.1). The root servers never offer recursion; another server may be
    both, or lame."""
    content = reply.content
    if root:
        lies = content.ra or (reply.outcome == "answer" and not content.aa)
    else:
        lies = content.ra and not content.aa
    if not lies or not answered(reply):
        return None
    flags = " ".join(("RA" if content.ra else "no RA", "AA" if content.aa else "no AA"))
    return Sign("recursion", address, f"{reply.outcome}, {flags}", proof=root)


def identity(address: str, platform: str, operator: Operator, reply: Reply) -> Sign | None:
    """The server does not call itself as its operator's servers do."""
    if operator.asks is None or not told(reply) or recognised(operator.says, reply.rrset):
        return None
    said = ", ".join(reply.rrset) or reply.outcome
    return Sign("identity", address, said[:LONGEST_SEEN], platform=platform)


def nsid(address: str, platform: str, operator: Operator, reply: Reply) -> Sign | None:
    """As ``identity``, by the identifier that comes with any answer. None at all is no sign: some
    firewalls take the option away."""
    if not operator.nsid or reply.nsid is None or recognised(operator.nsid, [f'"{reply.nsid}"']):
        return None
    return Sign("identity", address, f"NSID {reply.nsid}"[:LONGEST_SEEN], platform=platform)


def foreign(address: str, platform: str, operator: Operator, reply: Reply) -> Sign | None:
    """A whoami name was asked from another network than the operator's."""
    seen = sorted(a for a in egress(reply.rrset) if operator.networks and not belongs(operator, a))
    return Sign("egress", address, seen[0], platform=platform) if seen else None


def shared(seen: Mapping[tuple[str, str], frozenset[str]]) -> list[Sign]:
    """Resolvers of different operators that ask from one address: they are one resolver.

    ``seen``: egress addresses by (address, platform), of operators that do their own recursion.
    """
    users: dict[str, dict[str, str]] = {}
    for (address, platform), sources in seen.items():
        for source in sources:
            users.setdefault(source, {})[platform] = address
    return [
        Sign("egress", address, source, proof=True, platform=platform)
        for source, platforms in users.items()
        if len(platforms) >= 2
        for platform, address in platforms.items()
    ]


def differs(address: str, platform: str, plain: Reply, encrypted: Reply) -> Sign | None:
    """A name that does not exist (RFC 6761 section 6.4) does so by port 53, not by an encrypted transport."""
    if plain.outcome != "answer" or encrypted.outcome != "nxdomain":
        return None
    return Sign("differs", address, ", ".join(plain.rrset)[:LONGEST_SEEN], platform=platform)


def too_fast(plain: float, baseline: float) -> bool:
    """Round trips in ms: whether the first is too short to have gone where the second went."""
    return plain < baseline * SHORT_SHARE and plain < baseline - SHORT_MS


def fast_resolver(address: str, platform: str, plain: Reply, encrypted: Iterable[Reply]) -> Sign | None:
    """The same resolver takes far longer by an encrypted transport, on a connection that is there already."""
    rtts = [reply.rtt_ms for reply in encrypted if reply.rtt_ms is not None]
    if plain.rtt_ms is None or len(rtts) < 2 or not too_fast(plain.rtt_ms, min(rtts)):
        return None
    return Sign("fast", address, f"{plain.rtt_ms:.1f} ms for {min(rtts):.1f} ms", platform=platform)


def fast_authorities(replies: Mapping[str, Reply], encrypted: Iterable[float]) -> list[Sign]:
    """Every authority is far nearer than the nearest resolver that was asked by an encrypted transport."""
    rtts = {address: reply.rtt_ms for address, reply in replies.items() if reply.rtt_ms is not None}
    baseline = min(encrypted, default=0.0)
    slow = [address for address, rtt in rtts.items() if not too_fast(rtt, baseline)]
    if slow or len({network(address) for address in rtts}) < ENOUGH_FAST:
        return []
    return [Sign("fast", a, f"{rtt:.1f} ms for {baseline:.1f} ms") for a, rtt in rtts.items()]


def network(address: str) -> str:
    """The /16 or /32 that an address is in: who shares it may share a place."""
    ip = ipaddress.ip_address(address)
    return str(ipaddress.ip_network((ip, 16 if ip.version == 4 else 32), strict=False))


def confirmed(sign: Sign, fits: bool | None) -> Sign | None:
    """A resolver's sign after the same question by an encrypted transport, where nobody on the way can
    answer: proof if the answer fits the operator there, nothing if it fits as little (what we know of the
    operator is out of date), and what it was if there was no answer."""
    if fits is None:
        return sign
    return msgspec.structs.replace(sign, proof=True) if fits else None
