"""One question by TCP (RFC 7766; RFC 1035 section 4.2.2), where UDP's answer was cut short."""

from __future__ import annotations

import asyncio
import os

from probes.dns.sockets import Address
from probes.dns.udp import Arrival, Silence, is_bare
from probes.dns.wire import HEADER, TC, Query, same_question


async def ask_tcp(real: Address, query: Query, deadline: float) -> Arrival | Silence:
    """``deadline`` is of the loop's clock; it holds for connecting, asking and reading together."""
    try:
        async with asyncio.timeout_at(deadline):
            reader, writer = await asyncio.open_connection(*real)
            try:
                return await _exchange(reader, writer, query)
            finally:
                writer.close()
    except TimeoutError:
        return "timeout"
    except (OSError, ValueError):
        return "unreachable"


async def _exchange(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, query: Query
) -> Arrival | Silence:
    clock = asyncio.get_running_loop().time
    noise = os.urandom(2)
    wire, _ = query.patched(noise, b"")
    sent = clock()
    writer.write(len(wire).to_bytes(2, "big") + wire)
    try:
        size = int.from_bytes(await reader.readexactly(2), "big")
        answer = await reader.readexactly(size)
    except asyncio.IncompleteReadError as error:
        # It hung up: without a word, or in the middle of one.
        return "malformed" if error.partial else "unreachable"
    if answer[:2] != noise or not fits(answer, query):
        return "malformed"
    return Arrival(answer, sent, clock())


def fits(answer: bytes, query: Query) -> bool:
    """A whole response to this question. TC has no meaning by TCP (RFC 2181 section 9)."""
    if len(answer) < HEADER or answer[2] & 0xF8 != 0x80 or answer[2] & TC:
        return False
    said = answer[HEADER : HEADER + query.length]
    repeated = answer[4:6] == b"\0\1" and len(said) == query.length and same_question(said, query.plain)
    return repeated or is_bare(answer)
