"""The stage's zones as files: the root and ``example.``, the domain that moves, the two hosts' names."""

from __future__ import annotations

from pathlib import Path

from tests.servers.addresses import Addresses

DOMAIN = "move.example"
OLD_HOST = "mail.old.example"
NEW_HOSTS = ("mx1.new.example", "mx2.new.example")
OLD_MX = (f"10 {OLD_HOST}.",)
NEW_MX = (f"10 {NEW_HOSTS[0]}.", f"20 {NEW_HOSTS[1]}.")
NEGATIVE_TTL = 3
PARENTS = (".", "example.")
CHILDREN = (f"{DOMAIN}.", "old.example.", "new.example.")
_LONG = 3600


def file_of(directory: Path, apex: str) -> Path:
    return directory / f"{apex.strip('.') or 'root'}.zone"


def write_parents(directory: Path, addresses: Addresses) -> None:
    """The root and the top-level domain, which delegates the three others to the same two servers."""
    servers = [f"ns1.{DOMAIN}.", f"ns2.{DOMAIN}."]
    own = [("a.root.example.", "A", addresses.root)]
    _write(
        directory,
        ".",
        1,
        _LONG,
        [(".", "NS", "a.root.example."), ("example.", "NS", "a.root.example."), *own],
    )
    cuts = [(apex, "NS", server) for apex in CHILDREN for server in servers]
    records = [("example.", "NS", "a.root.example."), *own, *cuts, *_glue(addresses)]
    _write(directory, "example.", 1, _LONG, records)


def write_hosts(directory: Path, addresses: Addresses, ttl: int) -> None:
    """The two mail hosts' own zones."""
    _write(
        directory, "old.example.", 1, ttl, [*_servers("old.example."), (f"{OLD_HOST}.", "A", addresses.old)]
    )
    pairs = zip(NEW_HOSTS, addresses.new, strict=True)
    hosts = [(f"{name}.", "A", address) for name, address in pairs]
    _write(directory, "new.example.", 1, ttl, [*_servers("new.example."), *hosts])


def write_domain(directory: Path, addresses: Addresses, serial: int, ttl: int, mx: tuple[str, ...]) -> None:
    """The domain that moves. ``mx``: rdata in presentation format (RFC 1035 section 5.1)."""
    apex = f"{DOMAIN}."
    exchanges = [(apex, "MX", rdata) for rdata in mx]
    policy = (apex, "TXT", '"v=spf1 mx -all"')
    _write(directory, apex, serial, ttl, [*_servers(apex), *exchanges, policy, *_glue(addresses)])


def _servers(apex: str) -> list[tuple[str, str, str]]:
    return [(apex, "NS", f"ns1.{DOMAIN}."), (apex, "NS", f"ns2.{DOMAIN}.")]


def _glue(addresses: Addresses) -> list[tuple[str, str, str]]:
    return [(f"ns1.{DOMAIN}.", "A", addresses.primary), (f"ns2.{DOMAIN}.", "A", addresses.secondary)]


def _write(directory: Path, apex: str, serial: int, ttl: int, records: list[tuple[str, str, str]]) -> None:
    """In one step, so that no server reads half a file. The SOA's last number is the TTL of negative
    answers (RFC 2308 section 4)."""
    soa = f"a.root.example. hostmaster.example. {serial} {_LONG} {_LONG} 86400 {NEGATIVE_TTL}"
    lines = [f"$TTL {ttl}", f"{apex} IN SOA {soa}", *(f"{n} IN {kind} {data}" for n, kind, data in records)]
    path = file_of(directory, apex)
    draft = path.with_suffix(".draft")
    draft.write_text("\n".join(lines) + "\n")
    draft.replace(path)
