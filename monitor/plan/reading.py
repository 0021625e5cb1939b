"""The tables of a plan file to the parts of a :class:`CutoverPlan`: one function a table."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

from monitor.plan import values
from monitor.plan.mistakes import Wrong, nearest
from monitor.plan.model import Account, Cadence, Host, LogSource, Relay
from monitor.plan.resolvers import resolver
from monitor.plan.table import Table
from probes.logformat import FORMATS, LogFormat
from probes.logsource import Command, Files, Journal, Ssh
from probes.observation import Policy
from probes.service import Service, Tls

T = TypeVar("T")
Protocol = Literal["submission", "imap", "pop3"]

# The registered port of each service and TLS mode (RFC 8314 section 7.3, RFC 6409, RFC 9051, RFC 1939).
PORTS: dict[Protocol, dict[Tls, int]] = {
    "submission": {"implicit": 465, "starttls": 587, "none": 587},
    "imap": {"implicit": 993, "starttls": 143, "none": 143},
    "pop3": {"implicit": 995, "starttls": 110, "none": 110},
}
ROUTES = ("via-old", "via-new", "to-old", "to-new", "mx")
WEEK = 7 * 86400.0
YEAR = 366 * 86400.0
_RELAY = re.compile(r"[A-Za-z0-9_-]{1,64}")


def path_beside(table: Table, key: str, example: str, base: Path) -> Path | None:
    """A file named relative to the plan's own folder."""
    found = table.text(key, _not_empty, example)
    return None if found is None else base / Path(found).expanduser()


def _not_empty(text: str) -> str:
    if not text or "\0" in text:
        raise Wrong("is empty" if not text else "holds a NUL", "write a file's name")
    return text


def host(table: Table, side: str, base: Path) -> Host:
    mx = table.texts("mx", values.pattern, f"mail.{side}.example")
    addresses = table.texts("addresses", values.address, "192.0.2.10")
    smtp = table.table("smtp")
    submission, imap, pop3 = (table.table(called) for called in ("submission", "imap", "pop3"))
    names = tuple(n for n in mx if not n.startswith("*.")) + addresses
    found = Host(
        mx=mx,
        addresses=addresses,
        smtp_port=smtp.number("port", 25, 1, 65535, whole=True),
        submission=service(submission, "submission", names, base) if "submission" in table else None,
        imap=service(imap, "imap", names, base) if "imap" in table else None,
        pop3=service(pop3, "pop3", names, base) if "pop3" in table else None,
        folders=table.texts("folders", _not_empty, "Archive"),
        log=log(table.table("log"), base) if "log" in table else None,
        queue_command=_queue_command(table) if side == "old" else (),
    )
    smtp.close()
    table.close()
    return found


def service(table: Table, protocol: Protocol, names: tuple[str, ...], base: Path) -> Service:
    """Where only a port or a TLS mode is given the other follows; where no host is, the exchange's."""
    ports = PORTS[protocol]
    mode = cast("Tls | None", table.choice("tls", ("implicit", "starttls", "none")))
    port: int | None = table.number("port", None, 1, 65535, whole=True)
    by_port: dict[int, Tls] = {ports["implicit"]: "implicit", ports["starttls"]: "starttls"}
    default: Tls = "starttls" if protocol == "submission" else "implicit"
    tls = mode or by_port.get(port or 0, default)
    meant = by_port.get(port or 0, tls)
    if mode not in (None, "none") and meant != mode:
        table.wrong("tls", f"port {port} is not one for {mode}", f'write tls = "{meant}", or another port')
    address = table.text("address", values.address, "192.0.2.10")
    named = table.text("host", values.host, f"{protocol}.example.jp")
    if named is None and "host" not in table and not (names or address):
        table.wrong("host", "is missing", 'write host = "mail.example.jp"')
    found = Service(
        host=named or (names[0] if names else address) or ".",
        port=port or ports[tls],
        tls=tls,
        address=address,
        tls_name=table.text("tls_name", values.host, "mail.example.jp"),
        ca_file=_ca_file(table, base),
        verify=table.flag("verify", True),
        connections=table.number("connections", None, 1, 10_000, whole=True),
    )
    table.close()
    return found


def _ca_file(table: Table, base: Path) -> Path | None:
    found = path_beside(table, "ca_file", "ca.pem", base)
    if found is not None and not found.is_file():
        table.wrong("ca_file", f"there is no file {found}", "write where the CA's certificate is (PEM)")
    return found


def _queue_command(table: Table) -> tuple[str, ...]:
    return argv(table, "queue_command", '"ssh", "old", "postqueue", "-j"')


def argv(table: Table, key: str, example: str) -> tuple[str, ...]:
    """A program and its arguments: a list of texts, or one text that is split as a shell splits words."""
    write = f"write {key} = [{example}]"
    return table.parsed(key, (list, str), lambda value: _words(value, write), write) or ()


