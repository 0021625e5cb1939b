"""Requirements 1 to 3: authority, horizon, resolvers (verdict.md)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import islice
from typing import Any

from monitor.evidence.caches import Sample, tally
from monitor.evidence.dns import Authority, Resolver
from monitor.evidence.names import canonical
from monitor.snapshot import Leads
from monitor.verdict.answers import host_name
from monitor.verdict.context import Context, found, when
from monitor.verdict.model import Finding, State

# Why validators refuse an answer, as probes tell it.
BOGUS = frozenset({"expired", "early", "unsigned", "no_key", "no_match", "forged", "no_denial", "costly"})


def authority(c: Context) -> Finding:
    """Every address of every authoritative server serves new, freshly."""
    judged, waived = c.authorities()
    if not judged:
        return found("authority", "unknown", "none", waived=waived)
    flawed, wrong, silent, since = [], [], [], 0
    for address in judged:
        known = c.evidence.dns.authorities.get(address)
        if (why := bogus(c, address)) is not None:
            flawed.append((address, why))
        elif known is None or known.sample is None or not c.fresh(known.sample.at):
            silent.append(address)
        elif (leads := c.evidence.dns.now_leads(f"authority:{address}", known.sample, c.plan)) != "new":
            wrong.append((address, leads))
        else:
            since = max(since, known.first_new or known.sample.at)
    if flawed:
        address, why = flawed[0]
        code = f"bogus_{why}" if why in BOGUS else "bogus"
        return found("authority", "unmet", code, waived=waived, server=address, others=len(flawed) - 1)
    if wrong:
        return _wrong(c, wrong, len(judged) - len(wrong) - len(silent), len(judged), waived)
    if silent:
        return found("authority", "unknown", "silent", waived=waived, servers=tuple(silent),
                     why=_outcomes(c, silent))  # fmt: skip
    state: State = "waived" if any(not _serves_new(c, canonical(w)) for w in waived) else "met"
    return found("authority", state, "met", waived=waived, good=len(judged), total=len(judged),
                 since=when(since))  # fmt: skip


def _wrong(
    c: Context, wrong: Sequence[tuple[str, Leads]], good: int, total: int, waived: list[str]
) -> Finding:
    """Those that are delegated come first; one that is so no longer must serve the new MX all the same."""
    address, leads = min(wrong, key=lambda one: left(c, one[0]))
    args: dict[str, Any] = {"server": address, "good": good, "total": total}
    if left(c, address) and leads in ("old", "mixed"):
        known = c.evidence.dns.authorities[address]
        until = c.evidence.dns.delegations.until(known.server)
        return found("authority", "unmet", "left", waived=waived, until=when(until), **args)
    args |= behind(c, address)
    return found("authority", "unmet", f"serves_{leads}", waived=waived, **args)


def bogus(c: Context, address: str) -> str | None:
    """Why validators refuse what a server says of the MX or of a planned exchange; None: nothing of late."""
    known = c.evidence.dns.authorities.get(address)
    return next((why for at, why in known.bogus.values() if c.fresh(at)), None) if known else None


def left(c: Context, address: str) -> bool:
    """Whether a server that is still to be asked is delegated no longer."""
    known = c.evidence.dns.authorities.get(address)
    return known is not None and c.evidence.dns.delegations.left(known.server)


def behind(c: Context, address: str) -> dict[str, int]:
    """Its serial and the newest of the domain's servers, where that is another one; else nothing."""
    known = (c.evidence.dns.authorities.get(canonical(a)) for a in c.plan.authorities)
    serials = [k.serial for k in known if k is not None and k.serial is not None]
    own = c.evidence.dns.authorities[address].serial
    newest = next((s for s in serials if not any(_less(s, other) for other in serials)), own)
    return (
        {"serial": own, "newest": newest} if own is not None and newest is not None and own != newest else {}
    )


def _less(a: int, b: int) -> bool:
    """RFC 1982 section 3.2: serials go round."""
    return 0 < (b - a) % 2**32 < 2**31


def _outcomes(c: Context, addresses: list[str]) -> tuple[str, ...]:
    known = (c.evidence.dns.authorities.get(address) for address in addresses)
    return tuple(
        sorted({k.last_outcome for k in known if k is not None and k.last_outcome not in ("", "answer")})
    )


def _serves_new(c: Context, address: str) -> bool:
    known = c.evidence.dns.authorities.get(address)
    return bool(known and known.sample and c.fresh(known.sample.at) and known.sample.leads == "new")


