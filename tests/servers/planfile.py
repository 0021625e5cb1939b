"""The plan that an administrator would write for the stage's move, with a proof shortened to seconds."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from tests.servers import zones
from tests.servers.addresses import DNS, IMAP, IMAPS, SMTP, STANDARD, SUBMISSION, SUBMISSIONS
from tests.servers.host import MailHost
from tests.servers.stage import Stage

ROUTES = ("via-old", "via-new", "to-old", "mx")
QUIET_FOR = 8
STREAK = 2

_PLAN = """\
version = 1
domain = "{domain}"

[old]
mx = ["{old.name}"]
addresses = ["{old.addresses[0]}"]

{old_services}

{old_log}
[new]
mx = {new_names}
addresses = {new_addresses}

{new_services}

[mx]
planned = {planned}

[accounts]
file = "accounts.csv"

[dns]
resolvers = {resolvers}
hints = ["{root}"]

[canaries]
routes = {routes}
sender = "canary@watch.monitor.example"
daily = 1000000

[policy]
quiet_for = {quiet_for}
share_bound = 0.3
canary_streak = {streak}
canary_deadline = 20
freshness = 12
settle_samples = 3
sensitivity = 20
old_ttl = {ttl}

[cadence]
authority = 0.5
resolver = 0.5
canary = 1.5
mailbox = 2
log = 0.3
coverage = 1

[endpoints]
{endpoints}
"""

_SERVICE = """\
[{side}.{kind}]
host = "{host.name}"
address = "{host.addresses[0]}"
port = {port}
tls = "{tls}"
ca_file = "{ca}"
"""


_LOG = """\
[old.log]
path = "{old.log}"
zone = "{old.zone}"
"""


def write_plan(
    stage: Stage, directory: Path, ttl: int, routes: Sequence[str] = ROUTES, log: bool = True
) -> Path:
    """``cutover.toml``, the accounts' CSV and a secret file each; the path of the plan. ``log``: whether
    old's can be read."""
    old, new, addresses = stage.old, stage.new, stage.addresses
    text = _PLAN.format(
        domain=zones.DOMAIN, old=old, old_services=_services(old, stage.ca),
        new_names=json.dumps(zones.NEW_HOSTS), new_addresses=json.dumps(new.addresses),
        new_services=_services(new, stage.ca), planned=json.dumps(zones.NEW_MX),
        resolvers=json.dumps([addresses.unbound, addresses.knot]), root=addresses.root,
        routes=json.dumps(routes), old_log=_LOG.format(old=old) if log else "",
        quiet_for=QUIET_FOR, streak=STREAK, ttl=ttl, endpoints=_endpoints(stage),
    )  # fmt: skip
    path = directory / "cutover.toml"
    path.write_text(text)
    rows = ["address,old_login,new_login,old_secret,new_secret"]
    rows += (_row(stage, directory, user) for user in old.users)
    (directory / "accounts.csv").write_text("\n".join(rows) + "\n")
    return path


def _services(host: MailHost, ca: Path) -> str:
    tls = "implicit" if host.implicit_tls else "starttls"
    ports = {"submission": host.submission_port, "imap": host.imap_port}
    return "\n".join(
        _SERVICE.format(side=host.side, kind=kind, host=host, port=STANDARD[port], tls=tls, ca=ca)
        for kind, port in ports.items()
    )


def _endpoints(stage: Stage) -> str:
    """Standard ports to those on which the stage's servers listen; its authorities are on port 53."""
    addresses = stage.addresses
    listening = [
        *((address, SMTP) for host in (stage.old, stage.new) for address in host.addresses),
        (addresses.old, SUBMISSION), (addresses.new[0], SUBMISSIONS), (addresses.old, IMAP),
        (addresses.new[0], IMAPS), (addresses.unbound, DNS), (addresses.knot, DNS),
    ]  # fmt: skip
    return "\n".join(f'"{address}:{STANDARD[port]}" = "{address}:{port}"' for address, port in listening)


def _row(stage: Stage, directory: Path, user: str) -> str:
    cells = [f"{user}@{zones.DOMAIN}", stage.old.login(user), stage.new.login(user)]
    for host in (stage.old, stage.new):
        secret = directory / f"{host.side}-{user}.secret"
        secret.touch(mode=0o600)
        secret.write_text(host.password(user) + "\n")
        cells.append(f"file:{secret}")
    return ",".join(cells)
