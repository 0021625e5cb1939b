"""DNS: what every authoritative server serves, and what every resolver still believes."""

from __future__ import annotations

from collections.abc import Sequence

from monitor.dashboard.pane import Column, Table, heading
from monitor.dashboard.scene import Scene, age
from monitor.dashboard.text import Line, Part
from monitor.dashboard.theme import LEADS
from monitor.snapshot import AuthorityRow, ResolverRow, Snapshot

SIGNED = "remark.secure"
# The order in which resolvers need a look: those that hold up the verdict come first.
_URGENCY = {"old": 1, "mixed": 1, "other": 1, "none": 1, "differs": 2, "silent": 3, "new": 4}


def leads(row: AuthorityRow | ResolverRow, scene: Scene) -> Part:
    sign, style = LEADS[row.leads]
    if row.leads == "silent" and row.outcome not in ("answer", ""):
        return f"{sign} {row.outcome}", "warn"
    return f"{sign} {scene.ui(f'leads.{row.leads}')}", style


def answer(row: AuthorityRow | ResolverRow, scene: Scene) -> Part:
    return (", ".join(row.answer), "") if row.answer else (row.outcome, "dim")


def _asked(row: AuthorityRow | ResolverRow, scene: Scene) -> Part:
    fresh = scene.snapshot.plan.policy.freshness
    if row.asked_at is None:
        return scene.ui("never"), "warn"
    old = (scene.now - row.asked_at).total_seconds() > fresh
    return scene.since(row.asked_at) + ("!" if old else ""), "warn" if old else "dim"


def _number(value: float | None) -> Part:
    return ("–", "dim") if value is None else (f"{value:.0f}", "")


def _rtt(row: AuthorityRow | ResolverRow, scene: Scene) -> Part:
    return ("–", "dim") if row.rtt_ms is None else (f"{row.rtt_ms:.0f} ms", "dim")


def _authority(row: AuthorityRow, scene: Scene) -> Part:
    return (f"– {scene.ui('state.waived')}", "dim") if row.waived is not None else leads(row, scene)


def _remarked(row: AuthorityRow, scene: Scene) -> Part:
    """What is wrong with it comes before what it answers."""
    said = [scene.ui(remark.code, **remark.args) for remark in row.remarks if remark.code != SIGNED]
    text, style = answer(row, scene)
    return (" · ".join([*said, text]), "warn") if said else (text, style)


def _authorities_title(scene: Scene) -> Line:
    rows = scene.snapshot.authorities
    new = sum(row.leads == "new" for row in rows)
    notes: list[str | Part] = [scene.ui("authorities.new", n=new, of=len(rows))]
    if scene.snapshot.horizon is not None:
        at, left = scene.clock(scene.snapshot.horizon), scene.until(scene.snapshot.horizon)
        passed = scene.snapshot.horizon <= scene.now
        notes.append(scene.ui("horizon.passed", t=at) if passed else scene.ui("horizon", t=at, left=left))
    if any(remark.code == SIGNED for row in rows for remark in row.remarks):
        notes.append(scene.ui(SIGNED))
    notes += [
        (scene.ui("authorities.alias", name=name, target=target), "warn")
        for name, target in scene.snapshot.aliases
    ]
    return heading(scene.ui("title.authorities"), *notes)


AUTHORITIES = Table(
    columns=(
        Column(title="col.address", width=15, flex=1, most=39, cell=lambda r, s: (r.address, "bold")),
        Column(title="col.server", width=11, flex=2, most=40, cell=lambda r, s: (r.server, "")),
        Column(title="col.leads", width=10, cell=_authority),
        Column(title="col.ttl", width=6, align="right", cell=lambda r, s: _number(r.ttl)),
        Column(title="col.serial", width=10, align="right", cell=lambda r, s: _number(r.serial)),
        Column(title="col.asked", width=6, align="right", cell=_asked),
        Column(title="col.rtt", width=7, align="right", keep=90, cell=_rtt),
        Column(title="col.answer", width=10, flex=4, most=120, cell=_remarked),
    ),
    rows=lambda snapshot: snapshot.authorities,
    title=_authorities_title,
    find=lambda r: f"{r.address} {r.server} {r.leads} {r.outcome} {' '.join(r.answer)}",
    empty="empty.authorities",
)


