"""Mail against its peers in one table: ``python -m tests.benchmarks.mail [--small] [--json] [PART…]``.

The parts: ``log`` (the old log's history), ``mailboxes`` (many of them watched). ``--small`` (CI) measures
less, once, and fails for wrong results only: bars are for machines that do nothing else.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import sys

import msgspec

from tests.benchmarks.mail.part import Part

PARTS = ("log", "mailboxes")


def present() -> list[str]:
    return [name for name in PARTS if importlib.util.find_spec(f"tests.benchmarks.mail.{name}")]


def measured(names: list[str], small: bool) -> dict[str, Part]:
    """Each part's module has ``run(small) -> Part``."""
    return {name: importlib.import_module(f"tests.benchmarks.mail.{name}").run(small) for name in names}


def show(parts: dict[str, Part]) -> None:
    for part in parts.values():
        print("\n".join([*part.lines, ""]))
        for name, bar in part.bars.items():
            print(f"{'ok  ' if bar.ok else 'FAIL'} {name}: {bar.value} (wanted {bar.wanted})")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help="only these; all by default")
    parser.add_argument("--small", action="store_true", help="a fraction of it, once")
    parser.add_argument("--json", action="store_true", help="print the bars as one JSON object")
    options = parser.parse_args()
    names = options.parts or present()
    if unknown := set(names) - set(present()):
        parser.error(f"no such part: {', '.join(sorted(unknown))} (there are: {', '.join(present())})")
    parts = measured(names, options.small)
    found = {name: bar for part in parts.values() for name, bar in part.bars.items()}
    if options.json:
        print(msgspec.json.encode(found).decode())
    else:
        show(parts)
    bad = [one for part in parts.values() for one in part.wrong]
    if bad:
        print(f"not as it must be: {', '.join(bad)}", file=sys.stderr)
    return int(bool(bad) or not (options.small or all(bar.ok for bar in found.values())))


if __name__ == "__main__":
    sys.exit(main())
