"""What no single key shows: mistakes between the parts of a plan."""

from __future__ import annotations

import math
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from monitor.plan.mistakes import Mistake
from monitor.plan.model import CutoverPlan
from monitor.plan.positions import Path as Key
from monitor.plan.resolvers import ALL, PUBLIC
from monitor.plan.secrets import file_of
from monitor.plan.table import Findings

Complaint = tuple[Key, str, str]
CellComplaint = tuple[str, str, str]
POLITE = 5.0  # seconds between two questions to one public resolver, at least


def cross_check(
    plan: CutoverPlan, data: dict[str, Any], places: dict[str, tuple[str, int]], findings: Findings
) -> None:
    """Add every mistake between parts to ``findings``; ``places``: file and line of each account."""
    unread = any(m.key.startswith("account") or m.file != findings.file for m in findings.mistakes)
    groups = (_hosts, _planned, _routes, _services, _paces) + (() if unread else (_logins,))
    for complaints in groups:
        for path, what, write in complaints(plan, data):
            findings.add(path, what, write)
    for account in plan.accounts:
        file, line = places[account.address]
        for key, what, write in _account(plan, account.address):
            findings.mistakes.append(Mistake(file=file, line=line, key=key, what=what, write=write))
    findings.mistakes += _secret_files(plan, places)


def matches(name: str, patterns: tuple[str, ...]) -> bool:
    """Whether a name is one of the names, or below one of the ``*.`` patterns."""
    return any(name == p or (p.startswith("*.") and name.endswith(p[1:])) for p in patterns)


def _hosts(plan: CutoverPlan, data: dict[str, Any]) -> Iterator[Complaint]:
    for side in ("old", "new"):
        given = data.get(side)
        if given is None or (isinstance(given, dict) and not (given.get("mx") or given.get("addresses"))):
            yield (side,), "names no host", f'write [{side}] with mx = ["mail.{side}.example"] and addresses'
    for index, address in enumerate(plan.new.addresses):
        if address in plan.old.addresses:
            write = "write the address that only the new host has"
            yield ("new", "addresses", index), f"{address} is an address of the old host, too", write
    for index, name in enumerate(plan.new.mx):
        if name in plan.old.mx and not (plan.old.addresses and plan.new.addresses):
            write = "write the addresses of both sides: a name alone cannot tell them apart"
            yield ("new", "mx", index), f"{name} is a name of the old host, too", write


def _planned(plan: CutoverPlan, data: dict[str, Any]) -> Iterator[Complaint]:
    mx = data.get("mx")
    if not plan.expected_mx and not (isinstance(mx, dict) and mx.get("planned")):
        yield ("mx", "planned"), "is missing", 'write [mx] and planned = ["10 mx1.new.example"]'
    for index, rdata in enumerate(plan.expected_mx):
        exchange = rdata.partition(" ")[2]
        if plan.new.mx and not matches(exchange, plan.new.mx):
            side = "one of the old host's names" if matches(exchange, plan.old.mx) else "not in new.mx"
            yield ("mx", "planned", index), f"{exchange} is {side}", "write a name of new.mx, or add it there"


def _routes(plan: CutoverPlan, data: dict[str, Any]) -> Iterator[Complaint]:
    if not plan.routes and isinstance(data.get("canaries"), dict) and data["canaries"].get("routes") == []:
        yield ("canaries", "routes"), "is empty: no canary could ever prove anything", 'write ["mx"] at least'
    for index, route in enumerate(plan.routes):
        for what, write in _route(plan, route):
            yield ("canaries", "routes", index), f"{route}: {what}", write


def _route(plan: CutoverPlan, route: str) -> Iterator[tuple[str, str]]:
    kind, _, side = route.partition("-")
    host = plan.old if side == "old" else plan.new
    if kind == "via" and host.submission is None:
        yield f"there is no [{side}.submission]", f"write [{side}.submission] with host and port"
    if kind == "to" and not host.addresses and all(n.startswith("*.") for n in host.mx):
        yield f"the {side} host has neither an address nor a full name", f"write {side}.addresses"
    if route.startswith("mx:") and route[3:] not in plan.resolvers:
        yield f"{route[3:]} is not one of the resolvers", "add it to dns.resolvers"
    if route.startswith("relay:") and route[6:] not in plan.relays:
        yield f"there is no [relays.{route[6:]}]", f"write [relays.{route[6:]}] with host, login and secret"


