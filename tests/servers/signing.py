"""Signed zones, by BIND's tools: each with the fault that its test is about."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from msgspec import Struct

from tests.servers.daemon import program, run
from tests.servers.zones import file_of

PROGRAMS = ("dnssec-keygen", "dnssec-signzone", "dnssec-dsfromkey")
Record = tuple[str, str, str]  # owner, type, rdata


class Keys(Struct, frozen=True):
    """A pair of key files in ``directory`` for one zone, and the DS of the one that signs keys."""

    directory: Path
    apex: str
    names: tuple[str, ...]
    ds: str


def make_keys(directory: Path, apex: str, algorithm: str = "ECDSAP256SHA256") -> Keys:
    names = [_keygen(directory, apex, algorithm, *flags) for flags in (("-f", "KSK"), ())]
    said = run(program("dnssec-dsfromkey"), "-2", str(directory / names[0]))
    _, _, rdata = said.strip().partition(" DS ")
    return Keys(directory, apex, tuple(names), rdata)


def _keygen(directory: Path, apex: str, algorithm: str, *flags: str) -> str:
    return run(program("dnssec-keygen"), "-q", "-a", algorithm, "-K", str(directory), *flags, apex).strip()


def zone_text(apex: str, serial: int, ttl: int, records: Sequence[Record]) -> str:
    """The SOA's last number is the TTL of negative answers (RFC 2308 section 4)."""
    below = apex if apex != "." else ""
    soa = f"ns1.{below} hostmaster.{below} {serial} 3600 3600 86400 30"
    lines = [f"$TTL {ttl}", f"{apex} IN SOA {soa}", *(f"{n} IN {kind} {data}" for n, kind, data in records)]
    return "\n".join(lines) + "\n"


def write(directory: Path, apex: str, text: str) -> None:
    """In one step, so that no server reads half a file."""
    path = file_of(directory, apex)
    draft = path.with_suffix(".draft")
    draft.write_text(text)
    draft.replace(path)


def write_signed(
    directory: Path, keys: Keys, text: str, *, begin: str = "now-3600", end: str = "now+86400",
    nsec3: bool = False, edit: Callable[[str], str] = str,
) -> None:  # fmt: skip
    """The zone as it is served. ``begin``, ``end``: when its signatures hold, in dnssec-signzone's own words;
    ``edit``: what is done to the signed zone's text afterwards."""
    plain, signed = keys.directory / "plain.zone", keys.directory / "signed.zone"
    plain.write_text(text + "".join(f'$INCLUDE "{keys.directory}/{name}.key"\n' for name in keys.names))
    hashed = ("-3", "-", "-H", "0") if nsec3 else ()
    run(
        program("dnssec-signzone"), "-q", "-P", "-O", "full", "-o", keys.apex, "-K", str(keys.directory),
        "-d", str(keys.directory), "-s", begin, "-e", end, *hashed, "-f", str(signed), str(plain),
        *(str(keys.directory / name) for name in keys.names),
    )  # fmt: skip
    write(directory, keys.apex, edit(signed.read_text()))


def without(kind: str, *more: str) -> Callable[[str], str]:
    """Drop each record of a type, whose line has these words, too."""

    def edit(text: str) -> str:
        lines = text.splitlines()
        return (
            "\n".join(
                line for line in lines if not _is(line, kind) or not all(w in line.split() for w in more)
            )
            + "\n"
        )

    return edit


def _is(line: str, kind: str) -> bool:
    fields = line.split(None, 4)
    return len(fields) > 3 and fields[3] == kind
