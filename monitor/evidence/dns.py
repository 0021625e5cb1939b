"""What is known of authorities and resolvers: latest words, and how long each old answer was to be had."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TypeAlias

from monitor.evidence.caches import MOST, NEW_ENOUGH, TOLERANCE, Cache, Caches, Sample, draws_to_miss, rank
from monitor.evidence.delegation import Delegations, covers
from monitor.evidence.habits import Given, Signs
from monitor.evidence.names import Names, canonical
from monitor.evidence.touch import AUTHORITY, HORIZON
from monitor.snapshot import Leads
from monitor.verdict.answers import exchanges, host_name, judge_implicit, judge_mx
from probes.observation import AuthorityAnswer, Plan, ResolverAnswer, to_ms

USABLE = ("answer", "nodata", "nxdomain")
STALE = frozenset({3, 19})  # RFC 8914 sections 4.4 and 4.20: Stale Answer, Stale NXDOMAIN Answer
# RFC 8914 sections 4.5 and 4.16 to 4.19: forged, blocked, censored, filtered, prohibited. What a resolver
# answers in place of the domain's data says nothing about its caches.
BLOCKED = frozenset({4, 15, 16, 17, 18})
SAMPLES = 64
ADDRESSES = ("A", "AAAA")
Key: TypeAlias = "tuple[str, str]"  # name and type
HEARD = 256  # questions of one authority whose last answer is remembered
NEVER = 1 << 62
LED = 4096  # answers whose lead is remembered
ID_SERVER = "id.server."  # RFC 4892, class CH


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
    runs: dict[Key, list[Run]] = field(default_factory=dict)
    serving: dict[Key, tuple[tuple[str, ...], int]] = field(default_factory=dict)
    delegation: tuple[tuple[str, ...], int] | None = None  # the NS RRset that it gives, and its TTL
    moved: list[Run] = field(default_factory=list)  # NS RRsets that it gave before
    # By name and type: that there is no such address here, and when that ended; what validators refuse, why.
    absent: dict[Key, list[Run]] = field(default_factory=dict)
    bogus: dict[Key, tuple[int, str]] = field(default_factory=dict)
    sealed: str | None = None  # what a validator made of its last MX answer
    heard: dict[Key, tuple[object, ...]] = field(
        default_factory=dict
    )  # the last answers; when, the last of each

    def runs_any(self) -> bool:
        """Whether old data was ever seen here."""
        return any(self.runs.values())


@dataclass(slots=True)
class Resolver:
    """One recursive resolver: its latest answers, the caches behind it, what its old answers announced.

    ``hosts``: when the old addresses that it gave for planned exchanges run out; ``late``: those of them that
    it gave past that. ``draws``: usable answers
    since ``drawn_from``, when the last authority stopped to serve old. ``lingers``: how many new answers it
    still takes to believe that a nameless cache that overstayed is not merely missed. Times in ms.
    """

    samples: deque[Sample] = field(default_factory=lambda: deque(maxlen=SAMPLES))
    caches: Caches = field(default_factory=Caches)
    signs: Signs = field(default_factory=Signs)
    hosts: dict[tuple[str, str], int] = field(default_factory=dict)
    late: set[tuple[str, str]] = field(default_factory=set)
    last_old: Sample | None = None
    old_until: int = 0
    overstaying: int | None = None
    lingers: int = 0
    rtt_ms: float | None = None
    ede: tuple[int, ...] = ()
    last_outcome: str = ""
    last_at: int = 0
    draws: int = 0
    drawn_from: int | None = None


class Dns:
    """Folds DNS observations. The plan is the one in force.

    ``touched``: the requirements (:mod:`monitor.evidence.touch`) that what was folded may have moved; whoever
    judges sets it back. What a resolver's answers say of itself is not in it. ``ends``: the plan with
    :meth:`turned_at` and :meth:`gone_at` by it, as long as they hold; ask these.
    """

    def __init__(self) -> None:
        self.names = Names()
        self.authorities: dict[str, Authority] = {}
        self.resolvers: dict[str, Resolver] = {}
        self.records: dict[tuple[str, str], tuple[int, tuple[str, ...]]] = {}
        self.aliases: dict[str, tuple[int, str]] = {}  # exchanges, and the domain, that are one; seen when
        self.delegations = Delegations()
        self.first_sight: int | None = None
        self.resolver_outlived = False
        self.given = Given()
        self.touched = 0
        self.ends: tuple[Plan, int | None, int | None] | None = None
        self._led: dict[tuple[str, tuple[str, ...], str], Leads] = {}
        self._led_by: tuple[int, Plan | None] = (-1, None)
        self._given: dict[tuple[str, ...], int] | None = None

    def leads(self, source: str, rrset: tuple[str, ...], outcome: str, plan: Plan) -> Leads:
        """Where an answer of this source leads; remembered until an address or the plan is another one."""
        if self._led_by[0] != self.names.version or self._led_by[1] is not plan or len(self._led) >= LED:
            self._led, self._led_by = {}, (self.names.version, plan)
        key = (source, rrset, outcome)
        found = self._led.get(key)
        if found is None:
            found = self._led[key] = self._leads(source, rrset, outcome, plan)
        return found

    def _leads(self, source: str, rrset: tuple[str, ...], outcome: str, plan: Plan) -> Leads:
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
        self._learn(f"authority:{address}", seen, at)
        known = self.authorities.get(address)
        if known is None:
            known = self.authorities[address] = Authority()
        known.server = seen.server
        if not _said_again(known, seen, at, plan):
            self._moved()
        if host_name(seen.name) != host_name(plan.domain) or seen.type != "MX":
            self._beside(known, seen, at, plan)
            return None
        known.last_outcome, known.last_at, known.rtt_ms = seen.outcome, at, seen.rtt_ms
        self._seal(known, seen, at)
        known.serial = seen.serial if seen.serial is not None else known.serial
        known.sealed = seen.dnssec or known.sealed
        if not _has_data(seen):
            return None
        if self.first_sight is None:
            self.first_sight = at
        outcome = "answer" if seen.outcome == "bogus" else seen.outcome
        leads = self.leads(f"authority:{address}", seen.rrset, outcome, plan)
        self._serve(known, seen, at, old=leads not in NEW_ENOUGH)
        if seen.outcome == "bogus":  # validators refuse it, and all others go by it
            return leads if leads == "new" else None
        self.given.note(seen, address)
        if known.sample is None or at >= known.sample.at:
            if known.sample is None or known.sample.leads != leads:
                self._moved()
            known.sample = Sample(at, seen.rrset, seen.outcome, leads, at + seen.ttl * 1000)
        if leads in NEW_ENOUGH and known.first_new is None:
            known.first_new = at
        return leads

    def _moved(self) -> None:
        self.ends = self._given = None
        self.touched |= AUTHORITY | HORIZON

    def _learn(self, source: str, seen: AuthorityAnswer | ResolverAnswer, at: int) -> None:
        before = self.names.version
        self.names.learn(source, seen, at)
        if self.names.version != before:
            self.touched |= AUTHORITY

    def _seal(self, known: Authority, seen: AuthorityAnswer, at: int) -> None:
        """What validators refuse of it, until they would take it again."""
        key = (host_name(seen.name), seen.type)
        if seen.outcome == "bogus":
            known.bogus[key] = (at, seen.dnssec or "")
        elif seen.outcome in USABLE and seen.dnssec != "unchecked":
            known.bogus.pop(key, None)

    def _beside(self, known: Authority, seen: AuthorityAnswer, at: int, plan: Plan) -> None:
        """Whatever else an authority was asked for: hosts, the delegation, records that may name old."""
        name, apex = host_name(seen.name), host_name(plan.domain)
        self.delegations.hear(seen, at, plan.domain)
        if seen.type in ("NS", "DS", "SOA"):
            if seen.type == "NS" and covers(name, apex):
                self._delegation(known, seen, at)
            if seen.type == "SOA" and seen.serial is not None:
                known.serial = seen.serial
            return
        self._host(known, seen, at, plan)
        self._alias(seen, at, plan)
        if (name == apex or name.endswith(f".{apex}")) and seen.outcome in USABLE:
            self.records[name, seen.type] = (at, seen.rrset if seen.outcome == "answer" else ())

    def _alias(self, seen: AuthorityAnswer, at: int, plan: Plan) -> None:
        name = host_name(seen.name)
        if seen.type != "CNAME" or seen.outcome != "answer" or not seen.rrset:
            return
        if name == host_name(plan.domain) or self._in_play(name, plan):
            self.aliases[name] = (at, host_name(seen.rrset[0]))

    def _delegation(self, known: Authority, seen: AuthorityAnswer, at: int) -> None:
        """Where the delegation moves, caches may keep the old NS RRset for its TTL, and fetch from those
        servers; a parent's referral counts as much (RFC 9199 section 3.6)."""
        if seen.outcome not in ("answer", "referral") or not seen.rrset:
            return
        rrset = tuple(sorted(map(host_name, seen.rrset)))
        if known.delegation is not None and set(known.delegation[0]) - set(rrset):
            known.moved = [*known.moved[1 - SAMPLES :], Run(known.delegation[1] * 1000, at)]
        known.delegation = (rrset, seen.ttl)

    def gone(self, address: str, at: int) -> None:
        """A server that is to be asked no longer hands out nothing, for the horizon, from now on."""
        self.ends = None
        known = self.authorities.get(canonical(address))
        if known is None:
            return
        known.heard.clear()
        if known.delegation is not None and not self.delegations.left(known.server):
            known.moved.append(Run(known.delegation[1] * 1000, at))
        runs = [*known.runs.values(), *known.absent.values()]
        for run in (r for some in runs for r in some if r.ended is None):
            run.ended = at

    def _in_play(self, name: str, plan: Plan) -> bool:
        return any(name == exchange for _, exchange in exchanges(plan.expected_mx))

    def _host(self, known: Authority, seen: AuthorityAnswer, at: int, plan: Plan) -> None:
        """A and AAAA of the planned hosts are records in play: a host may keep its name and move."""
        if seen.type not in ADDRESSES or not self._in_play(host_name(seen.name), plan):
            return
        self._seal(known, seen, at)
        if _has_data(seen):
            old = any(canonical(a) in plan.old.addresses for a in seen.rrset)
            self._serve(known, seen, at, old=old)
            self._missing(known, seen, at)

    def _missing(self, known: Authority, seen: AuthorityAnswer, at: int) -> None:
        """That a planned host is not there is cached as well (RFC 2308), where it had no address at all."""
        name = host_name(seen.name)
        runs = known.absent.setdefault((name, seen.type), [])
        going_on = bool(runs) and runs[-1].ended is None
        if not seen.rrset:
            if not going_on:
                runs.append(Run(seen.ttl * 1000))
                del runs[:-SAMPLES]
            runs[-1].ttl_ms = max(runs[-1].ttl_ms, seen.ttl * 1000)
        elif going_on:
            other = ADDRESSES[seen.type == "A"]
            if known.serving.get((name, other), ((), 0))[0]:
                runs.pop()
            else:
                runs[-1].ended = at

    def _serve(self, known: Authority, seen: AuthorityAnswer, at: int, *, old: bool) -> None:
        """Extend, end or begin a run of old data; the same answer with another TTL is another run."""
        key = (host_name(seen.name), seen.type)
        now = (tuple(sorted(seen.rrset)), seen.ttl)
        runs = known.runs.setdefault(key, [])
        same, going_on = known.serving.get(key) == now, bool(runs) and runs[-1].ended is None
        if same and old == going_on:
            return
        known.serving[key] = now
        self._moved()
        if going_on:
            runs[-1].ended = at
        if old:
            runs.append(Run(seen.ttl * 1000))
            del runs[:-SAMPLES]

    # -- resolvers -------------------------------------------------------------------------------

    def resolver(self, seen: ResolverAnswer, plan: Plan) -> None:
        """Fold one resolver's answer."""
        at, known = to_ms(seen.at), self.resolvers.get(seen.resolver)
        if known is None:
            known = self.resolvers[seen.resolver] = Resolver()
        if seen.type != "MX" or host_name(seen.name) != host_name(plan.domain):
            self._learn(f"resolver:{seen.resolver}", seen, at)
            self._aside(known, seen, at, plan)
            return
        known.last_outcome, known.last_at, known.rtt_ms = seen.outcome, at, seen.rtt_ms
        known.ede = seen.ede
        if seen.outcome in USABLE and not (seen.ede and BLOCKED & set(seen.ede)):
            self._answered(known, self._sample(known, seen, at, plan), plan)

    def _sample(self, known: Resolver, seen: ResolverAnswer, at: int, plan: Plan) -> Sample:
        leads = self.leads(f"resolver:{seen.resolver}", seen.rrset, seen.outcome, plan)
        expires = at + seen.ttl * 1000
        if leads not in NEW_ENOUGH and _by_hosts(known, seen.rrset, plan):
            expires = max(known.hosts.values())
        return Sample(
            at, seen.rrset, seen.outcome, leads, expires, seen.cache,
            bool(seen.ede and STALE & set(seen.ede)), seen.ttl * 1000, int(seen.rtt_ms or 0),
        )  # fmt: skip

    def _answered(self, known: Resolver, sample: Sample, plan: Plan) -> None:
        turned = self.turned_at(plan)
        sample.over = sample.old and self._past(known, sample, plan)
        placed = known.caches.place(sample)
        known.signs.note(sample, placed, known.caches, self.given, turned)
        self._keep(known, sample, plan.policy.settle_samples)
        if turned is None or known.drawn_from != turned:
            known.draws, known.drawn_from = 0, turned
        if turned is not None and sample.at >= turned:
            known.draws += 1
        if sample.old:
            self._old(known, sample, placed.cache, plan)
        elif known.lingers and sample.at > (known.overstaying or 0):
            known.lingers -= 1

    def _keep(self, known: Resolver, sample: Sample, needed: int) -> None:
        """Samples stand in order of time; at one instant the unsafe one counts as the later."""
        known.samples.append(sample)
        long = known.samples.maxlen or SAMPLES
        if needed <= long and (len(known.samples) < 2 or known.samples[-2].at < sample.at):
            return
        if needed > long or rank(known.samples[-2]) > rank(sample):
            known.samples = deque(sorted(known.samples, key=rank), maxlen=max(long, needed))

    def _old(self, known: Resolver, sample: Sample, cache: Cache, plan: Plan) -> None:
        """What an old answer announces: when it must be gone, unless it is stale already."""
        if not self.resolver_outlived:
            self.outlives(sample, plan)
        if known.last_old is None or sample.at >= known.last_old.at:
            known.last_old = sample
        if sample.over:
            known.overstaying = sample.at
            known.lingers = draws_to_miss(len(known.caches.named(None))) if sample.cache is None else 0
        else:
            known.caches.announce(cache)
            known.old_until = max(known.old_until, sample.expires)

    def _past(self, known: Resolver, sample: Sample, plan: Plan) -> bool:
        """Whether an old answer is past the end that was announced, though nobody serves old any more.

        Where several caches are told apart, a later end may be another's of them, for as long as a
        well-behaved cache may have it; so long, too, a TTL that does not move hides the end.
        """
        if sample.stale:
            return True
        if _by_hosts(known, sample.rrset, plan):
            return bool(known.late)
        announced, turned = known.caches.announced.get(sample.cache), self.turned_at(plan)
        gone = (self.gone_at(plan) or 0) + TOLERANCE
        if announced is None or turned is None:
            return False
        if known.caches.hides_its_end(sample):
            return sample.at > gone
        longer = turned + TOLERANCE <= announced and sample.expires > announced + TOLERANCE + sample.slack
        if turned > announced or sample.at < announced + (0 if longer else TOLERANCE + 1):
            return False
        return known.caches.alone(sample) or sample.expires > gone

    def _aside(self, known: Resolver, seen: ResolverAnswer, at: int, plan: Plan) -> None:
        """Whatever else a resolver was asked for: its own name; addresses of the planned exchanges."""
        name = host_name(seen.name)
        if name == ID_SERVER and seen.outcome == "answer" and len(known.caches.identities) < MOST:
            known.caches.identities.update(seen.rrset[:1])
        in_play = any(name == exchange for _, exchange in exchanges(plan.expected_mx))
        if not in_play or seen.type not in ("A", "AAAA") or seen.outcome not in USABLE:
            return
        if not any(canonical(a) in plan.old.addresses for a in seen.rrset):
            known.hosts.pop((name, seen.type), None)
            known.late.discard((name, seen.type))
            return
        before, until = known.hosts.get((name, seen.type), 0), at + seen.ttl * 1000
        turned, gone = self.turned_at(plan), self.gone_at(plan) or 0
        past = turned is not None and turned <= before and at > before + TOLERANCE
        if past and until > gone + TOLERANCE:
            known.late.add((name, seen.type))
        else:
            known.hosts[name, seen.type] = max(before, until)
            known.old_until = max(known.old_until, until)

    def outlives(self, sample: Sample, plan: Plan) -> None:
        """A resolver shows more life than any authority gives this answer: its TTL was lowered lately.

        What an authority was seen to give before, for as long as a cache may have that, is given as well.
        """
        if self._given is None:
            self._given = {}
        most = self._given.get(sample.rrset)
        if most is None:
            given = [
                ttl for a in self.authorities.values() for (_, kind), (rrset, ttl) in a.serving.items()
                if kind == "MX" and set(rrset) == set(sample.rrset)
            ]  # fmt: skip
            most = self._given[sample.rrset] = max(given) * 1000 if given else NEVER
        if sample.ttl > most and not self._explained(sample, plan):
            self.resolver_outlived = True
            self.touched |= HORIZON

    def _explained(self, sample: Sample, plan: Plan) -> bool:
        key = (host_name(plan.domain), "MX")
        runs = (run for known in self.authorities.values() for run in known.runs.get(key, ()))
        return any(_explains(run, sample) for run in runs)

    # -- the horizon's ground --------------------------------------------------------------------

    def turned_at(self, plan: Plan) -> int | None:
        """When the last delegated address was seen to serve something else than old; None: not yet."""
        return self._ended(plan)[1]

    def gone_at(self, plan: Plan) -> int | None:
        """Until when a well-behaved cache may hold what those addresses served; None: they still do."""
        return self._ended(plan)[2]

    def _ended(self, plan: Plan) -> tuple[Plan, int | None, int | None]:
        """Both, kept until an authority says more or the plan is another one."""
        if self.ends is None or self.ends[0] is not plan:
            known = (self.authorities.get(address) for address in map(canonical, plan.authorities))
            runs = [run for k in known if k for runs in k.runs.values() for run in runs]
            ended = [(run.ended, run.ended + run.ttl_ms) for run in runs if run.ended is not None]
            if not ended or len(ended) < len(runs):
                self.ends = (plan, None, None)
            else:
                self.ends = (plan, max(e for e, _ in ended), max(g for _, g in ended))
        return self.ends


