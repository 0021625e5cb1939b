"""A host that greylists (RFC 6647), with Debian's own postgrey as its policy server."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from probes.endpoints import Endpoints
from probes.mail.canary import Signer, compose
from probes.mail.routes import Outgoing, send
from probes.observation import now
from probes.sight import Target
from tests.mail.conftest import ANNA
from tests.mail.servers import Talk, serving
from tests.servers.daemon import Daemon, needs, program
from tests.servers.room import UNPACKED, needs_unpacked

pytestmark = pytest.mark.servers

DELAY = 2  # seconds; five minutes by default
LISTEN = "127.66.47.1"


@pytest.fixture
def postgrey(tmp_path: Path) -> Iterator[int]:
    """Its port."""
    needs("perl")
    needs_unpacked("usr/sbin/postgrey", "usr/share/perl5")
    with socket.socket() as free:
        free.bind((LISTEN, 0))
        port = free.getsockname()[1]
    modules = [UNPACKED / "usr/share/perl5", *UNPACKED.glob("usr/lib/*/perl5/*")]
    command = [
        program("perl"),
        "-T",
        *(f"-I{place}" for place in modules),
        str(UNPACKED / "usr/sbin/postgrey"),
    ]
    command += [f"--inet={LISTEN}:{port}", f"--delay={DELAY}", f"--dbdir={tmp_path}", "--user=root"]
    command += ["--group=root", f"--pidfile={tmp_path}/pid"]
    command += ["--whitelist-clients=/dev/null", "--whitelist-recipients=/dev/null"]

    def answers() -> bool:
        with socket.create_connection((LISTEN, port), 2):
            return True

    with Daemon("postgrey", command, tmp_path, answers):
        yield port


def greylisting(port: int) -> Talk:
    """An exchange that asks the policy server at RCPT, as Postfix does (SMTPD_POLICY_README)."""

    async def verdict(sender: str, recipient: str) -> bytes:
        reader, writer = await asyncio.open_connection(LISTEN, port)
        asked = {
            "request": "smtpd_access_policy", "protocol_state": "RCPT", "protocol_name": "ESMTP",
            "client_address": "203.0.113.250", "client_name": "watch.example", "sender": sender,
            "recipient": recipient, "instance": f"{id(reader):x}",
        }  # fmt: skip
        writer.write("".join(f"{k}={v}\n" for k, v in asked.items()).encode() + b"\n")
        said = await reader.readline()
        writer.close()
        return b"450 4.2.0 Greylisted\r\n" if b"DEFER" in said else b"250 ok\r\n"

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        sender = ""
        writer.write(b"220 mx\r\n")
        while line := (await reader.readline()).decode("latin-1"):
            address = re.search(r"<(.*)>", line)
            if line.upper().startswith("MAIL") and address:
                sender = address[1]
            if line.upper().startswith("RCPT") and address:
                writer.write(await verdict(sender, address[1]))
            elif line.upper().startswith("DATA"):
                writer.write(b"354 go on\r\n")
                await reader.readuntil(b"\r\n.\r\n")
                writer.write(b"250 2.0.0 queued\r\n")
            else:
                writer.write(b"250 ok\r\n")
            await writer.drain()

    return talk


async def test_a_canary_passes_greylisting_as_a_real_sender_does(postgrey: int, signer: Signer) -> None:
    async with serving(greylisting(postgrey)) as port:
        ends = Endpoints({"192.0.2.77:25": f"127.0.0.1:{port}"})
        outcomes = []
        for _ in range(2):
            canary, sender = signer.mint(), "canary@watch.example"
            message = compose(signer, canary, "mx", sender, ANNA, now())
            out = Outgoing(canary=canary, route="mx", sender=sender, recipient=ANNA, message=message)
            to = Target("mx.test.example", "192.0.2.77")
            handed = await send(out, to, ends, "watch.example", 30, pauses=(DELAY / 4, DELAY, DELAY))
            outcomes.append([one.outcome for one in handed.attempts])
    # Before its time it is put off again; then it is taken, and the next one at once.
    assert outcomes == [["deferred", "deferred", "accepted"], ["accepted"]]
