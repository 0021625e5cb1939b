"""When two messages are the same: not by Message-ID alone, which senders reuse and lists keep."""

from __future__ import annotations

import hashlib
import re

from probes.mail.header import fields
from probes.mail.imap import MOST_HEADER
from probes.mail.trace import digest, message_id

_GAP = re.compile(rb"\r?\n\r?\n")


def content(raw: bytes) -> str:
    """SHA-256 in hex of what stays the same on every way: Message-ID, the header fields that no host rewrites
    and the body. Trace fields, which each way writes differently, and line ends are left out."""
    gap = _GAP.search(raw)
    header, body = (raw[: gap.start()], raw[gap.end() :]) if gap else (raw, b"")
    those = fields(header)
    told = f"{message_id(those) or ''}\n{digest(those) or ''}\n".encode("utf-8", "replace")
    return hashlib.sha256(told + unix(body).rstrip(b"\n")).hexdigest()


def named(raw: bytes) -> str:
    """As :attr:`probes.mail.carrier.Entry.name` has it."""
    those = fields(raw[:MOST_HEADER])
    return message_id(those) or digest(those) or ""


def unix(raw: bytes) -> bytes:
    """With one kind of line end: a store may keep another one than it was given."""
    return raw.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
