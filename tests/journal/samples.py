"""Observations for tests: a plan, a few fixed ones, and every kind at random."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import strategies as st

from probes.observation import (
    AccountState,
    AuthorityAnswer,
    CanaryLanded,
    CanarySent,
    Coverage,
    Hosts,
    Mail,
    Observation,
    Operator,
    Plan,
    Policy,
    Queue,
    ResolverAnswer,
    Skip,
    Use,
    Watcher,
)  # fmt: skip

T0 = datetime(2026, 11, 20, tzinfo=UTC)


def plan(at: datetime = T0) -> Plan:
    return Plan(
        at=at,
        version=1,
        domain="example.jp.",
        old=Hosts(mx=("mail.example.jp.",), addresses=("192.0.2.10",)),
        new=Hosts(mx=("mx1.new.example.",), addresses=("198.51.100.20",)),
        expected_mx=("10 mx1.new.example.",),
        authorities=("203.0.113.1",),
        resolvers=("8.8.8.8",),
        routes=("via-old", "mx"),
        accounts=("suga@example.jp",),
        policy=Policy(),
    )


def answer(
    seconds: float, ttl: int = 1174, rrset: str = "10 mail.example.jp.", rtt: float = 8.1
) -> Observation:
    return ResolverAnswer(
        at=T0 + timedelta(seconds=seconds),
        resolver="8.8.8.8",
        transport="udp",
        name="example.jp.",
        type="MX",
        outcome="answer",
        cache="gpdns-nrt",
        ede=(),
        rrset=(rrset,),
        ttl=ttl,
        rtt_ms=8.1,
    )


def note(text: str, at: datetime = T0) -> Operator:
    return Operator(at=at, action="note", subject="", reason=text)


times = st.datetimes(datetime(1990, 1, 1), datetime(2090, 1, 1), timezones=st.just(UTC))
text = st.text(st.characters(exclude_categories=("Cs",)), max_size=30)
some = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=30)
maybe = st.none() | text
counts = st.integers(0, 2**31)
rtts = st.none() | st.floats(0, 1e5) | st.integers(0, 10**7).map(lambda us: us / 1000)
ttls = st.sampled_from([0, 1, 60, 3600]) | st.integers(0, 2**32 - 1)
exchanges = st.tuples(st.integers(0, 65535), st.sampled_from(["a.example.", "b.example."]))
rrsets = st.lists(exchanges.map(lambda e: f"{e[0]} {e[1]}"), max_size=3).map(tuple)
outcomes = st.sampled_from(["answer", "nodata", "servfail", "timeout", "bogus", "lame"])
sides = st.sampled_from(["old", "new"])
routes = st.sampled_from(["via-old", "via-new", "to-old", "mx", "mx:8.8.8.8", "relay:x"])
base = {"at": times, "vantage": st.just("local") | some}
few = st.sampled_from(["203.0.113.1", "203.0.113.2"])

authority_answers = st.builds(
    AuthorityAnswer, **base, server=text, address=few, transport=st.just("udp"), name=some,
    type=st.sampled_from(["MX", "A", "SOA"]), outcome=outcomes, rrset=rrsets, ttl=ttls,
    serial=st.none() | counts, aa=st.booleans(), rtt_ms=rtts,
    dnssec=st.none() | st.sampled_from(["secure", "expired"]),
)  # fmt: skip
resolver_answers = st.builds(
    ResolverAnswer, **base, resolver=few, transport=st.just("udp"), name=some,
    type=st.sampled_from(["MX", "A"]), outcome=outcomes, cache=maybe,
    ede=st.lists(st.integers(0, 99), max_size=2).map(tuple), rrset=rrsets, ttl=ttls, rtt_ms=rtts,
)  # fmt: skip
coverages = st.builds(
    lambda at, vantage, begin, length, count: Coverage(
        at=at, vantage=vantage, source="log:old", from_=begin, to=begin + timedelta(seconds=length),
        not_understood=count,
    ),
    times, some, times, st.integers(0, 300), counts,
)  # fmt: skip
observations = st.one_of(
    authority_answers,
    resolver_answers,
    st.builds(plan, times),
    st.builds(
        CanarySent, **base, canary=some, route=routes, recipient=text,
        outcome=st.sampled_from(["accepted", "rejected"]), host=maybe, address=maybe, reply=maybe,
    ),
    st.builds(
        CanaryLanded, **base, canary=some, side=sides, account=text, folder=text, protocol=text,
        latency_ms=st.floats(-1e6, 1e9), hops=st.lists(text, max_size=3).map(tuple),
        auth=st.none() | st.dictionaries(text, text, max_size=2),
    ),
    st.builds(AccountState, **base, side=sides, account=some, state=st.just("ok"), detail=text),
    st.builds(Skip, **base, subject=some, reason=text),
    st.builds(
        Mail, **base, side=sides, accepted_at=times, source=st.just("log"), recipient=text, message_id=maybe,
        client=maybe, helo=maybe, origin=st.just("outside"), disposition=st.just("relayed"), queue_id=maybe,
        digest=maybe,
    ),
    st.builds(Use, **base, side=sides, account=some, service=st.just("imap"), client=maybe, seen_at=times),
    st.builds(Queue, **base, side=sides, messages=counts, oldest_at=times),
    coverages,
    st.builds(Watcher, **base, event=st.just("clock"), detail=text),
    st.builds(Operator, **base, action=st.just("note"), subject=text, reason=text),
)  # fmt: skip
