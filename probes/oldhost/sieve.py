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
from collections.abc import Callable, Collection, Iterator
from typing import Final

from probes.oldhost.lines import has_header

LEAST_BYTES = 50_000  # of less, all lines are as cheap
LONGEST = 8_192  # bytes of a line that are read: Postfix writes less
_BLOCK: Final = LONGEST

# "]: 3F2A1C0D5E: client=": what stands to the blank is ``key``, with three letters more ``said``.
# None of the letters is a bracket, so that no two such places overlap and each can be found again.
_SAID: Final = re.compile(rb"\]: ([0-9A-Za-z]{5,24}: [^\]\n]{3})")
_KEY: Final = re.compile(rb"\]: ([0-9A-Za-z]{5,24}: )")
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

Keys = set[bytes]


def sieve(
    text: bytes, needles: Collection[bytes], in_flight: Callable[[], Keys], own: Collection[bytes] = (),
    claim: Callable[[bytes], bool] = lambda _: False,
) -> list[bytes]:  # fmt: skip
    """The lines of ``text`` that matter, in their order; ``text`` is whole lines, each with its newline.

    ``needles``: the domain's spellings, lower case; ``in_flight``: the queue ids from before; ``own``: the
    host's own addresses as they stand in lines; ``claim``: whether another program's line is not to be kept.
    """
    if len(text) < LEAST_BYTES or b"\0" in text:
        return [one for one in text.split(b"\n")[:-1] if _POSTFIX.match(one) or not claim(one)]
    piece = _Piece(text)
    piece.named(needles)
    piece.foreign(claim)
    piece.choose({one + b": " for one in in_flight()}, own)
    return piece.lines()


class _Piece:
    """One piece of the log while it is looked through."""

    def __init__(self, text: bytes) -> None:
        self.text = text
        self.starts: set[int] = set()  # of the lines that are kept whatever their message
        self._claimed: set[int] = set()
        self.kept: Keys = set()
        self.said: list[bytes] = []
        self._blocks: list[tuple[int, int]] = []  # (how many of ``said`` come before, where it starts)
        self._said()
        self.keys = [one[:-3] for one in self.said]
        self.last = dict(zip(self.keys, self.said, strict=True))

    def _said(self) -> None:
        """Block by block, so that a line is found again; one line that is too long is a block."""
        text, said, blocks, begin = self.text, self.said, self._blocks, 0
        find, end = _SAID.findall, len(self.text)
        while begin < end:
            stop = text.rfind(b"\n", begin, begin + _BLOCK) + 1
            if not stop:
                self.starts.add(begin)
                stop = text.find(b"\n", begin) + 1 or end
            else:
                blocks.append((len(said), begin))
                said += find(text, begin, stop)
            begin = stop
        blocks.append((len(said), end))

    def named(self, needles: Collection[bytes]) -> None:
        """Lines that name the domain, in any case of letters."""
        lower = self.text.lower()
        for needle in needles:
            at = lower.find(needle)
            while at >= 0:
                at = lower.find(needle, self._keep_line(at))
        for found in _BARE_LOGIN.finditer(self.text):
            self._keep_line(found.start())

    def _keep_line(self, at: int) -> int:
        """The line at this place and its message; where the line ends."""
        text = self.text
        start, end = text.rfind(b"\n", 0, at) + 1, text.find(b"\n", at)
        self.starts.add(start)
        key = _KEY.search(text, start, end)
        if key is not None:
            self.kept.add(key[1])
        return end

    def foreign(self, claim: Callable[[bytes], bool]) -> None:
        """Other programs' lines that tell something, and what is no line of syslog's at all."""
        text = self.text
        pattern = _FOREIGN_3339 if text[:1].isdigit() else _FOREIGN
        claimed: set[int] = set()
        starts = [0, *(m.end() for m in pattern.finditer(text, 0, len(text) - 1))]
        for start in starts:
            line = text[start : text.find(b"\n", start)]
            if _POSTFIX.match(line):
                continue
            if claim(line):
                claimed.add(start)
            elif not has_header(line):
                self._keep_line(start)
            elif _TELLS.search(line):
                self.starts.add(start)
                self.kept.update(one + b": " for pair in _REQUEUED.findall(line) for one in pair)
        self._claimed = claimed

    def choose(self, held: Keys, own: Collection[bytes]) -> None:
        """Which messages are kept."""
        have = Counter(self.said)
        self.kept |= self.last.keys() & held
        self.kept |= self._many(have)
        self.kept.update(k for k, one in self.last.items() if one[-3:] == _REMOVED and k + _TO not in have)
        waiting = {k for k, one in self.last.items() if one[-3:] != _REMOVED} - self.kept - _NOT_KEYS
        waiting = {k for k in waiting if not (k.islower() and k[:-2].isalpha() and len(k) < 14)}
        self.kept -= _NOT_KEYS
        self.kept |= self._may_be_ours(waiting, have)
        self._join(have, own)

    def _many(self, have: Counter[bytes]) -> Keys:
        """Messages for several, of whom not all are heard of."""
        few: Keys = set()
        for found in _MANY.finditer(self.text):
            at = found.start()
            key = _KEY.search(self.text, self.text.rfind(b"\n", 0, at) + 1, at)
            if key is not None:
                one, count = key[1], found[1]
                if have[one + _FROM] != 1 or not count or have[one + _TO] != int(count):
                    few.add(one)
        return few

    def _may_be_ours(self, waiting: Keys, have: Counter[bytes]) -> Keys:
        """Without those whose every recipient was tried, elsewhere than on this host."""
        tried = {k for k in waiting if have[k + _TO] and have[k + _FROM] == 1}
        inner = {
            key
            for key, start in self._places(tried)
            if any(mark in self.text[start : self.text.find(b"\n", start)] for mark in _LOOPBACK)
        }
        return (waiting - tried) | inner

    def _join(self, have: Counter[bytes], own: Collection[bytes]) -> None:
        """Of what belongs together all is kept or nothing."""
        known = self.last.keys()
        lines = b"\n".join(self.lines())
        onward = {one + b": " for one in _ONWARD.findall(lines)} & known
        inner = any(mark in lines for mark in (*_INNER, *own))
        if not (inner or onward or any(k + _CLIENT not in have for k in self.kept)):
            return
        pairs = [(a, b + b": ") for found in _LINKS for a, b in found.findall(self.text)]
        pairs = [(a, b) for a, b in pairs if b in known and a != b]
        first: dict[bytes, bytes] = {}
        names = ((first.setdefault(name, key), key) for key, name in _NAMES.findall(self.text))
        pairs += [(a, b) for a, b in names if a != b]
        grew = True
        while grew:
            grew = False
            for a, b in pairs:
                if (a in self.kept) != (b in self.kept):
                    self.kept.update((a, b))
                    grew = True

    def _places(self, wanted: Keys) -> Iterator[tuple[bytes, int]]:
        """Each line of these messages: (key, where it starts)."""
        text, said, blocks = self.text, self.said, self._blocks
        number, at, limit = -1, 0, 0
        for index, key in enumerate(self.keys):
            if key not in wanted:
                continue
            while index >= limit:
                number += 1
                at, limit = blocks[number][1], blocks[number + 1][0]
            at = text.find(b"]: " + said[index], at) + 3
            yield key, text.rfind(b"\n", 0, at) + 1

    def lines(self) -> list[bytes]:
        text = self.text
        starts = self.starts.union(start for _, start in self._places(self.kept)) - self._claimed
        return [text[start : text.find(b"\n", start)] for start in sorted(starts)]
