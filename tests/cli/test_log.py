"""``mxcutover log``: from real servers' logs, in any order and packing, for one domain and for several."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import zstandard

from probes.observation import Coverage, Mail, decode

LAB = Path(__file__).parents[1] / "oldhost" / "lab"
ENTRY = (sys.executable, "-c", "from monitor.cli import run; run()", "log")
LOGS = [
    "postfix-short.syslog.log", "postfix-long.syslog.log", "postfix-short.rfc3339.log",
    "exim-mainlog-default.log", "exim-mainlog-logselector-all.log", "exim-syslog.syslog.log",
    "sendmail.syslog.log", "sendmail.rfc3339.log", "opensmtpd.syslog.log", "courier.syslog.log",
    "haraka-default.log", "haraka-logfmt.log",
]  # fmt: skip
PACKERS = {
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": zstandard.compress,
    "": bytes,
}


def run(*arguments: str | Path, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [*ENTRY, *map(str, arguments)], check=False, capture_output=True, input=stdin, timeout=60
    )


def told(*arguments: str | Path, stdin: bytes = b"") -> list[Any]:
    done = run(*arguments, "--json", stdin=stdin)
    assert (done.returncode, done.stderr) == (0, b"")
    return [decode(line) for line in done.stdout.splitlines()]


def names(seen: list[Any]) -> Counter[tuple[str | None, str, str]]:
    return Counter((m.message_id, m.recipient, m.disposition) for m in seen if isinstance(m, Mail))


@pytest.mark.parametrize("name", LOGS)
def test_the_table_and_the_observations_say_the_same(name: str) -> None:
    seen = told(LAB / name, "--domain", "example.com")
    taken = [m for m in seen[:-1] if isinstance(m, Mail) and m.disposition != "rejected"]
    last = seen[-1]
    assert isinstance(last, Coverage) and last.from_ < last.to
    text = run(LAB / name, "--domain", "example.com", "--all").stdout.decode()
    assert f"example.com: {len(taken)} messages taken" in " ".join(text.split())
    assert "written by " + re.split(r"[-.]", name)[0] in text
    rows = re.findall(r"^(\S+).*?\s(\d+)  \d\d-\d\d \d\d:\d\d  \d\d-\d\d \d\d:\d\d$", text, re.M)
    by_client = Counter(m.client or f"({m.origin})" for m in taken)
    assert {client: int(count) for client, count in rows} == dict(by_client)
    assert max(map(len, text.splitlines())) <= 80


def test_rotated_and_packed_files_are_one_log_in_any_order(tmp_path: Path) -> None:
    raw = (LAB / "postfix-short.rfc3339.log").read_bytes().splitlines(keepends=True)
    whole = names(told(LAB / "postfix-short.rfc3339.log", "--domain", "example.com"))
    parts = [b"".join(raw[i : i + len(raw) // 5 + 1]) for i in range(0, len(raw), len(raw) // 5 + 1)]
    for number, (part, suffix) in enumerate(zip(parts, PACKERS, strict=True)):
        (tmp_path / f"mail.log.{5 - number}{suffix}").write_bytes(PACKERS[suffix](part))
    assert names(told(tmp_path / "mail.log*", "--domain", "example.com")) == whole
    backwards = sorted(tmp_path.iterdir(), reverse=True)
    assert names(told(*backwards, "--domain", "example.com")) == whole
    assert names(told("-", "--domain", "example.com", stdin=b"".join(raw))) == whole


def test_several_domains_and_several_servers_at_once(tmp_path: Path) -> None:
    files = [LAB / "postfix-short.syslog.log", LAB / "exim-mainlog-default.log"]
    apart = [told(f, "--domain", d) for f in files for d in ("example.com", "split.example.com")]
    together = told(*files, "--domain", "example.com", "--domain", "SPLIT.example.com.")
    assert names(together) == sum((names(one) for one in apart), Counter())
    text = run(*files, "--domain", "example.com", "--domain", "split.example.com").stdout.decode()
    assert "\nexample.com: " in text and "\nsplit.example.com: " in text


def test_since_leaves_out_what_came_before() -> None:
    file, asked = LAB / "postfix-short.rfc3339.log", ("--domain", "example.com")
    taken = [m for m in told(file, *asked) if isinstance(m, Mail)]
    middle = sorted(m.accepted_at for m in taken)[len(taken) // 2]
    later = [m for m in told(file, *asked, "--since", middle.isoformat()) if isinstance(m, Mail)]
    assert 0 < len(later) < len(taken) and min(m.accepted_at for m in later) >= middle


def test_what_names_the_domain_and_cannot_be_read_is_counted(tmp_path: Path) -> None:
    raw = (LAB / "postfix-short.syslog.log").read_bytes()
    file = tmp_path / "mail.log"
    file.write_bytes(
        raw + b"Nov 22 21:22:50 host postfix/local[9]: to=<bob@example.com>, \xff\x1b[2J\xe2\x80\xae what\n"
    )
    text = run(file, "--domain", "example.com").stdout.decode()
    assert "! 1 lines name example.com" in text and not set(text) & set("\x1b\u202e")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("nowhere.log", "--domain", "example.com"), 74, "nowhere.log: no such file"),
        (("no*.log", "--domain", "example.com"), 74, "no*.log: no such file"),
        ((".", "--domain", "example.com"), 74, "is a directory"),
        (("{broken}", "--domain", "example.com"), 74, "broken.gz"),
        (("-",), 2, "--domain"),
        (("-", "--domain", "a b"), 2, "is no domain"),
        (("-", "--domain", "example.com", "--zone", "Mars/Olympus"), 2, "is no time zone"),
        (("-", "--domain", "example.com", "--own", "mail"), 2, "is no IP address"),
        (("-", "--domain", "example.com", "--since", "soon"), 2, "is no time"),
    ],
)
def test_bad_input_is_one_line_and_its_code(
    tmp_path: Path, arguments: tuple[str, ...], code: int, said: str
) -> None:
    broken = tmp_path / "broken.gz"
    broken.write_bytes(gzip.compress(b"Nov 22 21:22:50 host x: y\n" * 100)[:-20])
    done = run(*(a.replace("{broken}", str(broken)) for a in arguments))
    error = done.stderr.decode()
    assert done.returncode == code and said in error and "Traceback" not in error
    assert code == 2 or len(error.splitlines()) == 1


@pytest.mark.parametrize(
    "raw", [b"", b"\0" * 5000, b"\xff\xfe\n" * 50, b"x" * 300_000, bytes(range(256)) * 40]
)
def test_what_is_no_mail_log_is_said(raw: bytes) -> None:
    done = run("-", "--domain", "example.com", stdin=raw)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"is this a mail log?" in done.stdout or b"no mail server" in done.stdout


def test_the_journals_own_form(tmp_path: Path) -> None:
    first = json.loads(run(LAB / LOGS[0], "--domain", "example.com", "--json").stdout.splitlines()[0])
    assert first["kind"] == "mail" and first["source"] == "log" and first["side"] == "old"
