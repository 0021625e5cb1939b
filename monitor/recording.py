"""A recorded cutover from a JSON Lines file: read whole, put in order of time, judged again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from monitor.exits import Exit, Failure
from monitor.verdict.judge import Judge
from monitor.verdict.model import Judgement
from probes.observation import BadObservation, Observation, Plan, read_lines


def read(path: Path) -> list[Observation]:
    """Observations in order of ``at``, ties in file order. Raises ``Failure`` 65 or 74."""
    try:
        with path.open("rb") as lines:
            observations = list(read_lines(lines))
    except BadObservation as bad:
        raise Failure(f"{path}, {bad}; mend or remove that line", Exit.BAD_DATA) from None
    except OSError as error:
        raise Failure(f"{path} cannot be read: {error.strerror}", Exit.IO) from None
    observations.sort(key=lambda seen: seen.at)
    return observations


def judge(observations: list[Observation], source: str) -> Iterator[Judgement]:
    """Every judgement that changed something, and the last one. Raises ``Failure`` 65 without a plan."""
    plan = next((seen for seen in observations if isinstance(seen, Plan)), None)
    if plan is None:
        raise Failure(f"{source} holds no plan; its first line must be one", Exit.BAD_DATA)
    yield from Judge(plan).run(observations)
