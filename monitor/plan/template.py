"""A commented cutover.toml from what is known; what is not known stands there as a comment to fill in."""

from __future__ import annotations

import json
from collections.abc import Iterable

from msgspec import Struct

from monitor.printable import printable


class Known(Struct, frozen=True, kw_only=True):
    """What ``init`` was told or looked up, as people write it. ``*_mx`` are names; ``today`` is the MX RRset
    of now, "preference name", with ``ttl`` in seconds; ``authorities`` are "name address"; ``*_imap``,
    ``*_pop3`` and ``*_submission`` are "host:port" or None; an account is ``ADDRESS`` or
    ``ADDRESS=REFERENCE``; ``language`` en or ja."""

    domain: str
    old_mx: tuple[str, ...] = ()
    old_addresses: tuple[str, ...] = ()
    new_mx: tuple[str, ...] = ()
    new_addresses: tuple[str, ...] = ()
    old_imap: str | None = None
    new_imap: str | None = None
    old_pop3: str | None = None
    new_pop3: str | None = None
    old_submission: str | None = None
    new_submission: str | None = None
    accounts: tuple[str, ...] = ()
    accounts_file: str | None = None
    log: str | None = None
    today: tuple[str, ...] = ()
    ttl: int | None = None
    authorities: tuple[str, ...] = ()
    resolvers: tuple[str, ...] = ("public",)
    language: str = "en"


def write(known: Known) -> str:
    """The whole file."""
    parts = (_head(known), _side(known, "old"), _side(known, "new"), _mx(known), _accounts(known),
             _dns(known), _rest(known))  # fmt: skip
    return "\n\n".join(parts) + "\n"


def quoted(text: str) -> str:
    """A TOML basic string (TOML 1.0 "String"): JSON's escapes are a part of its own."""
    return json.dumps(printable(text), ensure_ascii=False)


def listed(texts: Iterable[str]) -> str:
    return "[" + ", ".join(map(quoted, texts)) + "]"


def _head(known: Known) -> str:
    return f"""\
# What moves, from where to where, and what counts as proof. Check it with: mxcutover plan check
# Times are seconds, or text such as "24h", "15m", "90s". Names may be written in Japanese.
version = 1
domain = {quoted(known.domain)}
language = {quoted(known.language)}       # of the screens and reports: "en" or "ja"
journal = "cutover.journal"  # the record; grows beside this file"""


def _side(known: Known, side: str) -> str:
    old = side == "old"
    mx, addresses = (known.old_mx, known.old_addresses) if old else (known.new_mx, known.new_addresses)
    imap, pop3, submission = (
        (known.old_imap, known.old_pop3, known.old_submission)
        if old
        else (known.new_imap, known.new_pop3, known.new_submission)
    )
    what = "The host that mail leaves." if old else "The host that mail moves to."
    exchange = next((name for name in mx if not name.startswith("*.")), f"mail.{side}.example")
    return "\n".join(
        (
            f'# {what} Names may be patterns, as in "*.mail.protection.outlook.com".',
            "# Where both are given, addresses decide.",
            f"[{side}]",
            _line("mx", mx, f'["mail.{side}.example"]'),
            _line("addresses", addresses, '["192.0.2.10"]'),
            *(_QUEUE if old else ()),
            "",
            "# Where users hand in mail: 587 with starttls, or 465 with implicit TLS.",
            _service(f"{side}.submission", submission, f"{exchange}:587"),
            "",
            "# Where mailboxes are read: 993 with implicit TLS, or 143 with starttls.",
            _service(f"{side}.imap", imap, f"{exchange}:993"),
            "",
            "# Only where there is no IMAP: 995 with implicit TLS, or 110 with starttls. POP3 shows the",
            "# inbox alone, and proves quiet only while a message stays in it: nobody may fetch and delete.",
            _service(f"{side}.pop3", pop3, f"{exchange}:995"),
            *(("", *_log(known)) if old else ()),
        )
    )


_QUEUE = (
    "# What lists the mail that waits there: postqueue, mailq, exim -bp, smtpctl show queue, qmail-qread.",
    '# queue_command = ["ssh", "old", "postqueue", "-j"]',
)


def _service(table: str, given: str | None, example: str) -> str:
    host, _, port = (given or example).rpartition(":")
    tls = "implicit" if port in ("465", "993", "995") else "starttls"
    lines = (f"[{table}]", f"host = {quoted(host.strip('[]'))}", f"port = {port}", f'tls = "{tls}"')
    return "\n".join(
        (
            *(lines if given else (f"# {line}" for line in lines)),
            '# tls_name = "mail.example.jp"   # the name that the certificate shows, if it is another',
        )
    )


