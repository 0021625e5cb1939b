"""The systemd journal as lines of a log: an entry is one line, whatever newlines its text holds."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec

from probes.oldhost.stream import Dialect, Line, StreamPlace

_FIELDS = "MESSAGE,SYSLOG_IDENTIFIER,SYSLOG_PID,_PID,_HOSTNAME"
_DAYS = 28  # of history: the baseline is at most four weeks (verdict.md)
_LEAST = 0x20  # below it, and DEL: control characters


class _Entry(msgspec.Struct):
    """systemd's "Journal JSON Format": a text, or its bytes where it is none, or null; a list of these where
    an entry bears the field more than once."""

    cursor: str = msgspec.field(name="__CURSOR")
    at: str = msgspec.field(name="__REALTIME_TIMESTAMP")
    message: object = msgspec.field(name="MESSAGE", default=None)
    identifier: object = msgspec.field(name="SYSLOG_IDENTIFIER", default=None)
    named: object = msgspec.field(name="SYSLOG_PID", default=None)
    pid: object = msgspec.field(name="_PID", default=None)
    host: object = msgspec.field(name="_HOSTNAME", default=None)


_entry = msgspec.json.Decoder(_Entry)


def journal(units: Sequence[str]) -> Dialect:
    """``journalctl`` from the last entry that was read on, which comes first again and so proves that none
    is missing before the next; a journal that has lost it begins with another."""

    def argv(place: StreamPlace | None, history: bool) -> tuple[str, ...]:
        wanted = tuple(f"--unit={unit}" for unit in units)
        common = ("journalctl", "--quiet", "--all", "--follow", "--output=json", f"--output-fields={_FIELDS}")
        if place is not None and place.keys:
            return (*common, *wanted, "--no-tail", f"--cursor={place.keys[-1]}")
        begin = ("--no-tail", f"--since=-{_DAYS}d") if history else ("--lines=1",)
        return (*common, *wanted, *begin)

    return Dialect(argv, _line, kept=1)


def _line(raw: bytes) -> Line | None:
    """As syslog would have written it: stamp, host, tag, process, text."""
    if not raw.startswith(b"{"):
        return None
    try:
        entry = _entry.decode(raw)
        at = datetime.fromtimestamp(int(entry.at) / 1e6, UTC)
    except (msgspec.MsgspecError, UnicodeDecodeError, ValueError, OverflowError, OSError):
        return Line(b"an entry of the journal that cannot be read: " + raw, "")
    host, tag = (_word(value) or b"-" for value in (entry.host, entry.identifier))
    pid = _word(entry.named) or _word(entry.pid)
    who = tag + b"[" + pid + b"]" if pid.isdigit() else tag
    stamp = at.isoformat(timespec="microseconds").encode()
    return Line(b" ".join((stamp, host, who + b":", _text(entry.message))), entry.cursor)


def _word(value: object) -> bytes:
    return _text(value).replace(b" ", b"_")[:255]


def _text(value: object) -> bytes:
    """On one line: control characters as rsyslog writes them, "#012"."""
    if isinstance(value, list):
        value = _bytes(value) if all(isinstance(one, int) for one in value) else value[0]
    if isinstance(value, str):
        value = value.encode("utf-8", "surrogateescape")
    raw = value if isinstance(value, bytes) else b""
    if raw.isascii() and raw.decode("ascii").isprintable():
        return raw
    return b"".join(b"#%03o" % c if (c < _LEAST and c != 9) or c == 0x7F else bytes((c,)) for c in raw)


def _bytes(value: list[int]) -> bytes:
    return bytes(one & 0xFF for one in value)
