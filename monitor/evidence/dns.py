"""What is known of authorities and resolvers: latest words, and how long each old answer was to be had."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from monitor.evidence.names import Names, canonical
from monitor.snapshot import Leads
from monitor.verdict.answers import exchanges, host_name, judge_implicit, judge_mx
from probes.observation import AuthorityAnswer, Plan, ResolverAnswer, to_ms

USABLE = ("answer", "nodata", "nxdomain")
STALE = frozenset({3, 19})  # RFC 8914 sections 4.4 and 4.20: Stale Answer, Stale NXDOMAIN Answer
NEW_ENOUGH = ("new", "differs")
SAMPLES = 64


@dataclass(slots=True)
class Sample:
    """One usable answer for the domain's MX. ``expires`` is its ``at`` + TTL, in ms."""

    at: int
    rrset: tuple[str, ...]
    outcome: str
    leads: Leads
    expires: int
    cache: str | None = None
    stale: bool = False


@dataclass(slots=True)
class Run:
    """One old answer with one TTL at one address. ``ended``: when something else was seen there, in ms."""

    ttl_ms: int
    ended: int | None = None


@dataclass(slots=True)
class Authority:
    """One server address: its last usable answer, what it served before, whether it served new."""

    server: str = ""
    sample: Sample | None = None
    last_outcome: str = ""
    last_at: int = 0
    serial: int | None = None
    rtt_ms: float | None = None
    first_new: int | None = None
    runs: dict[tuple[str, str], list[Run]] = field(default_factory=dict)
    serving: dict[tuple[str, str], tuple[tuple[str, ...], int]] = field(default_factory=dict)
    delegation: tuple[tuple[str, ...], int] | None = None  # the NS RRset that it gives, and its TTL
    moved: list[Run] = field(default_factory=list)  # NS RRsets that it gave before

    def runs_any(self) -> bool:
        """Whether old data was ever seen here."""
        return any(self.runs.values())


@dataclass(slots=True)
class Resolver:
    """One recursive resolver: its latest answers, each cache's last word, what its old answers announced."""

    samples: deque[Sample] = field(default_factory=lambda: deque(maxlen=SAMPLES))
    caches: dict[str, Sample] = field(default_factory=dict)
    expiry: dict[str | None, int] = field(default_factory=dict)
    last_old: Sample | None = None
    old_until: int = 0
    overstaying: int | None = None
    rtt_ms: float | None = None
    ede: tuple[int, ...] = ()
    last_outcome: str = ""
    last_at: int = 0


