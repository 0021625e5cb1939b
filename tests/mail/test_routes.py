from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from monitor.rehearsal.world import World
from probes.endpoints import Endpoints
from probes.mail.canary import Signer, compose
from probes.mail.routes import Handed, Login, Outgoing, send
from probes.observation import encode, now
from probes.secret import Secret
from probes.service import Service
from probes.sight import Target
from tests.mail.conftest import ANNA, service
from tests.mail.servers import Talk, certificate, serving, smtp

NAME, ADDRESS = "mx.test.example", "192.0.2.77"
PASSWORD = "geheim-4711"
EHLO = "250-mx\n250-STARTTLS\n250 AUTH PLAIN"


def canary(signer: Signer, route: str = "mx", to: str = ANNA) -> Outgoing:
    made = signer.mint()
    message = compose(signer, made, route, "canary@watch.example", to, now())
    return Outgoing(canary=made, route=route, sender="canary@watch.example", recipient=to, message=message)


async def to_port_25(signer: Signer, port: int, deadline: float = 10, to: str = ANNA) -> Handed:
    ends = Endpoints({f"{ADDRESS}:25": f"127.0.0.1:{port}"})
    return await send(
        canary(signer, to=to), Target(NAME, ADDRESS), ends, "watch.example", deadline, pauses=(0.01, 0.01)
    )


async def submitted(
    signer: Signer, port: int, ca: Path | None, tls: str, name: str = NAME, deadline: float = 10
) -> Handed:
    ends = Endpoints({f"{ADDRESS}:587": f"127.0.0.1:{port}"})
    to = Service(host=name, port=587, tls=tls, address=ADDRESS, ca_file=ca)  # type: ignore[arg-type]
    login = Login("suga", Secret(PASSWORD))
    return await send(canary(signer, "via-old"), to, ends, "watch.example", deadline, login, (0.01,))


def outcomes(handed: Handed) -> list[str]:
    assert all(encode(one) for one in handed.attempts)
    assert len({one.canary for one in handed.attempts}) == 1
    return [one.outcome for one in handed.attempts]


@pytest.mark.parametrize("side", ["old", "new"])
async def test_both_ways_into_a_real_server(world: World, signer: Signer, side: str) -> None:
    host = getattr(world, side)
    box = host.store.of(ANNA)
    ends = Endpoints(world.net.endpoints())
    straight = canary(signer, f"to-{side}")
    handed = await send(straight, Target(host.who.name, host.who.addresses[0]), ends, "watch.example", 20)
    assert outcomes(handed) == ["accepted"] and "queued as" in (handed.attempts[0].reply or "")
    login = Login(box.login, Secret(box.password))
    through = canary(signer, f"via-{side}")
    handed = await send(through, service(world, host, "submission"), ends, "watch.example", 20, login)
    assert outcomes(handed) == ["accepted"]
    sent = handed.attempts[0]
    assert (sent.host, sent.address) == (host.who.name + ".", host.who.addresses[0])
    received = [m.raw for m in box.folders["INBOX"].messages[-2:]]
    assert b"with ESMTPS id" in received[0] and b"with ESMTPSA id" in received[1]


async def test_a_refused_login_is_told_apart_from_a_refused_message(world: World, signer: Signer) -> None:
    ends = Endpoints(world.net.endpoints())
    to = service(world, world.old, "submission")
    handed = await send(canary(signer, "via-old"), to, ends, "w.example", 20, Login("anna", Secret("no")))
    assert outcomes(handed) == ["unreachable"] and handed.login_refused and handed.detail.startswith("535")
    handed = await send(
        canary(signer, "to-new", "nobody@rehearsal.example"),
        Target("mx1.new.example", "198.51.100.20"), ends, "w.example", 20,
    )  # fmt: skip
    assert outcomes(handed) == ["rejected"] and not handed.login_refused


GREY = "451 4.7.1 Greylisted, come back later"

# replies by verb: outcomes, something in the last reply
CONVERSATIONS: dict[str, tuple[dict[str, list[str | None]], list[str], str]] = {
    "accepted": ({}, ["accepted"], "250 ok"),
    "greylisted": ({"RCPT": [GREY, "250 ok"]}, ["deferred", "accepted"], "250"),
    "put off for long": ({"RCPT": [GREY]}, ["deferred"] * 3, "4.7.1"),
    "put off at the end": ({"DOT": ["452 4.3.1 full"]}, ["deferred"] * 3, "452"),
    "refused sender": ({"MAIL": ["550 5.7.1 no"]}, ["rejected"], "5.7.1"),
    "refused recipient": ({"RCPT": ["550 5.1.1 unknown"]}, ["rejected"], "5.1.1"),
    "refused message": ({"DATA": ["554 5.7.1 no"]}, ["rejected"], "554"),
    "dropped at EHLO": ({"EHLO": [None]}, ["unreachable"], ""),
    "dropped at RCPT": ({"RCPT": [None]}, ["unreachable"], ""),
    "dropped after the message": ({"DOT": [None]}, ["unreachable"], ""),
    "no EHLO": ({"EHLO": ["502 what"], "HELO": ["250 hello"]}, ["accepted"], "250"),
    "closing": ({"MAIL": ["421 4.3.2 closing"]}, ["deferred"] * 3, "421"),
    "nonsense": ({"RCPT": ["\x00\xff\x1b[31m"]}, ["unreachable"], ""),
    "no goodbye": ({"QUIT": [None]}, ["accepted"], "250"),
    "TLS not today": ({"EHLO": [EHLO], "STARTTLS": ["454 not now"]}, ["accepted"], "250"),
    "TLS that fails": ({"EHLO": [EHLO, "250 mx"], "STARTTLS": ["220 go"]}, ["accepted"], "250"),
    "8-bit reply": ({"RCPT": ["550 \xe3\x81 \xff" + "x" * 5000]}, ["rejected"], "550"),
}


