"""Test messages that can be told from all other mail, and that nobody else can make.

A canary bears two signatures with the watch's own key (HMAC-SHA256, RFC 2104, cut to 128 bits as its section
5 allows): one in the Message-ID, which mail logs show, and one in a header field of its own, which binds
route, recipient and time as well.
"""

from __future__ import annotations

import base64
import email
import hashlib
import hmac
import os
import re
import secrets
import stat
from collections.abc import Sequence
from datetime import datetime
from email.errors import MessageError
from email.header import Header, decode_header, make_header
from email.utils import format_datetime
from pathlib import Path
from typing import Literal
from urllib.parse import quote, unquote

from msgspec import Struct

from probes.mail.header import Field, every, fields, first, squeezed
from probes.observation import from_ms, to_ms

KEY_BYTES = 32
FIELD = "Mxcutover-Canary"
_ID = r"c-[0-9a-f]{24}"
# Only letters, digits, "-" and ".": atoms of RFC 5322 section 3.2.3, the same in any case and in any log.
_MESSAGE_ID = re.compile(rf"<?mxcutover\.({_ID})\.([0-9a-f]{{32}})@[^\s<>@]{{1,255}}>?")
_HEADER = re.compile(rf"v=1;id=({_ID});route=([^;]{{1,2000}});sent=(\d{{1,15}})ms;sig=([0-9a-f]{{32}});?")
MOST_TOLD = 64 * 1024  # bytes of a whole canary, and of all that its way may have added
_LATEST = 253_402_300_799_000  # 9999-12-31, ms


class Seen(Struct, frozen=True):
    """What a canary's signed header says of it."""

    canary: str
    route: str
    sent_at: datetime


class Signer:
    """Signs and recognises with one key. Its ``repr`` does not show the key."""

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise ValueError(f"a canary key has {KEY_BYTES} bytes, not {len(key)}")
        self._key = key

    @classmethod
    def load_or_create(cls, path: Path) -> Signer:
        """The key in this file, made at the first time for the owner alone.

        Raises ``ValueError`` with a one-line reason where the file is no key or others can read it, and
        ``OSError`` where it can neither be read nor made.
        """
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except FileExistsError:
            return cls(_read_key(path))
        key = secrets.token_bytes(KEY_BYTES)
        try:
            with os.fdopen(handle, "wb") as out:
                out.write(key)
                out.flush()
                os.fsync(out.fileno())
        except OSError:
            path.unlink(missing_ok=True)
            raise
        return cls(key)

    def mint(self) -> str:
        """A new canary's id: ``c-`` and 96 random bits."""
        return f"c-{secrets.token_hex(12)}"

    def sign(self, purpose: str, *parts: str) -> str:
        """128 bits in hex; every part's length is signed as well, so that no two lists sign alike."""
        text = "".join(f"{len(part)}:{part}," for part in ("mxcutover", purpose, *parts))
        return hmac.new(self._key, text.encode("utf-8", "replace"), hashlib.sha256).hexdigest()[:32]

    def message_id(self, canary: str, domain: str) -> str:
        """``<mxcutover.CANARY.SIGNATURE@DOMAIN>``."""
        return f"<mxcutover.{canary}.{self.sign('message-id', canary)}@{domain.rstrip('.')}>"

    def recognise(self, message_id: str) -> str | None:
        """The canary whose Message-ID this is, with or without ``<>`` and in any case; None for others'."""
        found = _MESSAGE_ID.fullmatch(message_id.strip().lower()) if len(message_id) < 600 else None
        if found is None:
            return None
        holds = hmac.compare_digest(self.sign("message-id", found[1]), found[2])
        return found[1] if holds else None


def _read_key(path: Path) -> bytes:
    # Not blocking: a FIFO put in the key's place would wait for ever.
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise ValueError(f"{path} is not a file")
        if status.st_mode & 0o077:
            raise ValueError(f"{path} can be read by others: chmod 600 {path}")
        key = file.read(KEY_BYTES + 1)
    if len(key) != KEY_BYTES:
        raise ValueError(f"{path} is not a canary key of {KEY_BYTES} bytes")
    return key


def compose(
    signer: Signer, canary: str, route: str, sender: str, recipient: str, at: datetime,
    language: Literal["en", "ja"] = "en",
) -> bytes:  # fmt: skip
    """The test message, CRLF throughout (RFC 5322, RFC 2046): plain about what it is, and no trick in it.

    ASCII, except where an address itself is not (RFC 6532).
    """
    japanese = language == "ja"
    sender, recipient = _printable(sender), _printable(recipient)
    body = _body(canary, route, recipient, japanese)
    charset, encoding = ("us-ascii", "7bit") if body.isascii() else ("utf-8", "base64")
    domain = sender.rpartition("@")[2] or recipient.rpartition("@")[2]
    head = (
        f"From: <{sender}>",
        f"To: <{recipient}>",
        f"Subject: {_subject(canary, japanese)}",
        f"Date: {format_datetime(at)}",
        f"Message-ID: {signer.message_id(canary, domain)}",
        "Auto-Submitted: auto-generated",  # RFC 3834 section 5: nobody's autoresponder answers it
        signature(signer, canary, route, recipient, at),
        "MIME-Version: 1.0",
        f"Content-Type: text/plain; charset={charset}",
        f"Content-Transfer-Encoding: {encoding}",
    )
    text = body if body.isascii() else base64.encodebytes(body.encode()).decode().replace("\n", "\r\n")
    return ("\r\n".join(head) + "\r\n\r\n" + text).encode()


