"""Of a large piece of a log, the lines that can matter for one domain: history is read at the speed of C.

A message is left out where all its lines, from the first to ``removed``, lie in this piece, none names
the domain, every recipient that qmgr counted has its delivery line, and it is no part of a message
that is kept. All other lines with a queue id are kept, and those that name the domain, tell of a login
or of lost lines. What is left out would not have made an observation, nor changed one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from typing import Final

from probes.oldhost.lines import CUT

LEAST_LINES = 500  # fewer are not worth it
_ID: Final = rb"\]: ([0-9A-Za-z]{5,24}): "
_SAID: Final = re.compile(_ID + rb"(removed(?=\r?\n)|to=|message-id=[^\n]*|[a-z])")
_MANY: Final = re.compile(rb"nrcpt=(?!1 )")
_BARE_LOGIN: Final = re.compile(rb"sasl_username=[^@\n]*\n")
_LINKS: Final = (
    (b"ed as ", re.compile(_ID + rb"to=[^\n]*ed as (\w{5,24})")),
    (b"orig_", re.compile(_ID + rb"(?:client|uid)=[^\n]*(?:orig_queue_id|orig_id)=(\w{5,24})")),
    (b"]: Requeue: ", re.compile(rb"\]: Requeue: (\w+)\.\w+ to (\w+)")),
)
_MARKS: Final = (b"-login: ", b" messages ", b"]: Requeue: ")
_NOT_IDS: Final = frozenset((b"", b"NOQUEUE", b"warning", b"error", b"fatal", b"panic", b"statistics"))
_LEAST_NAMED: Final = len(b"message-id=<>") + 1


def sieve(lines: list[bytes], needles: Collection[bytes], in_flight: Callable[[], set[bytes]]) -> list[bytes]:
    """The lines that matter, in their order.

    ``needles``: the domain's spellings, lower case; ``in_flight``: the queue ids from before.
    """
    if len(lines) < LEAST_LINES:
        return lines
    text, held = b"\n".join(lines) + b"\n", in_flight()
    if b"\0" in text or max(map(len, lines), default=0) >= CUT:
        return lines
    kept, starts = _named(text, needles)
    said = _SAID.findall(text)
    kept |= _unfinished(said)
    last = dict(said).keys()
    kept |= last & held
    for found in (_MANY, _BARE_LOGIN):
        kept.update(_id_of(text, _start(text, m.start())) for m in found.finditer(text))
    _join(kept, _links(text, said, last | held))
    kept -= _NOT_IDS
    places = [m.start() for m in _SAID.finditer(text)]
    starts.update(_start(text, at) for (one, _), at in zip(said, places, strict=True) if one in kept)
    return [text[start : text.find(b"\n", start)] for start in sorted(starts)]


def _named(text: bytes, needles: Collection[bytes]) -> tuple[set[bytes], set[int]]:
    """Queue ids of the lines that name the domain or bear a mark, and where these lines start."""
    kept: set[bytes] = set()
    starts: set[int] = set()
    for where, wanted in ((text.lower(), needles), (text, _MARKS)):
        for needle in wanted:
            at = where.find(needle)
            while at >= 0:
                start = _start(text, at)
                starts.add(start)
                kept.add(_id_of(text, start))
                at = where.find(needle, text.find(b"\n", at))
    return kept, starts


def _start(text: bytes, at: int) -> int:
    return text.rfind(b"\n", 0, at) + 1


def _id_of(text: bytes, start: int) -> bytes:
    """What stands where a queue id would; b"" where that cannot be one."""
    begin = text.find(b"]: ", start, text.find(b"\n", start)) + 3
    queue_id = text[begin : text.find(b":", begin)] if begin > 2 else b""
    return queue_id if 4 < len(queue_id) < 25 and queue_id.isalnum() else b""


def _unfinished(said: list[tuple[bytes, bytes]]) -> set[bytes]:
    """Messages still in the queue, without any recipient, or with a notification of their own."""
    have = set(said)
    return {
        queue_id
        for queue_id, what in dict(said).items()
        if what != b"removed" or (queue_id, b"to=") not in have or (queue_id, b"s") in have
    }


def _links(
    text: bytes, said: list[tuple[bytes, bytes]], known: Collection[bytes]
) -> list[tuple[bytes, bytes]]:
    """Pairs of queue ids that are, or may be, one message."""
    pairs: list[tuple[bytes, bytes]] = []
    for mark, found in _LINKS:
        if mark in text:
            pairs += [(a, b) for a, b in found.findall(text) if b in known]
    names = [what for _, what in said if len(what) >= _LEAST_NAMED]
    if len(set(names)) < len(names):
        first: dict[bytes, bytes] = {}
        pairs += [(first.setdefault(n, one), one) for one, n in said if len(n) >= _LEAST_NAMED]
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