def settled(row: ResolverRow, scene: Scene) -> Part:
    """The mark that decides: overstaying, settled, waived, or still to settle."""
    if row.waived is not None:
        return f"– {scene.ui('state.waived')}", "dim"
    if row.overstaying:
        return f"! {scene.ui('overstays')}", "bad"
    return (f"✓ {scene.ui('settled')}", "good") if row.settled else (f"○ {scene.ui('unsettled')}", "warn")


def _left(row: ResolverRow, scene: Scene) -> Part:
    if row.expires is None:
        return "–", "dim"
    over = (scene.now - row.expires).total_seconds()
    if row.overstaying and over > 0:
        return f"+{age(over)}", "bad"
    return scene.until(row.expires), "dim" if row.leads == "new" or over > 0 else "bold"


def _caches(row: ResolverRow, scene: Scene) -> Part:
    """How many caches were told apart behind the address; how many of them hold old, until when, by name."""
    if not row.caches:
        return "", ""
    behind = [cache for cache in row.caches if cache.holds_old(scene.now)]
    if not behind:
        return f"{len(row.caches)} ✓", "dim"
    ends = [cache.until for cache in behind if cache.until is not None and cache.until > scene.now]
    until = [scene.ui("until", t=scene.clock(max(ends)))] if ends else []
    names = [", ".join(cache.cache for cache in behind if cache.cache is not None)]
    return " ".join([f"{len(behind)}/{len(row.caches)} ✗", *until, *filter(None, names)]), "warn"


def _habits(row: ResolverRow, scene: Scene) -> Part:
    """What is proven of how it treats TTLs, and the Extended DNS Errors of its last answer."""
    words = [scene.ui(f"habit.{h.habit}", t=age(h.seconds or 0)) for h in row.habits]
    codes = [",".join(map(str, row.ede))] if row.ede else []
    return " ".join([*words, *codes]), "warn"


def _urgency(row: ResolverRow) -> tuple[int, bool, str, str]:
    first = 5 if row.waived is not None else 0 if row.overstaying else _URGENCY[row.leads]
    return first, row.settled, row.platform, row.resolver


def _by_urgency(snapshot: Snapshot) -> Sequence[ResolverRow]:
    return sorted(snapshot.resolvers, key=_urgency)


def _resolvers_title(scene: Scene) -> Line:
    rows = scene.snapshot.resolvers
    late = sum(row.overstaying for row in rows)
    silent = sum(row.leads == "silent" for row in rows)
    platforms = {row.platform for row in rows}
    lacking = {row.platform for row in rows if not row.settled and row.leads != "silent"}
    settled = {row.platform for row in rows if row.settled} - lacking
    counts = {"n": len(settled), "of": len(platforms), "addresses": len(rows)}
    notes: list[str | Part] = [scene.ui("resolvers.settled", **counts)]
    if late:
        notes.append((scene.ui("resolvers.late", n=late), "bad"))
    if silent:
        notes.append((scene.ui("resolvers.silent", n=silent), "warn"))
    return heading(scene.ui("title.resolvers"), *notes)


RESOLVERS = Table(
    columns=(
        Column(title="col.resolver", width=15, flex=2, most=39, cell=lambda r, s: (r.resolver, "bold")),
        Column(title="col.platform", width=9, flex=2, most=24, cell=lambda r, s: (r.platform, "")),
        Column(title="col.leads", width=9, cell=leads),
        Column(title="col.left", width=7, align="right", cell=_left),
        Column(title="col.asked", width=6, align="right", cell=_asked),
        Column(title="col.settled", width=10, cell=settled),
        Column(title="col.habits", width=6, flex=1, most=24, keep=100, cell=_habits),
        Column(title="col.rtt", width=7, align="right", keep=110, cell=_rtt),
        Column(title="col.caches", width=8, flex=3, most=40, cell=_caches),
        Column(title="col.answer", width=20, flex=4, most=60, keep=110, cell=answer),
    ),
    rows=_by_urgency,
    title=_resolvers_title,
    find=lambda r: f"{r.resolver} {r.platform} {r.leads} {r.outcome} {' '.join(r.answer)}",
    empty="empty.resolvers",
)
