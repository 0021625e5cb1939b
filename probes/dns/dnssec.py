"""What a validator makes of an authority's answer: signatures against the parent's DS (RFC 4035 section 5).

Nothing here asks the network. An answer is *secure*, *insecure* (no validator looks at its signatures),
*unchecked* (that could not be told) or bogus, for one of the reasons in ``BOGUS``. Work is bounded: a zone
may be made to cost (KeyTrap, CVE-2023-50387).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Literal, cast

import dns.dnssec
import dns.dnssectypes
import dns.exception
import dns.message
import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdataset
import dns.rdatatype
import dns.rrset
from cryptography.exceptions import UnsupportedAlgorithm
from dns.rdtypes.ANY.DNSKEY import DNSKEY
from dns.rdtypes.ANY.DS import DS
from dns.rdtypes.ANY.NSEC3 import NSEC3
from dns.rdtypes.ANY.RRSIG import RRSIG
from msgspec import Struct

from probes.dns.wire import Question

Why = Literal[
    "expired", "early", "unsigned", "no_key", "no_match", "forged", "no_denial", "costly",
]  # fmt: skip
State = Literal["secure", "insecure", "unchecked"]
BOGUS: tuple[Why, ...] = (
    "expired", "early", "unsigned", "no_key", "no_match", "forged", "no_denial", "costly",
)  # fmt: skip
"""``expired``, ``early``: the signatures hold at another time; ``unsigned``: there are none; ``no_key``: the
server gives no DNSKEY; ``no_match``: none of its keys is the one that the parent's DS names; ``forged``: no
signature fits data and key; ``no_denial``: nothing signed says that the record is not there; ``costly``:
more keys and signatures than anyone tries."""

MOST_SIGNATURES, MOST_KEYS = 8, 4  # of one RRset; of one key tag
MOST_CHECKS, MOST_IN_ALL = (
    16,
    256,
)  # signatures tried for one answer, and for what one server is asked in a round
MOST_DS, MOST_SETS = 8, 8
LONGEST_RSA = 600  # octets of a key; RFC 3110 section 2 ends at 4096 bits
MOST_ITERATIONS = 150  # of an NSEC3 hash; above, validators stop looking (RFC 9276 section 3.2)
# What validators know (RFC 8624 section 3.1): RSA with SHA-1, SHA-256, SHA-512; ECDSA; EdDSA
_RSA = (5, 7, 8, 10)
_ALGORITHMS = (*_RSA, 13, 14, 15, 16)
_DIGESTS, _SHA1 = (1, 2, 4), 1  # RFC 8624 section 3.3
_IN = dns.rdataclass.IN
Fault = Why | Literal["unchecked"]
_ORDER: tuple[Fault, ...] = ("unchecked", "expired", "early", "costly", "forged", "unsigned")


class Trust(Struct, frozen=True):
    """A zone, and each DS RRset (presentation format) by which a validator may judge it now."""

    zone: str
    anchors: tuple[tuple[str, ...], ...]


class Anchors:
    """What the parent serves as DS, and what it served for as long as a cache may go by it."""

    def __init__(self) -> None:
        self._zone = ""
        self._live: tuple[tuple[str, ...], ...] = ()
        self._until: dict[tuple[str, ...], float] = {}
        self._secure = False

    def learn(
        self, zone: str, sets: Sequence[tuple[str, ...]] | None, ttl: int, above: bool | None, now: float
    ) -> None:
        """``sets``: the different DS RRsets at the parent's servers, None where none of them said; ``above``:
        whether every zone above is signed, None where that is not known. ``now`` and ``ttl`` in seconds."""
        if not zone:
            return  # nobody was reached
        if zone != self._zone:
            self._zone, self._live, self._until, self._secure = zone, (), {}, False
        if above is not None:
            self._secure = above
        if sets is None:
            return
        self._live = tuple(dict.fromkeys(sets))[:MOST_SETS]
        self._until |= dict.fromkeys(self._live, now + ttl)
        self._until = {ds: end for ds, end in self._until.items() if end > now or ds in self._live}

    def trust(self, now: float) -> Trust | None:
        """None where nothing is known of the zone. Without anchors it is not signed for anybody."""
        if not self._zone:
            return None
        past = (ds for ds, end in self._until.items() if end > now and ds not in self._live)
        anchors = tuple(ds for ds in (*self._live, *past) if ds)[:MOST_SETS]
        return Trust(self._zone, anchors if self._secure else ())


class Spent(Exception):
    """One server has cost enough for one round."""


class Budget:
    """How many signatures may still be tried, here and in all. ``spend`` raises :class:`Spent`."""

    def __init__(self, left: int, whole: Budget | None = None) -> None:
        self.left, self._whole = left, whole

    def spend(self) -> bool:
        self.left -= 1
        if self._whole is not None and not self._whole.spend():
            raise Spent
        return self.left >= 0


class Keys(Struct, frozen=True):
    """The keys of a zone that a DS vouches for; none where no validator knows the DS's algorithms."""

    zone: dns.name.Name
    keys: tuple[DNSKEY, ...]


