"""The commands on a journal: what they print, how they exit, that their help fits a screen."""

from __future__ import annotations

from pathlib import Path

import pytest

from monitor.cli import main
from monitor.exits import Exit
from monitor.journal import Journal, JournalReader
from probes.observation import Operator, encode
from tests.journal.samples import answer, note, plan


@pytest.fixture(autouse=True)
def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "cutover.journal"
    with Journal.create(path, plan()) as made:
        made.keep([answer(1), note("hello"), answer(2)], {"key": "not to be exported"})
    return path


def test_export_is_the_evidence_in_order_and_nothing_else(
    journal: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    assert main(["export"]) == 0
    shown = capsysbinary.readouterr().out
    assert shown.splitlines() == [encode(o) for o in (plan(), answer(1), note("hello"), answer(2))]
    assert main(["export", str(journal), "-o", "out.jsonl"]) == 0
    assert Path("out.jsonl").read_bytes() == shown
    assert main(["export", "-o", "no/such/dir"]) == Exit.IO


def test_verify_prints_ok_with_counts(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify"]) == 0
    assert "ok, 2 batches, 4 observations" in capsys.readouterr().out
    assert main(["verify", "elsewhere"]) == Exit.IO
    Path("text").write_text("no journal " * 1000)
    assert main(["verify", "text"]) == Exit.BAD_DATA
    assert capsys.readouterr().err.count("\n") == 2


def test_the_operators_words_are_evidence(journal: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (
        ["cutover"],
        ["waive", "authority:203.0.113.1", "--reason", "gone"],
        ["waive", "sender:192.0.2.7", "--reason", "a scanner"],
        ["unwaive", "authority:203.0.113.1"],
        ["note", "a remark"],
        ["cutover", "--rollback", "--reason", "mail was lost"],
    ):
        assert main(words) == 0
    assert "kept in batch 3" in capsys.readouterr().out
    with JournalReader(journal) as reader:
        said = [(o.action, o.subject) for o in reader.observations(after=2) if isinstance(o, Operator)]
    assert said == [
        ("cutover", ""), ("waive", "authority:203.0.113.1"), ("waive", "sender:192.0.2.7"),
        ("unwaive", "authority:203.0.113.1"), ("note", ""), ("rollback", ""),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["waive", "authority:203.0.113.11", "--reason", "x"], "did you mean authority:203.0.113.1?"),
        (["waive", "8.8.8.8", "--reason", "x"], "cannot be waived"),
        (["waive", "route:mx", "--reason", " "], "needs a reason"),
        (["waive", "route:mx"], "Missing option '--reason'"),
        (["unwaive", "route:mx"], "is not waived; nothing is"),
    ],
)
def test_a_slip_is_refused_and_kept_out(
    journal: Path, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == Exit.USAGE
    assert said in capsys.readouterr().err
    with JournalReader(journal) as reader:
        assert reader.head() == 2


@pytest.mark.parametrize("name", ["verify", "export", "cutover", "waive", "unwaive", "note"])
def test_help_fits_a_screen_and_shows_an_example(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, "--help"]) == 0
    shown = capsys.readouterr().out
    assert shown.count("\n") <= 24 and "Example:" in shown
