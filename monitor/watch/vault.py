"""Passwords and tokens by reference: resolved when first needed, kept in memory only."""

from __future__ import annotations

import asyncio
import threading

from monitor.exits import Exit, Failure
from monitor.plan.model import Account, CutoverPlan
from monitor.plan.secrets import resolve
from probes.observation import Side
from probes.secret import Secret, Token


class Vault:
    """The secrets of a plan. Usable before and inside an event loop."""

    def __init__(self, plan: CutoverPlan) -> None:
        self._plan = plan
        self._known: dict[tuple[Side, str], Secret] = {}
        self._relays: dict[str, Secret] = {}
        # By reference and whom it speaks for: one token may be good for thousands of accounts.
        self._tokens: dict[tuple[str, str], Token] = {}
        self._turns: dict[tuple[str, str], threading.Lock] = {}

    def prompt(self) -> None:
        """Ask at the terminal for what the plan wants typed, before a screen takes the terminal."""
        sides: tuple[Side, Side] = ("old", "new")
        for account in self._plan.accounts:
            for side in sides:
                if (reference(side, account) or "").strip() == "prompt":
                    self._resolve(side, account)

        for name, relay in self._plan.relays.items():
            if (relay.secret or "").strip() == "prompt":
                self._relay(name)

    async def relay(self, name: str) -> Secret:
        """The secret of ``[relays.NAME]``. Raises as :meth:`secret`."""
        known = self._relays.get(name)
        return known if known is not None else await asyncio.to_thread(self._relay, name)

    def _relay(self, name: str) -> Secret:
        relay = self._plan.relays[name]
        secret = resolve(relay.secret or "", self._plan.path.parent, f"{relay.login} on the relay {name}")
        self._relays[name] = secret
        return secret

    async def secret(self, side: Side, account: Account) -> Secret:
        """Raises ``Failure`` 69 or 78 when the reference's source does not give it."""
        known = self._known.get((side, account.address))
        if isinstance(known, Token) and known.stale:
            known = None
        return known if known is not None else await asyncio.to_thread(self._resolve, side, account)

    def forget(self, side: Side, account: Account) -> None:
        """After a refused login: the source may hold another one by now. What was typed stays."""
        if (reference(side, account) or "").strip() != "prompt":
            known = self._known.pop((side, account.address), None)
            key = _issued(reference(side, account) or "", login(side, account))
            if known is not None and self._tokens.get(key) == known:
                self._tokens.pop(key, None)

    def forget_relay(self, name: str) -> None:
        if (self._plan.relays[name].secret or "").strip() != "prompt":
            self._relays.pop(name, None)

    def _resolve(self, side: Side, account: Account) -> Secret:
        where = reference(side, account)
        if where is None:
            raise Failure(f"the plan has no secret for {account.address} on {side}", Exit.BAD_PLAN)
        who = login(side, account)
        if where.startswith("oauth:"):
            secret: Secret = self._token(where, who)
        else:
            secret = resolve(where, self._plan.path.parent, f"{who} on the {side} host")
        self._known[side, account.address] = secret
        return secret

    def _token(self, where: str, who: str) -> Token:
        """The one that is there, or a new one; whoever else wants the same waits for it."""
        key = _issued(where, who)
        with self._turns.setdefault(key, threading.Lock()):
            kept = self._tokens.get(key)
            if kept is None or kept.stale:
                made = resolve(where, self._plan.path.parent, login=who)
                assert isinstance(made, Token)
                self._tokens[key] = kept = made
            return kept


def _issued(where: str, who: str) -> tuple[str, str]:
    """A service account of Google's speaks for each user apart; the others for whom their file names."""
    return where, who if where.startswith("oauth:google:") else ""


def reference(side: Side, account: Account) -> str | None:
    return account.old_secret if side == "old" else account.new_secret


def login(side: Side, account: Account) -> str:
    return account.old_login if side == "old" else account.new_login
