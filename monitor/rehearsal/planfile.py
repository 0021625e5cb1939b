"""The plan that an administrator would write for the rehearsal's cutover."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from monitor.rehearsal import zones
from monitor.rehearsal.scenarios import DOMAIN
from probes.observation import Policy

if TYPE_CHECKING:
    from monitor.rehearsal.loopback import Pace
    from monitor.rehearsal.mailhost import Identity
    from monitor.rehearsal.world import World

ROUTES = ("via-old", "via-new", "to-old", "mx")
# At any speed: real sockets, real TLS and real polling do not get faster with the story.
LEAST_DEADLINE = 6.0
LEAST_FRESHNESS = 6.0
LEAST_CADENCE = 0.2


def policy(pace: Pace) -> Policy:
    """The proof that is asked for, shortened in the proportion of the TTLs."""
    return Policy(
        quiet_for=pace.real(45),
        share_bound=0.2,
        canary_streak=3,
        canary_deadline=max(pace.real(20), LEAST_DEADLINE),
        freshness=max(pace.real(20), LEAST_FRESHNESS),
        settle_samples=3,
        sensitivity=max(pace.real(40), LEAST_FRESHNESS),
        old_ttl=pace.ttl(22),
    )


def cadence(pace: Pace) -> dict[str, float]:
    wanted = {"authority": 3, "resolver": 3, "canary": 8, "mailbox": 5, "log": 1, "coverage": 2}
    return {name: max(pace.real(seconds), LEAST_CADENCE) for name, seconds in wanted.items()}


def write_plan(world: World) -> None:
    """``cutover.toml``, the accounts' CSV and a secret file each, in the world's directory."""
    _write_accounts(world)
    chosen = policy(world.pace)
    tables: dict[str, dict[str, Any]] = {
        "": {"version": 1, "domain": DOMAIN.rstrip(".")},
        "old": {"mx": [zones.OLD_MX.rstrip(".")], "addresses": [zones.OLD_ADDRESS]},
        "old.submission": _service(world.old.who, "submission", world.ca_path),
        "old.imap": _service(world.old.who, "imap", world.ca_path),
        "old.log": {"path": str(world.log_path)},
        "new": {"mx": [n.rstrip(".") for n in zones.NEW_MX], "addresses": list(zones.NEW_ADDRESSES)},
        "new.submission": _service(world.new.who, "submission", world.ca_path),
        "new.imap": _service(world.new.who, "imap", world.ca_path),
        "mx": {"planned": [f"{m.rstrip('.')}" for m in zones.NEW_SET]},
        "accounts": {"file": "accounts.csv"},
        "dns": {"resolvers": list(world.resolvers), "hints": [zones.ROOT[1]]},
        "canaries": {"routes": list(ROUTES), "sender": "canary@watch.monitor.example", "daily": 1_000_000},
        "policy": {f: v for f in chosen.__struct_fields__ if (v := getattr(chosen, f)) is not None},
        "cadence": cadence(world.pace),
        "endpoints": world.net.endpoints(),
    }
    world.plan_path.write_text("\n".join(_table(n, t) for n, t in tables.items()), encoding="utf-8")


def _service(who: Identity, kind: str, ca: Path) -> dict[str, Any]:
    tls = who.submission_tls if kind == "submission" else who.imap_tls
    port = who.submission_port if kind == "submission" else who.imap_port
    return {"host": who.name, "port": port, "tls": tls, "address": who.addresses[0], "ca_file": str(ca)}


def _table(name: str, values: dict[str, Any]) -> str:
    """One TOML table; JSON's strings, numbers and arrays are TOML's, too."""
    head = [f"[{name}]"] if name else []
    bare = [f"{_key(k)} = {json.dumps(v, ensure_ascii=False)}" for k, v in values.items()]
    return "\n".join([*head, *bare]) + "\n"


def _key(key: str) -> str:
    return key if key.replace("_", "").isalnum() else json.dumps(key)


def _write_accounts(world: World) -> None:
    rows: list[tuple[str, ...]] = [("address", "old_login", "new_login", "old_secret", "new_secret")]
    for old in world.old.store:
        new = world.new.store.of(old.address)
        assert new is not None
        secrets = [
            _secret(world.directory, side, box.login, box.password)
            for side, box in (("old", old), ("new", new))
        ]
        rows.append((old.address, old.login, new.login, *secrets))
    with (world.directory / "accounts.csv").open("w", newline="", encoding="utf-8") as out:
        csv.writer(out).writerows(rows)


def _secret(directory: Path, side: str, login: str, password: str) -> str:
    """The password in a file that only the owner can read; the reference to it."""
    path = directory / f"{side}-{login.partition('@')[0]}.secret"
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as out:
        out.write(password + "\n")
    return f"file:{path}"
