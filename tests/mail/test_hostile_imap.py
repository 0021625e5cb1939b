"""IMAP servers that talk nonsense, too much, or nothing: each ends in a state, in time, never in a fault."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from imapclient.imap_utf7 import encode as encode_utf7

from probes.endpoints import Endpoints
from probes.mail.canary import Signer
from probes.mail.imap import junk_folder
from probes.mail.mailbox import Box, Mailboxes
from probes.mail.trace import Place
from probes.observation import AccountState, Coverage, Mail, encode
from probes.secret import Secret
from probes.service import Service
from tests.mail.conftest import ANNA, Followed
from tests.mail.servers import Talk, serving

CAPABLE = b"* OK [CAPABILITY IMAP4rev1 IDLE] ready\r\n"
FETCHED = b'* 1 FETCH (UID 7 INTERNALDATE "25-Nov-2026 08:59:43 +0000" BODY[HEADER]<0> {%d}\r\n%s)\r\n'
HEADER = b"From: x@a.example\r\nMessage-ID: <7@a.example>\r\n\r\n"
GOOD: dict[bytes, bytes] = {
    b"CAPABILITY": b"* CAPABILITY IMAP4rev1 IDLE\r\n",
    b"LIST": b'* LIST (\\HasNoChildren) "/" INBOX\r\n',
    b"EXAMINE": b"* 1 EXISTS\r\n* OK [UIDVALIDITY 5] x\r\n* OK [UIDNEXT 8] x\r\n",
    b"SEARCH": b"* SEARCH 7\r\n",
    b"FETCH": FETCHED % (len(HEADER), HEADER),
}


def imap(changed: dict[bytes, bytes | None], greeting: bytes = CAPABLE) -> Talk:
    """IMAP by rote: what comes before each command's ``OK``. ``TAG`` in it stands for the tag, and takes the
    place of the ``OK``; None answers nothing, ever."""
    said: dict[bytes, bytes | None] = {**GOOD, **changed}

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(greeting)
        while line := await reader.readline():
            tag, _, rest = line.strip().partition(b" ")
            verb = rest.removeprefix(b"UID ").split(b" ")[0].upper()  # "" for DONE
            before = said.get(verb, b"")
            if before is None:
                await reader.read()
            elif verb == b"IDLE" and b"TAG" not in (before or b""):
                writer.write(before or b"+ go\r\n")
                await reader.readline()
                writer.write(tag + b" OK done\r\n")
            elif b"TAG" in (before or b""):
                writer.write((before or b"").replace(b"TAG", tag))
            else:
                writer.write((before or b"") + tag + b" OK done\r\n")
            await writer.drain()

    return talk


async def watched(talk: Talk, test: Callable[[Followed], object] | None = None) -> Followed:
    """One mailbox followed at this server until ``test`` holds, or to its end."""

    async def secret() -> Secret:
        return Secret("geheim-4711")

    async with serving(talk) as port:
        boxes = Mailboxes(
            Signer(b"k" * 32), Endpoints({"192.0.2.10:143": f"127.0.0.1:{port}"}), 0.2, 0.4, 0.5
        )
        plain = Service(host="mail.old.example", port=143, tls="none", address="192.0.2.10")
        box = Box(
            side="old", account=ANNA, service=plain, login="anna", secret=secret, refused=lambda: None,
            place=Place(["mail.old.example"], ["192.0.2.10"]),
        )  # fmt: skip
        followed = Followed(boxes, box)
        if test is None:
            await followed.until_over()
        else:
            await followed.until(lambda _: test(followed))
            await followed.stop()
        begun = time.monotonic()
        await boxes.close()
        assert time.monotonic() - begun < 4
    assert all(encode(one) for one in followed.seen)
    assert "geheim" not in repr(followed.seen)
    return followed


async def test_by_rote_it_works(signer: Signer) -> None:
    followed = await watched(imap({}), lambda f: len(f.of(Coverage)) > 2)
    assert [m.message_id for m in followed.of(Mail)] == ["<7@a.example>"]
    assert followed.of(Mail)[0].accepted_at.isoformat() == "2026-11-25T08:59:43+00:00"


# greeting, changed answers: state, a word of its detail
ENDS: dict[str, tuple[bytes, dict[bytes, bytes | None], str, str]] = {
    "no greeting": (b"", {}, "unreachable", "timed out"),
    "BYE": (b"* BYE too many connections from your address\r\n", {}, "unreachable", "too many"),
    "SSH": (b"SSH-2.0-OpenSSH_9\r\n", {}, "unreachable", ""),
    "binary": (bytes(range(256)) * 10, {}, "unreachable", ""),
    "endless line": (b"* OK " + b"x" * 3_000_000, {}, "unreachable", "line of more than"),
    "login refused": (CAPABLE, {b"LOGIN": b"TAG NO [AUTHENTICATIONFAILED] no\r\n"}, "refused", "FAILED"),
    "login repeated": (CAPABLE, {b"LOGIN": b"TAG NO geheim-4711 is wrong\r\n"}, "refused", "*** is wrong"),
    "no such user": (CAPABLE, {b"LOGIN": b"TAG NO unknown user anna\r\n"}, "missing", "unknown user"),
    "not now": (CAPABLE, {b"LOGIN": b"TAG NO [UNAVAILABLE] database down\r\n"}, "unreachable", "down"),
    "BYE in answer to the login": (
        CAPABLE, {b"LOGIN": b"* BYE shutting down\r\nTAG x\r\n"}, "unreachable", "shutting down",
    ),
    "login hangs": (CAPABLE, {b"LOGIN": None}, "unreachable", "timed out"),
    "no inbox": (CAPABLE, {b"EXAMINE": b"TAG NO it is gone\r\n"}, "unreachable", "gone"),
    "huge literal": (
        CAPABLE, {b"FETCH": b"* 1 FETCH (UID 7 BODY[HEADER]<0> {999999999}\r\n"}, "unreachable", "literal",
    ),
    "literal that never comes": (
        CAPABLE, {b"FETCH": b"TAG 1\r\n* 1 FETCH (UID 7 BODY[HEADER]<0> {1000}\r\nx"}, "unreachable", "",
    ),
    "endless answer": (CAPABLE, {b"FETCH": b"* 1 EXISTS\r\n" * 2_000_000}, "unreachable", ""),
    "not numbers": (CAPABLE, {b"SEARCH": b"* SEARCH a b\r\n"}, "unreachable", ""),
    "no UIDVALIDITY that is one": (
        CAPABLE, {b"EXAMINE": b"* OK [UIDVALIDITY x] \r\n* OK [UIDNEXT -] \r\n"}, "unreachable", "",
    ),
    "BYE in IDLE": (CAPABLE, {b"IDLE": b"+ go\r\n* BYE idle too long\r\n"}, "unreachable", ""),
    "IDLE refused": (CAPABLE, {b"IDLE": b"TAG NO not today\r\n"}, "unreachable", "IDLE"),
    "dead in IDLE": (CAPABLE, {b"IDLE": b"+ go TAG\r\n", b"": None}, "unreachable", "timed out"),
}  # fmt: skip


@pytest.mark.parametrize("name", ENDS)
async def test_it_ends_in_a_state(name: str) -> None:
    greeting, changed, state, word = ENDS[name]
    followed = await watched(imap(changed, greeting))
    last = followed.of(AccountState)[-1]
    assert last.state == state and word in last.detail and last.detail and len(last.detail) <= 500


ODD: dict[str, dict[bytes, bytes | None]] = {
    "no header": {b"FETCH": b"* 1 FETCH (UID 7)\r\n"},
    "no date": {
        b"FETCH": b'* 1 FETCH (UID 7 INTERNALDATE "yesterday" BODY[HEADER]<0> {4}\r\n\xff\x00\r\n)\r\n'
    },
    "a zone of days": {
        b"FETCH": b'* 1 FETCH (UID 7 INTERNALDATE "25-Nov-2026 08:59:43 +9999" BODY[HEADER]<0> "x")\r\n'
    },
    "header is NIL": {b"FETCH": b"* 1 FETCH (UID 7 BODY[HEADER]<0> NIL)\r\n"},
    "new mail told before IDLE begins": {b"IDLE": b"* 2 EXISTS\r\n+ go\r\n"},
    "no UIDNEXT": {b"EXAMINE": b"* 1 EXISTS\r\n* OK [UIDVALIDITY 5] x\r\n"},
    "folders of all kinds": {
        b"LIST": b'* LIST () NIL ""\r\n* LIST (\\Noselect) "/" Junk\r\n* LIST (\\X) "." 12\r\n'
        b'* LIST () "/" "&&&"\r\n* LIST (\\Junk) "/" "a&j,dg0TDhMPwwqw-"\r\n',
        b"STATUS": b"TAG NO no such folder\r\n",
    },
}


@pytest.mark.parametrize("name", ODD)
async def test_it_goes_on(name: str) -> None:
    followed = await watched(imap(ODD[name]), lambda f: len(f.of(Coverage)) > 1)
    assert {s.state for s in followed.of(AccountState)} == {"ok"} and len(followed.of(Mail)) == 1


@pytest.mark.parametrize("tls", ["implicit", "starttls", "none"])
async def test_a_server_that_says_nothing_holds_nobody_up(
    tls: Literal["implicit", "starttls", "none"],
) -> None:
    connected = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connected.set()
        await reader.read()

    async def secret() -> Secret:
        return Secret("geheim-4711")

    async with serving(silent) as port:
        boxes = Mailboxes(Signer(b"k" * 32), Endpoints({"192.0.2.10": f"127.0.0.1:{port}"}))
        box = Box(
            side="old", account=ANNA, login="anna", secret=secret, refused=lambda: None,
            service=Service(host="mail.old.example", port=143, tls=tls, address="192.0.2.10"),
            place=Place(["mail.old.example"], ["192.0.2.10"]),
        )  # fmt: skip
        cancelled, closed = Followed(boxes, box), Followed(boxes, box)
        async with asyncio.timeout(5):
            await connected.wait()
            await cancelled.stop()
            await boxes.close()
            await closed.until_over()
        assert not closed.seen and not cancelled.seen


@settings(max_examples=15, deadline=None)
@given(st.sampled_from(sorted(GOOD)), st.binary(max_size=200))
def test_whatever_a_server_says_it_ends_or_goes_on(verb: bytes, said: bytes) -> None:
    talk = imap({verb: said + b"\r\n"})
    followed = asyncio.run(watched(talk, lambda f: f.task.done() or len(f.of(Coverage)) > 1 or f.seen))
    assert followed.seen


JUNK: dict[str, tuple[list[tuple[object, object, object]], bytes | None]] = {
    "by its use": ([((b"\\Junk",), b"/", b"x"), ((), b"/", b"Junk")], b"x"),
    "by its name": ([((), b".", b"INBOX.spam"), ((), b".", b"INBOX.a.Junk")], b"INBOX.spam"),
    "in Japanese": ([((), b"/", encode_utf7("迷惑メール"))], encode_utf7("迷惑メール")),
    "not one that cannot be opened": ([((b"\\NoSelect",), b"/", b"Junk")], None),
    "none": ([((), None, b"INBOX"), ((), b"/", b"Junkyard"), ((), b"/", b"&&&"), ((), b"/", "7")], None),
}


@pytest.mark.parametrize("name", JUNK)
def test_the_junk_folder(name: str) -> None:
    listed, expected = JUNK[name]
    assert junk_folder(listed) == expected
