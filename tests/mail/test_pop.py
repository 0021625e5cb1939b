"""POP3: what it shows, what it cannot show, and servers that lack what RFC 1939 leaves open."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from probes.endpoints import Endpoints
from probes.mail.canary import Signer, compose
from probes.mail.mailbox import Box, Mailboxes
from probes.mail.routes import Login
from probes.mail.trace import Place
from probes.observation import AccountState, CanaryLanded, Coverage, Mail, encode, now
from probes.readiness.login import try_mailbox
from probes.secret import Secret, Token
from probes.service import Service
from tests.mail.conftest import ANNA, KEY, Followed
from tests.mail.servers import certificate, serving
from tests.mail.test_mailboxes import contiguous, of

NAME, PASSWORD = "pop.old.example", "geheim-4711"
CHALLENGE = b"<1896.697170952@pop.old.example>"


class Maildrop:
    """A POP3 server on loopback. ``lacks`` is what it does not know, ``instead`` what it says in place of its
    answers; each login sees the messages of that moment. ``said`` keeps every command."""

    def __init__(
        self, capable: str = "USER\nTOP\nUIDL", lacks: str = "",
        instead: dict[str, bytes | None] | None = None, tls: ssl.SSLContext | None = None,
    ) -> None:  # fmt: skip
        self.messages: dict[str, bytes] = {}
        self.capable, self.lacks, self.tls = capable, lacks.split(), tls
        self.instead = instead or {}
        self.said: list[str] = []
        self.password = PASSWORD

    def put(self, number: int, stamp: str = "Wed, 25 Nov 2026 08:59:43 +0000") -> None:
        self.messages[f"uid{number}"] = (
            f"Received: from mta.a.example (mta.a.example [203.0.113.1])\r\n"
            f"\tby {NAME} (Postfix) with ESMTPS id Q{number}; {stamp}\r\n"
            f"Message-ID: <{number}@a.example>\r\n..stuffed: x\r\n\r\nText that TOP 0 must not bring.\r\n"
        ).encode()

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(self.instead.get("", b"+OK ready " + CHALLENGE + b"\r\n") or b"")
        mails = list(self.messages.items())
        while line := (await reader.readline()).decode().strip():
            self.said.append(line)
            verb, _, rest = line.partition(" ")
            said = self.instead.get(verb, b"")
            if said is None:
                await reader.read()
            elif verb in self.lacks:
                writer.write(b"-ERR unknown command\r\n")
            elif verb == "AUTH":
                writer.write(await self._auth(rest, reader, writer))
            else:
                writer.write(said or self._answer(verb, rest, mails))
            await writer.drain()
            if verb == "STLS" and self.tls is not None:
                await writer.start_tls(self.tls, ssl_handshake_timeout=5)
            if verb == "QUIT":
                return

    def _answer(self, verb: str, rest: str, mails: list[tuple[str, bytes]]) -> bytes:
        if verb == "CAPA":
            return ("+OK\r\n" + "".join(f"{c}\r\n" for c in self.capable.splitlines()) + ".\r\n").encode()
        if verb == "PASS":
            return b"+OK\r\n" if rest == self.password else b"-ERR [AUTH] no\r\n"
        if verb == "UIDL":
            return (
                b"+OK\r\n"
                + b"".join(b"%d %s\r\n" % (n, u.encode()) for n, (u, _) in enumerate(mails, 1))
                + b".\r\n"
            )
        if verb == "TOP":
            assert rest.endswith(" 0")
            header = mails[int(rest.split()[0]) - 1][1].partition(b"\r\n\r\n")[0]
            return b"+OK\r\n" + header + b"\r\n\r\n.\r\n"
        return b"+OK\r\n" if verb in ("USER", "STLS", "QUIT") else b"-ERR\r\n"

    async def _auth(self, kind: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        challenges = {"LOGIN": [b"User", b"Pass"], "CRAM-MD5": [CHALLENGE]}.get(kind, [b""])
        answers = []
        for challenge in challenges:
            writer.write(b"+ " + base64.b64encode(challenge) + b"\r\n")
            answers.append(base64.b64decode(await reader.readline()))
        mac = hmac.new(self.password.encode(), CHALLENGE, hashlib.md5).hexdigest().encode()
        good = {
            "PLAIN": [b"\0anna\0" + self.password.encode()], "CRAM-MD5": [b"anna " + mac],
            "LOGIN": [b"anna", self.password.encode()],
            "XOAUTH2": [b"user=anna\x01auth=Bearer " + self.password.encode() + b"\x01\x01"],
        }  # fmt: skip
        self.said += [f"<{kind}>"]
        return b"+OK\r\n" if answers == good[kind] else b"-ERR [AUTH] no\r\n"


def box(secret: Secret | None = None, **service: Any) -> Box:
    async def given() -> Secret:
        return secret or Secret(PASSWORD)

    kept = {"host": NAME, "port": 110, "tls": "none", "address": "192.0.2.10"} | service
    return Box(
        side="old", account=ANNA, service=Service(**kept), login="anna", secret=given, refused=lambda: None,
        place=Place([NAME], ["192.0.2.10"]), protocol="pop3",
    )  # fmt: skip


class Stage:
    def __init__(self, port: int, poll: float = 0.1) -> None:
        self.ends = Endpoints({"192.0.2.10:110": f"127.0.0.1:{port}", "192.0.2.10:995": f"127.0.0.1:{port}"})
        self.boxes = Mailboxes(Signer(KEY), self.ends, poll, 0.4, 0.7)


async def watched(
    drop: Maildrop, test: Callable[[Followed], object] | None = None, a_box: Box | None = None
) -> Followed:
    """The maildrop followed until ``test`` holds, or to its end."""
    async with serving(drop.talk, drop.tls if a_box and a_box.service.tls == "implicit" else None) as port:
        stage = Stage(port)
        followed = Followed(stage.boxes, a_box or box())
        if test is None:
            await followed.until_over()
        else:
            await followed.until(lambda _: test(followed))
            await followed.stop()
        await stage.boxes.close()
    assert all(encode(one) for one in followed.seen) and PASSWORD not in repr(followed.seen)
    assert not [c for c in drop.said if c.split()[0] in ("DELE", "RETR", "RSET")]
    return followed


@pytest.fixture
async def staged() -> AsyncIterator[tuple[Maildrop, Mailboxes]]:
    drop = Maildrop(capable="USER\nTOP\nUIDL\nPIPELINING")
    async with serving(drop.talk) as port:
        stage = Stage(port)
        yield drop, stage.boxes
        await stage.boxes.close()


async def test_history_new_mail_canaries_and_exact_resume(staged: tuple[Maildrop, Mailboxes]) -> None:
    drop, boxes = staged
    for number in range(3):
        drop.put(number, "Mon, 03 Mar 2025 08:59:43 +0000")
    for number in range(3, 130):
        drop.put(number, now().strftime("%a, %d %b %Y %H:%M:%S +0000"))
    first = Followed(boxes, box())
    await first.until(of(Coverage))
    # Four weeks of history; whether it is asked for by arrival can be told from the trace only.
    assert {m.message_id for m in first.of(Mail)} == {f"<{n}@a.example>" for n in range(3, 130)}
    assert {(m.client, m.origin) for m in first.of(Mail)} == {("203.0.113.1", "outside")}
    signer = Signer(KEY)
    canary = signer.mint()
    drop.messages["c"] = compose(signer, canary, "mx", "c@watch.example", ANNA, now())
    (landed,) = await first.until(of(CanaryLanded, canary=canary))
    assert (landed.protocol, landed.folder, landed.account) == ("pop3", "INBOX", ANNA)
    await first.stop()
    drop.put(200)
    second = Followed(boxes, box(), first.position)
    await second.until(of(Coverage))
    assert [m.message_id for m in second.of(Mail)] == ["<200@a.example>"] and not second.of(CanaryLanded)
    contiguous(first.seen + second.seen, 0.4)
    await second.stop()


async def test_what_no_message_vouches_for_is_not_covered(staged: tuple[Maildrop, Mailboxes]) -> None:
    drop, boxes = staged
    followed = Followed(boxes, box())
    (state,) = await followed.until(of(AccountState))
    assert state.state == "ok" and "empty" in state.detail
    drop.put(1)
    await followed.until(of(Mail))
    assert not followed.of(Coverage)
    drop.put(2)
    await followed.until(lambda seen: len(of(Coverage)(seen)) > 2)
    del drop.messages["uid1"]  # old mail is tidied away: the newest still vouches
    await followed.until(lambda seen: len(of(Coverage)(seen)) > 5)
    assert not [c for c in followed.of(Coverage) if c.not_understood]
    drop.put(3)
    await followed.until(of(Mail, message_id="<3@a.example>"))
    del drop.messages["uid3"]  # fetched and deleted: what else came and went with it, nobody knows
    await followed.until(lambda seen: [c for c in of(Coverage)(seen) if c.not_understood])
    told = len(followed.of(Coverage))
    drop.messages.clear()
    drop.put(7)  # other ids than any before: another maildrop for all that is known
    await followed.until(of(Mail, message_id="<7@a.example>"))
    await followed.until(lambda seen: len(of(Coverage)(seen)) > told + 1)
    await followed.stop()


# what the server says in place of its answers: state, a word of its detail
ENDS: dict[str, tuple[dict[str, bytes | None], str, str]] = {
    "greeting refused": ({"": b"-ERR too many connections\r\n"}, "unreachable", "too many"),
    "no greeting": ({"": None}, "unreachable", "timed out"),
    "endless line": ({"": b"+OK" + b"x" * 300_000}, "unreachable", "line of more than"),
    "login refused": ({"PASS": b"-ERR [AUTH] Authentication failed\r\n"}, "refused", "failed"),
    "password repeated": ({"PASS": b"-ERR geheim-4711 is wrong\r\n"}, "refused", "*** is wrong"),
    "no such user": ({"USER": b"-ERR unknown user anna\r\n"}, "missing", "unknown user"),
    "maildrop locked": ({"PASS": b"-ERR [IN-USE] maildrop already locked\r\n"}, "unreachable", "IN-USE"),
    "too soon": ({"PASS": b"-ERR [LOGIN-DELAY] minimum is 900 s\r\n"}, "unreachable", "900"),
    "no UIDL": ({"UIDL": b"-ERR what\r\n"}, "unreachable", "no UIDL (RFC 1939"),
    "no TOP": ({"CAPA": b"-ERR\r\n", "TOP": b"-ERR what\r\n"}, "unreachable", "no TOP (RFC 1939"),
    "UIDL without end": ({"UIDL": b"+OK\r\n" + b"1 a\r\n" * 2_000_000}, "unreachable", ""),
    "numbers that are none": ({"UIDL": b"+OK\r\nx y\r\n.\r\n"}, "unreachable", ""),
    "UIDL hangs": ({"UIDL": None}, "unreachable", "timed out"),
}  # fmt: skip


@pytest.mark.parametrize("name", ENDS)
async def test_it_ends_in_a_state(name: str) -> None:
    instead, state, word = ENDS[name]
    drop = Maildrop(instead=instead)
    drop.put(1)
    followed = await watched(drop)
    last = followed.of(AccountState)[-1]
    assert last.state == state and word in last.detail and last.detail and len(last.detail) <= 500


LOGINS: dict[str, tuple[str, dict[str, Any], Secret | None, str]] = {
    "no CAPA at all": ("", {}, None, "PASS geheim-4711"),
    "in clear text it is not handed out": ("USER\nSASL PLAIN CRAM-MD5\nTOP", {}, None, "<CRAM-MD5>"),
    "under TLS": ("USER\nSASL CRAM-MD5\nTOP", {"tls": "implicit", "port": 995}, None, "PASS geheim-4711"),
    "STLS": ("STLS\nSASL LOGIN CRAM-MD5\nTOP", {"tls": "starttls"}, None, "<LOGIN>"),
    "a token": ("SASL PLAIN XOAUTH2\nTOP", {"tls": "implicit", "port": 995}, Token(PASSWORD), "<XOAUTH2>"),
}  # fmt: skip


@pytest.mark.parametrize("name", LOGINS)
async def test_the_login_is_the_best_that_is_offered(name: str, tmp_path: Path) -> None:
    capable, service, secret, expected = LOGINS[name]
    context, ca = certificate(tmp_path, NAME)
    drop = Maildrop(capable, lacks="" if capable else "CAPA", tls=context)
    drop.put(1)
    followed = await watched(drop, lambda f: f.of(Coverage), box(secret, ca_file=ca, **service))
    assert expected in drop.said and {s.state for s in followed.of(AccountState)} == {"ok"}


async def test_a_token_goes_to_nobody_who_does_not_prove_who_they_are() -> None:
    drop = Maildrop("SASL PLAIN XOAUTH2\nUSER")
    followed = await watched(drop, a_box=box(Token(PASSWORD)))
    assert followed.of(AccountState)[-1].state == "unreachable"
    assert not [line for line in drop.said if line != "CAPA"]


async def test_check_says_what_a_server_lacks() -> None:
    for drop, word in (
        (Maildrop(), None),
        (Maildrop(lacks="UIDL"), "UIDL"),
        (Maildrop("", "TOP CAPA"), "TOP"),
    ):
        drop.put(1)
        async with serving(drop.talk) as port:
            login = Login("anna", Secret(PASSWORD))
            trouble = await try_mailbox(box().service, "pop3", login, Stage(port).ends)
        assert (trouble is None) if word is None else (trouble and word in trouble.text and not trouble.login)


@settings(max_examples=15, deadline=None)
@given(st.sampled_from(["", "CAPA", "USER", "PASS", "UIDL", "TOP"]), st.binary(max_size=200))
def test_whatever_a_server_says_it_ends_or_goes_on(verb: str, said: bytes) -> None:
    drop = Maildrop(instead={verb: said + b"\r\n"})
    drop.put(1)
    followed = asyncio.run(watched(drop, lambda f: f.task.done() or f.seen))
    assert followed.seen
