"""``mxcutover rescue`` between two real servers."""

from __future__ import annotations

import asyncio
import random
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from imapclient.imap_utf7 import encode

from monitor.exits import Failure
from monitor.journal import Journal
from monitor.plan.load import load
from monitor.rescue.content import content, unix
from monitor.rescue.ledger import Ledger
from monitor.rescue.model import Rescued
from monitor.rescue.running import Rescue, errands
from monitor.snapshot import StragglerRow
from monitor.watch.vault import Vault
from probes.mail import carrier
from probes.mail.carrier import Carrier, Refused
from probes.observation import now
from tests.mail.test_dovecot import JUNK
from tests.rescue.stage import ANNA, Stage, kept, put, session
from tests.watch.fake import plan

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


def test_beside_a_watch_that_holds_the_journal_the_record_is_told_all_the_same(stage: Stage) -> None:
    at = stage.changed + timedelta(hours=1)
    raw = letter(1)
    put(stage.old, raw, at)
    stage.record(stage.taken(raw, at))
    with Journal.open(stage.journal) as journal, ThreadPoolExecutor() as pool:
        running = pool.submit(stage.run)
        while not running.done():
            journal.keep([])  # as a watch does several times a second
            time.sleep(0.05)
        code, rows, said = running.result()
    assert (code, [row["outcome"] for row in rows], said) == (0, ["copied"], "")
    assert stage.stragglers() == ("met", "stragglers.met")


def test_what_cannot_be_copied_is_said_and_tried_again(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong password; a full mailbox; a server that does not tell which UID it gave; a copy that its owner
    deleted on new."""
    at = stage.changed + timedelta(hours=1)
    raw = letter(1)
    put(stage.old, raw, at)
    stage.record(stage.taken(raw, at))
    secret = stage.directory / "secret"
    right = secret.read_text()
    secret.write_text("wrong")
    code, rows, _ = stage.run()
    assert code == 69 and rows[0]["outcome"] == "failed" and "the login is refused" in rows[0]["detail"]
    secret.write_text(right)

    def full(*_: object) -> None:
        raise Refused("[OVERQUOTA] Quota exceeded")

    with monkeypatch.context() as patched:
        patched.setattr(Carrier, "add", full)
        (refused,) = rescued(stage)
    assert refused.outcome == "refused" and "Quota" in refused.detail and not kept(stage.new)
    with monkeypatch.context() as patched:
        patched.setattr(carrier, "_APPENDUID", re.compile(b"(?!)"))
        (copied,) = rescued(stage)
    assert (copied.outcome, copied.detail) == ("copied", "") and len(kept(stage.new)) == 1
    with session(stage.new) as imap:
        imap.select("INBOX")
        imap.store("1:*", "+FLAGS", "\\Deleted")
        imap.expunge()
    (gone,) = rescued(stage, dry=True)
    assert gone.outcome == "gone" and not kept(stage.new)


def rescued(stage: Stage, *, dry: bool = False) -> list[Rescued]:
    """In this process, whether or not the record knows already that it is on new."""
    at = stage.changed + timedelta(hours=1)
    made = load(stage.plan)
    row = StragglerRow(accepted_at=at, recipient=ANNA, message_id="<1@a.example>", client=None)
    todo, nobody = errands(made, [row])
    assert not nobody
    work = Rescue(made, Vault(made), stage.journal, dry=dry, told=lambda one: None)
    return asyncio.run(work.run(todo))


def test_from_a_host_that_has_pop3_alone(stage: Stage) -> None:
    """Nothing is marked as read there, and the date is when old took it."""
    stage.plan.write_text(stage.plan.read_text().replace("[old.imap]", "[old.pop3]"))
    at = stage.changed + timedelta(hours=1)
    raw, large = letter(1, ".A line that begins with a dot\r\n..\r\n."), letter(2, "y" * 2_500_000)
    for one in (letter(3), raw, large):
        put(stage.old, one, at)
    stage.record(stage.taken(raw, at), stage.taken(large, at), stage.taken(letter(9), at))
    before = kept(stage.old)
    code, rows, _ = stage.run()
    assert (code, sorted(row["outcome"] for row in rows)) == (10, ["absent", "copied", "copied"])
    assert kept(stage.old) == before
    found = kept(stage.new)
    assert sorted(one.raw for one in found) == sorted([raw, large])
    assert all(abs(one.date - at) < timedelta(seconds=1) and not one.flags for one in found)


def test_one_rescue_at_a_time(tmp_path: Path) -> None:
    with Ledger(tmp_path / "journal"), pytest.raises(Failure, match="another rescue is at work"):
        Ledger(tmp_path / "journal")
    with Ledger(tmp_path / "journal") as ledger:
        assert ledger.of(ANNA, "x") is None
        assert (tmp_path / "journal.rescue").stat().st_mode & 0o777 == 0o600


def test_who_is_looked_for_where() -> None:
    made = plan()  # a@ has secrets for both sides, b@ for neither

    def row(recipient: str) -> StragglerRow:
        return StragglerRow(accepted_at=now(), recipient=recipient, message_id="<1@x>", client=None)

    own, detail, alias, hidden = (
        row(r) for r in ("A@example.jp", "a+list@example.jp", "info@example.jp", "")
    )
    (one,), nobody = errands(made, [own, detail, alias, hidden, row("b@example.jp")])
    assert one.stragglers == (own, detail, alias, hidden)
    assert [one.recipient for one in nobody] == ["b@example.jp"]
    assert errands(made, [own], ["b@example.jp"]) == ([], [])
    blind = msgspec.structs.replace(made, accounts=made.accounts[1:])
    assert errands(blind, [alias]) == ([], [alias])


@given(st.binary(max_size=400), st.sampled_from([b"\r\n", b"\n"]))
def test_content_is_the_same_whatever_the_way_and_the_line_ends(body: bytes, end: bytes) -> None:
    head = b"Message-ID: <1@a>\nSubject: x\nFrom: a@b"
    one = head.replace(b"\n", b"\r\n") + b"\r\n\r\n" + body
    two = end.join([b"Received: by somebody", *head.split(b"\n"), b"", unix(body).replace(b"\n", end)])
    assert content(one) == content(two)
    assert content(one) != content(two.replace(b"<1@a>", b"<2@a>"))
    assert content(b"\r\n" + body) and content(body)
