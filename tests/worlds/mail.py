"""The mail of a world: where each message is handed over, and what becomes of it. Seconds of world time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from math import inf, pi, sin
from typing import NamedTuple

from tests.worlds.world import Sender, World

REUSED = 300.0  # Postfix goes on with an open connection for so long
BACKUP = 0.1  # of the mail tries the backup MX, where there is one
GIVES_UP = 5 * 86400.0  # RFC 5321 section 4.5.4.1
QUEUED = (300.0, 3600.0)


@dataclass(slots=True)
class Taken:
    """A message that a side took or turned away. ``rescued``: when the new host has it after all."""

    at: float
    side: str
    number: int
    sender: Sender
    recipient: str
    disposition: str = "delivered"
    reply: str | None = None
    relayed: bool = False  # on new: out of old's hands
    rescued: float = inf

    @property
    def hit(self) -> bool:
        return self.side == "old" and (self.disposition != "rejected" or self.reply is not None)


class Attempt(NamedTuple):
    at: float
    number: int
    sender: Sender
    first: float


@dataclass(slots=True)
class Post:
    """All attempts to come, in order of time; :meth:`until` makes them."""

    world: World
    taken: list[Taken] = field(default_factory=list)
    _attempts: list[Attempt] = field(default_factory=list)

    def __post_init__(self) -> None:
        world, number = self.world, 0
        for sender in world.senders:
            for at in _times(world, sender):
                number += 1
                self._attempts.append(Attempt(at, number, sender, at))
        heapify(self._attempts)

    def until(self, t: float) -> list[Taken]:
        """What was taken since the last time, up to ``t``."""
        begin = len(self.taken)
        while self._attempts and self._attempts[0].at < t:
            self._hand_over(heappop(self._attempts))
        return self.taken[begin:]

    def _hand_over(self, attempt: Attempt) -> None:
        world, chance = self.world, self.world.chance
        side = _side(world, attempt)
        if side == "":
            return self._again(attempt, 900.0)
        waits = attempt.at == attempt.first and side == "new" and attempt.sender.nature == "outside"
        if waits and chance.random() < world.queued:  # put off by a greylist, say, and looked up anew
            return self._again(attempt, chance.uniform(*QUEUED))
        recipient = world.watch.accounts[attempt.number % len(world.watch.accounts)]
        taken = Taken(attempt.at, side, attempt.number, attempt.sender, recipient)
        if side == "new":
            if attempt.at < world.times.refused_until and recipient == world.watch.accounts[-1]:
                taken.disposition, taken.reply = "rejected", "550 5.1.1 no such user"
            self.taken.append(taken)
            return None
        return self._on_old(attempt, taken)

    def _on_old(self, attempt: Attempt, taken: Taken) -> None:
        times, at = self.world.times, attempt.at
        if at >= times.defers_from:
            taken.disposition, taken.reply = "rejected", "450 4.3.2 try again later"
            self.taken.append(taken)
            return self._again(attempt, self.world.chance.uniform(900, 3600))
        if times.changes[0] <= at < times.relays_until:
            taken.disposition = "relayed"
        elif at >= times.changes[0] and times.rescued_every:
            rounds = (at - times.changes[0]) // times.rescued_every + 1
            taken.rescued = times.changes[0] + rounds * times.rescued_every
        self.taken.append(taken)
        if taken.disposition == "relayed":
            self.taken.append(Taken(at, "new", taken.number, taken.sender, taken.recipient, relayed=True))
        return None

    def _again(self, attempt: Attempt, seconds: float) -> None:
        at = attempt.at + seconds
        if at < attempt.first + GIVES_UP and at < self.world.times.ends:
            heappush(self._attempts, attempt._replace(at=at))


def _side(world: World, attempt: Attempt) -> str:
    """Where this attempt goes; "" where the name cannot be looked up just now."""
    sender, at, chance = attempt.sender, attempt.at, world.chance
    if sender.nature in ("stubborn", "spam"):
        return "old"
    if sender.nature == "local":
        return "old" if at < world.times.changes[0] or world.trapped(at) else "new"
    if at - sender.last[0] < REUSED:
        return sender.last[1]
    cache = sender.caches[0] if len(sender.caches) == 1 else chance.choice(sender.caches)
    leads = cache.ask(at).leads
    if leads is None:
        return ""
    side = leads if leads != "mixed" else "old" if chance.random() < BACKUP else "new"
    sender.last = at, side
    return side


def _times(world: World, sender: Sender) -> Iterator[float]:
    """A Poisson stream, thinned by night."""
    chance, (depth, phase) = world.chance, world.night
    t = -world.watch.history
    while (t := t + chance.expovariate(sender.rate * (1 + depth))) < world.times.ends:
        if not depth or chance.random() * (1 + depth) < 1 + depth * sin(2 * pi * (t + phase) / 86400):
            yield t
