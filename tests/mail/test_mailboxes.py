from __future__ import annotations

import asyncio
import re
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import msgspec
import pytest

from monitor.rehearsal.mailhost import MailHost
from monitor.rehearsal.store import Mailbox
from monitor.rehearsal.world import World
from probes.endpoints import Endpoints
from probes.mail.canary import Signer, compose
from probes.mail.mailbox import Mailboxes
from probes.observation import AccountState, CanaryLanded, Coverage, Mail, Observation, encode, now
from tests.mail.conftest import ANNA, Followed, box
from tests.mail.servers import serving

SIDES = pytest.mark.parametrize("side", ["old", "new"])


def mailbox(world: World, side: str) -> Mailbox:
    host: MailHost = getattr(world, side)
    found = host.store.of(ANNA)
    assert found is not None
    return found


def put(world: World, side: str, number: int, folder: str = "INBOX", extra: str = "") -> str:
    """A letter from outside, as the host would deliver it; its Message-ID."""
    name = "mail.old.example" if side == "old" else "mx1.new.example"
    message_id = f"<{number}@a.example>"
    raw = (
        f"Return-Path: <x@a.example>\r\nReceived: from mta.a.example (mta.a.example [203.0.113.1])\r\n"
        f"\tby {name} (Postfix) with ESMTPS id Q{number}; Wed, 25 Nov 2026 08:59:43 +0000\r\n"
        f"From: x@a.example\r\nMessage-ID: {message_id}\r\n{extra}\r\nText.\r\n"
    )
    mailbox(world, side).folders[folder].append(raw.encode(), now())
    return message_id


def of(kind: type, **fields: Any) -> Any:
    """A test for :meth:`Followed.until`: an observation of this kind with these fields."""

    def found(seen: list[Observation]) -> Any:
        return [
            one for one in seen
            if isinstance(one, kind) and all(getattr(one, k) == v for k, v in fields.items())
        ]  # fmt: skip

    return found


def contiguous(seen: list[Observation], longest: float) -> tuple[datetime, datetime]:
    """All coverage meets end to end, none longer than ``longest``; from when to when it reaches."""
    spans = [(c.from_, c.to) for c in seen if isinstance(c, Coverage)]
    assert spans and all(a[1] == b[0] for a, b in pairwise(spans)), spans
    assert all(timedelta(0) < to - begin <= timedelta(seconds=longest) for begin, to in spans), spans
    return spans[0][0], spans[-1][1]


@SIDES
async def test_history_first_then_what_arrives(world: World, boxes: Mailboxes, side: str) -> None:
    before = {f: len(b.messages) for f, b in mailbox(world, side).folders.items()}
    followed = Followed(boxes, box(world, side))  # type: ignore[arg-type]
    await followed.until(of(Coverage))
    history = followed.of(Mail)
    assert len(history) == before["INBOX"] + before["Junk"]
    assert all(m.recipient == ANNA and m.source == "mailbox" for m in history)
    # The first copy of the old mailbox lies on new: no outside mail that new took.
    assert {m.origin for m in history} == {"outside" if side == "old" else "unknown"}
    put(world, side, 1)
    (mail,) = await followed.until(of(Mail, message_id="<1@a.example>"))
    assert (mail.client, mail.helo, mail.queue_id, mail.origin) == (
        "203.0.113.1", "mta.a.example", "Q1", "outside",
    )  # fmt: skip
    assert mail.accepted_at.isoformat() == "2026-11-25T08:59:43+00:00" and mail.digest is None
    put(world, side, 2, "Junk")
    await followed.until(of(Mail, message_id="<2@a.example>"))
    await followed.until(lambda seen: len(of(Coverage)(seen)) > 5)
    contiguous(followed.seen, 1.0)
    assert all(encode(one) for one in followed.seen)
    assert [s.state for s in followed.of(AccountState)] == ["ok"]
    assert all(not m.flags for f in mailbox(world, side).folders.values() for m in f.messages)
    await followed.stop()


@SIDES
async def test_canaries_land_and_teach_the_host_s_name(
    world: World, boxes: Mailboxes, signer: Signer, side: str
) -> None:
    host: MailHost = getattr(world, side)
    followed = Followed(boxes, box(world, side))  # type: ignore[arg-type]
    await followed.until(of(Coverage))
    folders = mailbox(world, side).folders
    for route, folder in ((f"to-{side}", "INBOX"), ("mx", "Junk")):
        canary = signer.mint()
        raw = compose(signer, canary, route, "c@watch.example", ANNA, now())
        trace = (
            f"Authentication-Results: {host.who.name}; spf=pass\r\n"
            "Received: from w (w [203.0.113.250]) by other7.cloud.example with ESMTP id 9\r\n"
        )
        folders[folder].append(trace.encode() + raw, now())
        (landed,) = await followed.until(of(CanaryLanded, canary=canary))
        assert (landed.side, landed.account, landed.folder) == (side, ANNA, folder)
        assert landed.hops == ("other7.cloud.example.",) and landed.auth == {"spf": "pass"}
        assert 0 <= landed.latency_ms < 10_000
    trace = "Received: from mta.a.example (mta.a.example [203.0.113.1]) by other7.cloud.example with SMTP"
    folders["INBOX"].append(f"{trace}\r\n\r\n".encode(), now())
    (mail,) = await followed.until(of(Mail, message_id=None))
    assert mail.origin == "outside" and mail.digest is None
    await followed.stop()


