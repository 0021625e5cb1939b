"""Whether port 53 reaches whom it is sent to, before and during a watch, and what its answers are worth."""

from __future__ import annotations

import asyncio
import ipaddress
import random
import socket
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing, suppress

import msgspec

from monitor.watch.pace import jittered, rest
from monitor.wording import say
from probes.dns.catalogue import entries_of
from probes.dns.examining import MOST_RESOLVERS, NOWHERE, Resolver, Subjects, examine
from probes.dns.exchange import Exchange
from probes.dns.honesty import Honesty, Sign
from probes.dns.operators import OPERATORS
from probes.dns.walking import ROOT
from probes.endpoints import Endpoints
from probes.observation import AuthorityAnswer, Observation, ResolverAnswer, Watcher, now
from probes.sight import Tell

AGAIN, AGAIN_INTERCEPTED = 900.0, 180.0
LEAST = 30.0  # seconds between two examinations, whatever is suspected
TICK = 5.0
SLEPT = 15.0  # seconds by which the wall clock outran the monotonic one: this machine was asleep
CALM = 3  # examinations without a conclusion, though with honest answers, that take a conclusion back
MOST_ROOTS, MOST_AUTHORITIES, MOST_SAID = 4, 4, 2
_PLAIN = ("udp", "tcp")
_SILENT = ("timeout", "unreachable")


