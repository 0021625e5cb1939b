"""One Received field taken apart (RFC 5321 section 4.4), in the spellings of the servers that exist."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from msgspec import Struct

LONGEST = 4000
_MOST_WORDS = 300
_CLAUSES = ("from", "by", "via", "with", "id", "for")
_PARTS = re.compile(r"[()]|\\.|[^()\\]+|\\")
_ADDRESS = r"(?:IPv6:)?([0-9A-Fa-f:.]{2,45})(?:%[\w.-]{1,20})?"
_BRACKETED = re.compile(rf"\[{_ADDRESS}\]", re.IGNORECASE)
_INVOKED = re.compile(r"\s*\(qmail (\d{1,10}) invoked ")
# What a client called itself, where a server puts it into a comment (Exim, qmail).
_CALLED = re.compile(r"\b(?:helo|ehlo)[= ]\s*(\S{1,255})", re.IGNORECASE)
_BARE = re.compile(rf"(?:[^@\s]{{0,64}}@)?{_ADDRESS}", re.IGNORECASE)


class Hop(Struct, frozen=True, kw_only=True):
    """One hand-over: ``by`` took it ("" where the field does not say) from ``client``, an address in its
    canonical form, that called itself ``helo``. ``recipient`` is the "for" clause."""

    by: str = ""
    helo: str | None = None
    client: str | None = None
    protocol: str | None = None
    authenticated: bool = False
    queue_id: str | None = None
    recipient: str | None = None
    at: datetime | None = None


def parse(value: str) -> Hop:
    """Never raises: what cannot be read is None."""
    text = value[:LONGEST]
    clauses, date = text.rpartition(";")[::2] if ";" in text else (text, "")
    words, comments = _clauses(clauses)
    origin, protocol = words.get("from", ""), words.get("with", "")[:60]
    near = comments.get("from", [])
    return Hop(
        by=words.get("by", "").split(" ")[0].rstrip(".").lower()[:255],
        helo=_helo(origin, near),
        client=_client(origin, near),
        protocol=protocol or None,
        authenticated=_authenticated(protocol, [*near, *comments.get("with", [])]),
        queue_id=words.get("id", "").split(" ")[0][:128] or _qmail(text),
        recipient=words.get("for", "").split(" ")[0].strip("<>")[:320] or None,
        at=moment(date),
    )


def _qmail(text: str) -> str | None:
    """qmail-queue writes a field of its own above qmail-smtpd's: "(qmail 1750 invoked from network)"."""
    found = _INVOKED.match(text)
    return found[1] if found else None


def _clauses(text: str) -> tuple[dict[str, str], dict[str, list[str]]]:
    """Each clause's words and its comments; of two clauses of one kind the first. The word after a keyword is
    its value whatever it is: a client may call itself "by"."""
    words: dict[str, str] = {}
    comments: dict[str, list[str]] = {}
    name: str | None = None
    for is_comment, word in _words(text):
        empty = name is not None and not words.get(name)
        if is_comment:
            if name is not None:
                comments.setdefault(name, []).append(word)
        elif not empty and word.lower() in _CLAUSES:
            name = None if word.lower() in words else word.lower()
            words.setdefault(word.lower(), "")
        elif name is not None:
            words[name] = f"{words[name]} {word}".strip()
    return words, comments


def _words(text: str) -> Iterator[tuple[bool, str]]:
    """Words outside of comments, and whole comments (RFC 5322 section 3.2.2, nested)."""
    depth, comment, left = 0, "", _MOST_WORDS
    for part in _PARTS.findall(text):
        if part == "(":
            depth += 1
            comment = "" if depth == 1 else f"{comment} "
        elif part == ")" and depth:
            depth -= 1
            if not depth:
                left -= 1
                yield True, comment
        elif depth:
            comment += part
        else:
            for word in part.split():
                left -= 1
                yield False, word
        if left < 0:
            return


def _helo(origin: str, comments: list[str]) -> str | None:
    for comment in comments[:2]:
        called = _CALLED.search(comment)
        if called is not None:
            return called[1][:255]
    return origin.split(" ")[0][:255] or None


def _client(origin: str, comments: list[str]) -> str | None:
    """The address that the server saw. What the client called itself is left out first: it may be an address
    in brackets (RFC 5321 section 4.1.3), and a false one."""
    for comment in comments[:3]:
        text = _CALLED.sub(" ", comment).strip()
        bracketed = _BRACKETED.findall(text)
        found = ip(bracketed[-1]) if bracketed else None
        bare = _BARE.fullmatch(text) if found is None else None
        found = ip(bare[1]) if bare is not None else found
        if found is not None:
            return found
    # Exim where the name could not be verified: from [192.0.2.1] (helo=name).
    literal = _BRACKETED.match(origin) if not comments or _CALLED.search(comments[0]) else None
    return ip(literal[1]) if literal is not None else None


def _authenticated(protocol: str, comments: list[str]) -> bool:
    """RFC 3848, RFC 6531 section 4.3: ESMTPA, ESMTPSA, UTF8SMTPSA; Sendmail and Postfix add a comment."""
    word = protocol.split(" ")[0].upper()
    if re.fullmatch(r"(?:E|UTF8)SMTPS?A", word) is not None:
        return True
    return any(re.match(r"\s*(?:authenticated\b|authenticated sender:)", c, re.IGNORECASE) for c in comments)


def ip(text: str) -> str | None:
    """An address in its canonical form (RFC 5952), an IPv4-mapped one as IPv4; None where it is none."""
    try:
        parsed = ipaddress.ip_address(text.strip())
    except ValueError:
        return None
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return str(mapped or parsed)


def moment(text: str) -> datetime | None:
    """A date of RFC 5322 section 3.3 in UTC; None where it is none, or none of our time."""
    try:
        at = parsedate_to_datetime(text.strip()[:100])
        at = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, TypeError, OverflowError, IndexError, AttributeError):
        return None
    return at if 1990 <= at.year < 2200 else None