def horizon(c: Context) -> Finding:
    """The last moment at which a well-behaved cache may still hold an old answer has passed."""
    instants: list[int] = []
    open_runs: list[str] = []
    for address, known in c.evidence.dns.authorities.items():
        _authority_instants(c, address, known, instants, open_runs)
    open_runs.extend(_missing_here(c))
    if open_runs:
        return found("horizon", "unmet", "served", server=min(open_runs))
    unseen = not _seen_old(c) and not _unseen_old(c, instants)
    if unseen or not instants:
        return found("horizon", "unknown", "unseen")
    instants.extend(_lowered_late(c))
    instants.extend(_resolver_instants(c))
    c.horizon = max(instants)
    if c.now < c.due(c.horizon):
        return found("horizon", "unmet", "until", eta=c.horizon, until=when(c.horizon))
    return found("horizon", "met", "met", since=when(c.horizon))


def _authority_instants(
    c: Context, address: str, known: Authority, instants: list[int], open_runs: list[str]
) -> None:
    """Caches may have fetched an old answer until the address was next seen to serve something else; also
    a planned host's old address from its own zone's servers, which are none of the domain's."""
    absent = (run for runs in known.absent.values() for run in runs)
    over = [run for run in (*known.moved, *absent) if run.ended is not None]
    for runs in known.runs.values():
        for run in runs:
            if run.ended is not None:
                over.append(run)
            else:
                open_runs.append(address)
    ends = ((run.ended, run.ttl_ms) for run in over if run.ended is not None)
    instants.extend(c.evidence.shifted(ended + ttl, ended) for ended, ttl in ends)


def _missing_here(c: Context) -> list[str]:
    """Servers that still say that a planned host of the domain's own zone is not there, which others have."""
    authorities, below = c.evidence.dns.authorities, f".{host_name(c.plan.domain)}"
    lacking = [
        (address, name, kind)
        for address, known in authorities.items()
        for (name, kind), runs in known.absent.items()
        if runs and runs[-1].ended is None and f".{name}".endswith(below)
        and not any(known.serving.get((name, other), ((), 0))[0] for other in ("A", "AAAA"))
    ]  # fmt: skip
    there = {key for k in authorities.values() for key, (rrset, _) in k.serving.items() if rrset and lacking}
    return [address for address, name, kind in lacking if (name, kind) in there]


def _seen_old(c: Context) -> bool:
    return any(known.runs_any() for known in c.evidence.dns.authorities.values())


def _unseen_old(c: Context, instants: list[int]) -> bool:
    """The watch began after the change: only a stated old TTL gives a horizon."""
    firsts = [k.first_new for k in c.evidence.dns.authorities.values() if k.first_new is not None]
    if c.policy.old_ttl is None or not firsts:
        return False
    first = max(firsts)
    instants.append(c.evidence.shifted(first + int(c.policy.old_ttl * 1000), first))
    return True


def _lowered_late(c: Context) -> list[int]:
    """A lowered TTL counts only once it has been seen for ``old_ttl`` before the change."""
    first, change = c.evidence.dns.first_sight, c.evidence.change
    if first is None or change is None:
        return []
    old_ttl = 86400.0 if c.policy.old_ttl is None else c.policy.old_ttl
    suspect = c.policy.old_ttl is not None or c.evidence.dns.resolver_outlived
    end = c.evidence.shifted(first + int(old_ttl * 1000), first)
    return [end] if suspect and change - first < old_ttl * 1000 else []


def _resolver_instants(c: Context) -> list[int]:
    judged, _ = c.split("resolver", c.plan.resolvers)
    known = (c.evidence.dns.resolvers.get(r) for r in judged)
    return [c.evidence.shifted(k.old_until, _announced(k)) for k in known if k is not None and k.old_until]


def _announced(known: Resolver) -> int:
    """When the latest end of an old answer was told; 0 where a later answer has taken its place."""
    last = known.last_old
    return last.at if last is not None and last.expires >= known.old_until else 0


def resolvers(c: Context) -> Finding:
    """No listed resolver still answers old, and a quorum of the platforms is settled."""
    judged, waived = c.split("resolver", c.plan.resolvers)
    if not judged:
        return found("resolvers", "unknown", "none", waived=waived)
    states = {r: standing(c, c.evidence.dns.resolvers.get(r)) for r in judged}
    for wanted in ("overstaying", "old", "cache", "other"):
        bad = [r for r in judged if states[r][0] == wanted]
        if bad:
            return _unmet(c, wanted, bad, states, waived)
    dark = [r for r in judged if states[r][0] == "dark"]
    if dark:
        return found("resolvers", "unknown", "dark", waived=waived, resolver=dark[0])
    return _quorum(c, judged, waived, {r: s for r, (s, _) in states.items()})


