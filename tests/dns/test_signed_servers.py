"""Signed zones from real servers, sound and broken, held against what Unbound makes of them."""

from __future__ import annotations

import contextlib
import socket
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import dns.flags
import dns.message
import dns.query
import dns.rcode
import pytest
from msgspec import Struct

from probes.dns.authority import ask_authority, walk
from probes.dns.delegation import Delegation
from probes.dns.dnssec import Anchors, Trust
from probes.dns.exchange import Exchange
from probes.endpoints import Endpoints
from probes.observation import AuthorityAnswer
from probes.sight import Server
from tests.servers import bind, resolvers, signing
from tests.servers.addresses import DNS, Addresses, draw
from tests.servers.daemon import needs, wait_until
from tests.servers.nsd import Nsd, asked

pytestmark = pytest.mark.servers


class Case(Struct, frozen=True):
    """A zone below ``example.``. ``ds``: what its parent has, from its own keys' DS; ``sign``: how it is
    signed (None: not at all); ``mx``: what we and Unbound are to make of its MX, ``a`` of its host."""

    mx: str
    a: str = ""
    ds: Callable[[str], str] | None = str
    sign: dict[str, Any] | None = {}
    has_mx: bool = True
    algorithm: str = "ECDSAP256SHA256"


def _foreign(ds: str) -> str:
    return ds[:-8] + "00000000"


def _tag(ds: str, algorithm: str, digest: str) -> str:
    tag, own, kind, rest = ds.split(None, 3)
    return f"{tag} {algorithm or own} {digest or kind} {rest}"


def _edited(old: str, new: str) -> dict[str, Any]:
    def edit(text: str) -> str:
        assert old in text
        return text.replace(old, new)

    return {"edit": edit}


CASES = {
    "good": Case("secure", "secure"),
    "rsa": Case("secure", "secure", algorithm="RSASHA256"),
    "ed": Case("secure", "secure", algorithm="ED25519"),
    "none": Case("secure", "secure", has_mx=False),
    "hashed": Case("secure", "secure", has_mx=False, sign={"nsec3": True}),
    "nods": Case("insecure", "insecure", ds=None),
    "algorithm": Case("insecure", "insecure", ds=lambda ds: _tag(ds, "100", "")),
    "digest": Case("insecure", "insecure", ds=lambda ds: _tag(ds, "", "100")),
    "expired": Case("expired", "expired", sign={"begin": "20200101000000", "end": "20200201000000"}),
    "early": Case("early", "early", sign={"begin": "20350101000000", "end": "20350201000000"}),
    "plain": Case("no_key", "no_key", sign=None),
    "wrongds": Case("no_match", "no_match", ds=_foreign),
    "edited": Case("forged", "secure", sign=_edited("10 mail.", "20 mail.")),
    "host": Case("secure", "forged", sign=_edited("192.0.2.1", "192.0.2.2")),
    "stripped": Case("unsigned", "secure", sign={"edit": signing.without("RRSIG", "MX")}),
    "nokey": Case("no_key", "no_key", sign={"edit": signing.without("DNSKEY")}),
    "noproof": Case("no_denial", "secure", has_mx=False, sign={"edit": signing.without("NSEC")}),
}  # fmt: skip


@pytest.fixture(scope="module")
def net() -> Iterator[Addresses]:
    needs("nsd", "nsd-control", "unbound", *signing.PROGRAMS)
    addresses = draw()
    with tempfile.TemporaryDirectory(prefix="mx-") as name, contextlib.ExitStack() as stack:
        directory = Path(name)
        directory.chmod(0o711)
        zones = [f"{case}.example." for case in CASES]
        root = Nsd("root", addresses.root, directory, [".", "example."])
        own = Nsd("primary", addresses.primary, directory, zones)
        ds = {apex: _made(directory, own.directory, apex, addresses) for apex in zones}
        _parents(root.directory, addresses, ds)
        for apex in (".", "example."):
            root.serve(apex)
        for apex in zones:
            own.serve(apex)
        stack.enter_context(root.daemon)
        stack.enter_context(own.daemon)
        anchors = [f"{apex} DS {rdata}" for apex, rdata in ds.items() if rdata]
        stack.enter_context(resolvers.unbound(addresses, directory, anchors, lambda: _up(addresses)))
        yield addresses


