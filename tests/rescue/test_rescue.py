"""``mxcutover rescue`` between two real servers."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from datetime import timedelta

import pytest
from imapclient.imap_utf7 import encode

from tests.mail.test_dovecot import JUNK
from tests.rescue.stage import ANNA, Stage, kept, put

pytestmark = pytest.mark.servers


def letter(number: int, body: str = "Text.", name: str | None = None) -> bytes:
    named = f"Message-ID: {name or f'<{number}@a.example>'}\r\n" if name != "" else ""
    return (
        "Received: from mta.a.example (mta.a.example [203.0.113.1])\r\n"
        f"\tby mail.old.example (Postfix) with ESMTPS id Q{number}; Wed, 25 Nov 2026 08:59:43 +0000\r\n"
        f"From: Xaver <x{number}@a.example>\r\n{named}Date: Wed, 25 Nov 2026 08:59:4{number % 10} +0000\r\n"
        f"Subject: 8-bit: \xff\r\n\r\n{body} \x00\r\n".replace("\x00", "")
    ).encode("latin-1")


def test_each_straggler_comes_over_with_its_date_flags_folder_and_bytes(stage: Stage) -> None:
    at = stage.changed + timedelta(hours=1)
    plain, junk, filed, nameless = letter(1), letter(2), letter(3), letter(4, name="")
    twin, other_twin = letter(5, "One.", "<twin@a.example>"), letter(6, "Another.", "<twin@a.example>")
    large = letter(7, "x" * 76 + "\r\n" + "y" * 2_500_000)
    put(stage.old, plain, at, "\\Seen \\Flagged $Forwarded")
    put(stage.old, junk, at + timedelta(seconds=1), folder=encode(JUNK).decode())
    put(stage.old, filed, at + timedelta(seconds=2), "\\Answered", "Projects")
    for raw in (nameless, twin, other_twin, large):
        put(stage.old, raw, at + timedelta(seconds=3))
    put(stage.old, letter(9), at)  # no straggler: it stays where it is
    both = letter(8)
    put(stage.old, both, at)
    put(stage.new, both.replace(b"Received: ", b"Received: by mx1.new.example; x\r\nReceived: "), at)
    messages = (plain, junk, filed, nameless, twin, large, both)
    gone = stage.taken(letter(10), at)
    stage.record(*(stage.taken(raw, at) for raw in messages), gone)
    before = kept(stage.old)

    code, rows, _ = stage.run("--dry-run")
    assert (code, {row["outcome"] for row in rows}) == (10, {"would", "absent", "there"})
    assert len(kept(stage.new)) == 1 and stage.stragglers() == ("unmet", "stragglers.missing")
    assert {row["message_id"] for row in stage.status()["stragglers"]} == {row["message_id"] for row in rows}
    listed = next(row for row in rows if row["message_id"] == "<1@a.example>")
    assert listed["recipient"] == ANNA and listed["client"] == "203.0.113.7" and "Xaver" in listed["from"]

    code, rows, said = stage.run()
    assert code == 10, (rows, said)  # one is not to be found
    outcomes = sorted(row["outcome"] for row in rows)
    assert outcomes == sorted(["copied"] * 7 + ["there", "absent"]), rows
    assert not any(row["detail"] for row in rows if row["outcome"] == "copied"), rows
    assert kept(stage.old) == before
    wanted = [one for one in before if one.raw in (plain, junk, nameless, twin, other_twin, large)]
    wanted += [type(one)(one.raw, one.date, one.flags, "INBOX") for one in before if one.raw == filed]
    found = [one for one in kept(stage.new) if b"by mx1.new.example" not in one.raw]
    assert sorted(map(repr, found)) == sorted(map(repr, wanted))

    code, rows, _ = stage.run()
    assert (code, [row["outcome"] for row in rows]) == (10, ["absent"])
    assert len(kept(stage.new)) == 8


def test_killed_at_any_moment_it_copies_each_once_and_the_same(stage: Stage) -> None:
    at = stage.changed + timedelta(hours=1)
    letters = [letter(n, f"Text {n}." + "z" * (70_000 if n == 3 else 1)) for n in range(8)]
    for n, raw in enumerate(letters):
        put(stage.old, raw, at + timedelta(seconds=n), "\\Seen" if n % 2 else "$Label1")
    stage.record(*(stage.taken(raw, at) for raw in letters))
    before = kept(stage.old)
    rolled, killed = random.Random(4), 0
    for _ in range(80):
        moment = rolled.randint(20, 90)
        done = subprocess.run(
            [sys.executable, "-m", "tests.rescue.child", str(moment), "rescue", str(stage.plan)],
            capture_output=True, timeout=60, check=False,
        )  # fmt: skip
        if done.returncode != -signal.SIGKILL:
            break
        killed += 1
    assert done.returncode == 0, (done.stdout, done.stderr)
    assert killed >= 3
    assert sorted(map(repr, kept(stage.new))) == sorted(map(repr, before)) and kept(stage.old) == before
    assert stage.stragglers() == ("met", "stragglers.met")
    assert stage.run() == (0, [], "")
