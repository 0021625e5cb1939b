from __future__ import annotations

import email
import email.policy
import re
from datetime import UTC, datetime
from email.message import EmailMessage
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.mail.canary import Seen, Signer, compose, read_canary
from probes.mail.header import fields

AT = datetime(2026, 11, 20, 12, 0, 0, 123000, UTC)
TO = "suga@example.jp"
SIGNER = Signer(b"k" * 32)
STRANGER = Signer(b"s" * 32)
CANARY = SIGNER.mint()
ROUTE = "mx:https://dns.example/dns-query?a=1;b=2"
MESSAGE = compose(SIGNER, CANARY, ROUTE, "canary@watch.example", TO, AT)
SEEN = Seen(CANARY, ROUTE, AT)


@pytest.mark.parametrize("language", ["en", "ja"])
@pytest.mark.parametrize("recipient", [TO, "菅@example.jp"])
def test_the_message_is_plain_about_what_it_is(language: str, recipient: str) -> None:
    raw = compose(SIGNER, CANARY, "via-old", "c@watch.example", recipient, AT, language)  # type: ignore[arg-type]
    assert b"\n" not in raw.replace(b"\r\n", b"") and max(map(len, raw.split(b"\r\n"))) <= 998
    assert raw.isascii() or not recipient.isascii()
    parsed = email.message_from_bytes(raw, policy=email.policy.default)
    assert isinstance(parsed, EmailMessage) and not parsed.defects
    assert parsed["Auto-Submitted"] == "auto-generated"
    assert "mxcutover" in parsed["Subject"] and CANARY in parsed["Subject"]
    assert ("対応不要" in parsed["Subject"]) == (language == "ja")
    body = parsed.get_content()
    assert "mxcutover" in body and "may be deleted" in body and recipient in body
    assert ("削除してかまいません" in body) == (language == "ja")
    assert read_canary(SIGNER, raw, recipient) == Seen(CANARY, "via-old", AT)


def test_the_message_id_is_recognised_in_any_case_and_dress() -> None:
    ours = SIGNER.message_id(CANARY, "watch.example.")
    for spelling in (ours, ours[1:-1], ours.upper(), f"  {ours.lower()}\r\n"):
        assert SIGNER.recognise(spelling) == CANARY
    assert STRANGER.recognise(ours) is None
    assert re.fullmatch(r"<[a-z0-9.-]+@watch\.example>", ours)


@given(st.integers(0, 2000), st.integers(0, 7))
def test_no_flipped_bit_of_a_message_id_verifies_as_another(at: int, bit: int) -> None:
    raw = bytearray(SIGNER.message_id(CANARY, "watch.example").encode())
    raw[at % len(raw)] ^= 1 << bit
    assert SIGNER.recognise(raw.decode("latin-1")) in (None, CANARY)
    local = raw.decode("latin-1").lower().partition("@")[0]
    if CANARY not in local:
        assert SIGNER.recognise(raw.decode("latin-1")) is None


@given(st.integers(0, 10_000), st.integers(0, 7))
def test_no_flipped_bit_of_the_header_verifies_as_anything_else(at: int, bit: int) -> None:
    raw = bytearray(MESSAGE)
    raw[at % len(raw)] ^= 1 << bit
    assert read_canary(SIGNER, bytes(raw), TO) in (None, SEEN)


def test_only_its_own_recipient_and_key_believe_a_canary() -> None:
    assert read_canary(SIGNER, MESSAGE, TO.upper()) == SEEN
    assert read_canary(SIGNER, MESSAGE, "other@example.jp") is None
    assert read_canary(STRANGER, MESSAGE, TO) is None
    refolded = MESSAGE.replace(b"\r\n ", b" ").replace(b"; sent", b";\n\tsent")
    assert read_canary(SIGNER, refolded, TO) == SEEN


@given(st.text(max_size=600), st.text(max_size=80), st.text(max_size=80))
def test_whatever_the_route_and_the_addresses_hold_no_header_is_injected(
    route: str, sender: str, recipient: str
) -> None:
    raw = compose(SIGNER, CANARY, route or "mx", sender, recipient, AT)
    names = [f.name for f in fields(raw)]
    assert names == [f.name for f in fields(MESSAGE)]


@given(st.binary(max_size=3000))
def test_any_bytes_are_read(raw: bytes) -> None:
    assert read_canary(SIGNER, raw, TO) is None
    assert read_canary(SIGNER, b"Mxcutover-Canary: " + raw, TO) is None
    assert SIGNER.recognise(raw.decode("latin-1")) is None


def test_the_key_is_made_once_for_the_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "key"
    made = Signer.load_or_create(path)
    assert path.stat().st_mode & 0o777 == 0o600 and len(path.read_bytes()) == 32
    assert Signer.load_or_create(path).recognise(made.message_id(CANARY, "a.example")) == CANARY
    assert repr(path.read_bytes())[2:-1] not in repr(made)


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "key"
    for mode in (0o640, 0o604, 0o660):
        path.write_bytes(b"k" * 32)
        path.chmod(mode)
        with pytest.raises(ValueError, match="can be read by others"):
            Signer.load_or_create(path)
    path.chmod(0o600)
    path.write_bytes(b"short")
    with pytest.raises(ValueError, match="not a canary key"):
        Signer.load_or_create(path)
    with pytest.raises(ValueError, match="not a file"):
        Signer.load_or_create(Path("/dev/null"))
