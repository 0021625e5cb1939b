"""The first glance: the answer, the seven requirements, how far the move is, the last mail on old."""

from __future__ import annotations

from datetime import datetime

from monitor.dashboard.bigtype import big
from monitor.dashboard.charts import DOTS, Axis, bars, columns, mean, meter
from monitor.dashboard.logbook import event_line
from monitor.dashboard.scene import Scene
from monitor.dashboard.text import Line, beside, box, clean, fit, spread, width_of, wrap
from monitor.dashboard.theme import STATES, VERDICTS
from monitor.verdict.bound import percent_up
from monitor.verdict.model import Finding
from monitor.wording import CATALOGUES

ROOMY = 34  # from this height on there is room for large letters and for what happened lately


def overview(scene: Scene, width: int, height: int) -> list[Line]:
    """The whole view; what does not fit on the screen follows below and can be scrolled to."""
    verdict = verdict_box(scene, width, height)
    spare = height - len(verdict) - len(scene.snapshot.judgement.findings) - 10
    requirements = requirements_box(scene, width, max(0, spare))
    left = height - len(verdict) - len(requirements)
    middle = min(14, left) if left - 14 < 6 else 12
    lines = [*verdict, *requirements, *_progress(scene, width, max(8, middle))]
    return [*lines, *_more(scene, width, height - len(lines))]


# The verdict


def verdict_box(scene: Scene, width: int, height: int) -> list[Line]:
    judgement = scene.snapshot.judgement
    _sign, _colour = VERDICTS[judgement.verdict]
    rows = _large(scene, width - 4) if height >= ROOMY and width >= 100 else _small(scene, width - 4)
    title: Line = [(scene.ui("title.verdict"), "title")]
    since = scene.snapshot.verdict_since
    note = scene.ui("since", t=scene.clock(since)) if since else ""
    return box(title, rows, width, len(rows) + 2, note)


def headline(scene: Scene) -> str:
    """The verdict's own sentence; where it brings none, the one for its word."""
    judgement = scene.snapshot.judgement
    if judgement.code:
        return scene.tell(judgement.code, judgement.args)
    code = f"verdict.{judgement.verdict}"
    return scene.tell(code if code in CATALOGUES["en"] else f"ui.{code}")


def badge(scene: Scene) -> Line:
    word = scene.snapshot.judgement.verdict
    sign, colour = VERDICTS[word]
    return [(f" {sign} {scene.ui(f'word.{word}')} ", f"{colour}.badge")]


def _small(scene: Scene, width: int) -> list[Line]:
    _sign, colour = VERDICTS[scene.snapshot.judgement.verdict]
    mark, eta = badge(scene), _eta(scene)
    indent = width_of(mark) + 1
    said = wrap(headline(scene), width - indent - width_of(eta) - 1, 2)
    rows = [spread([*mark, (" " + said[0], f"{colour}.bold")], eta, width)]
    rows += [[(" " * indent + line, f"{colour}.bold")] for line in said[1:]]
    return rows + [[(line, "")] for line in wrap(_todo(scene), width, 3 - len(rows))]


def _large(scene: Scene, width: int) -> list[Line]:
    judgement = scene.snapshot.judgement
    colour = VERDICTS[judgement.verdict][1]
    letters = big(judgement.verdict) if scene.language == "en" else []
    if not letters:
        return _small(scene, width)
    indent = len(letters[0]) + 3
    said = [(line, f"{colour}.bold") for line in wrap(headline(scene), width - indent, 2)]
    said += [(line, "") for line in wrap(_todo(scene), width - indent, 4 - len(said))]
    eta = _eta(scene)
    rows: list[Line] = []
    for i in range(max(3, len(said) + bool(eta))):
        drawn = letters[i] if i < 3 else " " * len(letters[0])
        text: Line = [said[i]] if i < len(said) else eta if i == len(said) else []
        rows.append([(drawn + "   ", colour), *text])
    return rows


def _eta(scene: Scene) -> Line:
    eta = scene.snapshot.judgement.eta
    if eta is None or scene.snapshot.judgement.verdict == "safe":
        return []
    return [(scene.ui("safe.in") + " ", "dim"), (scene.until(eta), "bold")]


def _todo(scene: Scene) -> str:
    return scene.ui(f"todo.{scene.snapshot.judgement.verdict}")


# The requirements


