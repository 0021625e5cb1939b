"""The vocabulary: every kind round-trips, and every bad line names its line and its field."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.observation import BadObservation, decode, encode, read_lines

AT = "2026-11-20T00:00:00.000Z"
SIDE: dict[str, Any] = {"mx": ["mail.example.jp."], "addresses": ["192.0.2.10"]}
PLAN: dict[str, Any] = {
    "at": AT, "kind": "plan", "version": 1, "domain": "example.jp.", "old": SIDE, "new": SIDE,
    "expected_mx": ["10 mx1.new.example."], "authorities": ["203.0.113.1"], "resolvers": ["8.8.8.8"],
    "routes": ["via-old", "mx:8.8.8.8", "relay:isp"], "accounts": ["suga@example.jp"],
    "policy": {"quiet_for": 86400, "quiet_ceiling": None},
}  # fmt: skip
RESOLVER: dict[str, Any] = {
    "at": AT, "kind": "dns.resolver", "resolver": "8.8.8.8", "transport": "udp", "name": "example.jp.",
    "type": "MX", "outcome": "answer", "rrset": ["10 mail.example.jp."], "ttl": 1174, "cache": "gpdns-nrt",
    "ede": [], "rtt_ms": 8.1,
}  # fmt: skip
KINDS: list[dict[str, Any]] = [
    PLAN,
    RESOLVER,
    {"at": AT, "kind": "dns.authority", "server": "ns1.example.jp.", "address": "203.0.113.1",
     "transport": "udp", "name": "example.jp.", "type": "MX", "outcome": "answer",
     "rrset": ["10 mail.example.jp."], "ttl": 3600, "serial": 2026112001, "aa": True, "rtt_ms": 12.4},
    {"at": AT, "kind": "canary.sent", "canary": "c-7f3a", "route": "via-old", "recipient": "suga@example.jp",
     "outcome": "accepted", "host": None, "address": None, "reply": "250 2.0.0 Ok"},
    {"at": AT, "kind": "canary.landed", "canary": "c-7f3a", "side": "old", "account": "suga@example.jp",
     "folder": "INBOX", "protocol": "imap", "latency_ms": 2210, "hops": ["mail.example.jp."],
     "auth": {"spf": "pass"}},
    {"at": AT, "kind": "account", "side": "new", "account": "suga@example.jp", "state": "refused",
     "detail": "535 5.7.8"},
    {"at": AT, "kind": "skip", "subject": "resolver:9.9.9.9", "reason": "quarantined"},
    {"at": AT, "kind": "mail", "side": "old", "accepted_at": AT, "source": "log",
     "recipient": "suga@example.jp", "message_id": None, "client": "203.0.113.77", "helo": None,
     "origin": "outside", "disposition": "delivered", "queue_id": "4F"},
    {"at": AT, "kind": "use", "side": "old", "account": "suga@example.jp", "service": "imap",
     "client": "203.0.113.9", "seen_at": AT},
    {"at": AT, "kind": "queue", "side": "old", "messages": 3, "oldest_at": AT},
    {"at": AT, "kind": "coverage", "source": "mailbox:old:suga@example.jp", "from": AT, "to": AT,
     "not_understood": 2},
    {"at": AT, "kind": "watcher", "event": "offline", "detail": "no route to host"},
    {"at": AT, "kind": "operator", "action": "waive", "subject": "authority:203.0.113.2", "reason": "gone"},
]  # fmt: skip


@pytest.mark.parametrize("fields", KINDS, ids=lambda f: str(f["kind"]))
def test_every_kind_round_trips(fields: dict[str, Any]) -> None:
    line = json.dumps(fields).encode()
    again = json.loads(encode(decode(line)))
    if fields["kind"] == "plan":
        assert again["policy"]["quiet_for"] == 86400 and len(again["policy"]) == 11
        assert decode(encode(decode(line))) == decode(line)
    else:
        assert again == fields


@pytest.mark.parametrize("fields", KINDS, ids=lambda f: str(f["kind"]))
def test_a_missing_required_field_is_named(fields: dict[str, Any]) -> None:
    for field in set(fields) - {"kind", "auth", "not_understood"}:
        line = json.dumps({k: v for k, v in fields.items() if k != field}).encode()
        with pytest.raises(BadObservation, match=rf"line 7: .*`{field}`"):
            decode(line, 7)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"kind": "weather"}, r"\$\.kind"),
        ({"at": "2026-11-20T00:00:00"}, r"\$\.at"),
        ({"at": "yesterday"}, r"\$\.at"),
        ({"outcome": "maybe"}, r"\$\.outcome"),
        ({"ttl": -1}, r"\$\.ttl"),
        ({"ttl": "60"}, r"\$\.ttl"),
        ({"rrset": ["mail.example.jp."]}, r"\$\.rrset"),
        ({"rrset": ["70000 mail.example.jp."]}, r"\$\.rrset"),
        ({"resolver": ""}, r"\$\.resolver"),
        ({"ede": None}, r"\$\.ede"),
    ],
)
def test_a_bad_value_is_named(change: dict[str, Any], named: str) -> None:
    with pytest.raises(BadObservation, match=named):
        decode(json.dumps(RESOLVER | change).encode(), 3)


def test_unknown_fields_are_ignored_and_silence_needs_no_figures() -> None:
    fields = {k: v for k, v in RESOLVER.items() if k not in ("rrset", "ttl", "rtt_ms")}
    seen = decode(json.dumps(fields | {"outcome": "timeout", "colour": "red"}).encode())
    assert seen == decode(
        json.dumps(RESOLVER | {"outcome": "timeout", "rrset": [], "ttl": 0, "rtt_ms": None})
    )


@given(st.binary(max_size=300))
def test_no_bytes_raise_anything_else(line: bytes) -> None:
    try:
        list(read_lines([line]))
    except BadObservation as bad:
        assert bad.line == 1
