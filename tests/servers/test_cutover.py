"""A whole cutover on real servers, watched by the real command from before to safe.

The old host keeps the domain local after the change (the trap), then lets go and relays; a colleague still
submits through it for a while. Nothing of what the watch says is taken on trust: the senders' own record
and the Maildirs tell what happened.
"""

from __future__ import annotations

import asyncio
import html
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct

from probes.observation import CanaryLanded, CanarySent, Mail, Observation, read_lines
from tests.servers.daemon import needs
from tests.servers.host import MailHost
from tests.servers.planfile import ROUTES, STREAK, write_plan
from tests.servers.senders import Sent, Truth, Writing
from tests.servers.stage import PROGRAMS, Stage, files, letters
from tests.servers.watching import Watching, mxcutover, watching
from tests.servers.zones import DOMAIN

pytestmark = pytest.mark.servers

TTL = 5
PAUSE = 1.5  # of each sender, on the mean
HISTORY, BASELINE = 10, 25  # letters before the watch begins; and before the change
ORDER = ["before", "propagating", "draining", "safe"]


class Played(Struct, frozen=True, kw_only=True):
    """What is there when the play is over."""

    truth: Truth
    watch: Watching
    code: int
    journal: Path
    relayed: Sequence[Sent]


@pytest.fixture
def stage() -> Iterator[Stage]:
    needs(*PROGRAMS)
    with Stage(ttl=TTL) as built:
        yield built


async def test_a_cutover_is_watched_from_before_to_safe(stage: Stage, tmp_path: Path) -> None:
    plan = write_plan(stage, tmp_path, TTL)
    played = await play(stage, plan)
    assert played.watch.verdicts == ORDER, str(played.watch)
    assert played.code == 0, str(played.watch)
    seen = await recorded(played, tmp_path)
    all_that_old_took_is_counted_once(stage, played, seen)
    nothing_is_lost_and_nothing_was_touched(stage, played)
    canaries_landed(seen)
    await the_report_says_so(stage, played, tmp_path)
    no_secret_is_told(stage, played, tmp_path)


# -- the play ------------------------------------------------------------------------------------------


async def play(stage: Stage, plan: Path) -> Played:
    truth, journal = stage.post.truth, plan.with_name("cutover.journal")
    async with Writing(stage.post, stage.old, PAUSE) as writing:
        await letters_sent(truth, HISTORY)
        async with watching(plan) as watch:
            await watch.verdict("before")
            await letters_sent(truth, BASELINE)
            await mxcutover("cutover", "-j", str(journal))
            stage.change_mx()
            await watch.verdict("propagating")
            await somebody_found_new(stage)
            stage.secondary_catches_up()
            await watch.verdict("draining")
            await trapped(journal)
            relayed = await let_go(stage, writing, plan)
            await watch.verdict("safe")
            await writing.stop()
            code = await watch.stop()
            return Played(truth=truth, watch=watch, code=code, journal=journal, relayed=relayed)


async def trapped(journal: Path) -> None:
    """What is said of the canaries, while all of DNS has turned and the old host keeps the domain local."""
    for _ in range(120):
        said = await mxcutover("status", "--json", str(journal), codes=(10,))
        if "canaries.trap" in said:
            return
        await asyncio.sleep(0.5)
    raise AssertionError(f"the trap is never told: {said}")


async def let_go(stage: Stage, writing: Writing, plan: Path) -> list[Sent]:
    """Old passes the domain on, what it had kept is copied, the colleague's mail program is set to new.
    Returns what it relayed."""
    before = len(stage.post.truth.taken_by(stage.old))
    stage.old_mta.relay(stage.addresses.new[0])
    await until(lambda: len(stage.post.truth.taken_by(stage.old)) > before, "old relays the colleague's mail")
    writing.colleague_at = stage.new
    sent = stage.post.truth.sent
    await until(lambda: sent[-1].submitted and sent[-1].address in stage.new.addresses, "through new")
    await until(lambda: stage.old_mta.waiting() == 0, "old's queue is empty")
    await rescued(plan)
    stage.copy()  # the mail of before the change
    there = set(ids(stage.old))
    return [s for s in stage.post.truth.taken_by(stage.old) if s.message_id not in there]


async def rescued(plan: Path) -> None:
    """What old kept since the change, by the command and beside the watch."""
    said = await mxcutover("rescue", str(plan), "--json")
    rows = [json.loads(line) for line in said.splitlines()]
    assert any(row["outcome"] == "copied" for row in rows), rows
    assert {row["outcome"] for row in rows} <= {"copied", "there"} and not any(row["detail"] for row in rows)
    await mxcutover("rescue", str(plan))  # once more, and nothing is there twice


async def somebody_found_new(stage: Stage) -> None:
    """One cache at least has asked the primary, while the secondary still serves the old MX."""
    await until(lambda: stage.post.truth.taken_by(stage.new), "an outside letter goes to new")


async def letters_sent(truth: Truth, many: int) -> None:
    await until(lambda: len(truth.sent) >= many, f"{many} letters are sent")


async def until(holds: Callable[[], object], what: str) -> None:
    """For what the play itself does."""
    try:
        async with asyncio.timeout(60):
            while not holds():
                await asyncio.sleep(0.1)
    except TimeoutError:
        raise AssertionError(f"never: {what}") from None


# -- what must hold ------------------------------------------------------------------------------------