def _up(addresses: Addresses) -> bool:
    answer = asked(addresses.unbound, DNS, "good.example.", "MX")
    return answer is not None and answer.rcode() == dns.rcode.NOERROR


def _made(keys: Path, directory: Path, apex: str, addresses: Addresses) -> str:
    """Write the zone; its parent's DS."""
    case = CASES[apex.split(".")[0]]
    home = keys / f"keys.{apex}"
    home.mkdir()
    mail = f"mail.{apex}"
    records = [(apex, "NS", f"ns1.{apex}"), (f"ns1.{apex}", "A", addresses.primary), (mail, "A", "192.0.2.1")]
    text = signing.zone_text(apex, 1, 60, [*records, *([(apex, "MX", f"10 {mail}")] if case.has_mx else [])])
    pair = signing.make_keys(home, apex, case.algorithm)
    if case.sign is None:
        signing.write(directory, apex, text)
    else:
        signing.write_signed(directory, pair, text, **case.sign)
    return case.ds(pair.ds) if case.ds is not None else ""


def _parents(directory: Path, addresses: Addresses, ds: dict[str, str]) -> None:
    own = [("a.root.example.", "A", addresses.root)]
    above = "12345 13 2 " + "AB" * 32  # that there is one is all that is asked of the zones above
    top = [
        (".", "NS", "a.root.example."),
        ("example.", "NS", "a.root.example."),
        ("example.", "DS", above),
        *own,
    ]
    signing.write(directory, ".", signing.zone_text(".", 1, 3600, top))
    records = [("example.", "NS", "a.root.example."), *own]
    for apex, rdata in ds.items():
        records += [(apex, "NS", f"ns1.{apex}"), (f"ns1.{apex}", "A", addresses.primary)]
        records += [(apex, "DS", rdata)] if rdata else []
    signing.write(directory, "example.", signing.zone_text("example.", 1, 3600, records))


@contextlib.asynccontextmanager
async def asking(endpoints: dict[str, str] | None = None) -> AsyncIterator[Exchange]:
    exchange = Exchange(Endpoints(endpoints))
    try:
        yield exchange
    finally:
        await exchange.close()


def trust_of(found: Delegation) -> Trust | None:
    anchors = Anchors()
    anchors.learn(found.zone, found.ds, found.ds_ttl, found.signed_above, time.time())
    return anchors.trust(time.time())


@pytest.mark.parametrize("name", CASES)
async def test_what_validators_make_of_it(net: Addresses, name: str) -> None:
    apex, case = f"{name}.example.", CASES[name]
    async with asking() as exchange:
        found = await walk(exchange, apex, [net.root])
        seen = await ask_authority(exchange, found.servers[0], apex, [f"mail.{apex}"], trust=trust_of(found))
    answers = {(a.name, a.type): a for a in seen}
    for key, wanted in (((apex, "MX"), case.mx), ((f"mail.{apex}", "A"), case.a)):
        answer = answers[key]
        assert (answer.dnssec, answer.outcome == "bogus") == (wanted, wanted not in ("secure", "insecure")), (
            key
        )
        # Unbound tells no more than this of it
        assert validated(net, *key) == (wanted if wanted in ("secure", "insecure") else "bogus"), key
    mx = answers[apex, "MX"]
    if case.has_mx and case.mx not in ("secure", "insecure"):
        assert len(mx.rrset) == 1 and mx.ttl == 60, "others go by the data all the same"


def validated(net: Addresses, name: str, kind: str) -> str:
    question = dns.message.make_query(name, kind, want_dnssec=True)
    answer = dns.query.udp(question, net.unbound, port=DNS, timeout=10)
    if answer.rcode() == dns.rcode.SERVFAIL:
        return "bogus"
    return "secure" if answer.flags & dns.flags.AD else "insecure"


# A secondary whose signatures run out since it is no longer transferred