def _words(value: list[Any] | str, write: str) -> tuple[str, ...]:
    try:
        words = shlex.split(value) if isinstance(value, str) else value
    except ValueError as error:
        raise Wrong(f"cannot be split into words: {str(error).lower()}", write) from None
    if not words or not all(isinstance(word, str) and "\0" not in word for word in words) or not words[0]:
        raise Wrong("is no program with its arguments, each a text", write)
    return tuple(words)


SOURCES = ("path", "journal", "command", "ssh")


def log(table: Table, base: Path) -> LogSource | None:
    given = [key for key in SOURCES if key in table]
    for key in given[1:]:
        table.wrong(key, f"says where the log is, as {given[0]} does", "take one of them out")
    if not given:
        write = 'write path = "/var/log/mail.log" (or journal, command, ssh)'
        table.wrong("path", "is missing", write)
    found = (_files(table, base), _journal(table), _command(table), _ssh(table, base))
    source = next((one for one in found if one is not None), None)
    format = cast("LogFormat", table.choice("format", FORMATS) or "auto")
    history, zone = table.flag("history", True), table.text("zone", _zone, "Asia/Tokyo")
    table.close()
    return None if source is None else LogSource(source=source, format=format, history=history, zone=zone)


def _files(table: Table, base: Path) -> Files | None:
    path = path_beside(table, "path", "/var/log/mail.log", base)
    return None if path is None else Files(path)


def _journal(table: Table) -> Journal | None:
    """``journal = "postfix@-"``, or a list of units; an empty list is all of the journal."""
    units = table.texts("journal", _unit, "postfix@-.service")
    return Journal(units) if "journal" in table else None


def _unit(text: str) -> str:
    if not text or text.startswith("-") or any(c.isspace() or not c.isprintable() for c in text):
        raise Wrong(f"{text!r} is not a unit", 'write it as in "postfix@-.service"')
    return text


def _command(table: Table) -> Command | None:
    words = argv(table, "command", '"ssh", "old", "tail -n 1000 -F /var/log/mail.log"')
    return Command(words) if words else None


def _ssh(table: Table, base: Path) -> Ssh | None:
    if "ssh" not in table:
        return None
    row = table.table("ssh")
    host = row.text("host", values.host, "mail.example.jp")
    path = row.text("path", _remote, "/var/log/mail.log")
    for key, example in (("host", "mail.example.jp"), ("path", "/var/log/mail.log")):
        if key not in row:
            row.wrong(key, "is missing", f'write {key} = "{example}"')
    found = Ssh(
        host=(host or ".").rstrip("."),
        path=path or "/",
        user=row.text("user", _login, "watcher"),
        port=row.number("port", 22, 1, 65535, whole=True),
        known_hosts=_present(row, "known_hosts", "known_hosts", base),
        key=_private(row, base),
    )
    row.close()
    return found


def _remote(text: str) -> str:
    if not _not_empty(text).startswith("/"):
        raise Wrong(f"{text!r} is not an absolute path", 'write it as in "/var/log/mail.log"')
    return text


def _present(table: Table, key: str, example: str, base: Path) -> Path | None:
    found = path_beside(table, key, example, base)
    if found is not None and not found.is_file():
        table.wrong(key, f"there is no file {found}", "write where it is")
    return found


def _private(table: Table, base: Path) -> Path | None:
    """A key that others can read is refused, as OpenSSH refuses it."""
    found = _present(table, "key", "id_ed25519", base)
    mode = found.stat().st_mode if found is not None and found.is_file() else 0
    if mode & 0o077:
        table.wrong("key", f"others can read {found} (mode {mode & 0o777:o})", f"run: chmod 600 {found}")
    return found


def _zone(text: str) -> str:
    from zoneinfo import ZoneInfo, available_timezones

    try:
        return ZoneInfo(text).key
    except (ValueError, OSError, KeyError):
        near = nearest(text, (known.lower() for known in available_timezones()))
        known = next((z for z in available_timezones() if z.lower() == near), "Asia/Tokyo")
        raise Wrong(f"{text!r} is not a time zone", f'write an IANA name, as in "{known}"') from None


def routes(table: Table) -> tuple[str, ...] | None:
    return table.texts("routes", _route, "via-old") if "routes" in table else None


def _route(text: str) -> str:
    if text.startswith("mx:"):
        return "mx:" + resolver(text[3:])
    if text in ROUTES or (text.startswith("relay:") and _RELAY.fullmatch(text[6:])):
        return text
    near = nearest(text, ROUTES)
    known = f'"{near}"' if near else ", ".join(ROUTES) + ", mx:RESOLVER or relay:NAME"
    raise Wrong(f"{text!r} is not a route", f"write {known}")