def requirements_box(scene: Scene, width: int, spare: int) -> list[Line]:
    """A line for each requirement; ``spare`` more lines go to long reasons, those not met first."""
    findings = scene.snapshot.judgement.findings
    room = _rooms(scene, findings, width, spare)
    rows = [line for f in findings for line in requirement(scene, f, width - 4, room[f.name])]
    done = sum(f.state in ("met", "waived") for f in findings)
    title: Line = [(scene.ui("title.requirements"), "title"), ("  ", "")]
    title.append((scene.ui("requirements.met", n=done, of=len(findings)), "dim"))
    return box(title, rows or [[(scene.ui("empty.requirements"), "dim")]], width, max(1, len(rows)) + 2)


def _rooms(scene: Scene, findings: tuple[Finding, ...], width: int, spare: int) -> dict[str, int]:
    room: dict[str, int] = {f.name: 1 for f in findings}
    for f in sorted(findings, key=lambda f: f.state in ("met", "waived")):
        want = len(requirement(scene, f, width - 4, 3)) - 1
        room[f.name] += min(want, spare)
        spare -= min(want, spare)
    return room


def requirement(scene: Scene, f: Finding, width: int, rows: int) -> list[Line]:
    sign, style = STATES[f.state]
    state = fit(f"{sign} {scene.ui(f'state.{f.state}')}", _state_width(scene))
    name = fit(scene.ui(f"requirement.{f.name}"), _name_width(scene))
    eta = _countdown(scene, f)
    indent = width_of([(state, ""), (name, "")]) + 4
    reason = wrap(scene.tell(f.code, f.args), width - indent - (width_of(eta) + 2 if eta else 0), rows)
    calm = "" if f.state in ("unmet", "unknown") else "dim"
    first: Line = [(state, style), ("  ", ""), (name, "bold"), ("  ", ""), (reason[0], calm)]
    return [spread(first, eta, width), *[[(" " * indent, ""), (line, calm)] for line in reason[1:]]]


def _countdown(scene: Scene, f: Finding) -> Line:
    if f.eta is None or f.state in ("met", "waived"):
        return []
    return [(scene.ui("in") + " ", "dim"), (scene.until(f.eta), "bold")]


def _state_width(scene: Scene) -> int:
    return 2 + max(width_of([(scene.ui(f"state.{s}"), "")]) for s in STATES)


def _name_width(scene: Scene) -> int:
    names = [f.name for f in scene.snapshot.judgement.findings]
    return max([width_of([(scene.ui(f"requirement.{n}"), "")]) for n in names], default=0)


# How far the move is, and the old server


