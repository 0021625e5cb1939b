"""Canaries in logs that name no Message-ID: known by what the old host's reply called them there and then."""

from __future__ import annotations

from datetime import timedelta

import pytest

from probes.mail.accepted import MOST, NEAR, Accepted
from probes.observation import CanarySent, to_ms
from tests.oldhost.loglines import T0

REPLIES = [
    ("250 ok 1795383381 qp 1750", "qp 1750"),  # qmail
    ("250 2.0.0 de04f898 Message accepted for delivery", "de04f898"),  # OpenSMTPD
    ("250 Ok. 000000006B035F32.000000FE", "000000006B035F32.000000FE"),  # Courier
]


def sent(reply: str | None, address: str | None = "192.0.2.10", outcome: str = "accepted") -> CanarySent:
    return CanarySent(
        at=T0, canary="c-1", route="to-old", recipient="bob@example.com", outcome=outcome,  # type: ignore[arg-type]
        host=None, address=address, reply=reply,
    )  # fmt: skip


def heard(*seen: CanarySent) -> Accepted:
    accepted = Accepted(["192.0.2.10", "2001:db8::1"], ["mail.example.com."])
    for one in seen:
        accepted.hear(one)
    return accepted


@pytest.mark.parametrize(("reply", "name"), REPLIES)
def test_known_by_the_reply(reply: str, name: str) -> None:
    accepted = heard(sent(reply))
    assert accepted.canary(name, to_ms(T0) + 1000) == "c-1"
    assert accepted.canary(name, to_ms(T0) + NEAR + 1) is None  # process ids come again
    assert accepted.canary(name + "1", to_ms(T0)) is None


@pytest.mark.parametrize(
    "seen",
    [
        sent("250 qp 1750", "198.51.100.20"),
        sent("250 qp 1750", None),
        sent("450 qp 1750", outcome="deferred"),
        sent(None),
    ],
)
def test_only_what_that_server_took_counts(seen: CanarySent) -> None:
    assert heard(seen).canary("qp 1750", to_ms(T0)) is None


def test_as_many_as_fit_are_remembered() -> None:
    accepted = heard(*(sent(f"250 qp {n}") for n in range(MOST + 10)))
    assert accepted.canary("qp 9", to_ms(T0)) is None
    assert accepted.canary(f"qp {MOST + 9}", to_ms(T0)) == "c-1"
    assert accepted.canary("qp 9", to_ms(T0 + timedelta(seconds=1))) is None