async def test_another_s_canary_is_neither_a_landing_nor_real_mail(
    world: World, boxes: Mailboxes, signer: Signer
) -> None:
    followed = Followed(boxes, box(world, "new"))
    await followed.until(of(Coverage))
    folder = mailbox(world, "new").folders["INBOX"]
    folder.append(compose(signer, signer.mint(), "mx", "c@w.example", "bela@rehearsal.example", now()), now())
    await followed.until(of(Mail, origin="canary"))
    forged = compose(Signer(b"f" * 32), signer.mint(), "mx", "c@w.example", ANNA, now())
    folder.append(forged, now())
    await followed.until(
        lambda seen: [m for m in of(Mail)(seen) if "mxcutover" in m.message_id and m.origin != "canary"]
    )
    tampered = compose(signer, signer.mint(), "mx", "c@w.example", ANNA, now())
    folder.append(tampered.replace(b"route=mx", b"route=to-old"), now())
    await followed.until(lambda seen: len(of(Mail, origin="canary")(seen)) == 2)
    assert not followed.of(CanaryLanded)
    await followed.stop()


async def test_a_canary_whose_own_field_a_gateway_took_away_has_landed(
    world: World, boxes: Mailboxes, signer: Signer
) -> None:
    followed = Followed(boxes, box(world, "new"))
    await followed.until(of(Coverage))
    canary = signer.mint()
    whole = compose(signer, canary, "mx", "c@w.example", ANNA, now())
    bare = re.sub(rb"Mxcutover-Canary: (.*\r\n[ \t])*.*\r\n", b"", whole)
    assert b"Mxcutover-Canary" not in bare
    folder = mailbox(world, "new").folders["INBOX"]
    folder.append(bare.replace(f"<{ANNA}>".encode(), b"<bela@rehearsal.example>"), now())
    folder.append(bare, now())
    (landed,) = await followed.until(of(CanaryLanded))
    assert (landed.canary, landed.account) == (canary, ANNA) and 0 <= landed.latency_ms < 10_000
    assert [m.origin for m in followed.of(Mail) if canary in m.message_id] == ["canary"]
    await followed.stop()


@SIDES
async def test_a_resumed_watch_reads_what_is_new_and_closes_the_gap(
    world: World, boxes: Mailboxes, side: str
) -> None:
    first = Followed(boxes, box(world, side))  # type: ignore[arg-type]
    await first.until(lambda seen: len(of(Coverage)(seen)) > 1)
    await first.stop()
    put(world, side, 1)
    put(world, side, 2, "Junk")
    second = Followed(boxes, box(world, side), first.position)  # type: ignore[arg-type]
    await second.until(of(Coverage))
    assert {m.message_id for m in second.of(Mail)} == {"<1@a.example>", "<2@a.example>"}
    contiguous(first.seen + second.seen, 1.0)
    await second.stop()


async def test_another_mailbox_under_the_same_name_begins_anew(world: World, boxes: Mailboxes) -> None:
    first = Followed(boxes, box(world, "old"))
    await first.until(of(Coverage))
    await first.stop()
    mailbox(world, "old").folders["INBOX"].uid_validity += 7
    begun = now()
    second = Followed(boxes, box(world, "old"), first.position)
    await second.until(lambda seen: len(of(Coverage)(seen)) > 1)
    assert len(second.of(Mail)) == len(mailbox(world, "old").folders["INBOX"].messages)
    assert contiguous(second.seen, 1.0)[0] >= begun
    await second.stop()


async def test_what_came_and_went_unread_is_not_quiet(world: World, boxes: Mailboxes) -> None:
    first = Followed(boxes, box(world, "old"))
    await first.until(of(Coverage))
    await first.stop()
    folder = mailbox(world, "old").folders["INBOX"]
    put(world, "old", 1)
    put(world, "old", 2)
    folder.messages.pop(-2)
    second = Followed(boxes, box(world, "old"), first.position)
    await second.until(of(Coverage))
    assert [m.message_id for m in second.of(Mail)] == ["<2@a.example>"]
    unread = [c for c in second.of(Coverage) if c.not_understood]
    assert unread and {c.not_understood for c in unread} == {1}
    contiguous(first.seen + second.seen, 1.0)
    await second.stop()


