"""A writer to be killed: prints each batch's number once it is kept. Arguments: journal, most batches."""

from __future__ import annotations

import sys
from pathlib import Path

from monitor.exits import Failure
from monitor.journal import Journal
from tests.journal.samples import answer, note, plan


def main(path: Path, most: int) -> int:
    journal = Journal.open(path, wait=5) if path.exists() else Journal.create(path, plan())
    print(journal.number, flush=True)
    for n in range(journal.number + 1, journal.number + 1 + most):
        batch = journal.keep([note(f"batch {n}"), answer(n), answer(n + 0.5, 1173)], {"position": n})
        assert batch is not None
        print(batch.number, flush=True)
    journal.close()
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(Path(sys.argv[1]), int(sys.argv[2])))
    except Failure as failure:
        print(failure, file=sys.stderr)
        sys.exit(failure.code)