class Port53:
    """One conclusion about the network that this process is in, kept up to date by :meth:`follow`.

    ``resolvers`` are ids with their ``platforms``, ``hints`` the plan's own roots; ``authorities`` may be set
    whenever they are known. Addresses that ``endpoints`` sends elsewhere are not taken for an operator's.
    """

    def __init__(
        self, exchange: Exchange, endpoints: Endpoints, resolvers: Sequence[str],
        platforms: Mapping[str, str], *, domain: str = ".", hints: Sequence[str] = (),
    ) -> None:  # fmt: skip
        self._exchange, self._endpoints = exchange, endpoints
        self._resolvers, self._platforms = resolvers, platforms
        self._domain, self._hints = domain, hints
        self.authorities: tuple[str, ...] = ()
        self.found = Honesty(verdict="unknown")
        self._lock, self._done, self._suspected = asyncio.Lock(), asyncio.Event(), asyncio.Event()
        self._calm = 0
        self._told = False
        self._lame: set[str] = set()
        self._where, self._drift = "", time.time() - time.monotonic()

    async def ready(self) -> None:
        """Return once the network that we are in has been examined."""
        if not self._done.is_set():
            async with self._lock:
                if not self._done.is_set():
                    await self._look()

    async def follow(self, tell: Tell) -> None:
        """Examine again now and then, and when something is suspected; tell of each change. For ever."""
        while True:
            await self.ready()
            if self.intercepted != self._told:
                self._told = self.intercepted
                await tell(self._event())
            await self._rest()
            self._done.clear()

    @property
    def intercepted(self) -> bool:
        return self.found.verdict == "intercepted"

    def plain(self, resolver: str) -> bool:
        """Whether the port 53 of a resolver may be believed."""
        platform = self._platforms.get(resolver, "")
        return "://" in resolver or not self.found.affects(resolver, platform)

    def believed(self, seen: Observation) -> Observation:
        """What was seen, or that somebody else said it: then what it says is left out."""
        if not isinstance(seen, (AuthorityAnswer, ResolverAnswer)):
            return seen
        if isinstance(seen, AuthorityAnswer):
            self._note_lame(seen)
            lied = self.found.affects(seen.address, authority=True)
        else:
            lied = not self.plain(seen.resolver)
        if not lied or seen.transport not in _PLAIN or seen.outcome in _SILENT:
            return seen
        return msgspec.structs.replace(seen, outcome="intercepted", rrset=(), ttl=0)

    def believing(self, tell: Tell) -> Tell:
        """``tell``, for what may have come by port 53."""

        async def hear(seen: Observation) -> None:
            await tell(self.believed(seen))

        return hear

    # Examining

    async def _look(self) -> None:
        self._suspected.clear()
        self._where = self._here()
        found = await examine(self._exchange, self.subjects())
        self._calm = self._calm + 1 if found.verdict == "unknown" and found.clean else 0
        # What is known stands until it is known to be otherwise: an offline hour shows nothing.
        if found.verdict != "unknown" or not self.intercepted or self._calm >= CALM:
            self.found = found
        self._done.set()

    def subjects(self) -> Subjects:
        """Whom to ask; only those that this plan talks to anyway, and addresses that nobody has."""
        roots = list(self._hints) or [server.address for server in ROOT]
        asked = [*roots, *(r for r in self._resolvers if "://" not in r)]
        outside = any(_is_global(self._endpoints.real(address, 53)[0]) for address in asked)
        return Subjects(
            domain=self._domain,
            nowhere=tuple(a for a in NOWHERE if outside or self._mapped(a)),
            roots=tuple(random.sample(roots, min(MOST_ROOTS, len(roots)))),
            trusted=not self._hints,
            authorities=self.authorities[:MOST_AUTHORITIES],
            resolvers=tuple(self._operators())[:MOST_RESOLVERS],
        )

    def _operators(self) -> list[Resolver]:
        """One resolver of a platform; first those that can be known by what they say."""
        found: dict[str, Resolver] = {}
        for resolver in self._resolvers:
            entry = next(iter(entries_of(resolver)), None)
            if entry is None or not entry.plain or "://" in resolver or self._mapped(resolver):
                continue
            found.setdefault(entry.platform, Resolver(resolver, entry.platform, entry.encrypted))
        return sorted(found.values(), key=lambda one: (one.platform not in OPERATORS, not one.ways))

    def _mapped(self, address: str) -> bool:
        return self._endpoints.real(address, 53) != (address, 53)

    def _event(self) -> Watcher:
        if self.intercepted:
            return Watcher(at=now(), event="intercepted", detail=said(self.found.signs))
        return Watcher(at=now(), event="online", detail=say("honesty.again"))

    # When

    async def _rest(self) -> None:
        """Until it is time, or the network may be another one, or an answer is suspicious."""
        began = time.monotonic()
        pause = jittered(AGAIN_INTERCEPTED if self.intercepted else AGAIN)
        while (waited := time.monotonic() - began) < pause:
            if self._moved() or (self._suspected.is_set() and waited >= LEAST):
                return
            with suppress(TimeoutError):
                async with asyncio.timeout(min(TICK, pause - waited)):
                    await rest(TICK)

    def _note_lame(self, seen: AuthorityAnswer) -> None:
        """A server that had authority and has it no more: another may be answering for it."""
        if seen.outcome == "answer":
            self._lame.discard(seen.address)
        elif seen.outcome == "lame" and seen.address not in self._lame:
            self._lame.add(seen.address)
            self._suspected.set()

    def _moved(self) -> bool:
        """Whether this machine has slept, or sends from another address than before."""
        drift = time.time() - time.monotonic()
        slept, self._drift = drift - self._drift > SLEPT, drift
        return slept or self._here() != self._where

    def _here(self) -> str:
        """Our own address towards the Internet; nothing is sent. Empty where there is no way out."""
        with closing(socket.socket(type=socket.SOCK_DGRAM)) as sock:
            try:
                sock.connect((NOWHERE[0], 53))
            except OSError:
                return ""
            return str(sock.getsockname()[0])


def said(signs: Iterable[Sign]) -> str:
    """The strongest sign of each of two kinds, as a sentence in the record's language."""
    kinds: dict[str, Sign] = {}
    for sign in sorted(signs, key=lambda sign: not sign.proof):
        kinds.setdefault(sign.kind, sign)
    chosen = list(kinds.values())[:MOST_SAID]
    return "; ".join(say(f"honesty.{s.kind}", {"subject": s.subject, "seen": s.seen}) for s in chosen)


def _is_global(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_global
    except ValueError:
        return False
