"""JSON Lines to observations, fast: of a resolver's answers that differ in time, TTL and round trip alone
the first is decoded, and of the others these three are read: texts that were decoded in another line before.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from msgspec.structs import replace

from monitor.evidence.again import Seen, seen
from probes.observation import BadObservation, ResolverAnswer, decode, to_ms

HEADS = (b'{"at":"', b'{"at": "')
MOST = 50_000  # forms, and texts of each figure, that are remembered
TTL, END = b'"ttl":', b"}\n"


class Lines:
    """Reads the lines of one file. A line that is none of ours, or is new in any part, is decoded whole."""

    def __init__(self, head: bytes = HEADS[0]) -> None:
        self._at = len(head)
        self._forms: dict[bytes, ResolverAnswer | None] = {}
        self._minutes: dict[bytes, int] = {}
        self._seconds: dict[bytes, int] = {}
        self._parts: dict[bytes, int] = {}
        self._ttls: dict[bytes, int] = {}
        self._trips: dict[bytes, float | None] = {}

    def read(self, lines: Iterable[bytes]) -> Iterator[Seen]:
        """What the lines say, in their order; blank ones are passed over. Raises :class:`BadObservation`."""
        begin, second, point, end = self._at, self._at + 17, self._at + 20, self._at + 23
        forms, minutes, seconds, parts = self._forms, self._minutes, self._seconds, self._parts
        ttls, trips = self._ttls, self._trips
        for number, line in enumerate(lines, 1):
            first = line.find(TTL) + 6
            last = line.rfind(b":") + 1
            comma = line.find(b",", first)
            answer = forms.get(line[end:first] + line[comma:last])
            if answer is not None and line[-2:] == END:
                try:
                    at = minutes[line[begin:second]] + seconds[line[second:point]] + parts[line[point:end]]
                    yield at, answer, ttls[line[first:comma]], trips[line[last:-2]]
                    continue
                except KeyError:
                    pass  # decoded once, it is known
            if line.strip():
                yield self._whole(line, number, first, comma, last)

    def _whole(self, line: bytes, number: int, first: int, comma: int, last: int) -> Seen:
        observation = decode(line, number)
        figures = 5 < first <= comma < last and line[-2:] == END
        if figures and isinstance(observation, ResolverAnswer):
            self._learn(line, observation, first, comma, last)
        return seen(observation)

    def _learn(self, line: bytes, answer: ResolverAnswer, first: int, comma: int, last: int) -> None:
        """Remember the form of a line, where other figures in these places are all that they seem to be."""
        begin, second, point, end = self._at, self._at + 17, self._at + 20, self._at + 23
        for known in (self._forms, self._minutes, self._seconds, self._parts, self._ttls, self._trips):
            if len(known) >= MOST:
                known.clear()
        form = line[end:first] + line[comma:last]
        if form not in self._forms:
            self._forms[form] = answer if self._plain(line, answer, first, comma, last) else None
        if self._forms[form] is None or len(line[begin:end]) != 23 or line[end : end + 1] != b"Z":
            return
        at = to_ms(answer.at)
        self._minutes[line[begin:second]] = at // 60_000 * 60_000
        self._seconds[line[second:point]] = at // 1000 % 60 * 1000
        self._parts[line[point:end]] = at % 1000
        self._ttls[line[first:comma]] = answer.ttl
        self._trips[line[last:-2]] = answer.rtt_ms

    def _plain(self, line: bytes, answer: ResolverAnswer, first: int, comma: int, last: int) -> bool:
        """Whether the line with another time, TTL and round trip says just these otherwise."""
        begin, end = self._at, self._at + 23
        other = (
            line[:begin], b"2001-02-03T04:05:06.789", line[end:first], b"86399", line[comma:last],
            b"12345.5", line[-2:],
        )  # fmt: skip
        try:
            changed = decode(b"".join(other))
            wanted = replace(answer, at=decode(_PROBE).at, ttl=86399, rtt_ms=12345.5)
        except BadObservation:
            return False
        return bool(changed == wanted)


_PROBE = b'{"at":"2001-02-03T04:05:06.789Z","kind":"watcher","event":"started","detail":""}'


def head_of(first: bytes, second: bytes) -> bytes:
    """How the lines of a file begin whose first ones these are: the first may come from another writer."""
    return HEADS[1] if (second or first).startswith(HEADS[1]) else HEADS[0]