def _services(plan: CutoverPlan, data: dict[str, Any]) -> Iterator[Complaint]:
    """A canary is proof only where it can be seen to land."""
    given = data.get("new")
    unseen = plan.new.mailboxes is None and isinstance(given, dict) and not given.keys() & {"imap", "pop3"}
    if plan.routes and unseen:
        yield (
            ("new",),
            "no [new.imap]: no canary could be seen to land",
            "write [new.imap] with its host (or [new.pop3])",
        )


def _logins(plan: CutoverPlan, data: dict[str, Any]) -> Iterator[Complaint]:
    if not plan.accounts:
        yield (
            ("accounts",),
            "no account to watch and to write to",
            "write [[account]] with address and secret",
        )
        return
    for side, host in (("old", plan.old), ("new", plan.new)):
        if any(getattr(a, f"{side}_secret") for a in plan.accounts):
            continue
        what = f"no account can log in to the {side} host"
        write = f"give an account a secret or {side}_secret"
        if host.mailboxes:
            yield (side, "imap" if host.imap else "pop3"), what, write
        if f"via-{side}" in plan.routes:
            yield ("canaries", "routes", plan.routes.index(f"via-{side}")), f"via-{side}: {what}", write


def _paces(plan: CutoverPlan, data: dict[str, Any]) -> Iterator[Complaint]:
    policy, cadence = plan.policy, plan.cadence
    for key in ("authority", "resolver", "coverage"):
        if getattr(cadence, key) > policy.freshness:
            what = f"is longer than policy.freshness ({policy.freshness:g} s): nothing would ever be fresh"
            yield ("cadence", key), what, f"write at most {policy.freshness:g}"
    if "to-old" in plan.routes and cadence.canary > policy.sensitivity:
        what = f"is longer than policy.sensitivity ({policy.sensitivity:g} s): no quiet time would count"
        yield ("cadence", "canary"), what, f"write at most {policy.sensitivity:g}"
    yield from _allowance(plan)
    dns = data.get("dns", {})
    asked = dns.get("resolvers", PUBLIC) if isinstance(dns, dict) else PUBLIC
    if asked == []:
        yield ("dns", "resolvers"), "is empty: no cache would be watched", 'write resolvers = ["public"]'
    bundled = isinstance(asked, (str, list)) and (PUBLIC in asked or ALL in asked)
    if bundled and cadence.resolver < POLITE:
        write = f"write at least {POLITE:g}"
        yield ("cadence", "resolver"), f"{cadence.resolver:g} s is too often for public resolvers", write


def _allowance(plan: CutoverPlan) -> Iterator[Complaint]:
    """Each route's part of the day's canaries must keep up with what they are to prove."""
    if "to-old" not in plan.routes:
        return
    needed = math.ceil(86400 / plan.policy.sensitivity * len(plan.routes) * 4 / 3) + 1
    if plan.daily_canaries < needed:
        what = f"is too few for {len(plan.routes)} routes: to-old must come each policy.sensitivity"
        yield ("canaries", "daily"), what, f"write at least {needed}"


def _account(plan: CutoverPlan, address: str) -> Iterator[CellComplaint]:
    domain = address.rpartition("@")[2] + "."
    if plan.domain != "." and domain != plan.domain:
        what = f"{address} is not in {plan.domain[:-1]}"
        yield "address", what, "write an address of the domain that moves"


def _secret_files(plan: CutoverPlan, places: dict[str, tuple[str, int]]) -> Iterator[Mistake]:
    seen: set[Path] = set()
    for name, relay in plan.relays.items():
        file = file_of(relay.secret or "", plan.path.parent)
        wrong = _secret_file(file) if file is not None else None
        if wrong is not None:
            key = f"relays.{name}.secret"
            yield Mistake(file=str(plan.path), line=1, key=key, what=wrong[0], write=wrong[1])
    for account in plan.accounts:
        for reference in (account.old_secret, account.new_secret):
            file = file_of(reference or "", plan.path.parent)
            if file is None or file in seen:
                continue
            seen.add(file)
            wrong = _secret_file(file)
            if wrong is not None:
                where, line = places[account.address]
                yield Mistake(file=where, line=line, key="secret", what=wrong[0], write=wrong[1])


def _secret_file(file: Path) -> tuple[str, str] | None:
    try:
        mode = file.stat().st_mode
    except OSError as error:
        return f"the secret's file {file}: {error.strerror}", "write the password to it, or mend its name"
    if not stat.S_ISREG(mode):
        return f"the secret's file {file} is not a file", "write a file's name"
    if mode & 0o077:
        return f"others can read the secret's file {file} (mode {mode & 0o777:o})", f"run: chmod 600 {file}"
    return None
