"""The vocabulary: one frozen type per kind of observation, JSON Lines in and out.

An observation is one fact, seen by one observer (``vantage``) at one time (``at``, RFC 3339, UTC,
milliseconds). It carries no opinion. This is version 1 of the format: fields may be added, none may
change its meaning. Unknown fields are ignored; anything else that does not fit raises
:class:`BadObservation`, which names the line and the field.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Annotated, Any, Literal, Self, TypeAlias

import msgspec
from msgspec import UNSET, Meta, Struct

FORMAT_VERSION = 1

Time = Annotated[datetime, Meta(tz=True)]
Seconds = Annotated[float, Meta(ge=0)]
Ttl = Annotated[int, Meta(ge=0, le=4294967295)]
Count = Annotated[int, Meta(ge=0)]
Fraction = Annotated[float, Meta(ge=0, le=1)]
Text = Annotated[str, Meta(min_length=1)]

Transport = str
Side = Literal["old", "new"]
DnsOutcome = Literal[
    "answer", "referral", "nodata", "nxdomain", "servfail", "refused", "timeout",
    "unreachable", "malformed", "bogus", "lame", "intercepted",
]  # fmt: skip
SendOutcome = Literal["accepted", "deferred", "rejected", "unreachable"]
MailboxState = Literal["ok", "missing", "refused", "unreachable"]
Origin = Literal["outside", "local", "submission", "bounce", "canary", "unknown"]
Disposition = Literal["delivered", "relayed", "rejected"]
WatcherEvent = Literal["started", "stopped", "offline", "online", "clock", "intercepted"]
Action = Literal["cutover", "rollback", "waive", "unwaive", "note"]
Route = Annotated[str, Meta(pattern=r"^(via-old|via-new|to-old|to-new|mx|mx:.+|relay:.+)$", max_length=512)]


# Stands for "not in the line" until __post_init__ has put the default there or refused the line.
_ABSENT: Any = UNSET


class BadObservation(ValueError):
    """A line that is not an observation of this version: ``line`` (from 1) and what is wrong."""

    def __init__(self, what: str, line: int | None = None) -> None:
        self.what = what
        self.line = line
        super().__init__(what if line is None else f"line {line}: {what}")


class _Base(Struct, frozen=True, kw_only=True, tag_field="kind", omit_defaults=True):
    at: Time
    vantage: str = "local"

    def __deepcopy__(self, memo: object) -> Self:
        """The same one: nothing changes it."""
        return self


class Hosts(Struct, frozen=True, kw_only=True):
    """One side of the move: names (patterns with ``*`` allowed) and addresses of its mail hosts."""

    mx: tuple[str, ...]
    addresses: tuple[str, ...]


class Policy(Struct, frozen=True, kw_only=True):
    """What the operator accepts as proof. Durations in seconds."""

    quiet_for: Seconds = 86400
    share_bound: Fraction = 0.01
    confidence: Annotated[float, Meta(gt=0, lt=1)] = 0.95
    canary_streak: Annotated[int, Meta(ge=1)] = 3
    canary_deadline: Seconds = 900
    freshness: Seconds = 900
    settle_samples: Annotated[int, Meta(ge=1)] = 3
    quiet_ceiling: Seconds | None = None
    sensitivity: Seconds = 7200
    quorum: Fraction = 0.9
    old_ttl: Seconds | None = None


class Plan(_Base, frozen=True, kw_only=True, tag="plan"):
    """What moves from where to where, and what must be watched; the first line of every record."""

    version: int
    domain: Text
    old: Hosts
    new: Hosts
    expected_mx: tuple[str, ...]
    authorities: tuple[str, ...]
    resolvers: tuple[str, ...]
    routes: tuple[Route, ...]
    accounts: tuple[str, ...]
    policy: Policy
    platforms: dict[str, str] = {}

    def __post_init__(self) -> None:
        if self.version != FORMAT_VERSION:
            raise ValueError(f"version {self.version} is not one this program reads (1) - at `$.version`")
        check_rdata("MX", self.expected_mx, "expected_mx")


class AuthorityAnswer(_Base, frozen=True, kw_only=True, tag="dns.authority"):
    """What one authoritative server address served (RFC 1034 section 4.3.1).

    ``dnssec``: what a validator makes of it (``secure``, ``insecure``, ``unchecked``); of a ``bogus`` answer,
    which has the data all the same, the reason (:data:`probes.dns.dnssec.BOGUS`). None: not looked at.
    """

    server: str
    address: str
    transport: Transport
    name: Text
    type: Text
    outcome: DnsOutcome
    rrset: tuple[str, ...] = _ABSENT
    ttl: Ttl = _ABSENT
    serial: Count | None = _ABSENT
    aa: bool = _ABSENT
    rtt_ms: Seconds | None = _ABSENT
    dnssec: str | None = None

    def __post_init__(self) -> None:
        _fill(self, ("rrset", (), "ttl", 0, "aa", False, "serial", None, "rtt_ms", None))


class ResolverAnswer(_Base, frozen=True, kw_only=True, tag="dns.resolver"):
    """What one recursive resolver answered; ``ttl`` is what remains of the cached record's life."""

    resolver: Text
    transport: Transport
    name: Text
    type: Text
    outcome: DnsOutcome
    cache: str | None
    ede: tuple[int, ...]
    rrset: tuple[str, ...] = _ABSENT
    ttl: Ttl = _ABSENT
    rtt_ms: Seconds | None = _ABSENT

    def __post_init__(self) -> None:
        _fill(self, ("rrset", (), "ttl", 0, "rtt_ms", None))


