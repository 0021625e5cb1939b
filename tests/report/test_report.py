"""The report as its reader and a stranger's text meet it."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import msgspec
import pytest

from monitor.cli import main
from monitor.exits import Exit, Failure
from monitor.journal import Journal
from monitor.plan.model import CutoverPlan, Host
from monitor.report import charts
from monitor.report.build import Seal, write_report
from monitor.report.document import document, text_of
from monitor.report.exceptions import TlsException, tls_exceptions
from monitor.report.page import SECTIONS
from monitor.report.words import Words, percent
from monitor.snapshot import SharePoint, Snapshot
from monitor.verdict.bound import percent_up
from monitor.verdict.model import REQUIREMENTS
from monitor.verdict.output import as_json
from monitor.wording import CATALOGUES, Language
from probes.service import Service
from tests.dashboard import sample as base
from tests.report import sample

SEAL = Seal(batches=4711, sha256="9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08")
EXCEPTIONS = (TlsException(service="old.imap", host="mail.example.jp.", port=993, kind="unverified"),)
SNAPSHOTS = {
    **{name: make for name, make in base.SAMPLES.items() if name != "safe"},
    "safe": sample.safe,
    "hostile": sample.hostile,
}
VOID = {"meta", "br"}


@pytest.fixture(autouse=True)
def sentences() -> Iterator[None]:
    """The samples' own sentences, in both catalogues for as long as a test runs."""
    for catalogue in CATALOGUES.values():
        base.install(catalogue)
    yield
    for catalogue in CATALOGUES.values():
        for code in base.SENTENCES:
            del catalogue[code]