async def test_a_gap_of_more_than_an_hour_is_not_claimed(world: World, boxes: Mailboxes) -> None:
    first = Followed(boxes, box(world, "old"))
    await first.until(of(Coverage))
    await first.stop()
    key, kept = "untold", dict(first.position)
    for seconds, claimed in ((3500, True), (3700, False)):
        begun = now()
        second = Followed(boxes, box(world, "old"), kept | {key: kept[key] - seconds * 1000})
        await second.until(of(Coverage))
        await second.stop()
        reach = contiguous(second.seen, 300.0)[0]
        assert (reach < begun - timedelta(seconds=3000)) == claimed


async def test_without_idle_it_polls(world: World, boxes: Mailboxes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("monitor.rehearsal.imap.BASE", "IMAP4rev1 SPECIAL-USE")
    followed = Followed(boxes, box(world, "new"))
    await followed.until(of(Coverage))
    put(world, "new", 1)
    await followed.until(of(Mail, message_id="<1@a.example>"))
    contiguous(followed.seen, 1.0)
    await followed.stop()


@SIDES
async def test_a_wrong_password_is_told_and_not_tried_again_at_once(
    world: World, boxes: Mailboxes, side: str
) -> None:
    told: list[None] = []
    wrong = box(world, side, "wrong", lambda: told.append(None))  # type: ignore[arg-type]
    first = Followed(boxes, wrong)
    await first.task
    assert [(s.state, s.account) for s in first.of(AccountState)] == [("refused", ANNA)]
    assert len(told) == 1 and "wrong" not in first.seen[0].detail  # type: ignore[union-attr]
    again = Followed(boxes, wrong)
    done, _ = await asyncio.wait({again.task}, timeout=0.5)
    assert not done and not again.seen
    await again.stop()
    right = Followed(boxes, box(world, side))  # type: ignore[arg-type]
    await right.until(of(AccountState, state="ok"))
    await right.stop()


async def test_a_secret_that_cannot_be_had_is_told(world: World, boxes: Mailboxes) -> None:
    async def none() -> Any:
        raise OSError("the file is not there")

    followed = Followed(boxes, msgspec.structs.replace(box(world, "new"), secret=none))
    await followed.task
    (state,) = followed.of(AccountState)
    assert state.state == "unreachable" and "not there" in state.detail


async def test_it_ends_when_the_server_does_and_its_last_coverage_is_proven(
    world: World, boxes: Mailboxes
) -> None:
    followed = Followed(boxes, box(world, "old"))
    await followed.until(of(Coverage))
    ended = now()
    await world.old.imap.close()
    async with asyncio.timeout(10):
        await followed.task
    assert [s.state for s in followed.of(AccountState)] == ["ok", "unreachable"]
    assert contiguous(followed.seen, 1.0)[1] <= ended


async def test_a_connection_that_dies_without_a_word_covers_nothing_after(
    world: World, signer: Signer
) -> None:
    """Through a relay that stops passing anything on, as a firewall does that has forgotten a connection."""
    real = world.net.real("192.0.2.10", 143)
    frozen = asyncio.Event()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            if frozen.is_set():
                await asyncio.Event().wait()
            writer.write(data)

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back, there = await asyncio.open_connection(*real)
        try:
            await asyncio.gather(pump(reader, there), pump(back, writer))
        finally:
            there.transport.abort()

    async with serving(relay) as port:
        ends = Endpoints({"192.0.2.10:143": f"127.0.0.1:{port}"})
        boxes = Mailboxes(signer, ends, 0.3, 0.5, round_trip=1.0)
        followed = Followed(boxes, box(world, "old"))
        await followed.until(of(Coverage))
        frozen.set()
        ended = now()
        async with asyncio.timeout(20):
            await followed.task
        assert followed.of(AccountState)[-1].state == "unreachable"
        assert contiguous(followed.seen, 0.5)[1] <= ended
        await boxes.close()


async def test_close_ends_many_followers_at_once(world: World, boxes: Mailboxes) -> None:
    many = [Followed(boxes, box(world, side)) for side in ("old", "new") for _ in range(10)]  # type: ignore[arg-type]
    for one in many:
        await one.until(of(Coverage))
    async with asyncio.timeout(5):
        await boxes.close()
        await asyncio.gather(*(one.task for one in many))
    assert {s.state for one in many for s in one.of(AccountState)} == {"ok"}
    again = Followed(boxes, box(world, "old"))
    await again.task
    assert not again.seen
