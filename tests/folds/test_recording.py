"""A file is judged in order of time, in whatever order and dress its lines stand."""

from __future__ import annotations

import random
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from monitor import recording
from monitor.exits import Exit, Failure
from probes.observation import Observation, encode
from tests.folds.streams import streams
from tests.scenarios.world import World, cutover


def told(path: Path) -> list[object]:
    return [msgspec.to_builtins(j) for j in recording.replay(path)]


@given(streams(50), st.integers(0, 2**16), st.sampled_from((0, 200, 10**9)), st.booleans())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_shuffled_lines_change_nothing(
    tmp_path: Path, observations: list[Observation], seed: int, late: int, dressed: bool
) -> None:
    """``late``: how many seconds a line may come after later ones; ties stay in order. Some lines are written
    otherwise, with other zones, blanks or fields first."""
    chance, path = random.Random(seed), tmp_path / "record.jsonl"
    order = sorted(observations, key=lambda seen: seen.at.timestamp() + chance.uniform(0, late))
    ties = {at: iter([o for o in observations if o.at == at]) for at in {o.at for o in observations}}
    lines = [encode(next(ties[seen.at])) for seen in order]
    if dressed:
        lines = [chance.choice((bytes, spaced, turned, zoned))(line) for line in lines]
    path.write_bytes(b"\n".join(lines) + b"\n" * chance.randint(0, 2))
    wanted = [msgspec.to_builtins(j) for j in recording.judge(observations, "these")]
    assert told(path) == wanted


def spaced(line: bytes) -> bytes:
    return b"\n" + line.replace(b'":', b'": ', 1)


def turned(line: bytes) -> bytes:
    """The time last."""
    fields = msgspec.json.decode(line)
    at = fields.pop("at")
    return msgspec.json.encode(fields | {"at": at})


def zoned(line: bytes) -> bytes:
    return line.replace(b'Z"', b'+00:00"', 1)


def test_runs_on_disk_are_merged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "RUN", 2000)
    observations = cutover(World()).observations()
    path = tmp_path / "record.jsonl"
    path.write_bytes(b"".join(encode(seen) + b"\n" for seen in reversed(observations)))
    judged = [j["verdict"] for j in told(path)]  # type: ignore[index]
    assert judged[-1] == "safe"


def test_a_bad_line_is_named_in_any_order(tmp_path: Path) -> None:
    lines = [encode(seen) for seen in cutover(World(), until=60).observations()]
    for order in (lines, lines[::-1]):
        path = tmp_path / "record.jsonl"
        path.write_bytes(b"\n".join([*order, b'{"at":"2026-11-20T00:30:00.000Z","kind":"mail"}']))
        with pytest.raises(Failure, match=f"line {len(lines) + 1}: ") as found:
            told(path)
        assert found.value.code == Exit.BAD_DATA