class CanarySent(_Base, frozen=True, kw_only=True, tag="canary.sent"):
    canary: Text
    route: Route
    recipient: str
    outcome: SendOutcome
    host: str | None
    address: str | None
    reply: str | None


class CanaryLanded(_Base, frozen=True, kw_only=True, tag="canary.landed"):
    canary: Text
    side: Side
    account: str
    folder: str
    protocol: str
    latency_ms: float
    hops: tuple[str, ...]
    auth: dict[str, str] | None = None


class AccountState(_Base, frozen=True, kw_only=True, tag="account"):
    side: Side
    account: Text
    state: MailboxState
    detail: str


class Skip(_Base, frozen=True, kw_only=True, tag="skip"):
    """Something that was deliberately not asked, and why."""

    subject: Text
    reason: str


class Mail(_Base, frozen=True, kw_only=True, tag="mail"):
    """A real message that a server took for the domain; ``recipient`` is "" where the log shows none.

    ``digest``: of the stable headers, for mail without a Message-ID; ``reply``: the refusal's text.
    """

    side: Side
    accepted_at: Time
    source: Literal["log", "mailbox"]
    recipient: str
    message_id: str | None
    client: str | None
    helo: str | None
    origin: Origin
    disposition: Disposition
    queue_id: str | None
    digest: str | None = None
    reply: str | None = None


class Use(_Base, frozen=True, kw_only=True, tag="use"):
    """A login by a person on one side's host."""

    side: Side
    account: Text
    service: Literal["imap", "pop3", "submission"]
    client: str | None
    seen_at: Time


class Queue(_Base, frozen=True, kw_only=True, tag="queue"):
    side: Side
    messages: Count
    oldest_at: Time


class Coverage(_Base, frozen=True, kw_only=True, tag="coverage", rename={"from_": "from"}):
    """A watcher was really watching from ``from_`` to ``to``; at most 300 s an interval."""

    source: Annotated[str, Meta(pattern=r"^(log:(old|new)|mailbox:(old|new):.+)$", max_length=1024)]
    from_: Time
    to: Time
    not_understood: Count = 0

    def __post_init__(self) -> None:
        if self.to < self.from_:
            raise ValueError("the interval ends before it begins - at `$.to`")


class Watcher(_Base, frozen=True, kw_only=True, tag="watcher"):
    event: WatcherEvent
    detail: str


