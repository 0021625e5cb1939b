"""One message on its way through a mail server, under one or more queue ids, as its log lines tell it."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, Literal, TypeAlias

Kind = Literal["outside", "submission", "local", "own", "internal"]
State = Literal["delivered", "relayed", "bounced", "deferred", "passed"]

SEEN_LIMIT = 1000  # recipients of one message that are told apart

_WORST_FIRST: tuple[State, ...] = ("deferred", "delivered", "bounced", "relayed")

# (state, text, queue id it went on under): what the last attempt for one target ended in.
Fate: TypeAlias = tuple[State, str, str]


@dataclass(slots=True)
class Message:
    """``root``: its first queue id, ``ids`` those still in the queue, ``names`` those that lines may bear.

    ``kind``: ``own`` came over SMTP from this host itself, ``internal`` from no client at all (a
    forward, a bounce): either may yet turn out to be a part of another message. ``fates``: per
    recipient in the domain, per target that it was delivered to. ``aliases``: recipients that led to
    others in the domain. ``told``: what was reported of whom. Times in ms since the epoch.
    """

    root: str
    kind: Kind
    began: int
    ids: set[str] = field(default_factory=set)
    names: set[str] = field(default_factory=set)
    client: str | None = None
    helo: str | None = None
    message_id: str | None = None
    login: str | None = None
    accepted: int | None = None
    canary: bool = False
    bounce: bool = False
    dead: bool = False
    nrcpt: int = 0
    seen: set[int] = field(default_factory=set)
    fates: dict[str, dict[str, Fate]] = field(default_factory=dict)
    aliases: set[str] = field(default_factory=set)
    told: dict[str, str] = field(default_factory=dict)
    first: int | None = None
    touched: int = 0

    @property
    def firm(self) -> bool:
        """Whether its origin is certain; else it may be another message's second half."""
        return self.kind not in ("own", "internal") or self.canary or self.bounce

    @property
    def active(self) -> bool:
        return self.accepted is not None

    @property
    def open_ended(self) -> bool:
        """Whether somebody's mail was passed on under another id, of which no delivery was heard."""
        return any(all(f[0] == "passed" for f in targets.values()) for targets in self.fates.values())

    @property
    def outgoing(self) -> bool:
        """Whether all its recipients were heard of, and none is in the domain."""
        local = self.kind in ("submission", "local") and not self.fates and not self.told
        return local and 0 < self.nrcpt <= len(self.seen)

    def note(self, recipient: str, target: str, fate: Fate, at: int) -> None:
        self.fates.setdefault(recipient, {})[target] = fate
        if self.first is None:
            self.first = at

    def passed_to(self, queue_id: str) -> list[str]:
        """Recipients who were handed on under this queue id and of whom no more is known."""
        return [r for r, targets in self.fates.items() if any(f[2] == queue_id for f in targets.values())]

    def fate(self, recipient: str, final: bool) -> tuple[State, str] | None:
        """(state, text) of a recipient: the worst of its targets; None while it is not settled.

        ``final``: nothing more will be heard, so what was passed on or put off stays where it is.
        """
        known = [f for f in self.fates[recipient].values() if f[0] != "passed"]
        for state in _WORST_FIRST:
            found = next((f for f in known if f[0] == state), None)
            if found is not None:
                return None if state == "deferred" and not final else (state, found[1])
        return ("deferred", "") if final else None

    def adopt(self, child: Message) -> None:
        """``child`` turned out to be this message under another queue id."""
        self.ids |= child.ids
        self.names |= child.names
        for recipient, targets in child.fates.items():
            self.fates.setdefault(recipient, {}).update(targets)
        self.aliases |= child.aliases
        self.told = child.told | self.told
        self.first = min((t for t in (self.first, child.first) if t is not None), default=None)
        self.touched = max(self.touched, child.touched)
        for alias in self.aliases:
            self.resolve(alias)

    def resolve(self, alias: str) -> None:
        """A recipient that only led to others is none of its own."""
        targets = self.fates.get(alias, {})
        if targets and all(f[0] == "passed" for f in targets.values()):
            del self.fates[alias]

    def packed(self) -> list[Any]:
        """As JSON can hold it; :func:`unpacked` reads it."""
        return [_plain(getattr(self, name)) for name in _FIELDS]


def unpacked(packed: list[Any]) -> Message:
    """Raises ``ValueError``, ``TypeError`` or ``AttributeError`` on what ``packed`` never made."""
    values = dict(zip(_FIELDS, packed, strict=True))
    for name in ("ids", "names", "seen", "aliases"):
        values[name] = set(values[name])
    values["fates"] = {
        r: {t: (f[0], f[1], f[2]) for t, f in targets.items()} for r, targets in values["fates"].items()
    }
    return Message(**values)


def _plain(value: Any) -> Any:
    return sorted(value) if isinstance(value, set) else value


_FIELDS = tuple(one.name for one in fields(Message))
