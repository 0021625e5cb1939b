"""Who is measured, each in a process of its own: ``python -m tests.benchmarks.contenders NAME``.

A task comes by stdin as JSON, a result goes to stdout. All are asked for the same: a number of MX questions,
spread evenly over the addresses, nothing from a cache of theirs, every answer compared with what the zone
says. Before its clock runs each asks every address once, for one name. What each needs to be at its best (how
much is under way at once, one object or many) was tried.
"""

from __future__ import annotations

import asyncio
import gc
import importlib.metadata
import os
import resource
import sys
import time
from collections.abc import Awaitable, Callable, Iterator

import msgspec
from msgspec import Struct

from tests.benchmarks.server import PORT, exchanges, names


class Task(Struct, frozen=True):
    addresses: list[str]
    queries: int


class Result(Struct, frozen=True):
    """``right``: answers as they should be; ``cpu`` in seconds, of user and system; ``rss``: the most memory
    that was resident, in KiB, after a thousand questions and after all; ``decoded``: new answers."""

    seconds: float
    cpu: float
    right: int
    rss: tuple[int, int] = (0, 0)
    decoded: int = 0


class Clock:
    """Runs from when it is made: what went before (imports, preparations) does not count, nor does taking
    away what they have left."""

    def __init__(self) -> None:
        gc.collect()
        self._begin, self._cpu = time.perf_counter(), _cpu()

    def result(self, right: int, **more: object) -> Result:
        seconds, cpu = time.perf_counter() - self._begin, _cpu() - self._cpu
        return Result(seconds, cpu, right, **more)  # type: ignore[arg-type]


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def warming(task: Task) -> Task:
    """What is asked before the clock runs."""
    return Task(task.addresses, len(task.addresses))


def pairs(task: Task) -> Iterator[tuple[str, str]]:
    """Address and name of each question: all addresses with one name, then with the next."""
    asked = 0
    while True:
        for name in names():
            for address in task.addresses[: task.queries - asked]:
                yield address, name
            asked += len(task.addresses)
            if asked >= task.queries:
                return


async def by_workers(task: Task, workers: int, ask: Callable[[str, str], Awaitable[bool]]) -> int:
    """So many questions under way at once; how many were answered rightly."""
    source, right = pairs(task), 0

    async def work() -> None:
        nonlocal right
        for address, name in source:
            if await ask(address, name):
                right += 1

    await asyncio.gather(*(work() for _ in range(workers)))
    return right


def ours(task: Task) -> Result:
    """``Exchange.sweep``."""
    from probes.dns.exchange import Exchange, Question, Reply
    from probes.endpoints import Endpoints

    async def run() -> Result:
        exchange = Exchange(Endpoints({f"{a}:53": f"{a}:{PORT}" for a in task.addresses}))
        questions = {name: Question(name, "MX") for name in names()}
        wanted = {question: exchanges(name) for name, question in questions.items()}
        right = 0

        def told(address: str, question: Question, reply: Reply) -> None:
            nonlocal right
            right += reply.content.rrset == wanted[question]

        async def sweep(queries: int) -> int:
            some = pairs(Task(task.addresses, queries))
            await exchange.sweep(((a, questions[n]) for a, n in some), told, rd=False)
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

        await sweep(len(task.addresses))
        clock, right = Clock(), 0
        rss = await sweep(1000), await sweep(task.queries - 1000)
        result = clock.result(right, rss=rss, decoded=exchange.answers.decoded)
        await exchange.close()
        return result

    return asyncio.run(run())


def ours_awaited(task: Task) -> Result:
    """``await Exchange.ask`` for each question."""
    from probes.dns.exchange import Exchange, Question
    from probes.endpoints import Endpoints

    async def run() -> Result:
        exchange = Exchange(Endpoints({f"{a}:53": f"{a}:{PORT}" for a in task.addresses}))
        questions = {name: Question(name, "MX") for name in names()}

        async def ask(address: str, name: str) -> bool:
            return (await exchange.ask(address, questions[name], rd=False)).rrset == exchanges(name)

        await by_workers(warming(task), 200, ask)
        clock = Clock()
        result = clock.result(await by_workers(task, 200, ask), decoded=exchange.answers.decoded)
        await exchange.close()
        return result

    return asyncio.run(run())


