"""Many mailboxes at one host that allows few connections: all are covered, and who is refused is named."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from probes.endpoints import Endpoints
from probes.mail.canary import Signer
from probes.mail.mailbox import Box, Mailboxes
from probes.mail.seats import Limit, Seats, known, refusal
from probes.mail.trace import Place
from probes.observation import AccountState, Coverage, Mail
from probes.secret import Secret
from probes.service import Service
from tests.mail.conftest import KEY, Followed
from tests.mail.servers import serving
from tests.mail.test_hostile_imap import imap
from tests.mail.test_mailboxes import contiguous, of

SERVICE = Service(host="mail.old.example", port=143, tls="none", address="192.0.2.10")


def box(number: int, service: Service = SERVICE, login: str = "") -> Box:
    async def secret() -> Secret:
        return Secret("geheim-4711")

    return Box(
        side="old", account=f"u{number}@rehearsal.example", service=service, login=login or f"u{number}",
        secret=secret, refused=lambda: None, place=Place(["mail.old.example"], ["192.0.2.10"]),
    )  # fmt: skip


class Few:
    """An IMAP server that takes ``most`` connections at a time."""

    def __init__(self, most: int) -> None:
        self.most, self.now, self.highest, self.refused = most, 0, 0, 0
        self._serve = imap({})

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.now >= self.most:
            self.refused += 1
            writer.write(b"* BYE Too many connections from your address\r\n")
            return
        self.now += 1
        self.highest = max(self.now, self.highest)
        try:
            await self._serve(reader, writer)
        finally:
            self.now -= 1


@pytest.mark.parametrize("told", [None, 3])
async def test_all_are_covered_by_few_connections(told: int | None) -> None:
    few = Few(3)
    service = msgspec.structs.replace(SERVICE, connections=told)
    async with serving(few.talk) as port:
        boxes = Mailboxes(Signer(KEY), Endpoints({"192.0.2.10:143": f"127.0.0.1:{port}"}), 0.2, 1.0, 2.0)
        many = [Followed(boxes, box(number, service)) for number in range(7)]
        for one in many:
            await one.until(lambda seen: len(of(Coverage)(seen)) > 1, 40)
        learnt = few.refused
        for one in many:
            more = len(one.of(Coverage))
            await one.until(lambda seen, more=more: len(of(Coverage)(seen)) > more, 40)
        assert few.highest <= 3 and few.refused - learnt <= 1 and (told is None or not learnt)
        for one in many:
            assert {s.state for s in one.of(AccountState)} == {"ok"} and len(one.of(Mail)) == 1
            contiguous(one.seen, 1.0)
            await one.stop()
        await boxes.close()


async def test_who_is_refused_is_named_and_the_rest_go_on() -> None:
    refused = imap({b"LOGIN": b"TAG NO [AUTHENTICATIONFAILED] no\r\n"})
    async with serving(imap({})) as good, serving(refused) as bad:
        table = {"192.0.2.10:143": f"127.0.0.1:{good}", "192.0.2.11:143": f"127.0.0.1:{bad}"}
        boxes = Mailboxes(Signer(KEY), Endpoints(table), 0.2, 0.4, 2.0)
        other = msgspec.structs.replace(SERVICE, address="192.0.2.11")
        many = [Followed(boxes, box(number, other if number == 3 else SERVICE)) for number in range(6)]
        await many[3].until_over()
        (state,) = many[3].of(AccountState)
        assert (state.account, state.state) == ("u3@rehearsal.example", "refused")
        for one in (one for one in many if one is not many[3]):
            await one.until(lambda seen: len(of(Coverage)(seen)) > 2)
            await one.stop()
        await boxes.close()


async def test_one_login_of_many_addresses_leaves_room_for_its_owner() -> None:
    few = Few(100)
    async with serving(few.talk) as port:
        boxes = Mailboxes(Signer(KEY), Endpoints({"192.0.2.10:143": f"127.0.0.1:{port}"}), 0.2, 1.0, 2.0)
        many = [Followed(boxes, box(number, login="all")) for number in range(12)]
        for one in many:
            await one.until(of(Coverage), 40)
        assert few.highest <= 5
        await asyncio.gather(*(one.stop() for one in many))
        await boxes.close()


async def test_seats_are_given_in_turn_and_none_is_lost() -> None:
    seats = Seats(1)
    await seats.take()
    second, third, fourth = (asyncio.create_task(seats.take()) for _ in range(3))
    await asyncio.sleep(0)
    assert seats.crowded
    seats.give()
    second.cancel()  # at the moment that it is given one
    await asyncio.gather(second, return_exceptions=True)
    await third
    fourth.cancel()
    await asyncio.gather(fourth, return_exceptions=True)
    seats.give()
    assert not seats.crowded and seats.taken == 0
    await seats.take()
    await asyncio.gather(*(asyncio.wait_for(seats.take(), 0.01) for _ in range(2)), return_exceptions=True)
    seats.learn()
    assert seats.most == 1


REPLIES: dict[str, str | None] = {
    "* BYE Too many connections from your IP address": "host",
    "Maximum number of connections from user+IP exceeded (mail_max_userip_connections=10)": "login",
    "[LIMIT] over": "host",
    "Too many connections for this account": "login",
    "[AUTHENTICATIONFAILED] no": None,
    "too many bad commands": None,
}


@pytest.mark.parametrize("reply", REPLIES)
def test_what_a_refusal_speaks_of(reply: str) -> None:
    assert refusal(reply, Limit()) == REPLIES[reply]


def test_what_is_known_of_providers() -> None:
    google = known(Service(host="imap.gmail.com.", port=993, tls="implicit"))
    assert google.per_login == 15 and known(SERVICE) == Limit()
    assert refusal("[ALERT] Too many simultaneous connections. (Failure)", google) == "login"