def _unmet(
    c: Context, code: str, bad: list[str], states: dict[str, tuple[str, int | None]], waived: list[str]
) -> Finding:
    known = c.evidence.dns.resolvers[bad[0]]
    seen = _culprit(c, known) if code == "cache" else known.last_old or known.samples[-1]
    etas = [eta for _, eta in (states[r] for r in bad) if eta is not None]
    eta = max(etas) if code == "old" and len(etas) == len(bad) else None
    behind = tally(known.caches, c.now)
    told = len(known.caches) if behind.old and len(known.caches) > 1 else 0
    return found("resolvers", "unmet", code, eta=eta, waived=waived, resolver=bad[0], others=len(bad) - 1,
                 ago=(c.now - seen.at) / 1000, until=when(max(seen.expires, behind.until)),
                 cache=seen.cache or "?", caches=told, cleared=behind.new, holding=behind.old)  # fmt: skip


def _culprit(c: Context, known: Resolver) -> Sample:
    """The cache whose latest word is old, the latest of them."""
    behind = (s for s in known.caches.words.values() if _holds_old(s, c.evidence.change))
    return max(behind, key=lambda s: s.expires, default=known.samples[-1])


def resolver_state(c: Context, known: Resolver | None) -> str:
    """settled, old, other, cache, overstaying, dark, few (samples) or silent."""
    return standing(c, known)[0]


def standing(c: Context, known: Resolver | None) -> tuple[str, int | None]:
    """What one resolver's answers say: settled, old, other, cache, overstaying, dark, few or silent; and
    when time alone may change it."""
    if known is None or not known.samples:
        return "silent", None
    change = c.evidence.change
    last = known.samples[-1]
    if last.leads != "new":
        return _not_new(c, known, last, change)
    if known.overstaying == last.at or _lingers(known, change):
        return "overstaying", None
    if any(_holds_old(s, change) for s in known.caches.words.values()):
        return "cache", None
    if known.old_until > c.now:
        return "old", c.due(known.old_until)
    if not c.fresh(last.at):
        return "silent", None
    return ("settled" if _streak(c, known) >= c.policy.settle_samples else "few"), None


def _lingers(known: Resolver, change: int | None) -> bool:
    """Another cache's new answer does not show that the nameless one that overstayed has let go."""
    return known.lingers > 0 and known.overstaying is not None and known.overstaying >= (change or 0)


def _streak(c: Context, known: Resolver) -> int:
    """How many of the latest answers since the change are new, as far as they are asked for."""
    change, count = c.evidence.change, 0
    for sample in islice(reversed(known.samples), c.policy.settle_samples):
        if change is None or sample.at < change or sample.leads != "new":
            break
        count += 1
    return count


def _not_new(c: Context, known: Resolver, last: Sample, change: int | None) -> tuple[str, int | None]:
    if last.leads in ("differs", "other", "none"):
        return ("other" if c.fresh(last.at) or c.now < c.due(last.expires) else "dark"), None
    if known.overstaying is not None and known.overstaying >= (change or 0) and c.fresh(last.at):
        return "overstaying", None
    if c.now < c.due(last.expires) or c.fresh(last.at):
        return "old", last.expires if last.expires > c.now else None
    return "dark", None


def _holds_old(sample: Sample, change: int | None) -> bool:
    """A named cache's last word: old since the change, or old that was in force when the change was made."""
    return change is not None and sample.old and max(sample.at, sample.expires) >= change


def _quorum(c: Context, judged: list[str], waived: list[str], states: dict[str, str]) -> Finding:
    """Platforms, not addresses, are counted: one operator's addresses may be one cache."""
    platforms: dict[str, list[str]] = {}
    for resolver in judged:
        platforms.setdefault(c.plan.platforms.get(resolver, resolver), []).append(states[resolver])
    settled = sum("settled" in p and "few" not in p for p in platforms.values())
    few = sum("few" in p for p in platforms.values())
    total = len(platforms)
    args = {"settled": settled, "total": total, "needed": needed(total, c.policy.quorum)}
    if settled >= args["needed"] and settled:
        unsettled = any(standing(c, c.evidence.dns.resolvers.get(w))[0] != "settled" for w in waived)
        return found("resolvers", "waived" if unsettled else "met", "met", waived=waived, **args)
    if settled + few >= args["needed"] and few:
        return found("resolvers", "unmet", "few", waived=waived, **args)
    return found("resolvers", "unknown", "quorum", waived=waived, **args)


@lru_cache(maxsize=64)
def needed(total: int, quorum: float) -> int:
    """The smallest whole number of platforms that is at least the quorum's share."""
    return next((n for n in range(total + 1) if n >= quorum * total - 1e-9), total)