def dnspython(task: Task) -> Result:
    import dns.asyncresolver

    def resolver(address: str) -> dns.asyncresolver.Resolver:
        made = dns.asyncresolver.Resolver(configure=False)
        made.nameservers, made.port = [address], PORT
        return made

    async def run() -> Result:
        resolvers = {address: resolver(address) for address in task.addresses}
        wanted = {name: set(exchanges(name)) for name in names()}

        async def ask(address: str, name: str) -> bool:
            answer = await resolvers[address].resolve(name, "MX")
            return {rdata.to_text() for rdata in answer} == wanted[name]

        await by_workers(warming(task), 30, ask)
        clock = Clock()
        return clock.result(await by_workers(task, 30, ask))

    return asyncio.run(run())


def aiodns(task: Task) -> Result:
    import aiodns as peer

    async def run() -> Result:
        resolver = peer.DNSResolver(nameservers=[f"{a}:{PORT}" for a in task.addresses], rotate=True)
        wanted = {name: set(exchanges(name)) for name in names()}

        async def ask(address: str, name: str) -> bool:
            found = (await resolver.query_dns(name, "MX")).answer
            return {f"{r.data.priority} {r.data.exchange}." for r in found} == wanted[name]

        await by_workers(warming(task), 300, ask)
        clock = Clock()
        result = clock.result(await by_workers(task, 300, ask))
        await resolver.close()
        return result

    return asyncio.run(run())


def blastdns(task: Task) -> Result:
    import blastdns as peer

    async def run() -> Result:
        settings = peer.ClientConfig(
            cache_capacity=0, max_concurrency=200, max_inflight_per_resolver=8, persistent_socket=True,
            adaptive=False,
        )  # fmt: skip
        client = peer.Client([f"{a}:{PORT}" for a in task.addresses], settings)
        wanted = {name.rstrip("."): set(exchanges(name)) for name in names()}

        async def batch(some: Task) -> int:
            asked = [name.rstrip(".") for _, name in pairs(some)]
            return sum(
                [set(found) == wanted[name] async for name, _, found in client.resolve_batch(asked, "MX")]
            )

        await batch(warming(task))
        clock = Clock()
        return clock.result(await batch(task))

    return asyncio.run(run())


def presolv(task: Task) -> Result:
    import dns.message
    import presolv as peer

    resolver = peer.Resolver(concurrency=500, pool_size=400, worker_threads=1)
    messages = {name: dns.message.make_query(name, "MX") for name in names()}
    wanted = {name: {(name, frozenset(exchanges(name)))} for name in names()}

    def all_of(some: Task) -> int:
        of, right = [name for _, name in pairs(some)], 0
        asked = (peer.Query(messages[n], nameserver=a, port=PORT) for a, n in pairs(some))
        for result in resolver.resolve(asked):
            found = result.response.answer if result.response is not None else []
            said = {(rrset.name.to_text(), frozenset(r.to_text() for r in rrset)) for rrset in found}
            right += said == wanted[of[result.index]]
        return right

    all_of(warming(task))
    clock = Clock()
    result = clock.result(all_of(task))
    resolver.close()
    return result


PEERS = ("dnspython", "aiodns", "blastdns", "presolv")
CONTENDERS: dict[str, Callable[[Task], Result]] = {
    "sweep": ours, "ask": ours_awaited, "dnspython": dnspython, "aiodns": aiodns, "blastdns": blastdns,
    "presolv": presolv,
}  # fmt: skip


def version(peer: str) -> str | None:
    """None where it is not installed."""
    try:
        return importlib.metadata.version(peer)
    except importlib.metadata.PackageNotFoundError:
        return None


def main() -> None:
    task = msgspec.json.decode(sys.stdin.buffer.read(), type=Task)
    result = CONTENDERS[sys.argv[1]](task)
    sys.stdout.buffer.write(msgspec.json.encode(result))
    sys.stdout.flush()
    os._exit(0)  # some peers' threads crash, now and then, while the interpreter ends: not our concern here


if __name__ == "__main__":
    main()