async def recorded(played: Played, directory: Path) -> list[Observation]:
    """The evidence as it is exported; judged again it comes to the same verdicts, and it verifies."""
    path = directory / "cutover.jsonl"
    await mxcutover("export", str(played.journal), "-o", str(path))
    again = [json.loads(line) for line in (await mxcutover("replay", "--json", str(path))).splitlines()]
    words = [judgement["verdict"] for judgement in again]
    assert list(dict.fromkeys(words)) == ORDER
    await mxcutover("verify", str(played.journal))
    with path.open("rb") as lines:
        return list(read_lines(lines))


def all_that_old_took_is_counted_once(stage: Stage, played: Played, seen: Sequence[Observation]) -> None:
    taken = {sent.message_id: sent for sent in played.truth.taken_by(stage.old)}
    mail = [m for m in seen if isinstance(m, Mail) and m.side == "old" and m.origin != "canary"]
    logged = [m for m in mail if m.source == "log"]
    assert Counter(m.message_id for m in logged) == Counter(taken.keys()), played.truth.refused
    relayed = {sent.message_id for sent in played.relayed}
    for one in logged:
        sent = taken[str(one.message_id)]
        assert one.recipient == sent.recipient
        assert one.origin == ("submission" if sent.submitted else "outside"), one
        assert one.client == sent.client
        assert one.disposition == ("relayed" if sent.message_id in relayed else "delivered"), one
        # The log's own stamp is of whole seconds, in the old host's zone.
        assert abs((one.accepted_at - sent.at).total_seconds()) < 60
    kept = [m.message_id for m in mail if m.source == "mailbox"]
    assert Counter(kept) == Counter(taken.keys() - relayed)


def nothing_is_lost_and_nothing_was_touched(stage: Stage, played: Played) -> None:
    there = Counter(ids(stage.new))
    assert all(there[sent.message_id] == 1 for sent in played.truth.sent)
    assert not played.truth.refused
    for host in (stage.old, stage.new):
        for path in (path for user in host.users for path in files(host, user)):
            # Maildir: in "new" until a client has selected the mailbox; flags stand after ":2,".
            assert path.parent.name == "new" and ":2," not in path.name, path


def canaries_landed(seen: Sequence[Observation]) -> None:
    """Each route's: on old before it let go (new delivers what it is handed by itself), on new after."""
    sent = {s.canary: s for s in seen if isinstance(s, CanarySent)}
    landed = [one for one in seen if isinstance(one, CanaryLanded)]
    assert {s.outcome for s in sent.values()} == {"accepted"}
    assert {s.route for s in sent.values()} == set(ROUTES)
    routes = {side: {sent[o.canary].route for o in landed if o.side == side} for side in ("old", "new")}
    assert routes == {"old": set(ROUTES) - {"via-new"}, "new": set(ROUTES)}
    travelling = sent.keys() - {one.canary for one in landed}
    last = {s.canary for s in list(sent.values())[-2 * len(ROUTES) :]}
    assert travelling <= last


async def the_report_says_so(stage: Stage, played: Played, directory: Path) -> None:
    """As of the moment at which the watch said it: by now its evidence grows stale."""
    at = next(line.split()[0] for line in played.watch.lines if " safe: " in line)
    out = directory / "proof"
    await mxcutover("report", str(played.journal), "-o", str(out), "--at", at)
    report = json.loads((out / "report.json").read_text())
    verdict, evidence = report["verdict"], report["evidence"]
    assert verdict["verdict"] == "safe" and report["times"]["verdict_since"] == at
    assert {requirement["state"] for requirement in verdict["requirements"]} == {"met"}
    taken = played.truth.taken_by(stage.old)
    assert sorted(hit["message_id"] for hit in evidence["hits"]) == sorted(sent.message_id for sent in taken)
    assert all(hit["counts"] for hit in evidence["hits"])
    assert {client["client"] for client in evidence["clients"]} == {sent.client for sent in taken}
    assert {row["route"]: row["planned"] for row in evidence["routes"]} == dict.fromkeys(ROUTES, True)
    assert all(row["streak"] >= STREAK for row in evidence["routes"])
    watched = {row["source"]: row for row in evidence["coverage"]}
    boxes = {f"mailbox:{side}:{user}@{DOMAIN}" for side in ("old", "new") for user in stage.old.users}
    assert watched.keys() == {"log:old"} | boxes
    assert not any(row["gaps"] or row["not_understood"] for row in watched.values())
    assert evidence["stragglers"] == []
    what_new_took_from_outside_is_no_copy(stage, played, report)
    page = html.unescape((out / "report.html").read_text())
    assert report["headline"] in page and report["share_statement"] in page and DOMAIN in page


def what_new_took_from_outside_is_no_copy(stage: Stage, played: Played, report: dict[str, Any]) -> None:
    """Neither canaries nor what old relayed or was copied from it count as arrivals."""
    reasons = {r["name"]: r["reason"] for r in report["verdict"]["requirements"]}
    said = re.search(r"new took (\d+) messages from outside", reasons["arrivals"])
    horizon = datetime.fromisoformat(report["times"]["horizon"])
    outside = [s for s in played.truth.taken_by(stage.new) if not s.submitted and s.at >= horizon]
    assert said is not None and 3 <= int(said[1]) <= len(outside)


def no_secret_is_told(stage: Stage, played: Played, directory: Path) -> None:
    """Not in the journal, what was exported, the report, or on the watch's output."""
    told = b"".join(
        path.read_bytes() for path in directory.rglob("*") if path.is_file() and path.suffix != ".secret"
    )
    for password in (host.password(user) for host in (stage.old, stage.new) for user in host.users):
        assert password.encode() not in told and password not in str(played.watch)


def ids(host: MailHost) -> list[str]:
    """Message-IDs of everything that lies on this host."""
    return [message_id for user in host.users for message_id, _ in letters(host, user)]
