"""The words of IMAP4rev1 (RFC 3501 section 9): commands to tokens, and what FETCH and SEARCH ask for."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from datetime import date, datetime
from email.parser import BytesHeaderParser
from typing import TypeAlias

from monitor.rehearsal.store import Message

LINE_LIMIT = 16_384
LITERAL_LIMIT = 65_536
DEPTH = 8
Token: TypeAlias = "str | list[Token]"
Test = Callable[[int, Message], bool]  # sequence number and message
_LITERAL = re.compile(rb"\{(\d{1,9})(\+?)\}\r?\n\Z")


class BadCommand(Exception):
    """The command cannot be understood; the text goes into the tagged BAD."""


async def read_command(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes | None:
    """One command with its literals (RFC 3501 section 4.3, RFC 7888) turned into quoted strings; None at
    the end of the stream. Raises ``BadCommand`` where it is longer than this server reads."""
    command = b""
    while True:
        line = await _line(reader)
        if not line:
            return None
        literal = _LITERAL.search(line)
        if literal is None:
            return command + line.rstrip(b"\r\n")
        size = int(literal[1])
        if len(command) + size > LITERAL_LIMIT:
            raise BadCommand("literal too long")
        if not literal[2]:
            writer.write(b"+ go on\r\n")
            await writer.drain()
        text = await reader.readexactly(size)
        command += line[: literal.start()] + b'"' + re.sub(rb'(["\\])', rb"\\\1", text) + b'"'


async def _line(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readline()
    except ValueError:  # longer than the stream's limit
        raise BadCommand("line too long") from None


def tokens(command: bytes) -> list[Token]:
    """Atoms, strings and parenthesised lists. Raises ``BadCommand``."""
    found, rest = _tokens(command.decode("latin-1"), 0, 0)
    if rest != len(command):
        raise BadCommand("unbalanced parenthesis")
    return found


def _tokens(text: str, at: int, depth: int) -> tuple[list[Token], int]:
    found: list[Token] = []
    if depth > DEPTH:
        raise BadCommand("nested too deeply")
    while at < len(text) and text[at] != ")":
        if text[at] == " ":
            at += 1
        elif text[at] == "(":
            inner, at = _tokens(text, at + 1, depth + 1)
            if at >= len(text):
                raise BadCommand("unbalanced parenthesis")
            found.append(inner)
            at += 1
        else:
            word, at = _quoted(text, at) if text[at] == '"' else _atom(text, at)
            found.append(word)
    return found, at


def _quoted(text: str, at: int) -> tuple[str, int]:
    match = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL).match(text, at)
    if match is None:
        raise BadCommand("unfinished string")
    return re.sub(r"\\(.)", r"\1", match[1], flags=re.DOTALL), match.end()


def _atom(text: str, at: int) -> tuple[str, int]:
    """Up to a space or parenthesis, but a section (``BODY[HEADER.FIELDS (TO)]``) belongs to it whole."""
    match = re.compile(r"(?:\[[^\]]*\]|[^ ()\"\[])+").match(text, at)
    if match is None:
        raise BadCommand("not an atom")
    return match[0], match.end()


def numbers(words: str, largest: int) -> Callable[[int], bool]:
    """A sequence set (``2:4,7,9:*``; ``*`` is ``largest``) as a test. Raises ``BadCommand``."""
    ranges: list[tuple[int, int]] = []
    for part in words.split(","):
        if re.fullmatch(r"(\d{1,10}|\*)(:(\d{1,10}|\*))?", part) is None:
            raise BadCommand("not a sequence set")
        ends = [largest if end == "*" else int(end) for end in part.split(":")]
        ranges.append((min(ends), max(ends)))
    return lambda n: any(low <= n <= high for low, high in ranges)


def search(criteria: list[Token], count: int, uid_largest: int) -> Test:
    """The criteria of SEARCH (RFC 3501 section 6.4.4), all of which must hold. Raises ``BadCommand``."""
    words = list(criteria)
    tests: list[Test] = []
    while words:
        tests.append(_criterion(words, count, uid_largest))
    return lambda n, m: all(test(n, m) for test in tests)


def _criterion(words: list[Token], count: int, uid_largest: int) -> Test:
    word = words.pop(0)
    if isinstance(word, list):
        return search(word, count, uid_largest)
    key = word.upper()
    if key == "NOT":
        inner = _criterion(words, count, uid_largest) if words else _nothing()
        return lambda n, m: not inner(n, m)
    if key == "OR" and len(words) >= 2:
        left, right = (_criterion(words, count, uid_largest) for _ in range(2))
        return lambda n, m: left(n, m) or right(n, m)
    return (
        _flag(key)
        or _dated(key, words)
        or _headed(key, words)
        or _numbered(key, word, words, count, uid_largest)
    )


def _nothing() -> Test:
    raise BadCommand("a search key is missing")


def _flag(key: str) -> Test | None:
    if key == "ALL":
        return lambda n, m: True
    wanted, negative = (key.removeprefix("UN"), True) if key.startswith("UN") else (key, False)
    if wanted in ("SEEN", "ANSWERED", "FLAGGED", "DELETED", "DRAFT"):
        return lambda n, m: ("\\" + wanted.capitalize() in m.flags) != negative
    return None


def _dated(key: str, words: list[Token]) -> Test | None:
    compare: dict[str, Callable[[date, date], bool]] = {
        "SINCE": lambda have, want: have >= want,
        "BEFORE": lambda have, want: have < want,
        "ON": lambda have, want: have == want,
    }
    if key not in compare:
        return None
    try:
        wanted = datetime.strptime(_text(words), "%d-%b-%Y").date()
    except ValueError:
        raise BadCommand("not a date") from None
    return lambda n, m: compare[key](m.internal_date.date(), wanted)


def _headed(key: str, words: list[Token]) -> Test | None:
    if key not in ("HEADER", "SUBJECT", "FROM", "TO", "CC"):
        return None
    field = _text(words) if key == "HEADER" else key
    wanted = _text(words).lower()
    return lambda n, m: any(wanted in value.lower() for value in fields(m.raw, field))


def _numbered(key: str, word: str, words: list[Token], count: int, uid_largest: int) -> Test:
    if key == "UID":
        has_uid = numbers(_text(words), uid_largest)
        return lambda n, m: has_uid(m.uid)
    has_number = numbers(word, count)
    return lambda n, m: has_number(n)


def _text(words: list[Token]) -> str:
    word = words.pop(0) if words else None
    if not isinstance(word, str):
        raise BadCommand("an argument is missing")
    return word


def fields(raw: bytes, name: str) -> list[str]:
    """Every value of one header field."""
    return [str(v) for v in BytesHeaderParser().parsebytes(raw).get_all(name, [])]


def section(raw: bytes, spec: str) -> bytes:
    """What ``BODY[spec]`` means (RFC 3501 section 6.4.5), for messages as a whole. Raises ``BadCommand``."""
    head, gap, body = raw.partition(b"\r\n\r\n")
    head += b"\r\n" + gap[2:]
    upper = spec.upper()
    if upper in ("", "HEADER", "TEXT"):
        return {"": raw, "HEADER": head, "TEXT": body}[upper]
    match = re.fullmatch(r"HEADER\.FIELDS(\.NOT)? \(([^()]*)\)", upper)
    if match is None:
        raise BadCommand("this section is not served")
    wanted = {name.strip('"') for name in match[2].split()}
    lines = re.findall(rb"(?:[^\r\n]*\r\n)(?:[ \t][^\r\n]*\r\n)*", head)
    chosen = [x for x in lines if x.strip() and (_field(x) in wanted) != bool(match[1])]
    return b"".join(chosen) + b"\r\n"


def _field(line: bytes) -> str:
    return line.partition(b":")[0].strip().decode("latin-1").upper()