class Validator:
    """For what one server is asked in one round. ``keys``: its answer to the question for the zone's DNSKEY,
    whole and with signatures."""

    def __init__(self, keys: bytes, trust: Trust) -> None:
        self._wire, self._trust = keys, trust
        self._round = Budget(MOST_IN_ALL)
        self._keys: list[Keys | Fault] | None = None

    def check(self, wire: bytes, question: Question, at: datetime) -> State | Why:
        """What a validator makes of an answer (whole, with signatures), by whichever of the anchors is the
        least kind. Never raises."""
        try:
            if self._keys is None:
                self._keys = list(self._vouched(at.timestamp()))
            answer = dns.message.from_wire(wire)
            found = [self._by(keys, answer, question, at.timestamp()) for keys in self._keys]
        except Exception:  # hostile bytes: dnspython raises its own, ValueError, struct.error and others
            return "unchecked"
        return next((why for why in BOGUS if why in found), None) or _least(found)

    def _vouched(self, at: float) -> Iterator[Keys | Fault]:
        message, zone = dns.message.from_wire(self._wire), dns.name.from_text(self._trust.zone)
        for ds in self._trust.anchors:
            yield vouched(message, zone, ds, at, Budget(MOST_CHECKS, self._round))

    def _by(
        self, keys: Keys | Fault, answer: dns.message.Message, question: Question, at: float
    ) -> State | Why:
        if isinstance(keys, str):
            return keys
        return (
            _answer(answer, question, keys, at, Budget(MOST_CHECKS, self._round)) if keys.keys else "insecure"
        )


def _least(found: Sequence[State | Why]) -> State:
    if "unchecked" in found:
        return "unchecked"
    return "secure" if "secure" in found else "insecure"


# The zone's keys


def vouched(
    message: dns.message.Message, zone: dns.name.Name, ds: Sequence[str], at: float, budget: Budget
) -> Keys | Fault:
    """The DNSKEY RRset, if a key that a DS names has signed it (RFC 4035 section 5.2)."""
    known = _usable(ds)
    if not known:
        return Keys(zone, ())  # RFC 4035 section 5.2, RFC 6840 section 5.2: as good as no DS
    rrset = message.get_rrset(message.answer, zone, _IN, dns.rdatatype.DNSKEY)
    if rrset is None:
        return "no_key"
    own = [key for key in cast("Iterable[DNSKEY]", rrset) if _for_zone(key)]
    named = [
        key for one in known for key in _tagged(own, one.key_tag, one.algorithm) if _fits(zone, key, one)
    ]
    if not named:
        return "no_match"
    why = _signed(message, message.answer, rrset, Keys(zone, tuple(named)), at, budget)
    return Keys(zone, tuple(own)) if why is None else why


def _usable(texts: Sequence[str]) -> list[DS]:
    """Those with a digest and an algorithm that validators know. RFC 4509 section 3: where there is a better
    digest, SHA-1 is not looked at."""
    found = [cast(DS, dns.rdata.from_text(_IN, dns.rdatatype.DS, text)) for text in texts[:MOST_DS]]
    known = [ds for ds in found if ds.algorithm in _ALGORITHMS and ds.digest_type in _DIGESTS]
    return [ds for ds in known if ds.digest_type != _SHA1] or known


