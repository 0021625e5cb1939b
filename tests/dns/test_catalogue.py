from __future__ import annotations

import ipaddress
from collections import Counter
from urllib.parse import urlsplit

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.plan import resolvers
from monitor.plan.mistakes import Wrong
from probes.dns.catalogue import Entry, entries, entries_of, everyone, public
from probes.dns.via import Place, doh, dot


def test_the_list_is_large_and_no_address_stands_in_it_twice() -> None:
    addresses = [ipaddress.ip_address(e.address) for e in entries()]
    assert len(addresses) == len(set(addresses)) >= 120
    assert len({e.platform for e in entries()}) >= 60
    assert all(a.is_global and not a.is_multicast for a in addresses)
    assert [str(a) for a in addresses] == [e.address for e in entries()], "canonical (RFC 5952)"


def test_each_field_is_one_of_its_words() -> None:
    for entry in entries():
        assert msgspec.convert(msgspec.to_builtins(entry), Entry) == entry
        assert entry.operator and entry.platform and entry.region
        assert entry.transports and set(entry.transports) <= {"udp", "tcp", "dot", "doh"}
        assert ("doh" in entry.transports) == bool(entry.doh_url)
        assert ("dot" in entry.transports) == bool(entry.dot_name)
        if entry.doh_url:
            url = urlsplit(entry.doh_url)
            assert url.scheme == "https" and url.hostname and not url.query and not url.username


def test_by_default_only_those_are_asked_who_offer_themselves_to_the_public() -> None:
    asked = Counter(e.platform for e in public())
    assert len(asked) >= 35 and max(asked.values()) <= 2
    assert all(e.kind == "public" and e.filtering != "family" for e in public())
    assert all(e.plain or e.encrypted for e in public())
    assert len({e.region for e in public()}) >= 6
    assert {e.id for e in public() if e.country == "JP"} == {"https://public.dns.iij.jp/dns-query"}
    assert resolvers.public() == resolvers.named("public") == {e.id: e.platform for e in public()}


def test_all_is_one_address_more_of_every_other_platform() -> None:
    everybody = everyone()
    assert everybody[: len(public())] == public()
    assert len({e.id for e in everybody}) == len(everybody)
    others = Counter(e.platform for e in everybody[len(public()) :])
    assert set(others.values()) == {1} and not set(others) & {e.platform for e in public()}
    assert len({e.platform for e in everybody}) == len({e.platform for e in entries()}) >= 60
    assert resolvers.named("all") == {e.id: e.platform for e in everybody}


def test_an_entry_says_by_which_names_and_ways_it_is_asked() -> None:
    google, iij = entries_of("8.8.8.8")[0], entries_of("https://public.dns.iij.jp/dns-query")[0]
    assert (google.id, google.plain) == ("8.8.8.8", True)
    assert google.encrypted == (doh("https://dns.google/dns-query"), dot("dns.google"))
    assert (iij.id, iij.plain, iij.address) == (iij.doh_url, False, "103.2.57.5")
    assert entries_of("192.0.2.1") == ()
    assert {e.id for e in entries()} <= {i for e in entries() for i in (e.address, e.doh_url)}


@pytest.mark.parametrize(
    ("written", "resolver"),
    [
        ("https://DNS.Google/dns-query{?dns}", {"https://dns.google/dns-query": "google"}),
        ("HTTPS://日本.jp:443/dns", {"https://xn--wgv71a.jp/dns": ""}),
        ("https://[2001:DB8::1]:8443/q?key=1", {"https://[2001:db8::1]:8443/q?key=1": ""}),
        ("2001:4860:4860:0::8888", {"2001:4860:4860::8888": "google"}),
        ("192.0.2.1", {"192.0.2.1": ""}),
    ],
)
def test_a_plan_names_resolvers_by_address_or_url(written: str, resolver: dict[str, str]) -> None:
    assert resolvers.named(written) == resolver
    assert resolvers.named(next(iter(resolver))) == resolver, "one form, and it reads as itself"


@given(st.text(max_size=40) | st.from_regex(r"https?://[ -~]{0,40}"))
def test_what_is_no_resolver_is_said_and_never_asked(written: str) -> None:
    try:
        (found,) = (*resolvers.named(written),) if written not in ("public", "all") else ("192.0.2.1",)
    except Wrong:
        return
    assert found.isascii() and found.isprintable() and not set(found) & set(' "<>\\@#')
    if "://" in found:
        place = Place.of(found)
        assert place.host and 0 < place.port < 65536
    else:
        ipaddress.ip_address(found)


@pytest.mark.parametrize(
    "written",
    ["http://dns.google/dns-query", "https://user@dns.google/", "https:///dns-query", "https://x/\x1b[31m",
     "https://x/a b", "https://x/#f", "https://x:0/", "https://x:65536/", "https://" + "a" * 600,
     "8.8.8.8:53"],
)  # fmt: skip
def test_these_are_refused(written: str) -> None:
    with pytest.raises(Wrong):
        resolvers.named(written)
