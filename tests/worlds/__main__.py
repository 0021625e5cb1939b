"""``python -m tests.worlds``: plays worlds and prints the table; writes the files of one world."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

from probes.observation import encode
from tests.worlds.kinds import kinds
from tests.worlds.score import Score, numbered, play_named, summary
from tests.worlds.table import by_kind, table
from tests.worlds.truth import truth_of
from tests.worlds.watching import record
from tests.worlds.world import build


def main(arguments: Sequence[str] | None = None) -> int:
    given = _arguments().parse_args(arguments)
    if given.write:
        return write(given.write, given.seed, Path(given.to))
    began, cpu = time.perf_counter(), time.process_time()
    scores = _play(given.worlds, given.seed, given.kind, given.jobs)
    figures = summary(scores)
    if given.json:
        print(json.dumps(figures, indent=1))
    else:
        print(f"python -m tests.worlds --worlds {given.worlds} --seed {given.seed}\n")
        print(table(figures))
        print(by_kind(scores))
    seconds, own = time.perf_counter() - began, time.process_time() - cpu
    print(f"{len(scores)} worlds in {seconds:.0f} s ({own:.0f} s of this process)", file=sys.stderr)
    for score in (s for s in scores if s.false):
        print(
            f"false safe: --write {score.kind}-{score.number} {score.rows['mxcutover'].reasons}",
            file=sys.stderr,
        )
    return 1 if figures["rules"]["mxcutover"]["false"] else 0


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.worlds", description=__doc__)
    parser.add_argument("--worlds", type=int, default=500, metavar="N")
    parser.add_argument("--seed", type=int, default=1, metavar="S")
    parser.add_argument("--kind", choices=[kind.name for kind in kinds()], help="only worlds of this kind")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="processes")
    parser.add_argument("--json", action="store_true", help="the figures instead of the table")
    parser.add_argument(
        "--write", metavar="KIND-NUMBER", help="write this world's record and truth, play nothing"
    )
    parser.add_argument("--to", default=".", metavar="FOLDER")
    return parser


def _play(worlds: int, seed: int, kind: str | None, jobs: int) -> list[Score]:
    if kind is not None:
        chosen = [(kind, number) for number in range(worlds)]
    else:
        chosen = [(one.name, number) for one, number in numbered(worlds)]
    one = partial(play_named, seed)
    if jobs == 1:
        return [one(which) for which in chosen]
    with ProcessPoolExecutor(jobs) as pool:
        return list(pool.map(one, chosen, chunksize=20))


def write(name: str, seed: int, folder: Path) -> int:
    """``NAME.jsonl`` for ``mxcutover replay``, and ``NAME.truth.json``."""
    stem, _, number = name.rpartition("-")
    kind = next((kind for kind in kinds() if kind.name == stem), None)
    if kind is None or not number.isdigit():
        print(
            f"{name}: not KIND-NUMBER with one of these kinds: {', '.join(k.name for k in kinds())}",
            file=sys.stderr,
        )
        return 2
    world = build(kind, seed, int(number))
    seen, post, known = record(world)
    truth = truth_of(world, post, known)
    lines = [encode(one) for one in seen]
    if world.watch.shuffled:
        world.chance.shuffle(lines)
    (folder / f"{name}.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    (folder / f"{name}.truth.json").write_text(json.dumps(truth.as_json(), indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