def _said_again(known: Authority, seen: AuthorityAnswer, at: int, plan: Plan) -> bool:
    """Whether it is the very answer that this address gave last, which was still fresh: nothing has moved."""
    key = (seen.name, seen.type)
    before = known.heard.get(key)
    if before is None and len(known.heard) >= HEARD:
        return False
    said = (seen.outcome, seen.rrset, seen.ttl, seen.dnssec, seen.server, plan)
    known.heard[key] = (*said, at)
    if before is None or before[:-1] != said:
        return False
    last = before[-1]
    return isinstance(last, int) and at - last < int(plan.policy.freshness * 1000)


def _has_data(seen: AuthorityAnswer) -> bool:
    """Whether it says what the name has; a bogus answer says it to those who do not validate."""
    return seen.outcome in USABLE or (seen.outcome == "bogus" and bool(seen.rrset))


def _explains(run: Run, sample: Sample) -> bool:
    """Whether a cache may have fetched this answer while an authority was seen to give it this TTL."""
    longest = run.ttl_ms + TOLERANCE
    return sample.ttl <= longest and (run.ended is None or sample.expires <= run.ended + longest)


def _by_hosts(known: Resolver, rrset: tuple[str, ...], plan: Plan) -> bool:
    """Whether an old answer is the planned set, so that its hosts' addresses alone make it old."""
    return bool(known.hosts) and exchanges(rrset) == exchanges(plan.expected_mx)