def _progress(scene: Scene, width: int, height: int) -> list[Line]:
    half = max(38, min(width * 11 // 20, 90))
    chart = box([(scene.ui("title.progress"), "title")], progress(scene, half - 4, height - 2), half, height)
    rest = width - half
    facts = box([(scene.ui("title.old"), "title")], old_server(scene, rest - 4, height - 2), rest, height)
    return beside(chart, facts)


def progress(scene: Scene, width: int, height: int) -> list[Line]:
    """DNS above in blocks, mail below in dots, a time axis with the change marked."""
    shares = scene.snapshot.shares
    if not shares:
        return [[(line, "dim")] for line in wrap(scene.ui("empty.shares"), width, height)]
    label = max(width_of([(scene.ui(f"series.{s}"), "")]) for s in ("dns", "mail")) + 5
    upper, plot = (height - 1 + 1) // 2, width - label - 1
    dns = _series(scene, "dns", [p.dns for p in shares], label, plot, upper)
    mail = _series(scene, "mail", [p.mail for p in shares], label, plot, height - 1 - upper)
    return [*dns, *mail, axis(scene, Axis(shares, scene.now, plot), label)]


def _series(
    scene: Scene, name: str, values: list[float | None], label: int, plot: int, height: int
) -> list[Line]:
    last = next((v for v in reversed(values) if v is not None), None)
    now = "  –  " if last is None else f"{last * 100:3.0f} %"
    ramp = {"ramp": DOTS} if name == "mail" else {}
    drawn = bars(columns(values, plot, mean), height, 1.0, **ramp)
    texts = [(fit(scene.ui(f"series.{name}"), label), name), (fit(now, label), "bold")]
    texts = texts if height > 1 else [(fit(f"{scene.ui(f'series.{name}')}{now}", label), "bold")]
    texts += [(" " * label, "")] * height
    edge = ["┤" if i == 0 else "│" for i in range(height)]
    return [[texts[i], (edge[i], "frame"), (drawn[i], name)] for i in range(height)]


def axis(scene: Scene, times: Axis, label: int) -> Line:
    """The time axis: where it begins, the change, and now at its end."""
    row = fit(f"{times.begin.astimezone():%m-%d %H:%M}", times.width - 5) + fit(scene.ui("now"), 5, "right")
    change = scene.snapshot.change_at
    at = times.column(change) if change else None
    if change is None or at is None:
        return [(" " * label + " ", ""), (row, "dim")]
    mark = f"▲ {scene.ui('change')} {change.astimezone():%H:%M}"
    size = width_of([(mark, "")])
    if at + size > times.width:
        return [(" " * label + " ", ""), (" " * (at - size + 1), ""), (_flip(mark), "dim")]
    row = (fit(row, at) if at >= 12 else " " * at) + mark
    rest = times.width - width_of([(row, "")])
    return [(" " * label + " ", ""), (row + (fit(scene.ui("now"), rest, "right") if rest > 5 else ""), "dim")]


def _flip(mark: str) -> str:
    return f"{mark[2:]} ▲"


def old_server(scene: Scene, width: int, height: int) -> list[Line]:
    rows = [*_last_mail(scene, width), *_quiet(scene, width), *_share(scene, width, height)]
    counts = scene.ui("counts", waivers=len(scene.snapshot.waivers), ends=len(_loose(scene)))
    return [*rows[: height - 1], [(counts, "warn" if _loose(scene) or scene.snapshot.waivers else "dim")]]


def _last_mail(scene: Scene, width: int) -> list[Line]:
    hit = scene.snapshot.last_old_mail
    if hit is None:
        return [[(scene.ui("last.none"), "dim")]]
    when = f"{age_words(scene, hit.accepted_at)} · {scene.clock(hit.accepted_at)}"
    sender = " ".join(clean(part) for part in (hit.client, hit.helo) if part) or scene.ui("unknown.client")
    return [
        spread([(scene.ui("last.mail") + " ", "dim")], [(when, "bold")], width),
        [(f"{scene.ui('from')} ", "dim"), (sender, "")],
        [(f"{scene.ui('to')} ", "dim"), (hit.recipient or "?", "")],
    ]


def age_words(scene: Scene, t: datetime) -> str:
    return scene.ui("ago", age=scene.since(t))


def _quiet(scene: Scene, width: int) -> list[Line]:
    snapshot = scene.snapshot
    need = snapshot.plan.policy.quiet_for
    words = scene.ui("quiet", done=float(snapshot.quiet_seconds), need=float(need))
    size = width - width_of([(words, "")]) - 1
    if size < 6:
        return [[(words, "")]]
    full, rest = meter(snapshot.quiet_seconds / need if need else 1.0, size)
    return [[(words + " ", ""), (full, "good"), (rest, "frame")]]


def _share(scene: Scene, width: int, height: int) -> list[Line]:
    judgement = scene.snapshot.judgement
    if judgement.share_bound is None or judgement.share_bound >= 1:
        text = scene.ui("share.none")
    else:
        text = scene.ui(
            "share.bound", bound=percent_up(judgement.share_bound), sure=f"{judgement.confidence * 100:.3g}"
        )
    return [[(line, "")] for line in wrap(text, width, 2 if height < 8 else 3)]


# Below


def _more(scene: Scene, width: int, height: int) -> list[Line]:
    """Loose ends, waivers and the latest events; full size below the fold when there is no room."""
    blocks = [_ends_box(scene, width), _waivers_box(scene, width)]
    lines = [line for block in blocks for line in block]
    room = max(6, height - len(lines))
    events = [event_line(scene, event) for event in scene.snapshot.events[: -room + 1 : -1]]
    if events:
        size = min(room, len(events) + 2) if height < room else room
        lines = [*box([(scene.ui("title.latest"), "title")], events, width, size), *lines]
    return lines


def _loose(scene: Scene) -> tuple[object, ...]:
    return scene.snapshot.judgement.loose_ends


def _ends_box(scene: Scene, width: int) -> list[Line]:
    rows: list[Line] = []
    for end in scene.snapshot.judgement.loose_ends[:50]:
        said = wrap(scene.tell(end.code, end.args), width - 6, 3)
        rows += [[("! " if i == 0 else "  ", "warn"), (line, "")] for i, line in enumerate(said)]
    return box([(scene.ui("title.ends"), "title")], rows, width, len(rows) + 2) if rows else []


def _waivers_box(scene: Scene, width: int) -> list[Line]:
    rows: list[Line] = [
        [
            ("– ", "dim"),
            (clean(w.subject) + "  ", "bold"),
            (clean(w.reason), ""),
            (f"  {scene.clock(w.at)}", "dim"),
        ]
        for w in scene.snapshot.waivers[:50]
    ]
    return box([(scene.ui("title.waivers"), "title")], rows, width, len(rows) + 2) if rows else []