def relays(table: Table, base: Path) -> dict[str, Relay]:
    """``[relays.NAME]``: a third party's submission server, and the login that it takes."""
    found = {}
    for name in table.data:
        row = table.table(name)
        if not _RELAY.fullmatch(name):
            table.wrong(name, "is no name for a relay", "write letters, digits, - and _")
        login, sender = (
            row.text("login", _login, "suga"),
            row.text("sender", values.mailbox, "suga@isp.example"),
        )
        secret = _secret(row, "")
        if (login is None) != (secret is None):
            row.wrong("login", "a login and its secret go together", 'write login and secret = "prompt"')
        place = service(row, "submission", (), base)
        found[name] = Relay(service=place, login=login, secret=secret, sender=sender or "")
    return found


def policy(table: Table) -> Policy:
    default = Policy()
    found = Policy(
        quiet_for=seconds(table, "quiet_for", default.quiet_for, high=YEAR),
        share_bound=table.number("share_bound", default.share_bound, 0, 1),
        confidence=_open(table, "confidence", default.confidence),
        canary_streak=table.number("canary_streak", default.canary_streak, 1, 1000, whole=True),
        canary_deadline=seconds(table, "canary_deadline", default.canary_deadline),
        freshness=seconds(table, "freshness", default.freshness),
        settle_samples=table.number("settle_samples", default.settle_samples, 1, 1000, whole=True),
        quiet_ceiling=seconds(table, "quiet_ceiling", None, high=YEAR),
        sensitivity=seconds(table, "sensitivity", default.sensitivity),
        quorum=table.number("quorum", default.quorum, 0, 1),
        old_ttl=seconds(table, "old_ttl", None, low=0, high=YEAR),
    )
    if found.quiet_ceiling is not None and found.quiet_ceiling < found.quiet_for:
        table.wrong("quiet_ceiling", "is shorter than quiet_for", "write at least quiet_for's value")
    table.close()
    return found


def cadence(table: Table) -> Cadence:
    default = Cadence()
    found = Cadence(
        **{f: seconds(table, f, getattr(default, f), low=0.05) for f in default.__struct_fields__}
    )
    table.close()
    return found


def seconds(table: Table, key: str, default: T, low: float = 0.1, high: float = 4 * WEEK) -> float | T:
    def parse(value: float | str) -> float:
        found = values.duration(value)
        if not low <= found <= high:
            raise Wrong(f"{value} is out of range", f"write {low:g} to {high:g} seconds")
        return found

    write = f'write {key} = seconds as a number, or "24h", "15m", "90s"'
    found = table.parsed(key, (float, int, str), parse, write)
    return default if found is None else found


def _open(table: Table, key: str, default: float) -> float:
    """A number between 0 and 1, neither of them."""
    found: float = table.number(key, default, 0, 1)
    if not 0 < found < 1:
        table.wrong(key, f"{found:g} can never be reached", f"write {key} = {default}")
        return default
    return found


def endpoints(table: Table) -> dict[str, str]:
    found = {}
    for key in table.data:
        target = table.text(key, values.endpoint, "127.0.0.1:2525")
        try:
            source = values.endpoint(key)
        except Wrong as wrong:
            table.wrong(key, wrong.what, wrong.write)
            continue
        if target is not None:
            found[source] = target
    return found


def account(row: Table) -> Account | None:
    """One ``[[account]]``: a login that is not given is the address; a secret may serve both sides."""
    address = row.text("address", values.mailbox, "suga@example.jp")
    if address is None and "address" not in row:
        row.wrong("address", "is missing", 'write address = "suga@example.jp"')
    logins = [row.text(f"{side}login", _login, "suga") for side in ("", "old_", "new_")]
    shared, old, new = (_secret(row, side) for side in ("", "old_", "new_"))
    row.close()
    if address is None:
        return None
    old_login, new_login = (login or logins[0] or address for login in logins[1:])
    return Account(
        address=address, old_login=old_login, new_login=new_login,
        old_secret=old or shared, new_secret=new or shared,
    )  # fmt: skip


def _login(text: str) -> str:
    if not text or any(not c.isprintable() for c in text):
        raise Wrong("is empty or holds a control character", "write the login's name")
    return text


def _secret(row: Table, side: str) -> str | None:
    """``secret``, or its plain forms ``password_file`` and ``password_command``; one of them at most."""
    forms: dict[str, Any] = {
        f"{side}secret": values.secret,
        f"{side}password_file": lambda text: "file:" + _not_empty(text),
        f"{side}password_command": lambda text: "command:" + _not_empty(text),
    }
    found = {key: row.text(key, parse, "file:secrets/suga") for key, parse in forms.items()}
    given = [key for key, value in found.items() if value]
    if len(given) > 1:
        row.wrong(given[1], f"says the same as {given[0]}", "take one of them out")
    return found[given[0]] if given else None