@pytest.mark.parametrize("name", CONVERSATIONS)
async def test_outcomes_at_port_25(signer: Signer, name: str) -> None:
    replies, expected, text = CONVERSATIONS[name]
    async with serving(smtp(replies)) as port:
        handed = await to_port_25(signer, port)
    assert outcomes(handed) == expected
    last = handed.attempts[-1]
    assert text in (last.reply or "") and last.reply and len(last.reply) <= 500
    assert (last.host, last.address) == (NAME, ADDRESS)


@pytest.mark.parametrize(
    "banner",
    [b"554 5.7.1 go away\r\n", b"\r\n\r\n", b"SSH-2.0-x\r\n", b"220-" + b"x" * 100_000, b"\x00" * 50, b""],
)
async def test_hostile_banners(signer: Signer, banner: bytes) -> None:
    async with serving(smtp({}, banner=banner)) as port:
        handed = await to_port_25(signer, port, deadline=1.0)
    assert outcomes(handed) in (["rejected"], ["unreachable"])


async def test_nobody_there_and_nobody_answering(signer: Signer) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with serving(silent) as port:
        begun = time.monotonic()
        handed = await to_port_25(signer, port, deadline=0.5)
        assert outcomes(handed) == ["unreachable"] and time.monotonic() - begun < 5
    handed = await to_port_25(signer, port)
    assert outcomes(handed) == ["unreachable"] and "refused" in (handed.attempts[0].reply or "")


async def test_an_address_outside_of_ascii_needs_smtputf8(signer: Signer) -> None:
    wide = "菅@example.jp"
    async with serving(smtp({"EHLO": ["250-mx\n250 SMTPUTF8"]})) as port:
        assert outcomes(await to_port_25(signer, port, to=wide)) == ["accepted"]
    async with serving(smtp({})) as port:
        handed = await to_port_25(signer, port, to=wide)
        assert outcomes(handed) == ["unreachable"] and "SMTPUTF8" in (handed.attempts[0].reply or "")


async def test_submission_is_verified_by_the_meant_name(signer: Signer, tmp_path: Path) -> None:
    replies: dict[str, list[str | None]] = {"EHLO": [EHLO], "STARTTLS": ["220 go"], "AUTH": ["235 ok"]}
    good, ca = certificate(tmp_path, NAME)
    old, expired_ca = certificate(tmp_path, NAME, (-20, -10))
    async with serving(smtp(replies, good)) as port:
        assert outcomes(await submitted(signer, port, ca, "starttls")) == ["accepted"]
        for trusted, name, word in ((ca, "other.example", "mismatch"), (None, NAME, "self")):
            handed = await submitted(signer, port, trusted, "starttls", name)
            assert outcomes(handed) == ["unreachable"] and word in (handed.attempts[0].reply or "").lower()
    async with serving(smtp(replies, old)) as port:
        handed = await submitted(signer, port, expired_ca, "starttls")
        assert outcomes(handed) == ["unreachable"] and "expired" in (handed.attempts[0].reply or "")
        assert not handed.login_refused
    async with serving(smtp(replies), good) as port:
        assert outcomes(await submitted(signer, port, ca, "implicit")) == ["accepted"]


@pytest.mark.parametrize("how", ["missing", "refused"])
async def test_no_password_without_tls(signer: Signer, tmp_path: Path, how: str) -> None:
    heard: list[bytes] = []
    ehlo = "250-mx\n250 AUTH PLAIN" if how == "missing" else EHLO
    rote = smtp({"EHLO": [ehlo], "STARTTLS": ["502 no"]})

    async with serving(overheard(rote, heard)) as port:
        handed = await submitted(signer, port, None, "starttls")
    assert outcomes(handed) == ["unreachable" if how == "missing" else "rejected"]
    assert b"AUTH" not in b"".join(heard)


def overheard(talk: Talk, heard: list[bytes]) -> Talk:
    async def listening(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        read = reader.readline

        async def readline() -> bytes:
            heard.append(await read())
            return heard[-1]

        reader.readline = readline  # type: ignore[method-assign]
        await talk(reader, writer)

    return listening


async def test_a_password_that_a_server_repeats_is_on_no_record(signer: Signer, tmp_path: Path) -> None:
    context, ca = certificate(tmp_path, NAME)
    echo = f"535 5.7.8 {PASSWORD} AHN1Z2EAZ2VoZWltLTQ3MTE= is wrong"
    async with serving(smtp({"EHLO": [EHLO], "AUTH": [echo]}), context) as port:
        handed = await submitted(signer, port, ca, "implicit")
    assert handed.login_refused and handed.detail == "535 5.7.8 *** *** is wrong"
    assert PASSWORD not in repr(handed)


async def test_a_login_put_off_is_not_refused(signer: Signer, tmp_path: Path) -> None:
    context, ca = certificate(tmp_path, NAME)
    replies: dict[str, list[str | None]] = {"EHLO": [EHLO], "AUTH": ["454 4.7.0 later", "235 ok"]}
    async with serving(smtp(replies), context) as port:
        handed = await submitted(signer, port, ca, "implicit")
    assert outcomes(handed) == ["deferred", "accepted"] and not handed.login_refused


async def test_cancelling_ends_an_attempt_at_once(signer: Signer) -> None:
    reached = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mx\r\n")
        await reader.readline()
        reached.set()
        await reader.read()

    async with serving(silent) as port:
        task = asyncio.create_task(to_port_25(signer, port, deadline=60))
        async with asyncio.timeout(5):
            await reached.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