async def test_a_stuck_secondary_serves_its_signatures_until_they_expire() -> None:
    needs("nsd", "nsd-control", *signing.PROGRAMS)
    addresses, apex = draw(), "stuck.example."
    with tempfile.TemporaryDirectory(prefix="mx-") as name, contextlib.ExitStack() as stack:
        directory = Path(name)
        directory.chmod(0o711)
        keys = signing.make_keys(directory, apex)
        primary = Nsd("primary", addresses.primary, directory, [apex])
        secondary = Nsd("secondary", addresses.secondary, directory, [apex])

        def write(serial: int, mail: str, end: str) -> None:
            records = [(apex, "NS", "ns1.test."), (apex, "NS", "ns2.test."), (apex, "MX", f"10 {mail}.test.")]
            text = signing.zone_text(apex, serial, 60, records)
            signing.write_signed(primary.directory, keys, text, end=end)

        write(1, "old", "now+8")
        primary.serve(apex, secondary=addresses.secondary)
        secondary.copy(apex, addresses.primary)
        stack.enter_context(primary.daemon)
        stack.enter_context(secondary.daemon)
        trust = Trust(apex, ((keys.ds,),))

        async def ask(server: Nsd) -> AuthorityAnswer:
            async with asking() as exchange:
                return (await ask_authority(exchange, Server("", server.address), apex, (), trust=trust))[0]

        assert [(await ask(s)).dnssec for s in (primary, secondary)] == ["secure", "secure"]
        write(2, "new", "now+86400")
        primary.reload(apex)
        wait_until(lambda: primary.serves(apex, 2), "the primary's new zone")
        behind = await ask(secondary)
        assert (behind.outcome, behind.serial, behind.rrset) == ("answer", 1, ("10 old.test.",))
        deadline = time.monotonic() + 30
        while (stuck := await ask(secondary)).outcome == "answer" and time.monotonic() < deadline:
            time.sleep(0.2)
        assert (stuck.outcome, stuck.dnssec, stuck.rrset) == ("bogus", "expired", ("10 old.test.",))
        new = await ask(primary)
        assert (new.outcome, new.dnssec, new.serial, new.rrset) == ("answer", "secure", 2, ("10 new.test.",))
        secondary.transfer(apex)
        wait_until(lambda: secondary.serves(apex, 2), "the secondary's new zone")
        assert (await ask(secondary)).dnssec == "secure"


# The same zones from other servers


def _free_port() -> int:
    with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
        tcp.bind(("127.0.0.1", 0))
        udp.bind(tcp.getsockname())
        return int(tcp.getsockname()[1])


@pytest.mark.parametrize("make", ["named", "named, all that it has", "knotd"])
async def test_other_servers_say_the_same_of_a_signed_zone(make: str) -> None:
    """What they put into an answer beside what was asked for differs, and so do their proofs."""
    needs(make.partition(",")[0], *signing.PROGRAMS)
    addresses, apexes = draw(), [f"{name}.example." for name in ("good", "none", "hashed", "expired")]
    with tempfile.TemporaryDirectory(prefix="mx-") as name, contextlib.ExitStack() as stack:
        directory = Path(name)
        directory.chmod(0o711)
        ds = {apex: _made(directory, directory, apex, addresses) for apex in apexes}
        home = directory / "home"
        if make == "knotd":
            daemon = bind.knotd(addresses.primary, home, directory, apexes)
        else:
            daemon = bind.named(port := _free_port(), home, directory, apexes, minimal=make == "named")
        stack.enter_context(daemon)
        server = Server("", addresses.primary)
        real = {} if make == "knotd" else {f"{addresses.primary}:53": f"127.0.0.1:{port}"}
        async with asking(real) as exchange:
            for apex in apexes:
                hosts, trust = [f"mail.{apex}", f"no.{apex}"], Trust(apex, ((ds[apex],),))
                seen = await ask_authority(exchange, server, apex, hosts, trust=trust)
                wanted = CASES[apex.partition(".")[0]].mx
                checked = {(a.name, a.type): a.dnssec for a in seen if a.type in ("MX", "A", "AAAA")}
                assert len(checked) >= 5 and set(checked.values()) == {wanted}, checked
