"""Every step of every mail server's real log against what really happened in it."""

from __future__ import annotations

import re
from pathlib import Path
from random import Random

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from probes.mail.header import fields, first
from probes.mail.trace import Place, arrival
from probes.observation import Observation, now, to_ms
from probes.oldhost.follow import Follower
from tests.oldhost.formatlab import (
    EXAMPLE,
    LABS,
    SPLIT,
    Lab,
    clients,
    lines,
    names,
    parser,
    recent,
    refused,
    steps,
    truth,
)
from tests.oldhost.loglines import LAB, OLD, WRITTEN, facts, unread

EACH = pytest.mark.parametrize("lab", LABS, ids=lambda lab: lab.name)
# test_lab.py does the same for Postfix.
ONCE = pytest.mark.parametrize(
    "lab", [lab for lab in LABS if not lab.name.startswith("postfix")], ids=lambda lab: lab.name
)


@EACH
@pytest.mark.parametrize("domain", ["example.com", "split.example.com"])
def test_each_step_counts_as_it_must(lab: Lab, domain: str) -> None:
    log = parser(lab, domain)
    seen = log.feed(lines(lab), WRITTEN) + log.flush()
    expected = lab.example if domain == "example.com" else lab.split
    assert steps(lab, seen, domain) == {step: sorted(hits * lab.runs) for step, hits in expected.items()}
    assert unread(seen) == 0
    if domain == "example.com":
        assert refused(seen) == list(lab.rejected)


@EACH
def test_each_message_bears_the_client_that_handed_it_over(lab: Lab) -> None:
    rows, seen = truth(), parsed(lab, lines(lab))
    for step, found in clients(lab, seen).items():
        assert found <= ({None, "127.0.0.1"} if step == 17 else {rows[step]["client_ip"]})


def test_the_tables_count_what_the_ground_truth_counts() -> None:
    counted = {step for step, row in truth().items() if row["verdict"].startswith("COUNT")}
    apart = {5, 6}  # the canary and the null sender are told with an origin of their own, or as outside mail
    assert counted == (EXAMPLE.keys() | SPLIT.keys()) - apart
    for lab in LABS[3:]:
        others = set(lab.example) - EXAMPLE.keys()
        # qmail takes the unknown user's mail and bounces it; 17 is what the host posted to the domain itself.
        assert others <= ({3, 17} if lab.name == "qmail" else {17})
        assert (
            lab.name.startswith("haraka")
            or lab.name == "exim-rejectlog"
            or EXAMPLE.keys() <= lab.example.keys()
        )


def whole(lab: Lab, raw: list[bytes]) -> list[tuple[object, ...]]:
    log = parser(lab)
    return facts(log.feed(raw, WRITTEN) + log.flush())


@EACH
def test_history_read_as_one_text_tells_the_same(lab: Lab) -> None:
    raw = lines(lab) * 20  # a few are not worth the faster way
    log = parser(lab)
    seen = log.feed_text(b"".join(line + b"\n" for line in raw), WRITTEN) + log.flush()
    assert facts(seen) == whole(lab, raw)
    assert unread(seen) == 0


@ONCE
def test_a_stop_after_any_line_loses_nothing_and_tells_nothing_twice(lab: Lab) -> None:
    raw = lines(lab)
    expected = whole(lab, raw)
    for cut in range(len(raw) + 1):
        first, second = parser(lab), parser(lab)
        seen = first.feed(raw[:cut], WRITTEN)
        second.restore(msgspec.json.decode(msgspec.json.encode(first.state())))
        seen += second.feed(raw[cut:], WRITTEN) + second.flush()
        assert facts(seen) == expected, raw[cut - 1]


@EACH
def test_any_two_neighbouring_lines_the_other_way_round_change_nothing(lab: Lab) -> None:
    raw = lines(lab)
    expected = steps(lab, parsed(lab, raw), "example.com")
    for i in range(len(raw) - 1):
        swapped = [*raw[:i], raw[i + 1], raw[i], *raw[i + 2 :]]
        assert steps(lab, parsed(lab, swapped), "example.com") == expected, raw[i : i + 2]


@EACH
@given(seed=st.randoms(use_true_random=False))
@settings(max_examples=15, deadline=None)
def test_lines_that_come_up_to_three_places_late_change_nothing(lab: Lab, seed: Random) -> None:
    raw = lines(lab)
    order = sorted(range(len(raw)), key=lambda i: i + seed.uniform(0, 4))
    seen = parsed(lab, [raw[i] for i in order])
    assert steps(lab, seen, "example.com") == steps(lab, parsed(lab, raw), "example.com")


def parsed(lab: Lab, raw: list[bytes]) -> list[Observation]:
    log = parser(lab)
    return log.feed(raw, WRITTEN) + log.flush()


@ONCE
@given(data=st.data())
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_written_in_any_pieces_rotated_anywhere_and_read_with_any_stops(
    tmp_path: Path, lab: Lab, data: st.DataObject
) -> None:
    for old in tmp_path.iterdir():
        old.unlink()
    raw = recent(lab)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=5)))
    path = tmp_path / "mail.log"
    path.write_bytes(b"")
    log = parser(lab)
    one, seen = Follower(path, log, "old", 60, True, None), []
    for begin, end in zip([0, *cuts], [*cuts, len(raw)], strict=True):
        with path.open("ab") as file:
            file.write(raw[begin:end])
        seen += everything(one)
        what = data.draw(st.sampled_from(["on", "stop", "rotate"]))
        if what == "stop":
            kept = msgspec.json.decode(msgspec.json.encode(one.position()))
            one.close()
            log = parser(lab)
            one = Follower(path, log, "old", 60, True, kept)
        elif what == "rotate" and raw[end - 1 : end] == b"\n" and not path.with_name("mail.log.1").exists():
            path.rename(path.with_name("mail.log.1"))
            path.write_bytes(b"")
    seen += (
        everything(one) + everything(one) + log.flush()
    )  # what the host sent itself waits for its other half
    one.close()
    log = parser(lab)
    assert facts(seen) == facts(log.feed(raw.split(b"\n"), to_ms(now())) + log.flush())
    assert unread(seen) == 0


def everything(one: Follower) -> list[Observation]:
    seen: list[Observation] = []
    for _ in range(500):
        found, waits = one.look()
        seen += found or []
        if waits:
            return seen
    raise AssertionError("the log does not end")


SERVERS = {"postfix": "postfix-short"} | {
    one: one for one in ("exim", "sendmail", "opensmtpd", "courier", "qmail")
}


@pytest.mark.parametrize("server", SERVERS)
def test_a_message_bears_the_queue_id_that_its_received_field_shows(server: str) -> None:
    """So that the log's word of it and the mailbox's can be joined."""
    (lab,) = (one for one in LABS if one.name == SERVERS[server])
    section = (LAB / "received-headers.txt").read_bytes().split(b"##### ")
    headers = next(one for one in section if one.startswith(server.encode())).split(b"\n\n")
    place = Place(["oldhost.example.com"], [OLD], [], ["192.0.2.50"])
    shown: dict[int, set[str | None]] = {}
    for header in headers:
        those = fields(header[max(header.find(b"Return-"), 0) :])
        named = re.search(rb"Message-ID: <(?:real|spoof|list)-(\d+)@", header, re.I)
        if named is not None and first(those, "received"):
            shown.setdefault(int(named[1]), set()).add(arrival(those, place).queue_id)
    told = names(lab, parsed(lab, lines(lab)))
    assert len(shown) >= 3
    assert {step: told.get(step) for step in shown} == shown