def _for_zone(key: DNSKEY) -> bool:
    """RFC 4034 sections 2.1.1 and 2.1.2; RFC 5011 section 2.1: a revoked key vouches for nothing."""
    bulky = key.algorithm in _RSA and len(key.key) > LONGEST_RSA
    return bool(key.flags & 0x0100) and not key.flags & 0x0080 and key.protocol == 3 and not bulky


def _tagged(keys: Iterable[DNSKEY], tag: int, algorithm: int) -> list[DNSKEY]:
    same = (key for key in keys if key.algorithm == algorithm and dns.dnssec.key_id(key) == tag)
    return [key for key, _ in zip(same, range(MOST_KEYS), strict=False)]


def _fits(zone: dns.name.Name, key: DNSKEY, ds: DS) -> bool:
    digest = dns.dnssectypes.DSDigest(ds.digest_type)
    return bool(dns.dnssec.make_ds(zone, key, digest, validating=True).digest == ds.digest)


# The answer


def _answer(
    message: dns.message.Message, question: Question, keys: Keys, at: float, budget: Budget
) -> State | Why:
    """Each RRset on the way from the question's name on, or the proof that there is none."""
    owner, kind = dns.name.from_text(question.name), dns.rdatatype.from_text(question.type)
    for _ in range(len(message.answer) + 1):
        rrset = message.get_rrset(message.answer, owner, _IN, kind)
        alias = rrset or message.get_rrset(message.answer, owner, _IN, dns.rdatatype.CNAME)
        if alias is None:
            return _denied(message, owner, kind, keys, at, budget)
        why = _held(message, alias, keys, at, budget)
        if why is not None:
            return why
        if rrset is not None:
            return "secure"
        owner = alias[0].target
        if not owner.is_subdomain(keys.zone):
            return "secure"  # as far as this zone goes
    return "unchecked"


def _held(
    message: dns.message.Message, rrset: dns.rrset.RRset, keys: Keys, at: float, budget: Budget
) -> Fault | None:
    """An RRset of the answer section: its own signature, or that of the DNAME it was made from."""
    source = rrset
    if rrset.rdtype == dns.rdatatype.CNAME and not _signatures(message.answer, rrset):
        source = next((d for d in _of(message.answer, dns.rdatatype.DNAME) if _above(d, rrset)), rrset)
    signatures = _signatures(message.answer, source)
    if signatures and all(_below(s.signer, keys.zone, source.name) for s in signatures):
        return "unchecked"  # it is a zone of its own below this one that signs here
    why = _signed(message, message.answer, source, keys, at, budget)
    if why is None and min(s.labels for s in signatures) < len(source.name) - 1 and not source.name.is_wild():
        # RFC 4035 section 5.3.4: from a wildcard; that nothing nearer exists is to be proven
        return _proofs(message, keys, at, budget)
    return why


def _above(dname: dns.rrset.RRset, rrset: dns.rrset.RRset) -> bool:
    return rrset.name.is_subdomain(dname.name) and rrset.name != dname.name


def _below(signer: dns.name.Name, zone: dns.name.Name, owner: dns.name.Name) -> bool:
    return signer != zone and signer.is_subdomain(zone) and owner.is_subdomain(signer)


def _denied(
    message: dns.message.Message, owner: dns.name.Name, kind: dns.rdatatype.RdataType, keys: Keys, at: float,
    budget: Budget,
) -> State | Why:  # fmt: skip
    """A negative answer: its SOA, and the NSEC or NSEC3 that say so (RFC 4035 section 5.4, RFC 5155)."""
    soas = _of(message.authority, dns.rdatatype.SOA)
    if soas and soas[0].name != keys.zone:
        return "unchecked" if soas[0].name.is_subdomain(keys.zone) else "no_denial"
    if not soas:
        return "no_denial"
    why = _signed(message, message.authority, soas[0], keys, at, budget)
    why = why or _proofs(message, keys, at, budget)
    if why is None and any(kind in types for types in _said_of(message, owner, keys.zone)):
        return "no_denial"  # the proof itself says that the record is there
    return why or "secure"