def _printable(address: str) -> str:
    """Without control characters: an address can begin no header field of its own."""
    return "".join(c for c in address if c.isprintable())


def _subject(canary: str, japanese: bool) -> str:
    if not japanese:
        return f"mxcutover test message {canary}, please ignore"
    words = f"mxcutover テストメッセージ {canary}（対応不要です）"
    return Header(words, "utf-8", header_name="Subject").encode(linesep="\r\n")  # RFC 2047


def _body(canary: str, route: str, recipient: str, japanese: bool) -> str:
    english = (
        "This is an automatic test message. The program mxcutover sent it, on behalf",
        "of this domain's mail administrators, to see which server takes mail for",
        f"{recipient} while the domain moves from one mail server to another.",
        "There is nothing to do. It may be deleted.",
        "",
        f"Test {canary}, route {_printable(route[:200])}.",
    )
    notice = (
        "これは自動送信のテストメッセージです。ドメインのメールサーバー移行中に、",
        f"{recipient} 宛てのメールがどのサーバーに届くかを確かめるため、",
        "メール管理者に代わってプログラム mxcutover が送信しました。",
        "対応は不要です。削除してかまいません。",
        "",
    )
    return "\r\n".join((*(notice if japanese else ()), *english, ""))


def signature(signer: Signer, canary: str, route: str, recipient: str, at: datetime) -> str:
    """The signed header field, folded (RFC 5322 section 2.2.3) wherever its value grows long."""
    sent = str(to_ms(at))
    sig = signer.sign("header", canary, route, recipient.lower(), sent)
    value = _quoted(route)
    pieces = [value[i : i + 60] for i in range(0, len(value), 60)]
    return "\r\n ".join(
        (f"{FIELD}: v=1; id={canary};", f"route={pieces[0]}", *pieces[1:], f"; sent={sent}ms; sig={sig}")
    )


def _quoted(route: str) -> str:
    return quote(route, safe="-:./", errors="replace")


def read_canary(signer: Signer, header: bytes | Sequence[Field], account: str) -> Seen | None:
    """What the signed header of a message found in ``account``'s mailbox says, where the signature holds for
    that very recipient; None for other mail, for a canary to somebody else, and for one tampered with."""
    those = fields(header) if isinstance(header, bytes) else header
    for value in every(those, FIELD.lower())[:4]:
        found = _HEADER.fullmatch(re.sub(r"\s+", "", value))
        if found is None:
            continue
        canary, route, sent, sig = found[1], unquote(found[2], errors="replace"), found[3], found[4]
        if _quoted(route) != found[2]:
            continue  # another spelling than the one that was signed
        expected = signer.sign("header", canary, route, account.lower(), sent)
        if hmac.compare_digest(expected, sig) and int(sent) <= _LATEST:
            return Seen(canary, route, from_ms(int(sent)))
    return None


def genuine(signer: Signer, raw: bytes, account: str) -> Seen | None:
    """What a whole message found in ``account``'s mailbox is, where every word of it is a canary's own: both
    signatures, the same canary in each, its recipient, date, subject and text. None for anything else, such
    as a letter into which somebody copied the signed fields."""
    those = fields(raw)
    seen, named = read_canary(signer, those, account), first(those, "message-id")
    if seen is None or named is None or signer.recognise(named) != seen.canary:
        return None
    sender = squeezed(first(those, "from") or "").rpartition("<")[2].rstrip("> ")
    told = _told(raw)
    languages: tuple[Literal["en", "ja"], ...] = ("en", "ja")
    meant = (
        _told(compose(signer, seen.canary, seen.route, sender, account, seen.sent_at, one))
        for one in languages
    )
    return seen if told is not None and told in meant else None


def _told(raw: bytes) -> tuple[str, ...] | None:
    """What a message says to its reader, however it was encoded on its way; None where it has parts."""
    parsed = email.message_from_bytes(raw[:MOST_TOLD])
    if len(raw) > MOST_TOLD or parsed.is_multipart() or parsed.get_content_type() != "text/plain":
        return None
    try:
        body = parsed.get_payload(decode=True)
        subject = str(make_header(decode_header(squeezed(str(parsed.get("subject", ""))))))
    except (ValueError, LookupError, TypeError, MessageError):
        return None
    text = body.decode("utf-8", "replace") if isinstance(body, bytes) else ""
    to = squeezed(str(parsed.get("to", ""))).rpartition("<")[2].rstrip("> ").lower()
    return to, squeezed(str(parsed.get("date", ""))), squeezed(subject), squeezed(text)
