"""Beside the verdict: what switching old off would still break (verdict.md, last section). Blocks nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import ip_address, ip_network

from monitor.evidence.names import canonical
from monitor.verdict.answers import host_name, named
from monitor.verdict.context import Context
from monitor.verdict.ledger import rare
from monitor.verdict.model import LooseEnd, SenderRow
from probes.observation import from_ms

MOST = 50  # of each kind; more of them tell nobody more
_TOKENS = re.compile(r"[\s,;=\"']+")


def loose_ends(c: Context, senders: tuple[SenderRow, ...]) -> tuple[LooseEnd, ...]:
    """Everything known of them at ``c.now``, and what cannot be told for lack of observations.

    ``senders``: the ledger of then.
    """
    kinds = (_use(c), _queue(c), _records(c), _senders(c, senders), _unobserved(c))
    return tuple(end for kind in kinds for end in list(kind)[:MOST])


def _use(c: Context) -> Iterator[LooseEnd]:
    """People who read or submit through old, since the change where there was one; last login first."""
    since = c.evidence.change or 0
    logins = [(at, account, service) for (side, account, service), at in c.evidence.use.items()
              if side == "old" and since <= at <= c.now]  # fmt: skip
    for at, account, service in sorted(logins, reverse=True):
        args = {"account": account, "service": service, "last": from_ms(at)}
        yield LooseEnd(kind="use", subject=account, code="loose.use", args=args, last=from_ms(at))


def _queue(c: Context) -> Iterator[LooseEnd]:
    at, messages, oldest = c.evidence.queue.get("old", (0, 0, 0))
    if messages:
        args = {"count": messages, "oldest": from_ms(oldest)}
        yield LooseEnd(kind="queue", subject="old", code="loose.queue", args=args, last=from_ms(at))


# -- records -------------------------------------------------------------------------------------


def _records(c: Context) -> Iterator[LooseEnd]:
    for (name, kind), (at, rrset) in sorted(c.evidence.dns.records.items()):
        for rdata in rrset:
            if kind == "TXT" and "v=STSv1" in rdata:
                code, args = "loose.mta_sts", {"name": name}
            elif names_old(c, rdata):
                code, args = "loose.record", {"name": name, "type": kind, "rdata": rdata}
            else:
                continue
            yield LooseEnd(kind="record", subject=f"{name} {kind}", code=code, args=args, last=from_ms(at))


def names_old(c: Context, rdata: str) -> bool:
    """Whether a record's data holds a name or an address of old that is not new's as well."""
    return any(_of_old(c, token) for token in _TOKENS.split(rdata) if token)


def _of_old(c: Context, token: str) -> bool:
    word = token.lstrip("+-~?")
    mechanism, colon, value = word.partition(":")
    if mechanism.lower() in ("ip4", "ip6"):  # SPF's own forms (RFC 7208 section 5.6)
        return _holds_old(c, value)
    if colon and mechanism.lower() in ("a", "mx", "include", "redirect", "exists"):
        word = value
    try:
        address = canonical(str(ip_address(word)))
    except ValueError:
        name = host_name(word.partition("/")[0])
        return "." in name[:-1] and named(name, c.plan.old) and not named(name, c.plan.new)
    return address in map(canonical, c.plan.old.addresses) and not _is_new(c, address)


def _holds_old(c: Context, network: str) -> bool:
    try:
        net = ip_network(network, strict=False)
    except ValueError:
        return False
    olds = [ip_address(a) for a in c.plan.old.addresses if not _is_new(c, canonical(a))]
    return any(address in net for address in olds if address.version == net.version)


def _is_new(c: Context, address: str) -> bool:
    return address in map(canonical, c.plan.new.addresses)


# -- senders and what is not known ----------------------------------------------------------------


def _senders(c: Context, rows: tuple[SenderRow, ...]) -> Iterator[LooseEnd]:
    """Who wrote so rarely before the change that silence since says nothing yet, and who is overdue."""
    first = min((t.at for t in c.hits if t.origin == "outside"), default=0)
    history = ((c.evidence.change or 0) - first) / 1000
    for row in sorted(rows, key=lambda row: row.last_before, reverse=True):
        scarce = rare(row, history)
        if row.state not in ("silent", "overdue") or not (scarce or row.state == "overdue"):
            continue
        code = "loose.sender" if scarce else "loose.sender_overdue"
        args = {"client": row.who, "count": row.before, "last": row.last_before, "gap": row.gap,
                "expected": row.expected}  # fmt: skip
        yield LooseEnd(kind="sender", subject=row.who, code=code, args=args, last=row.last_before)


def _unobserved(c: Context) -> Iterator[LooseEnd]:
    """Where one of them can't be observed, that is said."""
    known = {
        "use": "log:old" in c.evidence.mail.covered or bool(c.evidence.use),
        "queue": "old" in c.evidence.queue,
        "records": bool(c.evidence.dns.records),
        "domains": False,
    }
    for what, observed in known.items():
        if not observed:
            yield LooseEnd(kind="unobserved", subject=what, code=f"loose.unobserved_{what}")
