"""The page: one self-contained HTML document. It asks nobody for anything, runs no script and prints."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files

from msgspec import Struct

from monitor.printable import printable
from monitor.report import charts
from monitor.report.evidence import evidence
from monitor.report.exceptions import TlsException
from monitor.report.html import Child, Html, el, join, leaf, text
from monitor.report.parts import SIGNS, TONES, clip, facts, figure, lines, listed, moment, nothing, sign
from monitor.report.words import Words, name
from monitor.snapshot import Snapshot
from monitor.verdict.bound import percent_up
from monitor.verdict.model import Finding, Judgement
from probes.observation import stamp

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
_EVENTS = 120  # newest lines of the log that the page shows; report.json has all


class Seal(Struct, frozen=True, kw_only=True):
    """The journal's state that the report rests on: the last batch's number and its chained SHA-256."""

    batches: int
    sha256: str


class Content(Struct, frozen=True, kw_only=True):
    """What a report says. ``exceptions`` None: the plan file was not at hand."""

    snapshot: Snapshot
    words: Words
    seal: Seal | None
    exceptions: tuple[TlsException, ...] | None


SECTIONS = (
    "summary", "requirements", "timeline", "evidence", "waivers", "ends", "exceptions", "plan", "log",
    "verify",
)  # fmt: skip


def page(c: Content) -> str:
    """The whole document."""
    w = c.words
    title = w("title", domain=printable(name(c.snapshot.plan.domain), 100))
    head = el(
        "head",
        leaf("meta", charset="utf-8"),
        leaf("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        leaf("meta", name="viewport", content="width=device-width, initial-scale=1"),
        leaf("meta", name="color-scheme", content="light dark"),
        leaf("meta", name="referrer", content="no-referrer"),
        leaf("meta", name="generator", content=f"mxcutover {product_version()}"),
        el("title", title),
        el("style", Html(files(__package__).joinpath("page.css").read_text("utf-8"))),
    )
    made = {
        "summary": _summary, "requirements": _requirements,
        "timeline": _timeline, "evidence": _evidence,
        "waivers": _waivers, "ends": _ends, "exceptions": _exceptions,
        "plan": _plan, "log": _log, "verify": _verify,
    }  # fmt: skip
    body = el(
        "body",
        _masthead(c, title),
        el("main", [el("section", made[s](c), id=s, aria_labelledby=f"{s}-h") for s in SECTIONS]),
        el("footer", el("p", w("footer", version=product_version(), when=w.when(c.snapshot.now)))),
    )
    return "<!DOCTYPE html>\n" + el("html", head, body, lang=w.language) + "\n"


def product_version() -> str:
    try:
        return version("mxcutover")
    except PackageNotFoundError:
        return "?"


def share_statement(judgement: Judgement, w: Words) -> str:
    """What may be said of the share of mail that still goes to the old host."""
    if judgement.share_bound is None:
        return w("share.none")
    if judgement.share_bound >= 1:
        return w("share.all")
    sure = f"{judgement.confidence * 100:.3g}"
    return w("share.bound", sure=sure, bound=percent_up(judgement.share_bound))


def headline(judgement: Judgement, w: Words) -> str:
    """The answer in one sentence."""
    return w(f"headline.{judgement.verdict}")


def _heading(w: Words, section: str) -> Html:
    return el("h2", w(f"section.{section}"), id=f"{section}-h")


def _masthead(c: Content, title: str) -> Html:
    w, s = c.words, c.snapshot
    links = [el("li", el("a", w(f"section.{n}"), href=f"#{n}")) for n in SECTIONS[1:]]
    return el(
        "header",
        el("p", w("kicker"), class_="kicker"),
        el("h1", title),
        el("p", w("as.of", when=w.when(s.now), zone=w.zone()), class_="asof"),
        el("nav", el("ul", links), aria_label=w("nav")),
        class_="masthead",
    )


def _summary(c: Content) -> Child:
    w, judged = c.words, c.snapshot.judgement
    met = sum(f.state in ("met", "waived") for f in judged.findings)
    plain = judged.code in ("", f"verdict.{judged.verdict}")
    own = None if plain else w.tell(judged.code, judged.args)  # more than the headline says
    card = el(
        "div",
        el("p", SIGNS[judged.verdict], class_="bigsign", aria_hidden="true"),
        el(
            "div",
            el("p", w("question"), class_="question"),
            el("h2", headline(judged, w), id="summary-h"),
            el("p", own, class_="because") if own else None,
            el("p", w(f"todo.{judged.verdict}"), class_="todo"),
            el("p", share_statement(judged, w), class_="share"),
            _chips(judged, w, met),
        ),
        class_=f"verdict {TONES[judged.verdict]}",
    )
    return [card, _move(c), facts(_key_facts(c), "facts key")]


def _chips(judged: Judgement, w: Words, met: int) -> Html:
    word = sign(judged.verdict, w(f"word.{judged.verdict}"))
    counts = w("met.of", n=met, of=len(judged.findings))
    return el("p", word, el("span", counts, class_="is calm"), class_="chips")


def _move(c: Content) -> Html:
    """From where to where."""
    w, plan = c.words, c.snapshot.plan
    sides = [
        el(
            "div",
            el("p", w(f"side.{side}"), class_="label"),
            el("p", lines(name(m) for m in hosts.mx), class_="hosts"),
            el("p", lines(hosts.addresses) if hosts.addresses else w("addresses.vary"), class_="addresses"),
        )
        for side, hosts in (("old", plan.old), ("new", plan.new))
    ]
    return el("div", sides[0], el("p", "→", class_="arrow", aria_hidden="true"), sides[1], class_="move")


def _key_facts(c: Content) -> list[tuple[str, Child]]:
    w, s = c.words, c.snapshot
    last = s.last_old_mail
    return [
        (w("fact.change"), moment(w, s.change_at) if s.change_at else w("none.change")),
        (w("fact.horizon"), moment(w, s.horizon)),
        (w("fact.last"), moment(w, last.accepted_at) if last else w("none.last")),
        (w("fact.quiet"), w("quiet.of", done=w.span(s.quiet_seconds), need=w.span(s.plan.policy.quiet_for))),
        (w("fact.eta"), _eta(s.judgement, w)),
        (w("fact.watched"), moment(w, s.began_at)),
        (w("fact.evidence"), moment(w, s.evidence_at)),
    ]


def _eta(judged: Judgement, w: Words) -> str:
    if judged.verdict == "safe":
        return w("eta.now")
    return w("eta.none") if judged.eta is None else w.when(judged.eta)


def _requirements(c: Content) -> Child:
    w = c.words
    rows = [
        el("li", _requirement(f, w), class_=f"req {TONES[f.state]}") for f in c.snapshot.judgement.findings
    ]
    return [_heading(w, "requirements"), el("ol", rows, class_="reqs")]


def _requirement(f: Finding, w: Words) -> Child:
    title = el("a", w(f"req.{f.name}.title"), href=f"#evidence-{f.name}")
    return [
        el("div", sign(f.state, w(f"state.{f.state}")), class_="state"),
        el("div", el("h3", title), el("p", w.reason(f.code, f.args), class_="reason"), _waived_note(f, w)),
        el("div", w("eta.at", when=w.when(f.eta)) if f.eta else None, class_="eta"),
    ]


def _waived_note(f: Finding, w: Words) -> Html | None:
    return el("p", w("waived.subjects", subjects=f.waived), class_="note") if f.waived else None


def _timeline(c: Content) -> Child:
    w, s = c.words, c.snapshot
    share = charts.share_chart(s, w)
    return [
        _heading(w, "timeline"),
        figure(charts.verdict_chart(s, w), w("chart.verdict.caption")),
        nothing(w("none.shares")) if share is None else figure(share, w("chart.share.caption")),
        _changes(s, w),
    ]


def _changes(s: Snapshot, w: Words) -> Html:
    """When the verdict or a state changed, and to what; the newest last."""
    rows: list[list[Child]] = []
    earlier: Judgement | None = None
    for judged in s.changes:
        rows.append(
            [
                moment(w, judged.at),
                sign(judged.verdict, w(f"word.{judged.verdict}")),
                _moved(earlier, judged, w),
            ]
        )
        earlier = judged
    if not rows:
        return nothing(w("none.changes"))
    heads = [w(f"col.{n}") for n in ("at", "verdict", "moved")]
    return listed(w, w("table.changes"), heads, rows, most=200)


def _moved(earlier: Judgement | None, judged: Judgement, w: Words) -> Child:
    """The requirements whose state is another one than before."""
    before = {f.name: f.state for f in earlier.findings} if earlier else {}
    moved = [f for f in judged.findings if before.get(f.name) != f.state]
    parts = [sign(f.state, f"{w(f'req.{f.name}.short')}: {w(f'state.{f.state}')}") for f in moved]
    return el("span", [[p, " "] for p in parts], class_="moved") if parts else "–"


def _evidence(c: Content) -> Child:
    w, s = c.words, c.snapshot
    return [
        _heading(w, "evidence"),
        [
            el(
                "section",
                el("h3", w(f"req.{f.name}.title"), id=f"evidence-{f.name}-h"),
                el("p", w(f"req.{f.name}.asks"), class_="asks"),
                el("p", sign(f.state, w(f"state.{f.state}")), " ", w.reason(f.code, f.args), class_="reason"),
                evidence(f.name, s, w),
                id=f"evidence-{f.name}",
                aria_labelledby=f"evidence-{f.name}-h",
                class_="evidence",
            )
            for f in s.judgement.findings
        ],
    ]


def _waivers(c: Content) -> Child:
    w, s = c.words, c.snapshot
    rows: list[list[Child]] = [
        [el("code", clip(r.subject)), clip(r.reason, 400), moment(w, r.at)] for r in s.waivers
    ]
    if not rows:
        return [_heading(w, "waivers"), nothing(w("none.waivers"))]
    heads = [w(f"col.{n}") for n in ("subject", "reason", "at")]
    return [
        _heading(w, "waivers"),
        el("p", w("waivers.about")),
        listed(w, w("table.waivers"), heads, rows, most=300),
    ]


def _ends(c: Content) -> Child:
    w, judged = c.words, c.snapshot.judgement
    if not judged.loose_ends:
        return [_heading(w, "ends"), nothing(w("none.ends"))]
    rows: list[list[Child]] = [
        [w(f"end.{e.kind}"), clip(e.subject), w.tell(e.code, e.args), moment(w, e.last)]
        for e in judged.loose_ends
    ]
    heads = [w(f"col.{n}") for n in ("kind", "subject", "todo", "last")]
    return [_heading(w, "ends"), el("p", w("ends.about")), listed(w, w("table.ends"), heads, rows, most=300)]


def _exceptions(c: Content) -> Child:
    w, found = c.words, c.exceptions
    if not found:
        return [
            _heading(w, "exceptions"),
            nothing(w("exceptions.unknown" if found is None else "none.exceptions")),
        ]
    rows: list[list[Child]] = [
        [el("code", e.service), clip(f"{name(e.host)}:{e.port}"), _exception(e, w)] for e in found
    ]
    heads = [w(f"col.{n}") for n in ("service", "host", "exception")]
    return [_heading(w, "exceptions"), listed(w, w("table.exceptions"), heads, rows)]


def _exception(e: TlsException, w: Words) -> Html:
    tone = "bad" if e.kind in ("plain", "unverified") else "warn"
    return sign("warn", w(f"exception.{e.kind}", detail=e.detail), tone, long=True)


def _plan(c: Content) -> Child:
    w, plan = c.words, c.snapshot.plan
    listed_ = [
        (w("plan.domain"), clip(name(plan.domain))),
        (w("plan.old"), [lines(name(m) for m in plan.old.mx), leaf("br"), lines(plan.old.addresses)]),
        (w("plan.new"), [lines(name(m) for m in plan.new.mx), leaf("br"), lines(plan.new.addresses)]),
        (w("plan.expected"), lines(name(m) for m in plan.expected_mx)),
        (w("plan.authorities"), _inline(plan.authorities)),
        (w("plan.resolvers"), _inline(plan.resolvers)),
        (w("plan.routes"), _inline(plan.routes)),
        (w("plan.accounts"), _inline(plan.accounts)),
    ]
    return [_heading(w, "plan"), facts(listed_, "facts plan"), el("h3", w("plan.policy")), _policy(c)]


def _inline(values: Iterable[str]) -> Html:
    """A long list in running text, at most 300 of them."""
    shown = list(values)
    cut = text("" if len(shown) <= 300 else f" … ({len(shown)})")
    return join(
        [join([[" · " if i else None, clip(v)] for i, v in enumerate(shown[:300])]) or clip(None), cut]
    )


def _policy(c: Content) -> Html:
    w, p = c.words, c.snapshot.plan.policy
    ceiling = p.quiet_for * 3 if p.quiet_ceiling is None else p.quiet_ceiling
    values: dict[str, str] = {
        "quiet_for": w.span(p.quiet_for),
        "quiet_ceiling": w.span(ceiling),
        "share_bound": f"{p.share_bound * 100:.3g} %",
        "confidence": f"{p.confidence * 100:.3g} %",
        "canary_streak": str(p.canary_streak),
        "canary_deadline": w.span(p.canary_deadline),
        "freshness": w.span(p.freshness),
        "settle_samples": str(p.settle_samples),
        "sensitivity": w.span(p.sensitivity),
        "quorum": f"{p.quorum * 100:.3g} %",
        "old_ttl": "–" if p.old_ttl is None else w.span(p.old_ttl),
    }
    rows: list[list[Child]] = [[el("code", k), v, w(f"policy.{k}")] for k, v in values.items()]
    return listed(
        w, w("table.policy"), [w(f"col.{n}") for n in ("key", "value", "meaning")], rows, numbers=(1,)
    )


def _log(c: Content) -> Child:
    w, s = c.words, c.snapshot
    if not s.events:
        return [_heading(w, "log"), nothing(w("none.log"))]
    rows: list[list[Child]] = [
        [moment(w, e.at), sign(e.level, w(f"level.{e.level}")), w.tell(e.code, e.args)]
        for e in reversed(s.events)
    ]
    heads = [w(f"col.{n}") for n in ("at", "level", "event")]
    return [_heading(w, "log"), listed(w, w("table.log"), heads, rows, most=_EVENTS)]


def _verify(c: Content) -> Child:
    w, seal = c.words, c.seal
    if seal is None:
        return [_heading(w, "verify"), el("p", w("verify.none"))]
    again = f"mxcutover report JOURNAL -o DIR --at {stamp(c.snapshot.now)}"
    commands = ("mxcutover verify JOURNAL", again)
    return [
        _heading(w, "verify"),
        el("p", w("verify.about")),
        facts(
            [
                (w("verify.batches"), str(seal.batches)),
                (w("verify.sha256"), el("code", clip(seal.sha256, 128))),
            ]
        ),
        el("pre", el("code", join([commands[0], Html("\n"), commands[1]]))),
        el("p", w("verify.how")),
    ]
