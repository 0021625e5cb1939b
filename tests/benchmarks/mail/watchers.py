"""Who watches many mailboxes, each in a process of its own: ``python -m tests.benchmarks.mail.watchers NAME``
with a task on stdin. It says READY when every mailbox is watched, and its result at the end of stdin.

``ours``: INBOX by IDLE, junk by STATUS once a minute. ``aioimaplib``: the same, as its own documentation
shows it, with one TLS context for all. ``poll``: ours without IDLE, a look every ten seconds.
"""

from __future__ import annotations

import asyncio
import os
import re
import ssl
import sys
import time
from collections.abc import Awaitable, Callable
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from tests.benchmarks.mail.dovecot import ADDRESS, NAME, PASSWORD

LOOK, POLL = 57.0, 10.0
AT_A_TIME = 10
STAMP = re.compile(r"<(\d+)\.\d+@bench\.example>")


class Task(Struct, frozen=True):
    port: int
    ca: str
    users: list[str]
    poll: float = POLL
    look: float = LOOK


class Result(Struct):
    """``memory``: bytes a mailbox; ``login``: CPU seconds a mailbox, connected and logged in; ``watching``:
    CPU seconds of all from READY to the end; ``delays``: seconds from each delivery to its observation."""

    memory: float = 0.0
    login: float = 0.0
    watching: float = 0.0
    delays: list[float] = []


class Seen:
    """What a watcher tells: that a mailbox is watched now, and that a message came."""

    def __init__(self, many: int) -> None:
        self.delays: list[float] = []
        self.ready = asyncio.Event()
        self._since = 0.0
        self._left = many

    def watched(self) -> None:
        self._left -= 1
        if not self._left:
            self._since = time.time()
            self.ready.set()

    def mail(self, message_id: str | None) -> None:
        found = STAMP.search(message_id or "")
        sent = int(found[1]) / 1e9 if found is not None else 0.0
        if self.ready.is_set() and sent >= self._since:  # the others' lie there still
            self.delays.append(time.time() - sent)


Watch = Callable[[Task, Seen], Awaitable[None]]


async def ours(task: Task, seen: Seen, look: float | None = None) -> None:
    look = look or task.look
    from probes.endpoints import Endpoints
    from probes.mail.canary import Signer
    from probes.mail.mailbox import Box, Mailboxes
    from probes.mail.trace import Place
    from probes.observation import Coverage, Mail
    from probes.secret import Secret
    from probes.service import Service

    boxes = Mailboxes(Signer(b"k" * 32), Endpoints(), poll=look, coverage=2 * look)
    service = Service(
        host=NAME, address=ADDRESS, port=task.port, tls="implicit", ca_file=Path(task.ca), connections=10_000
    )
    place = Place([NAME])

    async def secret() -> Secret:
        return Secret(PASSWORD)

    async def follow(user: str) -> None:
        box = Box(
            side="new", account=user, service=service, login=user, secret=secret, refused=lambda: None,
            place=place,
        )  # fmt: skip
        first = True
        async for observations, position in boxes.follow(box, None):
            for one in observations:
                if isinstance(one, Mail):
                    seen.mail(one.message_id)
                assert not isinstance(one, Coverage) or not one.not_understood
            if first and (position is not None or getattr(observations[0], "state", "") == "ok"):
                first = False
                asyncio.get_running_loop().call_later(1.0, seen.watched)
        raise SystemExit(f"{user}: {observations}")

    await asyncio.gather(*map(follow, task.users))


async def polled(task: Task, seen: Seen) -> None:
    from probes.mail import following, imap

    class WithoutIdle(imap.Session):
        @property
        def idles(self) -> bool:
            return False

        @idles.setter
        def idles(self, _: bool) -> None: ...

    following.Session = WithoutIdle  # type: ignore[misc]
    await ours(task, seen, task.poll)


