"""Lines of keys: checked against documents whose every key is written on a known line."""

from __future__ import annotations

import tomllib
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from monitor.plan.positions import Path, Positions

DOCUMENT = '''\
# a = 1
a = "x # no = comment" # b = 2
b = """
c = 3 \\""" "quoted" """
"d e" = \'\'\'
f = 4\'\'\'
[old]
mx = [  # [old.no]
  "a", 'b]',
  { x = 1, y = [2] },
]
log.path = "p"

[old . "sub.mission"]
port = 1_000
[[account]]
address = "1"
[[account]]
address = "2"
  [account.extra]
  at = 1979-05-27 07:32:00Z
[[account.more]]
k = {}
'''
LINES: dict[Path, int] = {
    ("a",): 2,
    ("b",): 3,
    ("d e",): 5,
    ("old",): 7,
    ("old", "mx"): 8,
    ("old", "mx", 0): 9,
    ("old", "mx", 1): 9,
    ("old", "mx", 2, "y", 0): 10,
    ("old", "log", "path"): 12,
    ("old", "sub.mission"): 14,
    ("old", "sub.mission", "port"): 15,
    ("account", 0): 16,
    ("account", 0, "address"): 17,
    ("account", 1, "address"): 19,
    ("account", 1, "extra", "at"): 21,
    ("account", 1, "more", 0, "k"): 23,
    ("nothing",): 1,
    ("old", "nothing", 7): 7,
}


def test_each_key_is_found_on_its_line_whatever_the_line_ends() -> None:
    for text in (DOCUMENT, DOCUMENT.replace("\n", "\r\n")):
        tomllib.loads(text)
        positions = Positions(text)
        assert {path: positions.line(path) for path in LINES} == LINES


FRAGMENTS = (
    "a",
    "b",
    "'q.r'",
    '"s\\u0041"',
    ".",
    "=",
    " = ",
    "[",
    "]",
    "[[",
    "]]",
    "{",
    "}",
    ",",
    "\n",
    "\r\n",
    "#x=1",
    '"""',
    "'''",
    '"\\""',
    "'#'",
    "1",
    "true",
    "1979-05-27 07:32:00",
    " ",
    "\t",
    '"""a\n"""',
    "'''\n'b'''",
    "é",
)


@given(st.lists(st.sampled_from(FRAGMENTS), max_size=30).map("".join))
def test_whatever_tomllib_takes_is_walked_to_its_end_and_every_key_is_placed(text: str) -> None:
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    positions = Positions(text)
    assert set(_paths(data)) <= set(positions._lines)


def _paths(value: Any, path: Path = ()) -> list[Path]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [found for key, inner in items for found in ((*path, key), *_paths(inner, (*path, key)))]
