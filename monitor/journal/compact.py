"""A DNS answer in two parts: what stays the same from one question to the next, and a few integers."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any, TypeAlias

import msgspec
from msgspec import Struct

from probes.observation import AuthorityAnswer, ResolverAnswer, from_ms, to_ms

Answer: TypeAlias = AuthorityAnswer | ResolverAnswer
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_VARYING = ("at", "ttl", "rtt_ms")


class Sample(Struct, frozen=True):
    """One answer as it is stored. ``form``: JSON of the parts that stay. ``rtt``: see :func:`_packed`."""

    form: str
    at_ms: int
    ttl: int
    rtt: int | float | None


def pack(seen: Answer) -> Sample:
    fields: dict[str, Any] = msgspec.to_builtins(seen, builtin_types=(datetime,))
    stays = {key: value for key, value in fields.items() if key not in _VARYING}
    return Sample(msgspec.json.encode(stays).decode(), to_ms(seen.at), seen.ttl, _packed(seen.rtt_ms))


def template(form: str) -> Answer:
    """The answer that ``form`` describes, at no particular time. Raises ``ValueError`` if it is none."""
    fields = json.loads(form) | {"at": _EPOCH, "ttl": 0, "rtt_ms": None}
    # A Union of two tagged types is what msgspec takes here; its stubs ask for a class.
    return msgspec.convert(fields, Answer)  # type: ignore[no-any-return,call-overload,unused-ignore]


def unpack(answer: Answer, at_ms: int, ttl: int, rtt: int | float | None) -> Answer:
    return msgspec.structs.replace(answer, at=from_ms(at_ms), ttl=ttl, rtt_ms=_unpacked(rtt))


def _packed(rtt_ms: float | None) -> int | float | None:
    """Whole microseconds as an integer (three bytes), anything else as it is (eight)."""
    if rtt_ms is None or not 0 <= rtt_ms < 1e9:
        return rtt_ms
    micros = round(rtt_ms * 1000)
    return micros if micros / 1000 == rtt_ms else float(rtt_ms)


def _unpacked(rtt: int | float | None) -> float | None:
    return rtt / 1000 if isinstance(rtt, int) else rtt


def lane(answer: Answer) -> tuple[str | None, ...]:
    """Whose latest word an answer is: one cache of one resolver, or one authority, on one question."""
    if isinstance(answer, AuthorityAnswer):
        return ("authority", answer.vantage, answer.address, answer.transport, answer.name, answer.type)
    return (
        "resolver", answer.vantage, answer.resolver, answer.transport, answer.cache, answer.name, answer.type,
    )  # fmt: skip
