"""The bundled list of resolvers at the command line: listed, filtered, and asked on loopback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from monitor.watch.checkup import check
from probes.dns.catalogue import entries, entries_of
from probes.dns.examining import NOWHERE
from tests.dns import lying
from tests.dns.lying import GOOGLE, QUAD9, ROOTS
from tests.servers.daemon import needs

ENTRY = "import sys; from monitor.cli import main; sys.exit(main(sys.argv[1:]))"
GOOGLES = [entry.address for entry in entries() if entry.platform == "google"]
IIJ = "103.2.57.5"


@pytest.fixture(scope="module")
def behind() -> Iterator[lying.Behind]:
    needs("unbound")
    with tempfile.TemporaryDirectory(prefix="mx-") as name, lying.resolvers(Path(name)) as servers:
        yield servers


def resolvers(*arguments: str, ca: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **({"SSL_CERT_FILE": str(ca)} if ca else {})}
    return subprocess.run(
        [sys.executable, "-c", ENTRY, "resolvers", *arguments], check=False, capture_output=True, text=True,
        timeout=60, env=environment,
    )  # fmt: skip


def elsewhere(behind: lying.Behind | None) -> list[str]:
    """Every address that these tests ask, sent to loopback; None: to closed ports."""
    at = behind.resolvers[GOOGLE] if behind else None
    ports = {53: at.dns, 853: at.dot, 443: at.doh} if at else dict.fromkeys((53, 853, 443), 5399)
    real = at.address if at else "127.0.0.153"
    hosts = [f"[{address}]" if ":" in address else address for address in (*GOOGLES, IIJ)]
    pairs = [f"{host}:{port}={real}:{to}" for host in hosts for port, to in ports.items()]
    found = ["--hints", ROOTS[0]]
    for pair in (f"{ROOTS[0]}:53=127.0.0.153:5399", *pairs):
        found += ["--endpoint", pair]
    return found


def test_the_list_is_sorted_and_fits_a_screen() -> None:
    done = resolvers()
    head, *rows = done.stdout.splitlines()
    assert done.returncode == 0 and len(rows) == len(entries()) and head.startswith("platform")
    assert max(map(len, (head, *rows))) <= 80
    platforms = [row.split()[0] for row in rows]
    assert platforms == sorted(platforms)
    assert sum(row.endswith("*") for row in rows) == sum(entry.default for entry in entries())
    assert done.stderr == f"{len(rows)} addresses on {len(set(platforms))} platforms\n"


@pytest.mark.parametrize(
    ("filters", "holds"),
    [
        (["--default"], lambda e: e["default"]),
        (["--country", "jp"], lambda e: e["country"] == "JP"),
        (
            ["--country", "anycast", "--filtering", "none"],
            lambda e: not e["country"] and e["filtering"] == "none",
        ),
        (["--platform", "Quad9", "--transport", "dot"], lambda e: e["platform"] == "quad9" and e["dot_name"]),
    ],
)
def test_filters_and_json(filters: list[str], holds: Callable[[dict[str, Any]], bool]) -> None:
    done = resolvers(*filters, "--json")
    found = [json.loads(line) for line in done.stdout.splitlines()]
    everything = [json.loads(line) for line in resolvers("--json").stdout.splitlines()]
    assert done.returncode == 0
    assert found == [entry for entry in everything if holds(entry)] != []
    assert found[0].keys() == {"id", *entries()[0].__struct_fields__}


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--country", "zz"], 2, "no country 'ZZ' in the list"),
        (["--platform", "x\x1b[31m"], 2, "no platform"),
        (["--filtering", "some"], 2, "--filtering"),
        (["--country", "jp", "--platform", "google"], 10, "0 addresses on 0 platforms"),
    ],
)
def test_what_the_list_does_not_have(arguments: list[str], code: int, said: str) -> None:
    done = resolvers(*arguments)
    assert done.returncode == code and said in done.stderr and "\x1b" not in done.stderr


def test_check_asks_each_by_what_it_speaks(behind: lying.Behind) -> None:
    done = resolvers("--platform", "google", "--check", *elsewhere(behind), ca=behind.ca)
    _, *rows = (line.split() for line in done.stdout.splitlines())
    assert done.returncode == 0, done
    assert [(row[0], row[2], row[4]) for row in rows] == [("google", "nxdomain", "udp")] * 4
    assert [row[1] for row in rows] == ["8.8.4.4", "8.8.8.8", GOOGLES[3], GOOGLES[2]]
    assert done.stderr == "4 addresses on 1 platforms answered, of 4 addresses on 1 platforms\n"


@pytest.mark.parametrize("transport", [[], ["--transport", "doh"]])
def test_check_of_one_that_is_encrypted_only(behind: lying.Behind, transport: list[str]) -> None:
    where = elsewhere(behind)
    done = resolvers("--platform", "iij", "--check", "--json", *transport, *where, ca=behind.ca)
    (found,) = map(json.loads, done.stdout.splitlines())
    assert done.returncode == 0
    assert (found["id"], found["transport"]) == ("https://public.dns.iij.jp/dns-query", "doh")
    assert found["outcome"] == "nxdomain" and found["rtt_ms"] > 0
    unknown = resolvers("--platform", "iij", "--check", *transport, *where)
    assert unknown.returncode == 30 and "certificate" in unknown.stdout, "a CA that nobody knows here"


def test_nobody_answers() -> None:
    done = resolvers("--platform", "google", "--check", "--transport", "udp", *elsewhere(None))
    assert done.returncode == 30
    assert done.stdout.count("unreachable") == len(GOOGLES)
    assert resolvers("--country", "jp", "--platform", "google", "--check").returncode == 30


async def test_where_port_53_lies_the_encrypted_transports_are_asked(
    behind: lying.Behind, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(behind.ca))
    chosen = [*entries_of(GOOGLE), *entries_of(QUAD9)]
    async with lying.net(behind, lambda _: True, NOWHERE[:2]) as net:
        honesty, found = await check(chosen, hints=ROOTS[:1], endpoints=net.endpoints)
        _, plain = await check(chosen, transport="udp", hints=ROOTS[:1], endpoints=net.endpoints)
    assert honesty.verdict == "intercepted"
    assert [(one.transport, one.answered) for one in found] == [("doh", True)] * 2
    assert [(one.outcome, one.rrset) for one in plain] == [("intercepted", ())] * 2