def _log(known: Known) -> tuple[str, ...]:
    mark = "" if known.log else "# "
    return (
        "# The old host's mail log: who still sends to it. Copied or mounted here, and growing.",
        f"{mark}[old.log]",
        f"{mark}path = {quoted(known.log or '/var/log/mail.log')}",
        '# format = "auto"      # or postfix, exim, sendmail, qmail, opensmtpd, courier, haraka ...',
        "# history = true       # read the older log files too: the usual rate of mail",
        '# zone = "Asia/Tokyo"  # of the times in the log, if it is not the zone of this machine',
        "# Elsewhere: one of these in place of path. A command must show the last lines again whenever it is",
        "# started, or nothing proves that none is missing. ssh reads rotated files, too (mxcutover[ssh]).",
        '# journal = ["postfix@-.service"]  # systemd units of this machine',
        '# command = ["ssh", "old", "timeout 900 tail -n 1000 -F /var/log/mail.log"]',
        '# ssh = { host = "mail.old.example", user = "watcher", path = "/var/log/mail.log" }',
    )


def _mx(known: Known) -> str:
    planned = tuple(f"{10 * n} {name}" for n, name in enumerate(known.new_mx, 1) if not name.startswith("*"))
    ttl = f", TTL {known.ttl} s" if known.ttl is not None else ""
    now = known.today or known.old_mx
    today = (f"# Today: {', '.join(map(printable, now))}{ttl}.",) if now else ()
    about = "# The MX records as they are to be after the change."
    return "\n".join((about, *today, "[mx]", _line("planned", planned, '["10 mx1.new.example"]')))


def _accounts(known: Known) -> str:
    about = """\
# The mailboxes to watch and to send test messages to. A secret is a reference, never a password:
#   "file:secrets/suga" (chmod 600)  "command:pass mail/suga"  "credential:NAME" (systemd)
#   "keyring:SERVICE/USER"  "prompt"  "oauth:google:FILE"  "oauth:microsoft:FILE" (no passwords there).
#   With other passwords on new: old_secret and new_secret.
# Many accounts: a CSV with a first line address,old_login,new_login,secret"""
    file = f"[accounts]\nfile = {quoted(known.accounts_file or 'accounts.csv')}"
    rows = [_account(address) for address in known.accounts]
    shown = file if known.accounts_file else _commented(file)
    example = [] if rows or known.accounts_file else [_commented(_account("suga@example.jp"))]
    return "\n\n".join((f"{about}\n{shown}", *rows, *example))


def _account(account: str) -> str:
    """``ADDRESS`` or ``ADDRESS=REFERENCE``; without a reference the password is asked for."""
    address, _, secret = account.partition("=")
    return (
        f"[[account]]\naddress = {quoted(address)}\n"
        f"# login = {quoted(address)}   # or old_login and new_login, where they differ\n"
        f"secret = {quoted(secret or 'prompt')}"
    )


def _commented(text: str) -> str:
    return "\n".join(f"# {line}" for line in text.splitlines())


def _dns(known: Known) -> str:
    found = "".join(f"\n#   {printable(server)}" for server in known.authorities)
    today = f" Today:{found}" if found else ""
    return f"""\
# Whom to ask. The authoritative servers are found by walking the delegation.{today}
[dns]
resolvers = {listed(known.resolvers)}  # the bundled list; "all": with access providers
# Add your own by address, or by URL: "https://dns.example/dns-query".
# authorities = ["203.0.113.1"]  # ask these instead of walking
# hints = ["198.51.100.53"]      # start the walk at these instead of the root servers"""


def _rest(known: Known) -> str:
    routes = [
        r for r, given in (("via-old", known.old_submission), ("via-new", known.new_submission)) if given
    ]
    return f"""\
# Test messages: through the old host, through the new, as an outside sender. "to-old" and "to-new" go
# straight to port 25 (with "to-old", only quiet time in which it was seen on old counts).
[canaries]
routes = {listed([*routes, "mx"])}
# sender = "canary@example.jp"  # else the account itself
# daily = 500                   # at most so many in 24 hours, over all routes
# For the route "relay:isp", through a third party's submission server:
# [relays.isp]
# host = "smtp.isp.example"
# login = "suga@isp.example"
# secret = "prompt"

# What is accepted as proof; these are the defaults.
[policy]
# quiet_for = "24h"        # the old host takes no mail for so long
# quiet_ceiling = "72h"    # so much quiet is enough without the share bound
# share_bound = 0.01       # at most this share of mail may still go to old …
# confidence = 0.95        # … with this confidence
# canary_streak = 3        # test messages in a row, on each route
# canary_deadline = "15m"  # later is lost
# freshness = "15m"        # older evidence is unknown
# settle_samples = 3       # new answers in a row, of each resolver
# quorum = 0.9             # this share of the resolvers' operators
# sensitivity = "2h"       # between two to-old messages seen on old
# old_ttl = "24h"          # the old records' TTL, if the watch begins after the change

# How often; these are the defaults.
[cadence]
# authority = 30
# resolver = 30
# canary = "5m"
# mailbox = 60
# log = 1
# coverage = 60
# queue = "5m"

# Where an address is really to be reached (tunnels, rehearsals): "192.0.2.10:25" = "127.0.0.1:2525"
# [endpoints]"""


def _line(key: str, given: tuple[str, ...], example: str) -> str:
    return f"{key} = {listed(given)}" if given else f"# {key} = {example}"
