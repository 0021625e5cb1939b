"""The systemd journal: entries to lines, and journalctl's cursors across stops and in one that was cut.

``JOURNALCTL`` stands in for the program, with the ways of systemd 252's: ``--cursor`` begins with the entry
that it names, or with the first one there is where it names none.
"""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.logsource import Journal
from probes.observation import Skip, now
from probes.oldhost.journald import journal
from probes.oldhost.opening import readable
from tests.oldhost.loglines import gone, log, outside, to
from tests.oldhost.test_stream import Following, covered, following, ids, quick, taken

__all__ = ["following", "quick"]

JOURNALCTL = r"""#!{python}
import json, sys, time
flags = dict(a.partition("=")[::2] for a in sys.argv[1:])
for known in ("--quiet", "--all", "--follow", "--output", "--output-fields"):
    assert flags.pop(known, None) is not None, known
unit, lines, since, cursor = (flags.pop(f"--{{n}}", None) for n in ("unit", "lines", "since", "cursor"))
assert flags == {{"--no-tail": ""}} or lines == "1", flags
assert (since == "-28d") + (cursor is not None) + (lines == "1") == 1
file = open("{path}")
shown = [l for l in file.read().splitlines() if unit in (None, json.loads(l)["_SYSTEMD_UNIT"])]
if lines:
    shown = shown[-1:]
if cursor is not None:
    places = [i for i, l in enumerate(shown) if json.loads(l)["__CURSOR"] == cursor]
    shown = shown[places[0] if places else 0:]
for line in shown:
    print(line)
while True:
    sys.stdout.flush()
    line = file.readline()
    if line.endswith("\n"):
        print(line, end="")
    else:
        time.sleep(0.02)
"""
numbers = count()


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path, program = tmp_path / "journal", tmp_path / "bin" / "journalctl"
    path.touch()
    program.parent.mkdir()
    program.write_text(JOURNALCTL.format(python=sys.executable, path=path))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")
    return path


def entry(message: Any, at: datetime, **fields: Any) -> bytes:
    usual = {
        "__CURSOR": f"s=1;i={next(numbers)}", "__REALTIME_TIMESTAMP": str(int(at.timestamp() * 1e6)),
        "MESSAGE": message, "SYSLOG_IDENTIFIER": "postfix/smtpd", "_PID": "99", "_HOSTNAME": "old",
        "_SYSTEMD_UNIT": "postfix.service",
    }  # fmt: skip
    return json.dumps(usual | fields).encode() + b"\n"


def entries(number: int) -> bytes:
    """One message, as Postfix tells of it."""
    said = [*outside(f"{number:010X}", f"<{number}@x>"), to(f"{number:010X}", "bob@example.com", "sent (ok)")]
    found = b""
    for line in log(*said, gone(f"{number:010X}")):
        _stamp, _host, tag, text = line.decode().split(" ", 3)
        found += entry(text, now(), SYSLOG_IDENTIFIER=tag.partition("[")[0])
    return found


def add(path: Path, *numbers: int) -> None:
    with path.open("ab") as file:
        for number in numbers:
            file.write(entries(number))


def test_history_then_each_entry_and_nothing_twice_after_kill_9(path: Path, following: Following) -> None:
    add(path, 1, 2)
    one = following(Journal(("postfix.service",))).until(taken(1, 2))
    for number in (3, 4, 5):
        one.killed()
        add(path, number)
        one.until(taken(number)).until(covered(now()))
    assert ids(one) == [f"<{n}@x>" for n in range(1, 6)]


def test_a_journal_that_has_lost_the_entry_is_a_gap(path: Path, following: Following) -> None:
    add(path, 1)
    one = following(Journal()).until(covered(now()))
    before = now()
    one.killed()
    path.write_bytes(b"")
    add(path, 2)
    one.until(taken(2)).until(covered(before))
    assert ids(one) == ["<1@x>", "<2@x>"]
    assert not one.joined(before)


def test_without_history_it_begins_with_the_next_entry(path: Path, following: Following) -> None:
    add(path, 1)
    one = following(Journal(), history=False).until(covered(now()))
    add(path, 2)
    one.until(taken(2))
    assert ids(one) == ["<2@x>"]


def test_a_unit_that_says_nothing_is_no_quiet_log(path: Path, following: Following) -> None:
    add(path, 1)
    one = following(Journal(("exim4.service",))).until(lambda f: any(isinstance(o, Skip) for o in f.seen))
    assert [o.reason for o in one.seen if isinstance(o, Skip)] == [
        "the journal of exim4.service: shows none of the log's last lines when it is started, so silence "
        "proves nothing"
    ]


def test_whether_it_can_be_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add(path, 1)
    assert readable(Journal()) is None
    monkeypatch.setenv("PATH", "/nowhere")
    assert readable(Journal()) == "journalctl cannot be run: no such file or directory"


AT = datetime(2026, 11, 25, 12, 0, 0, 123456, UTC)
LINES = {
    "text": (entry("a: b", AT), b"old postfix/smtpd[99]: a: b"),
    "syslog's own process": (entry("x", AT, SYSLOG_PID="7"), b"old postfix/smtpd[7]: x"),
    "bytes": (entry(list(b"caf\xe9"), AT), b"old postfix/smtpd[99]: caf\xe9"),
    "a forged line": (
        entry(list(b"m\n2026-11-25T12:00:00Z old postfix/qmgr[1]: X"), AT),
        b"old postfix/smtpd[99]: m#0122026-11-25T12:00:00Z old postfix/qmgr[1]: X",
    ),
    "a forged tag": (entry("x", AT, SYSLOG_IDENTIFIER="a[1]: b\nc"), b"old a[1]:_b#012c[99]: x"),
    "twice": (entry(["one", "two"], AT), b"old postfix/smtpd[99]: one"),
    "null": (entry(None, AT, _HOSTNAME=None, SYSLOG_IDENTIFIER=None, _PID=None), b"- -: "),
    "empty": (entry([], AT), b"old postfix/smtpd[99]: "),
}


@pytest.mark.parametrize(("raw", "line"), LINES.values(), ids=LINES)
def test_an_entry_is_one_line(raw: bytes, line: bytes) -> None:
    found = journal(()).line(raw.rstrip(b"\n"))
    assert found is not None and found.text == b"2026-11-25T12:00:00.123456+00:00 " + line


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(), lambda x: st.lists(x, max_size=3), max_leaves=5
)
ENTRIES = st.builds(lambda v, at: entry(v, AT, _PID=v, _HOSTNAME=v, __REALTIME_TIMESTAMP=at), VALUES,
                    st.sampled_from(["1", "9" * 30, "-9", "x"]))  # fmt: skip


@given(st.binary(max_size=60) | ENTRIES)
def test_any_bytes_are_one_line_or_none(raw: bytes) -> None:
    found = journal(()).line(raw.rstrip(b"\n"))
    assert found is None or b"\n" not in found.text or b"\n" in raw.rstrip(b"\n")
    assert found is None or msgspec.json.encode(found.key)