def _proofs(message: dns.message.Message, keys: Keys, at: float, budget: Budget) -> Fault | None:
    """Whether there are NSEC or NSEC3 records, and all of them hold."""
    found = [*_of(message.authority, dns.rdatatype.NSEC), *_of(message.authority, dns.rdatatype.NSEC3)]
    if not found:
        return "no_denial"
    whys = (_signed(message, message.authority, rrset, keys, at, budget) for rrset in found[:MOST_SIGNATURES])
    return next((why for why in whys if why is not None), None)


def _said_of(
    message: dns.message.Message, owner: dns.name.Name, zone: dns.name.Name
) -> Iterator[set[dns.rdatatype.RdataType]]:
    """The types that the proofs say are there at a name."""
    for rrset in _of(message.authority, dns.rdatatype.NSEC):
        if rrset.name == owner:
            yield _types(rrset[0].windows)
    for rrset in _of(message.authority, dns.rdatatype.NSEC3):
        proof = cast(NSEC3, rrset[0])
        if proof.algorithm == 1 and proof.iterations <= MOST_ITERATIONS:
            hashed = dns.dnssec.nsec3_hash(owner, proof.salt, proof.iterations, proof.algorithm)
            if rrset.name == dns.name.from_text(hashed, zone):
                yield _types(proof.windows)


def _types(windows: Iterable[tuple[int, bytes]]) -> set[dns.rdatatype.RdataType]:
    return {
        dns.rdatatype.RdataType.make(window * 256 + i * 8 + bit)
        for window, bitmap in windows
        for i, octet in enumerate(bitmap)
        for bit in range(8)
        if octet & 0x80 >> bit
    }


def _of(section: Sequence[dns.rrset.RRset], kind: dns.rdatatype.RdataType) -> list[dns.rrset.RRset]:
    return [rrset for rrset in section if rrset.rdtype == kind and rrset.rdclass == _IN]


# One RRset


def _signatures(section: Sequence[dns.rrset.RRset], rrset: dns.rrset.RRset) -> list[RRSIG]:
    found = [
        s for s in _of(section, dns.rdatatype.RRSIG) if s.name == rrset.name and s.covers == rrset.rdtype
    ]
    return [cast(RRSIG, rdata) for s in found for rdata in s]


def _signed(
    message: dns.message.Message, section: Sequence[dns.rrset.RRset], rrset: dns.rrset.RRset, keys: Keys,
    at: float, budget: Budget,
) -> Fault | None:  # fmt: skip
    """None if one signature holds (RFC 6840 section 5.11: one way is enough), else why none does."""
    whys: list[Fault | None] = ["unsigned"]
    for signature in _signatures(section, rrset)[:MOST_SIGNATURES]:
        whys.append(_holds(rrset, signature, keys, at, budget))
        if whys[-1] is None:
            return None
    return next(why for why in _ORDER if why in whys)


def _holds(rrset: dns.rrset.RRset, signature: RRSIG, keys: Keys, at: float, budget: Budget) -> Fault | None:
    """RFC 4035 section 5.3.1 to 5.3.3."""
    labels = len(rrset.name) - 1 - rrset.name.is_wild()
    candidates = _tagged(keys.keys, signature.key_tag, signature.algorithm)
    if signature.signer != keys.zone or signature.labels > labels or not candidates:
        return "forged"
    if signature.expiration < at:
        return "expired"
    if signature.inception > at:
        return "early"
    for key in candidates:
        if not budget.spend():
            return "costly"
        try:
            if _verifies(rrset, signature, key, keys.zone, at):
                return None
        except UnsupportedAlgorithm:  # not by the OpenSSL of this machine
            return "unchecked"
    return "forged"


def _verifies(rrset: dns.rrset.RRset, signature: RRSIG, key: DNSKEY, zone: dns.name.Name, at: float) -> bool:
    one = dns.rdataset.from_rdata(0, key)
    try:
        dns.dnssec.validate_rrsig(rrset, signature, {zone: one}, now=at)
    except (dns.exception.DNSException, ValueError):
        return False
    return True
