"""When canaries go, and through whom."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from monitor.plan.load import examine, load
from monitor.plan.model import Account
from monitor.watch.known import Known
from monitor.watch.mail import TRAVELLING, MailSchedule
from monitor.watch.pace import Allowance
from monitor.watch.readiness import examine as ready
from monitor.watch.vault import Vault
from monitor.watch.world import RealWorld
from probes.mail.canary import read_canary
from probes.observation import CanarySent, Observation
from probes.sight import Target, Tell
from tests.mail.servers import certificate, serving
from tests.watch.fake import World, plan

PASSWORD = "geheim-4711"
PLAN = """\
version = 1
domain = "example.jp"
[old]
mx = ["mail.example.jp"]
addresses = ["192.0.2.10"]
imap = {{ host = "mail.example.jp", address = "192.0.2.10" }}
[new]
mx = ["mx1.new.example"]
addresses = ["198.51.100.20"]
imap = {{ host = "mx1.new.example", address = "198.51.100.20" }}
[mx]
planned = ["10 mx1.new.example"]
[[account]]
address = "suga@example.jp"
secret = "file:secret"
[dns]
resolvers = ["8.8.8.8"]
authorities = ["203.0.113.1"]
[canaries]
routes = ["relay:isp"]
[relays.isp]
host = "smtp.isp.example"
address = "203.0.113.25"
tls = "implicit"
ca_file = "{ca}"
login = "watcher@isp.example"
secret = "file:secret"
[endpoints]
"203.0.113.25:465" = "127.0.0.1:{port}"
"""


class Greylisting(World):
    """Every canary is put off for ever."""

    def __init__(self) -> None:
        super().__init__()
        self.begun = 0

    async def canary(
        self, route: str, account: Account, target: Target | None, tell: Tell
    ) -> Sequence[Observation]:
        self.begun += 1
        await asyncio.Event().wait()
        return ()


async def test_a_canary_that_is_put_off_holds_up_none_that_comes_after_it() -> None:
    world, made = Greylisting(), plan(routes=("via-old",))
    put: list[Any] = []

    async def keep(*seen: Any, position: Any = None) -> None:
        put.extend(seen)

    schedule = asyncio.create_task(MailSchedule(made, world, Known(made), keep, {}).run())
    async with asyncio.timeout(20):
        while world.begun < 5:
            await asyncio.sleep(0.05)
    schedule.cancel()
    await asyncio.gather(schedule, return_exceptions=True)
    assert world.begun <= TRAVELLING and not [one for one in put if type(one).__name__ == "Skip"]


def test_no_day_sees_more_canaries_than_allowed() -> None:
    allowance, clock, sent = Allowance(400), 1000.0, list[float]()
    while clock < 3 * 86400:
        clock += allowance.take(clock)
        sent.append(clock)
        clock += 1.0  # whoever sends would like to send each second
    assert sent[99] - sent[0] < 120  # a night's first hundred at once
    for first, beyond in zip(sent, sent[400:], strict=False):
        assert beyond - first >= 86400 - 300


class Relay:
    """A third party's server: takes mail from its own user alone."""

    def __init__(self) -> None:
        self.messages: list[bytes] = []
        self.mail_from = b""

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 smtp.isp.example ESMTP\r\n")
        while line := await reader.readline():
            verb = line[:4].upper()
            if verb == b"EHLO":
                writer.write(b"250-smtp.isp.example\r\n250 AUTH PLAIN\r\n")
            elif verb == b"AUTH":
                writer.write(b"235 welcome\r\n")
            elif verb == b"DATA":
                writer.write(b"354 go on\r\n")
                self.messages.append(await reader.readuntil(b"\r\n.\r\n"))
                writer.write(b"250 2.0.0 queued as 77\r\n")
            else:
                self.mail_from = line if verb == b"MAIL" else self.mail_from
                writer.write(b"250 ok\r\n")
            await writer.drain()


async def test_a_canary_goes_through_a_third_party_as_its_own_user(tmp_path: Path) -> None:
    context, ca = certificate(tmp_path, "smtp.isp.example")
    (tmp_path / "secret").touch(mode=0o600)
    (tmp_path / "secret").write_text(PASSWORD)
    relay, path = Relay(), tmp_path / "cutover.toml"
    async with serving(relay.talk, context) as port:
        path.write_text(PLAN.format(ca=ca, port=port))
        made = load(path)
        lines = {checked.line: checked.code for checked in await ready(made, Vault(made))}
        assert lines["relays.isp: smtp.isp.example port 465: works"] is None
        world = RealWorld(made, Vault(made), tmp_path / "journal")
        told: list[Observation] = []

        async def tell(one: Observation) -> None:
            told.append(one)

        (sent,) = await world.canary("relay:isp", made.accounts[0], None, tell)
        await world.close()
    assert isinstance(sent, CanarySent) and told == [sent]
    assert (sent.outcome, sent.route, sent.host) == ("accepted", "relay:isp", "smtp.isp.example.")
    assert sent.reply == "250 2.0.0 queued as 77" and b"<watcher@isp.example>" in relay.mail_from
    seen = read_canary(world._signer, relay.messages[0], "suga@example.jp")
    assert seen is not None and (seen.canary, seen.route) == (sent.canary, "relay:isp")


def test_a_relay_that_is_not_there_and_half_a_login_are_mistakes(tmp_path: Path) -> None:
    (tmp_path / "secret").touch(mode=0o600)
    text = PLAN.format(ca="", port=25).replace('ca_file = ""\n', "")
    path = tmp_path / "cutover.toml"
    path.write_text(
        text.replace("[relays.isp]", "[relays.other]").replace('login = "watcher@isp.example"\n', "")
    )
    said = [str(mistake) for mistake in examine(path)[1]]
    assert any("relay:isp: there is no [relays.isp]" in one for one in said)
    assert any("relays.other.login: a login and its secret go together" in one for one in said)
    assert len(said) == 2
    path.write_text(text.replace('["relay:isp"]', '["relay:isp", "to-old"]\ndaily = 20'))
    (said_,) = examine(path)[1]
    assert said_.key == "canaries.daily" and "write at least" in str(said_)
