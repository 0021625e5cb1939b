"""Of a large piece of a log, the lines that can matter for one domain: history is read at the speed of C.

A message is left out where all its lines, from the first to ``removed``, lie in this piece, none names
the domain, every recipient that qmgr counted has its delivery line, and it is no part of a message
that is kept. All other lines with a queue id are kept, and those that name the domain, tell of a login
or of lost lines. What is left out would not have made an observation, nor changed one.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import Final

LEAST_LINES = 500  # fewer are not worth it
_IDS: Final = re.compile(rb"\]: ([0-9A-Za-z]{5,24}): (removed(?=\r?\n)|to=|[a-z])")
_NAMES: Final = re.compile(rb"\]: ([0-9A-Za-z]{5,24}): message-id=(<[^\n]+)")
_MANY: Final = re.compile(rb"nrcpt=(?!1 )")
_BARE_LOGIN: Final = re.compile(rb"sasl_username=[^@\n]*\n")
_ONWARD: Final = re.compile(rb"\]: ([0-9A-Za-z]{5,24}): to=[^\n]*ed as (\w{5,24})")
_FROM_QUEUE: Final = re.compile(rb"\]: ([0-9A-Za-z]{5,24}): (?:client|uid)=[^\n]*(?:orig_queue_id|orig_id)=(\w{5,24})")
_REQUEUED: Final = re.compile(rb"\]: Requeue: (\w+)\.\w+ to (\w+)")
_MARKS: Final = (b"-login: ", b" messages ", b"]: Requeue: ")
_NOT_IDS: Final = (b"NOQUEUE", b"warning", b"error", b"fatal", b"panic", b"statistics")


def sieve(lines: list[bytes], needles: Collection[bytes], held: Collection[bytes]) -> list[bytes]:
    """The lines that matter, in their order.

    ``needles``: the domain's spellings, lower case; ``held``: the queue ids in flight before.
    """
    text = b"\n".join(lines) + b"\n"
    if len(lines) < LEAST_LINES or b"\0" in text:
        return lines
    seen = _IDS.findall(text)
    kept, whole = _named(text, needles)
    last, have = dict(seen), set(seen)
    for queue_id, what in last.items():
        if what != b"removed" or (queue_id, b"to=") not in have or (queue_id, b"s") in have:
            kept.add(queue_id)  # still in the queue, nobody shown, or a bounce's cause
    kept.update(last.keys() & set(held))
    for found in (_MANY, _BARE_LOGIN):
        kept.update(_id_of(text[slice(*_bounds(text, m.start()))]) for m in found.finditer(text))
    _join(kept, _links(text, last, held))
    kept.difference_update(_NOT_IDS)
    kept.discard(b"")
    return [
        line
        for line in lines
        if line[(begin := line.find(b"]: ") + 3) : line.find(b":", begin)] in kept or line in whole
    ]


def _named(text: bytes, needles: Iterable[bytes]) -> tuple[set[bytes], set[bytes]]:
    """Queue ids of the lines that name the domain, and lines to keep for themselves."""
    kept: set[bytes] = set()
    whole: set[bytes] = set()
    lower = text.lower()
    for needle in (*needles, *_MARKS):
        where = lower if needle not in _MARKS else text
        at = where.find(needle)
        while at >= 0:
            begin, end = _bounds(text, at)
            line = text[begin:end]
            queue_id = _id_of(line)
            if queue_id and queue_id not in _NOT_IDS:
                kept.add(queue_id)
            else:
                whole.add(line)
            at = where.find(needle, end)
    return kept, whole


def _bounds(text: bytes, at: int) -> tuple[int, int]:
    return text.rfind(b"\n", 0, at) + 1, text.find(b"\n", at)


def _id_of(line: bytes) -> bytes:
    """What stands where a queue id would; b"" where that cannot be one."""
    begin = line.find(b"]: ") + 3
    queue_id = line[begin : line.find(b":", begin)] if begin > 2 else b""
    return queue_id if 4 < len(queue_id) < 25 and queue_id.isalnum() else b""


def _links(text: bytes, last: dict[bytes, bytes], held: Collection[bytes]) -> list[tuple[bytes, bytes]]:
    """Pairs of queue ids that are, or may be, one message."""
    pairs: list[tuple[bytes, bytes]] = []
    for mark, found in ((b"ed as ", _ONWARD), (b"orig_", _FROM_QUEUE), (b"]: Requeue: ", _REQUEUED)):
        if mark in text:
            pairs += [(a, b) for a, b in found.findall(text) if b in last or b in held]
    first: dict[bytes, bytes] = {}
    named = _NAMES.findall(text)
    if len({name for _, name in named}) < len(named):
        pairs += [(first.setdefault(name, queue_id), queue_id) for queue_id, name in named]
    return [(a, b) for a, b in pairs if a != b]


def _join(kept: set[bytes], pairs: list[tuple[bytes, bytes]]) -> None:
    """Of what belongs together all is kept or nothing."""
    grew = True
    while grew:
        grew = False
        for a, b in pairs:
            if (a in kept) != (b in kept):
                kept.update((a, b))
                grew = True
