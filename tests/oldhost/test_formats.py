"""Every step of every mail server's real log against what really happened in it."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from probes.observation import Observation, now, to_ms
from probes.oldhost.follow import Follower
from tests.oldhost.formatlab import LABS, Lab, lines, parser, recent, refused, steps
from tests.oldhost.loglines import WRITTEN, facts, unread

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


def whole(lab: Lab, raw: list[bytes]) -> list[tuple[object, ...]]:
    log = parser(lab)
    return facts(log.feed(raw, WRITTEN) + log.flush())


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


@ONCE
def test_any_two_neighbouring_lines_the_other_way_round_change_nothing(lab: Lab) -> None:
    raw = lines(lab)
    expected = steps(lab, parsed(lab, raw), "example.com")
    for i in range(len(raw) - 1):
        swapped = [*raw[:i], raw[i + 1], raw[i], *raw[i + 2 :]]
        assert steps(lab, parsed(lab, swapped), "example.com") == expected, raw[i : i + 2]


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
