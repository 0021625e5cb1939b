"""A resolver's answer that differs from an earlier one in its time, its TTL and its round trip alone.

Most answers of a watch are such. What an answer of that form means is worked out once; what is left is where
its record stands, in the commonest of cases: the record that was seen last, or the one after it, of the only
cache that goes by its name. Everything else takes the long way, :meth:`Dns.resolver`, with the same result.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from monitor.evidence.caches import NEW_ENOUGH, TOLERANCE, Cache, Sample
from monitor.evidence.dns import SAMPLES, USABLE, Dns, Resolver
from monitor.evidence.habits import Key, key_of
from monitor.snapshot import Leads
from monitor.verdict.answers import host_name
from probes.observation import Observation, Plan, ResolverAnswer, from_ms, to_ms

MOST = 20_000  # forms remembered


Seen: TypeAlias = "tuple[int, Observation, int | None, float | None]"
"""One observation: its time in ms and itself; or its time, another answer of the same form, and its own TTL
and round trip (ms)."""


def seen(observation: Observation) -> Seen:
    return to_ms(observation.at), observation, None, None


def whole(one: Seen) -> Observation:
    """As the observation that it is."""
    at, what, ttl, rtt = one
    if ttl is None or not isinstance(what, ResolverAnswer):
        return what
    return replace(what, at=from_ms(at), ttl=ttl, rtt_ms=rtt)


class Form(Struct):
    """What all answers of one form have in common, as long as the plan and the hosts' addresses stay."""

    answer: ResolverAnswer
    known: Resolver
    plan: Plan
    version: int
    leads: Leads
    old: bool
    key: Key
    usual: int  # no TTL up to this (ms) proves a habit
    resolver: str
    rrset: tuple[str, ...]
    outcome: str
    cache: str | None


class Again:
    """Folds such answers into ``dns``."""

    def __init__(self, dns: Dns) -> None:
        self._dns = dns
        self._forms: dict[int, Form] = {}
        self._first: dict[tuple[object, ...], ResolverAnswer] = {}

    def fold_whole(self, seen: ResolverAnswer, plan: Plan) -> Form | None:
        """The same of an answer that comes as a whole."""
        key = (seen.resolver, seen.rrset, seen.cache, seen.outcome, seen.name, seen.type, seen.ede)
        first = self._first.get(key)
        if first is None:
            if len(self._first) >= MOST:
                self._first.clear()
            self._first[key] = seen
            return None
        return self.fold(first, to_ms(seen.at), seen.ttl, seen.rtt_ms, plan)

    def fold(self, answer: Observation, at: int, ttl: int, rtt: float | None, plan: Plan) -> Form | None:
        """The form of an answer that was folded; None where that has to be done the long way."""
        dns, form = self._dns, self._forms.get(id(answer))
        if form is None or form.answer is not answer or form.plan is not plan \
                or form.version != dns.names.version:  # fmt: skip
            form = self._form(answer, plan)
            if form is None:
                return None
        known, ms = form.known, ttl * 1000
        group: Sequence[Cache] = known.caches.groups.get(form.cache, ())
        if len(group) != 1 or not known.samples or at <= known.samples[-1].at:
            return None
        ends = dns.ends
        turned = ends[1] if ends is not None and ends[0] is plan else dns.turned_at(plan)
        if form.old and (turned is not None or known.hosts):
            return None
        sample = Sample(
            at, form.rrset, form.outcome, form.leads, at + ms, form.cache, False, ms, int(rtt or 0), False
        )
        after = _placed(group[0], sample)
        if after is None:
            return None
        self._keep(known, group[0], sample, form, after)
        known.last_outcome, known.last_at, known.rtt_ms, known.ede = form.outcome, at, rtt, ()
        if turned is None:
            known.draws, known.drawn_from = 0, None
        else:
            known.draws = known.draws + 1 if known.drawn_from == turned else 1
            known.drawn_from = turned
        return form

    def _form(self, answer: Observation, plan: Plan) -> Form | None:
        dns = self._dns
        if not isinstance(answer, ResolverAnswer):
            return None
        if answer.outcome not in USABLE or answer.ede or plan.policy.settle_samples > SAMPLES:
            return None
        known = dns.resolvers.get(answer.resolver)
        asked = answer.type == "MX" and host_name(answer.name) == host_name(plan.domain)
        if known is None or not asked:
            return None
        leads = dns.leads(f"resolver:{answer.resolver}", answer.rrset, answer.outcome, plan)
        if len(self._forms) >= MOST:
            self._forms.clear()
        key = key_of(answer.rrset)
        terms = dns.given.terms.get(key)
        usual = -1 if terms is None else terms.most + TOLERANCE  # an authority's TTLs only add to it
        form = Form(
            answer, known, plan, dns.names.version, leads, leads not in NEW_ENOUGH, key, usual,
            answer.resolver, answer.rrset, answer.outcome, answer.cache,
        )  # fmt: skip
        self._forms[id(answer)] = form
        return form

    def _keep(self, known: Resolver, cache: Cache, sample: Sample, form: Form, after: int) -> None:
        """``after``: the end of the record before it there; 0: it is the same one."""
        cache.answers += 1
        if sample.ttl > cache.longest:
            cache.longest = sample.ttl
        cache.sample = sample
        if form.cache is not None:
            known.caches.words[form.cache] = sample
        known.samples.append(sample)
        signs = known.signs
        telling = after or sample.ttl > form.usual or signs.flat or signs.life is not None
        if telling and form.outcome == "answer":
            signs.again(sample, self._dns.given, form.key, after)
        if form.old:
            known.last_old = sample
            known.caches.announce(cache)
            if sample.expires > known.old_until:
                known.old_until = sample.expires
            if not self._dns.resolver_outlived:
                self._dns.outlives(sample, form.plan)
        elif known.lingers:
            known.lingers -= 1


def _placed(cache: Cache, sample: Sample) -> int | None:
    """0: it is the record that was held already; else when that ran out, and this one is held now. None:
    neither is plain."""
    last = cache.sample
    if cache.steady or last.stale or last.over:
        return None
    before, slack = cache.expires, TOLERANCE + sample.slack
    same = last.rrset == sample.rrset and last.outcome == sample.outcome
    if same and -slack <= sample.expires - before <= slack:
        return 0
    if max(before, cache.seen + cache.shown) > sample.at or (
        not same and set(last.rrset) == set(sample.rrset)
    ):
        return None
    cache.hold(sample)
    return before