class Dns:
    """Folds DNS observations. The plan is the one in force."""

    def __init__(self) -> None:
        self.names = Names()
        self.authorities: dict[str, Authority] = {}
        self.resolvers: dict[str, Resolver] = {}
        self.records: dict[tuple[str, str], tuple[int, tuple[str, ...]]] = {}
        self.first_sight: int | None = None
        self.resolver_outlived = False

    def leads(self, source: str, rrset: tuple[str, ...], outcome: str, plan: Plan) -> Leads:
        if outcome == "answer":
            return judge_mx(rrset, plan, lambda name: self.names.addresses(source, name))
        if outcome == "nodata":
            return judge_implicit(plan, self.names.addresses(source, host_name(plan.domain)))
        return "none"

    def now_leads(self, source: str, sample: Sample, plan: Plan) -> Leads:
        """Where the latest answer leads by what is known of its hosts by now."""
        return self.leads(source, sample.rrset, sample.outcome, plan)

    # -- authorities -----------------------------------------------------------------------------

    def authority(self, seen: AuthorityAnswer, plan: Plan) -> Leads | None:
        """Fold one authority's answer; returns where its MX leads, where it was one."""
        at, address = to_ms(seen.at), canonical(seen.address)
        self.names.learn(f"authority:{address}", seen, at)
        known = self.authorities.setdefault(address, Authority())
        known.server = seen.server
        if host_name(seen.name) != host_name(plan.domain) or seen.type != "MX":
            self._beside(known, seen, at, plan)
            return None
        known.last_outcome, known.last_at, known.rtt_ms = seen.outcome, at, seen.rtt_ms
        if seen.outcome not in USABLE:
            return None
        known.serial = seen.serial if seen.serial is not None else known.serial
        if self.first_sight is None:
            self.first_sight = at
        leads = self.leads(f"authority:{address}", seen.rrset, seen.outcome, plan)
        if known.sample is None or at >= known.sample.at:
            known.sample = Sample(at, seen.rrset, seen.outcome, leads, at + seen.ttl * 1000)
        if leads in NEW_ENOUGH and known.first_new is None:
            known.first_new = at
        self._serve(known, seen, at, old=leads not in NEW_ENOUGH)
        return leads

    def _beside(self, known: Authority, seen: AuthorityAnswer, at: int, plan: Plan) -> None:
        """Whatever else an authority was asked for: hosts, the delegation, records that may name old."""
        name, apex = host_name(seen.name), host_name(plan.domain)
        if seen.type == "NS":
            if name == apex:
                self._delegation(known, seen, at)
            return
        self._host(known, seen, at, plan)
        if (name == apex or name.endswith(f".{apex}")) and seen.outcome in USABLE:
            self.records[name, seen.type] = (at, seen.rrset if seen.outcome == "answer" else ())

    def _delegation(self, known: Authority, seen: AuthorityAnswer, at: int) -> None:
        """Where the delegation moves, caches may keep the old NS RRset for its TTL, and fetch from those
        servers; a parent's referral counts as much (RFC 9199 section 3.6)."""
        if seen.outcome not in ("answer", "referral") or not seen.rrset:
            return
        rrset = tuple(sorted(seen.rrset))
        if known.delegation is not None and known.delegation[0] != rrset:
            known.moved = [*known.moved[1 - SAMPLES :], Run(known.delegation[1] * 1000, at)]
        known.delegation = (rrset, seen.ttl)

    def _host(self, known: Authority, seen: AuthorityAnswer, at: int, plan: Plan) -> None:
        """A and AAAA of the planned hosts are records in play: a host may keep its name and move."""
        name = host_name(seen.name)
        in_play = any(name == exchange for _, exchange in exchanges(plan.expected_mx))
        if in_play and seen.type in ("A", "AAAA") and seen.outcome in USABLE:
            old = any(canonical(a) in plan.old.addresses for a in seen.rrset)
            self._serve(known, seen, at, old=old)

    def _serve(self, known: Authority, seen: AuthorityAnswer, at: int, *, old: bool) -> None:
        """Extend, end or begin a run of old data; the same answer with another TTL is another run."""
        key = (host_name(seen.name), seen.type)
        now = (tuple(sorted(seen.rrset)), seen.ttl)
        runs = known.runs.setdefault(key, [])
        same = known.serving.get(key) == now
        known.serving[key] = now
        if runs and runs[-1].ended is None:
            if old and same:
                return
            runs[-1].ended = at
        if old:
            runs.append(Run(seen.ttl * 1000))
            del runs[:-SAMPLES]

    # -- resolvers -------------------------------------------------------------------------------

    def resolver(self, seen: ResolverAnswer, plan: Plan) -> None:
        at, source = to_ms(seen.at), f"resolver:{seen.resolver}"
        self.names.learn(source, seen, at)
        known = self.resolvers.setdefault(seen.resolver, Resolver())
        if host_name(seen.name) != host_name(plan.domain) or seen.type != "MX":
            return
        known.last_outcome, known.last_at, known.rtt_ms = seen.outcome, at, seen.rtt_ms
        known.ede = seen.ede
        if seen.outcome not in USABLE:
            return
        leads = self.leads(source, seen.rrset, seen.outcome, plan)
        stale = bool(STALE & set(seen.ede))
        sample = Sample(at, seen.rrset, seen.outcome, leads, at + seen.ttl * 1000, seen.cache, stale)
        self._keep(known, sample)
        if leads not in NEW_ENOUGH:
            self._old(known, sample, plan)

    def _keep(self, known: Resolver, sample: Sample) -> None:
        """Samples stand in order of time; at one instant the unsafe one counts as the later."""
        known.samples.append(sample)
        if len(known.samples) > 1 and _rank(known.samples[-2]) > _rank(sample):
            known.samples = deque(sorted(known.samples, key=_rank), maxlen=SAMPLES)
        if sample.cache is not None:
            last = known.caches.get(sample.cache)
            if last is None or _rank(last) <= _rank(sample):
                known.caches[sample.cache] = sample

    def _old(self, known: Resolver, sample: Sample, plan: Plan) -> None:
        """What an old answer announces: when it must be gone, unless it is stale already."""
        announced = known.expiry.get(sample.cache)
        turned = self.turned_at(plan)
        if sample.stale or (
            announced is not None
            and turned is not None
            and turned <= announced
            and sample.at > announced + 2000
        ):
            known.overstaying = sample.at
        self._outlives(sample)
        known.expiry[sample.cache] = max(announced or 0, sample.expires)
        if known.last_old is None or sample.at >= known.last_old.at:
            known.last_old = sample
        if known.overstaying is None:
            known.old_until = max(known.old_until, sample.expires)

    def _outlives(self, sample: Sample) -> None:
        """A resolver shows more life than any authority gives this answer: its TTL was lowered lately."""
        given = [
            ttl for a in self.authorities.values() for (_, kind), (rrset, ttl) in a.serving.items()
            if kind == "MX" and set(rrset) == set(sample.rrset)
        ]  # fmt: skip
        if given and sample.expires - sample.at > max(given) * 1000:
            self.resolver_outlived = True

    # -- the horizon's ground --------------------------------------------------------------------

    def turned_at(self, plan: Plan) -> int | None:
        """When the last delegated address was seen to serve something else than old; None: not yet."""
        ends = [0]
        for address in map(canonical, plan.authorities):
            known = self.authorities.get(address)
            for run in (r for runs in known.runs.values() for r in runs) if known else ():
                if run.ended is None:
                    return None
                ends.append(run.ended)
        return max(ends) or None


def _rank(sample: Sample) -> tuple[int, bool]:
    return sample.at, sample.leads not in NEW_ENOUGH
