from __future__ import annotations

import ipaddress
from collections import Counter
from urllib.parse import urlsplit

import msgspec

from monitor.plan import resolvers
from probes.dns.catalogue import Entry, entries, public


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


def test_by_default_many_platforms_are_asked_and_none_of_them_much() -> None:
    asked = Counter(e.platform for e in public())
    assert len(public()) >= 60 and len(asked) >= 60 and max(asked.values()) <= 2
    assert all({"udp", "tcp"} <= set(e.transports) for e in public())
    assert all(asked[e.platform] == 1 for e in public() if e.kind == "operator")
    assert len({e.region for e in public()}) >= 8
    assert resolvers.public() == {e.address: e.platform for e in public()}
