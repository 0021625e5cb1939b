"""Of a large piece of a log, the lines that can matter for one domain: history is read at the speed of C.

A message is left out where all its lines, from the first to ``removed``, lie in this piece, none names
the domain, every recipient that qmgr counted has its delivery line, and it is no part of a message
that is kept. So is one that is put off, all of whose recipients were heard of, none of them here. All
other lines with a queue id are kept, and those that name the domain, tell of a login or of lost lines.
What is left out would not have made an observation, nor changed one.

No line of the others becomes a Python object of its own: one pass of a regular expression makes a list of
"QUEUEID: " and the first letters behind it, and sets and dicts do the rest.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection
from typing import Final, Protocol, TypeAlias

from probes.oldhost.whole import Plain

LEAST_BYTES = 50_000  # of less, all lines are as cheap
LONGEST = 8_192  # bytes of a line that are read: Postfix writes less
_BLOCK: Final = LONGEST

# "]: 3F2A1C0D5E: client=": what stands to the blank is ``key``, with three letters more ``said``.
# None of the letters is a bracket, so that no two such places overlap and each can be found again.
_SAID: Final = re.compile(rb"\]: ([0-9A-Za-z]{5,24}: [^\]\n]{3})")
_KEY: Final = re.compile(rb"\]: ([0-9A-Za-z]{5,24}: )(?=[^\]\n]{3})")
_MANY: Final = re.compile(rb", nrcpt=(?!1 )(\d{0,7})")
_BARE_LOGIN: Final = re.compile(rb"sasl_username=[^@\n]*\n")
_ONWARD: Final = re.compile(rb"ed as (\w{5,24})")
_LINKS: Final = (
    re.compile(rb"\]: (\w{5,24}: )to=[^\n]*ed as (\w{5,24})"),
    re.compile(rb"\]: (\w{5,24}: )(?:client|uid)=[^\n]*(?:orig_queue_id|orig_id)=(\w{5,24})"),
    re.compile(rb"\]: (\w{5,24}: )sender [^\n]*: (\w{5,24})(?=\r?\n)"),
)
_NAMES: Final = re.compile(rb"\]: (\w{5,24}: )message-id=(<.[^\n]*)")
_REQUEUED: Final = re.compile(rb"\]: Requeue: (\w+)\.\w+ to (\w+)")
# A line that Postfix did not write; what comes before the program's name is looked for in two forms.
_FOREIGN: Final = re.compile(rb"\n(?![A-Z].{14} \S+ postfix[\w-]*/)")
_FOREIGN_3339: Final = re.compile(rb"\n(?!\d\S+ \S+ postfix[\w-]*/)")
_POSTFIX: Final = re.compile(rb"(?:[A-Z].{14}|\d\S+) \S+ postfix[\w-]*/")
_TELLS: Final = re.compile(rb"-login: | messages |\]: Requeue: ")
_NOT_KEYS: Final = frozenset(
    (b"NOQUEUE: ", b"warning: ", b"error: ", b"fatal: ", b"panic: ", b"statistics: ")
)
_INNER: Final = (b"client=localhost[", b"[127.", b"[::1]", b"orig_queue_id=")
_CLIENT, _FROM, _TO, _REMOVED = b"cli", b"fro", b"to=", b"rem"
_LOOPBACK: Final = (b"relay=127.", b"relay=localhost", b"/local[", b"/pipe[")


Keys: TypeAlias = set[bytes]
Claim: TypeAlias = Callable[[bytes], bool]


class Reader(Protocol):
    """Reads a message by all its lines at once, if it can, and tells what it has read."""

    def read(self, block: bytes, known: Collection[bytes]) -> Plain | None: ...

    def tell(self, one: Plain) -> None: ...


def sieve(
    text: bytes, needles: Collection[bytes], in_flight: Callable[[], Keys], own: Collection[bytes] = (),
    claim: Claim = lambda _: False, whole: Reader | None = None,
) -> list[bytes]:  # fmt: skip
    """The lines that matter, in their order; ``text`` is whole lines, each with its newline.

    ``needles``: the domain's spellings, lower case; ``in_flight``: the queue ids from before; ``own``: the
    host's own addresses as they stand in lines. ``claim``: whether another program's line is not to be
    kept. ``whole`` is told of each message that it can read at once, the lines of which are then left out.
    """
    if len(text) < LEAST_BYTES or b"\0" in text:
        return [one for one in text.split(b"\n")[:-1] if _POSTFIX.match(one) or not claim(one)]
    piece = _Piece(text, {one + b": " for one in in_flight()})
    piece.named(needles)
    piece.foreign(claim)
    piece.choose()
    if whole is not None:
        piece.read(whole)
    piece.join(own)
    if whole is not None:
        piece.tell(whole)
    return piece.lines()


class _Piece:
    """One piece of the log while it is looked through. ``held``: the keys of messages from before."""

    def __init__(self, text: bytes, held: Keys) -> None:
        self._text = text
        self._held = held
        self._starts: set[int] = set()  # of lines that are kept whatever their message
        self._claimed: set[int] = set()
        self._kept: Keys = set()
        self._linked: Keys = set()
        self._places: dict[bytes, list[int]] = {}  # where the lines of each kept message start
        self._plain: dict[bytes, Plain] = {}  # what was read at once
        self._said: list[bytes] = []
        self._blocks: list[tuple[int, int]] = []  # (how many of ``_said`` come before, where it starts)
        self._hear()
        self._keys = [one[:-3] for one in self._said]
        self._last = dict(zip(self._keys, self._said, strict=True))
        self._have = Counter(self._said)

    def _hear(self) -> None:
        """Block by block, so that a line is found again; one line that is too long is a block."""
        text, said, begin = self._text, self._said, 0
        find, end = _SAID.findall, len(text)
        while begin < end:
            stop = text.rfind(b"\n", begin, begin + _BLOCK) + 1
            if not stop:
                self._starts.add(begin)
                stop = text.find(b"\n", begin) + 1 or end
            else:
                self._blocks.append((len(said), begin))
                said += find(text, begin, stop)
            begin = stop
        self._blocks.append((len(said), end))

    def named(self, needles: Collection[bytes]) -> None:
        """Lines that name the domain, in any case of letters, and logins that name none."""
        lower = self._text.lower()
        for needle in needles:
            at = lower.find(needle)
            while at >= 0:
                at = lower.find(needle, self._keep_line(at))
        for found in _BARE_LOGIN.finditer(self._text):
            self._keep_line(found.start())

    def _keep_line(self, at: int) -> int:
        """The line at this place and its message; where the line ends."""
        text = self._text
        start, end = text.rfind(b"\n", 0, at) + 1, text.find(b"\n", at)
        key = _KEY.search(text, start, end)
        if key is None or key[1] in _NOT_KEYS:
            self._starts.add(start)
        else:
            self._kept.add(key[1])
        return end

    def foreign(self, claim: Claim) -> None:
        """Other programs' lines that tell something. One that names the domain is kept already."""
        text = self._text
        pattern = _FOREIGN_3339 if text[:1].isdigit() else _FOREIGN
        for start in (0, *(m.end() for m in pattern.finditer(text, 0, len(text) - 1))):
            line = text[start : text.find(b"\n", start)]
            if _POSTFIX.match(line):
                continue
            if claim(line):
                self._claimed.add(start)
            elif _TELLS.search(line):
                self._starts.add(start)
                self._kept.update(one + b": " for pair in _REQUEUED.findall(line) for one in pair)

    def choose(self) -> None:
        """Which messages are kept, and where their lines are."""
        have, last = self._have, self._last
        self._kept |= last.keys() & self._held
        self._kept |= self._many()
        self._kept.update(
            k for k, one in last.items() if one[-3:] == _REMOVED and k + _TO not in have and k + _FROM in have
        )
        self._kept -= _NOT_KEYS
        waiting = {k for k, one in last.items() if one[-3:] != _REMOVED} - self._kept - _NOT_KEYS
        waiting = {k for k in waiting if not (k.islower() and k[:-2].isalpha() and len(k) < 14)}
        self._places = self._find(self._kept | waiting)
        for key in waiting:
            if not self._may_be_ours(key):
                del self._places[key]
        self._kept.update(waiting & self._places.keys())

    def _many(self) -> Keys:
        """Messages for several, of whom not all are heard of."""
        few: Keys = set()
        for found in _MANY.finditer(self._text):
            at = found.start()
            key = _KEY.search(self._text, self._text.rfind(b"\n", 0, at) + 1, at)
            if key is not None:
                one, count = key[1], found[1]
                if self._have[one + _FROM] != 1 or not count or self._have[one + _TO] != int(count):
                    few.add(one)
        return few

    def _may_be_ours(self, key: bytes) -> bool:
        """Not if its every recipient was tried, elsewhere than on this host."""
        if not self._have[key + _TO] or self._have[key + _FROM] != 1:
            return True
        block = self._block(key)
        return any(mark in block for mark in _LOOPBACK)

    def read(self, whole: Reader) -> None:
        """What can be read at once: messages that began and ended here."""
        last, held, known = self._last, self._held, self._last.keys()
        for key in self._places:
            if key not in held and last[key][-3:] == _REMOVED:
                one = whole.read(self._block(key), known)
                if one is not None:
                    self._plain[key] = one

    def tell(self, whole: Reader) -> None:
        """Of these, each that is no part of another; its lines are done with."""
        for key, one in self._plain.items():
            if key not in self._linked:
                whole.tell(one)
                del self._places[key]

    def join(self, own: Collection[bytes]) -> None:
        """Of what belongs together all is kept or nothing. What is plain goes on nowhere."""
        others = self._places.keys() - self._plain.keys()
        lines = b"\n".join(map(self._block, others))
        onward = {one + b": " for one in _ONWARD.findall(lines)} & self._last.keys()
        inner = onward or any(mark in lines for mark in (*_INNER, *own))
        if not inner and all(k + _CLIENT in self._have for k in others - self._held):
            return
        pairs = self._pairs()
        self._linked = {one for pair in pairs for one in pair}
        before, grew = set(self._kept), True
        while grew:
            grew = False
            for a, b in pairs:
                if (a in self._kept) != (b in self._kept):
                    self._kept.update((a, b))
                    grew = True
        self._places.update(self._find(self._kept - before))

    def _pairs(self) -> list[tuple[bytes, bytes]]:
        """Keys that are, or may be, of one message."""
        pairs = [(a, b + b": ") for found in _LINKS for a, b in found.findall(self._text)]
        first: dict[bytes, bytes] = {}
        pairs += [(first.setdefault(name, key), key) for key, name in _NAMES.findall(self._text)]
        return [(a, b) for a, b in pairs if a != b and b in self._last]

    def _find(self, wanted: Keys) -> dict[bytes, list[int]]:
        """Where each line of these messages starts."""
        text, said, blocks = self._text, self._said, self._blocks
        places: dict[bytes, list[int]] = {}
        number, at, limit = -1, 0, 0
        for index, key in enumerate(self._keys):
            if key not in wanted:
                continue
            while index >= limit:
                number += 1
                at, limit = blocks[number][1], blocks[number + 1][0]
            at = text.find(b"]: " + said[index], at) + 3
            start = text.rfind(b"\n", 0, at) + 1
            if key in places:
                places[key].append(start)
            else:
                places[key] = [start]
        return places

    def _block(self, key: bytes) -> bytes:
        text = self._text
        return b"\n".join([text[start : text.find(b"\n", start)] for start in self._places[key]])

    def lines(self) -> list[bytes]:
        text, starts = self._text, self._starts.union(*self._places.values()) - self._claimed
        return [text[start : text.find(b"\n", start)] for start in sorted(starts)]