class Page(HTMLParser):
    """What a browser would make of the page; refuses tags that do not nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def ids(self) -> list[str]:
        return [a["id"] or "" for _, a in self.tags if "id" in a]


def written(snapshot: Snapshot, where: Path, language: Language = "en") -> tuple[str, dict[str, object]]:
    paths = write_report(snapshot, where, language=language, seal=SEAL, exceptions=EXCEPTIONS)
    return paths[0].read_text("utf-8"), json.loads(paths[1].read_text("utf-8"))


@pytest.mark.parametrize("language", ["en", "ja"])
@pytest.mark.parametrize("name", SNAPSHOTS)
def test_page_is_whole_inert_and_asks_nobody(name: str, language: Language, tmp_path: Path) -> None:
    html, _ = written(SNAPSHOTS[name](), tmp_path, language)
    page = Page(html)
    ids = page.ids()
    assert len(ids) == len(set(ids))
    assert {*SECTIONS, *(f"evidence-{r}" for r in REQUIREMENTS)} <= set(ids)
    for tag, attributes in page.tags:
        assert tag not in (
            "script",
            "link",
            "img",
            "iframe",
            "object",
            "embed",
            "form",
            "base",
            "image",
            "use",
        )
        assert not any(a.startswith("on") or a in ("src", "srcset", "action") for a in attributes)
        assert (attributes.get("href") or "#").startswith("#")
        assert attributes.get("http-equiv") in (None, "Content-Security-Policy")
        assert (attributes.get("href") or "")[1:] in {"", *ids}
        assert set((attributes.get("aria-labelledby") or "").split()) <= set(ids)
        if tag == "th":
            assert attributes.get("scope") in ("col", "row")
    style = re.search(r"<style>(.*?)</style>", html, re.S)
    assert style and "@import" not in style[1] and "url(" not in style[1]
    (policy,) = [a["content"] or "" for _, a in page.tags if a.get("http-equiv")]
    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'") and "script" not in policy
    assert all(f == "url(#h-" + f[7:] for f in re.findall(r"url\([^)]*\)", html))
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069]", html)
    assert CATALOGUES[language][f"report.headline.{SNAPSHOTS[name]().judgement.verdict}"] in html


def test_no_sentence_is_left_without_its_words(tmp_path: Path) -> None:
    """A code without words would show as itself."""
    for name, make in SNAPSHOTS.items():
        page = Page(written(make(), tmp_path)[0])
        shown = [w for w in page.words if re.match(r"(sample|report|ui|verdict|event)\.[a-z]+[. (]", w)]
        assert shown == [], name


def test_hostile_text_is_shown_as_text_and_bounded(tmp_path: Path) -> None:
    html, _ = written(sample.hostile(), tmp_path)
    assert "&lt;script&gt;alert(1)" in html
    assert len(html) < 400_000
    raw = (tmp_path / "report.json").read_bytes()
    assert b"\x1b" not in raw and "\u202e" not in raw.decode() and "\x9b" not in raw.decode()


@pytest.mark.parametrize("name", SNAPSHOTS)
def test_json_keeps_everything_and_round_trips(name: str, tmp_path: Path) -> None:
    snapshot = SNAPSHOTS[name]()
    _, read = written(snapshot, tmp_path)
    assert read == document(snapshot, Words(language="en", now=snapshot.now), SEAL, EXCEPTIONS)
    assert read["verdict"] == as_json(snapshot.judgement, loose_ends=True)
    evidence = read["evidence"]
    assert isinstance(evidence, dict)
    assert len(evidence["hits"]) == len(snapshot.hits)
    assert evidence["hits"] == [] or evidence["hits"][0]["accepted_at"].endswith("Z")
    assert read["journal"] == {"batches": 4711, "sha256": SEAL.sha256}


def test_the_verdict_is_the_same_object_in_either_language(tmp_path: Path) -> None:
    english = written(sample.safe(), tmp_path / "en", "en")[1]
    japanese = written(sample.safe(), tmp_path / "ja", "ja")[1]
    assert english["verdict"] == japanese["verdict"]
    assert english["headline"] != japanese["headline"]


def test_verdict_object_has_the_documented_form() -> None:
    judged = base.propagating().judgement
    made = as_json(judged)
    assert list(made) == ["at", "verdict", "requirements", "eta", "share_bound", "confidence"]
    assert made["at"] == "2026-11-20T21:14:07.000Z" and made["eta"] is None and made["share_bound"] is None
    authority, horizon = made["requirements"][:2]
    assert list(authority) == ["name", "state", "code", "reason"]
    assert horizon["eta"] == "2026-11-20T22:01:58.000Z"
    (end,) = as_json(judged, loose_ends=True)["loose_ends"]
    assert end["kind"] == "use" and end["last"] == "2026-11-20T18:14:07.000Z"


def test_what_decides_is_on_the_page(tmp_path: Path) -> None:
    html, _ = written(sample.told(base.draining()), tmp_path)
    words = " ".join(Page(html).words)
    for fact in (
        "via-old", "203.0.113.77", "out.university.example", "sender:198.51.100.8", "our own monitor",
        "4F0004B2", SEAL.sha256, "4711", "With 95 % confidence, less than 2.1 %",
        "the certificate is not verified",
        "quiet 12 min", "flush it", "2001:db8:53::1", "log:old",
    ):  # fmt: skip
        assert fact in words, fact


@pytest.mark.parametrize("name", SNAPSHOTS)
def test_charts_are_well_formed_and_speak(name: str) -> None:
    snapshot = sample.told(SNAPSHOTS[name]())
    words = Words(language="ja", now=snapshot.now)
    drawn = [
        make(snapshot, words)
        for make in (charts.verdict_chart, charts.share_chart, charts.old_chart, charts.new_chart)
    ]
    assert drawn[0] is not None
    for chart in drawn:
        if chart is not None:
            root = ElementTree.fromstring(chart)
            assert root.get("role") == "img" and root[0].tag.endswith("title") and root[1].text
            numbers = [
                float(v)
                for e in root.iter()
                for k, v in e.items()
                if k in ("x", "y", "width", "height") and v
            ]
            assert all(-1 <= n <= 1100 for n in numbers)


def test_a_line_breaks_where_nothing_was_seen() -> None:
    points = tuple(
        SharePoint(at=base.BEGAN + timedelta(minutes=i), dns=dns, mail=None)
        for i, dns in enumerate((0.0, 0.5, None, None, 1.0, 1.0, None, 0.7))
    )
    snapshot = msgspec.structs.replace(base.draining(), shares=points)
    drawn = ElementTree.fromstring(charts.share_chart(snapshot, Words(language="en", now=base.NOW)) or "")
    (path,) = [e.get("d") for e in drawn.iter() if e.get("class") == "series dns"]
    assert [e.get("class") for e in drawn.iter() if e.tag.endswith("circle")] == ["dot dns"]
    assert path is not None and path.count("M") == 2 and "nan" not in path


def test_the_quiet_time_and_the_watched_time_are_marked() -> None:
    drawn = ElementTree.fromstring(charts.old_chart(sample.safe(), Words(language="en", now=base.NOW)) or "")
    classes = [e.get("class") for e in drawn.iter()]
    assert "quiet" in classes and classes.count("watched") == 2 and "unwatched" in classes


@pytest.mark.parametrize(
    ("share", "shown"),
    [(0.0034, "0.34"), (0.00341, "0.35"), (0.021, "2.1"), (0.5, "50"), (0.123, "13"), (1e-6, "0.00010")],
)
def test_a_bound_is_never_rounded_down(share: float, shown: str) -> None:
    assert percent_up(share) == shown
    assert float(shown) / 100 >= share


def test_only_all_is_all() -> None:
    assert [percent(s) for s in (0.0, 0.001, 0.5, 0.999, 1.0)] == ["0 %", "<1 %", "50 %", ">99 %", "100 %"]


def test_exceptions_of_a_plan() -> None:
    secure = Service(host="mx1.new.example.", port=993, tls="implicit")
    plan = CutoverPlan(
        path=Path("cutover.toml"), domain="example.jp.",
        old=Host(
            mx=("mail.example.jp.",), addresses=(),
            submission=Service(host="mail.example.jp.", port=587, tls="none"),
            imap=Service(host="mail.example.jp.", port=993, tls="implicit", verify=False),
        ),
        new=Host(
            mx=("mx1.new.example.",), addresses=(), imap=secure,
            submission=Service(host="mx1.new.example.", port=587, tls="starttls", tls_name="new.example"),
        ),
        expected_mx=("10 mx1.new.example.",), accounts=(), resolvers=(), platforms={}, routes=(),
    )  # fmt: skip
    assert [(e.service, e.kind) for e in tls_exceptions(plan)] == [
        ("old.submission", "plain"),
        ("old.imap", "unverified"),
        ("new.submission", "other-name"),
    ]


def test_a_disk_that_fails_leaves_the_old_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, _ = written(base.draining(), tmp_path)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Failure, match="No space left on device") as failure:
        write_report(sample.safe(), tmp_path)
    assert failure.value.code is Exit.IO
    assert (tmp_path / "report.html").read_text("utf-8") == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["report.html", "report.json"]


def test_a_place_that_is_no_directory(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Failure, match=r"cannot write the report to .*file"):
        write_report(base.empty(), tmp_path / "file")


def test_lone_surrogates_and_controls_are_escaped_in_json() -> None:
    value = {"a": "\ud800 \x9b \u202e ok 日本"}
    written_ = text_of(value)
    assert "日本" in written_ and json.loads(written_) == value
    written_.encode("utf-8")


def journal_of(tmp_path: Path) -> Path:
    path = tmp_path / "cutover.journal"
    with Journal.create(path, base.plan()):
        pass
    return path


def test_the_command_writes_both_files_and_the_chain(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = journal_of(tmp_path)
    assert main(["report", str(path), "-o", str(tmp_path / "proof"), "--language", "ja"]) == 0
    assert capsys.readouterr().out.split() == [
        str(tmp_path / "proof" / f"report.{e}") for e in ("html", "json")
    ]
    read = json.loads((tmp_path / "proof" / "report.json").read_text("utf-8"))
    assert main(["verify", str(path)]) == 0
    assert f"batch {read['journal']['batches']} {read['journal']['sha256']}" in capsys.readouterr().out
    again = ["report", str(path), "-o", str(tmp_path / "again"), "--language", "ja", "--at", read["at"]]
    assert main(again) == 0
    assert (tmp_path / "again" / "report.html").read_bytes() == (
        tmp_path / "proof" / "report.html"
    ).read_bytes()


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["nowhere.journal"], Exit.IO, "there is no journal"),
        (["JOURNAL", "--at", "yesterday"], Exit.USAGE, "'yesterday' is no time"),
        (["JOURNAL", "--at", "2026-11-20T00:00:00"], Exit.USAGE, "names no zone"),
        (["JOURNAL", "--at", "2001-01-01T00:00:00Z"], Exit.BAD_DATA, "holds no plan as of 2001-01-01"),
        (["JOURNAL", "-o", "/dev/null/x"], Exit.IO, "cannot write the report"),
        (["JOURNAL", "--plan", "nowhere.toml"], Exit.BAD_PLAN, "nowhere.toml"),
    ],
)
def test_each_mistake_is_one_line(
    arguments: list[str], code: Exit, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(journal_of(tmp_path))
    assert main(["report", "-o", str(tmp_path), *(path if a == "JOURNAL" else a for a in arguments)]) == code
    error = capsys.readouterr().err
    assert said in error and "Traceback" not in error