class Operator(_Base, frozen=True, kw_only=True, tag="operator"):
    """What a person said. ``subject`` and ``reason`` may be empty, except that a waiver names its subject."""

    action: Action
    subject: str
    reason: str

    def __post_init__(self) -> None:
        if self.action in ("waive", "unwaive") and not waivable(self.subject):
            raise ValueError(f"{self.subject!r} is not a subject that can be waived - at `$.subject`")


Observation: TypeAlias = (
    Plan | AuthorityAnswer | ResolverAnswer | CanarySent | CanaryLanded | AccountState | Skip
    | Mail | Use | Queue | Coverage | Watcher | Operator
)  # fmt: skip

WAIVABLE = ("authority:", "resolver:", "route:", "sender:", "account:", "message:")


def waivable(subject: str) -> bool:
    """Whether a waiver may name this: ``authority:ADDRESS``, ``resolver:ID``, ``route:NAME`` …"""
    return any(subject.startswith(w) and len(subject) > len(w) for w in WAIVABLE)


def _fill(self: AuthorityAnswer | ResolverAnswer, defaults: tuple[Any, ...]) -> None:
    """A DNS answer needs its figures; any other outcome has none of its own."""
    answered = self.outcome == "answer"
    for field, default in zip(defaults[::2], defaults[1::2], strict=True):
        if getattr(self, field) is UNSET:
            if answered:
                raise ValueError(f"Object missing required field `{field}` for an answer")
            msgspec.structs.force_setattr(self, field, default)
    if self.type == "MX" and self.rrset:
        check_rdata("MX", self.rrset, "rrset")


@lru_cache(maxsize=4096)
def check_rdata(rtype: str, rrset: tuple[str, ...], field: str) -> None:
    """Raise ``ValueError`` unless each MX rdata is "preference exchange" (RFC 1035 section 3.3.9)."""
    for rdata in rrset:
        preference, _, exchange = rdata.partition(" ")
        if not (
            preference.isascii() and preference.isdigit() and int(preference) < 65536 and exchange.strip()
        ):
            raise ValueError(f"{rdata!r} is not a preference and an exchange - at `$.{field}`")


def now() -> datetime:
    """This moment in UTC, to the millisecond: the ``at`` of an observation made now."""
    t = datetime.now(UTC)
    return t.replace(microsecond=t.microsecond // 1000 * 1000)


def stamp(t: datetime) -> str:
    """RFC 3339 in UTC with milliseconds."""
    return t.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{t.microsecond // 1000:03d}Z"


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)


def to_ms(t: datetime) -> int:
    """Milliseconds since the epoch: what folds and the journal calculate with."""
    return (t - _EPOCH) // _MS


def from_ms(ms: int) -> datetime:
    return _EPOCH + timedelta(milliseconds=ms)


_decoder: msgspec.json.Decoder[Observation] = msgspec.json.Decoder(Observation)
_encoder = msgspec.json.Encoder()


def decode(line: bytes | str, number: int | None = None) -> Observation:
    """One JSON line to an observation. Raises :class:`BadObservation`."""
    try:
        return _decoder.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadObservation(str(error), number) from None


def encode(observation: Observation) -> bytes:
    """One JSON object, without the newline; times in UTC with milliseconds."""
    return _encoder.encode(_stamped(msgspec.to_builtins(observation, builtin_types=(datetime,))))


def _stamped(fields: dict[str, Any]) -> dict[str, Any]:
    kind = {"at": stamp(fields["at"]), "kind": fields.pop("kind")}
    return kind | {k: _plain(v) for k, v in fields.items() if k != "at"}


def _plain(value: Any) -> Any:
    """Times as RFC 3339; whole floats as integers, as they are written in the format's own examples."""
    if isinstance(value, datetime):
        return stamp(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    return value


def read_lines(lines: Iterable[bytes]) -> Iterator[Observation]:
    """Observations of a JSON Lines file in file order; blank lines are passed over."""
    for number, line in enumerate(lines, 1):
        if line.strip():
            yield decode(line, number)