async def aioimaplib(task: Task, seen: Seen) -> None:
    import aioimaplib as peer

    from probes.mail.canary import Signer
    from probes.mail.letter import observe
    from probes.mail.trace import Place

    context = ssl.create_default_context(cafile=task.ca)
    context.check_hostname = False  # it offers no way to give the name apart from the address
    gate = asyncio.Semaphore(AT_A_TIME)
    # What becomes of a message is the same whoever fetched it.
    signer, place = Signer(b"k" * 32), Place([NAME])

    async def follow(user: str) -> None:
        client = peer.IMAP4_SSL(host=ADDRESS, port=task.port, timeout=30, ssl_context=context)
        async with gate:
            await client.wait_hello_from_server()
            await client.login(user, PASSWORD)
            await client.list('""', "*")  # which one is for junk
            await client.select("INBOX")  # its EXAMINE does not let it search
        known = 0
        first = True
        while True:
            await client.status("Junk", "(UIDNEXT UIDVALIDITY)")
            known = await news(client, known)
            due = time.monotonic() + task.look
            idle = await client.idle_start(timeout=task.look + 10)
            if first:
                first = False
                asyncio.get_running_loop().call_later(1.0, seen.watched)
            while (left := due - time.monotonic()) > 0:
                try:
                    pushed = await client.wait_server_push(left)
                except TimeoutError:
                    break
                if any(b"EXISTS" in line for line in pushed):
                    break
            client.idle_done()
            await asyncio.wait_for(idle, 30)

    async def news(client: Any, known: int) -> int:
        found = await client.uid_search(f"UID {known + 1}:*")
        uids = [int(uid) for uid in found.lines[0].split() if int(uid) > known]
        for uid in uids:
            got = await client.uid("fetch", str(uid), "(BODY.PEEK[HEADER] INTERNALDATE)")
            for line in got.lines:
                if isinstance(line, bytearray):
                    told = observe(bytes(line), None, "INBOX", "new", "u", place, signer)
                    seen.mail(getattr(told, "message_id", None))
        return max([known, *uids])

    await asyncio.gather(*map(follow, task.users))


WATCHERS: dict[str, Watch] = {"ours": ours, "aioimaplib": aioimaplib, "poll": polled}


def version(name: str) -> str | None:
    try:
        return installed(name)
    except PackageNotFoundError:
        return None


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def run(name: str, task: Task) -> Result:
    seen, result = Seen(len(task.users)), Result()
    await warm(name)
    before, cpu = resident(), time.process_time()
    watching = asyncio.ensure_future(WATCHERS[name](task, seen))
    ready = asyncio.ensure_future(seen.ready.wait())
    await asyncio.wait({watching, ready}, return_when=asyncio.FIRST_COMPLETED)
    if watching.done():
        watching.result()
    result.memory = (resident() - before) / len(task.users)
    result.login = (time.process_time() - cpu) / len(task.users)
    cpu = time.process_time()
    print("READY", flush=True)
    ended = asyncio.ensure_future(asyncio.to_thread(sys.stdin.buffer.readline))
    await asyncio.wait({watching, ended}, return_when=asyncio.FIRST_COMPLETED)
    if watching.done():
        watching.result()
    result.watching = time.process_time() - cpu
    result.delays = seen.delays
    return result


async def warm(name: str) -> None:
    """What is loaded once belongs to no mailbox."""
    if name == "aioimaplib":
        import aioimaplib as peer

        from probes.mail import letter

        assert peer and letter
    else:
        from probes.mail import mailbox

        assert mailbox


def main() -> None:
    task = msgspec.json.decode(sys.stdin.buffer.readline(), type=Task)
    result = asyncio.run(_whole(sys.argv[1], task))
    print(msgspec.json.encode(result).decode(), flush=True)
    os._exit(0)  # nobody says goodbye a thousand times


async def _whole(name: str, task: Task) -> Result:
    result = await run(name, task)
    print(msgspec.json.encode(result).decode(), flush=True)
    os._exit(0)
    return result


if __name__ == "__main__":
    main()
