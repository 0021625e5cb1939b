from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from monitor.rehearsal.mailhost import MailHost
from monitor.rehearsal.scenarios import SMOOTH
from monitor.rehearsal.world import World
from probes.endpoints import Endpoints
from probes.mail.canary import Signer
from probes.mail.mailbox import Box, Mailboxes
from probes.mail.trace import Place
from probes.observation import Observation, Side
from probes.secret import Secret
from probes.service import Service

ANNA = "anna@rehearsal.example"
KEY = b"k" * 32
OLD, NEW = ["mail.old.example."], ["mx1.new.example.", "mx2.new.example."]
PLACES = {
    "old": (OLD, ["192.0.2.10"], NEW, ["198.51.100.20"]),
    "new": (NEW, ["198.51.100.20"], OLD, ["192.0.2.10"]),
}


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """The servers of a cutover that has not begun."""
    async with World(SMOOTH, 1, tmp_path) as built:
        yield built


@pytest.fixture
def signer() -> Signer:
    return Signer(KEY)


def service(world: World, host: MailHost, kind: str) -> Service:
    who = host.who
    port, tls = (
        (who.submission_port, who.submission_tls) if kind == "submission" else (who.imap_port, who.imap_tls)
    )
    return Service(host=who.name + ".", port=port, tls=tls, address=who.addresses[0], ca_file=world.ca_path)


def box(
    world: World, side: Side, password: str | None = None, told: Callable[[], None] = lambda: None
) -> Box:
    host: MailHost = getattr(world, side)
    mailbox = host.store.of(ANNA)
    assert mailbox is not None

    async def secret() -> Secret:
        return Secret(password if password is not None else mailbox.password)

    return Box(
        side=side, account=ANNA, service=service(world, host, "imap"), login=mailbox.login, secret=secret,
        refused=told, place=Place(*PLACES[side]),
    )  # fmt: skip


class Followed:
    """What one mailbox's follower yields, gathered in the background; ``until`` waits for something in it."""

    def __init__(self, boxes: Mailboxes, box: Box, position: Any = None) -> None:
        self.seen: list[Observation] = []
        self.position = position
        self._new = asyncio.Event()
        self.task = asyncio.create_task(self._run(boxes, box, position))

    async def _run(self, boxes: Mailboxes, box: Box, position: Any) -> None:
        async with contextlib.aclosing(boxes.follow(box, position)) as sights:
            async for seen, position in sights:
                self.seen += seen
                self.position = position[1] if position is not None else self.position
                self._new.set()

    async def until(self, test: Callable[[list[Observation]], Any], seconds: float = 20) -> Any:
        async with asyncio.timeout(seconds):
            while not (found := test(self.seen)):
                assert not self.task.done(), self.seen
                self._new.clear()
                await self._new.wait()
        return found

    async def until_over(self, seconds: float = 20) -> None:
        async with asyncio.timeout(seconds):
            await self.task

    def of(self, kind: type) -> list[Any]:
        return [one for one in self.seen if isinstance(one, kind)]

    async def stop(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


@pytest.fixture
async def boxes(world: World, signer: Signer) -> AsyncIterator[Mailboxes]:
    made = Mailboxes(signer, Endpoints(world.net.endpoints()), poll=0.5, coverage=1.0)
    yield made
    await made.close()
