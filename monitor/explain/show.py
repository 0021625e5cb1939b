"""An explanation as text for a terminal, and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

import msgspec

from monitor.explain.build import Explained, Explanation
from monitor.glance.text import cells, fit, wrap
from monitor.printable import printable
from monitor.verdict.model import Finding
from monitor.verdict.output import as_json
from monitor.wording import SIGNS, Language, say, span
from probes.observation import (
    AccountState,
    AuthorityAnswer,
    CanaryLanded,
    CanarySent,
    Coverage,
    Mail,
    Observation,
    ResolverAnswer,
    Skip,
    encode,
    stamp,
)

MOST = 12  # observations of one requirement on a terminal; JSON has them all
MOST_LOST = 40
LATE = 5.0  # seconds after which a message was seen, and it is told when it was taken


def lines(e: Explanation, language: Language, width: int, *, everything: bool) -> Iterator[str]:
    """The whole text. ``everything``: all observations, not the first few of each requirement."""
    verdict = say(e.judgement.code, e.judgement.args, language, e.at)
    yield from _told(f"{_moment(e.at)}  ", f"{e.judgement.verdict.upper()}: {verdict}", width)
    for one in e.requirements:
        yield ""
        yield from _requirement(one, e, language, width, None if everything else MOST)
    if e.until > e.at:
        yield ""
        yield from _counterfactual(e, language, width, None if everything else MOST_LOST)


def _requirement(
    one: Explained, e: Explanation, language: Language, width: int, most: int | None
) -> Iterator[str]:
    f = one.finding
    yield from _told(
        f"{SIGNS[f.state]} {f.state:<8}", f"{f.name}: {say(f.code, f.args, language, e.at)}", width
    )
    for word, text in advice(f, e, language):
        yield from _told(f"    {say(f'explain.{word}', {}, language)} ", text, width)
    if f.waived:
        yield from _told(
            f"    {say('explain.waived', {}, language)} ", ", ".join(map(printable, f.waived)), width
        )
    yield from _listed(one.evidence, language, width, most)
    if not one.evidence:
        yield "    " + say("explain.no_evidence", {}, language)


def _listed(seen: Sequence[Observation], language: Language, width: int, most: int | None) -> Iterator[str]:
    """At most so many of them, and how many more there are."""
    shown = seen[:most]
    for one in shown:
        yield from _told(f"    {_moment(one.at)}  ", observed(one), width)
    if len(seen) > len(shown):
        yield "    " + say("explain.more", {"count": len(seen) - len(shown)}, language)


def advice(f: Finding, e: Explanation, language: Language) -> list[tuple[str, str]]:
    """What a requirement takes, when that may be, and what can be done now, each with its word."""
    told = [("needs", say(f"needs.{f.name}", e.needs, language))]
    if f.state in ("unmet", "unknown"):
        if f.eta is not None:
            told.append(("eta", say("explain.by", {"eta": f"{_moment(f.eta)}"}, language)))
        told.append(("do", say(f"do.{f.code}", f.args, language)))
    return told


def _counterfactual(e: Explanation, language: Language, width: int, most: int | None) -> Iterator[str]:
    args = {"at": _moment(e.at), "until": _moment(e.until), "count": len(e.lost)}
    yield from wrap(say("explain.lost" if e.lost else "explain.none_lost", args, language), width)
    yield from _listed(e.lost, language, width, most)


def senders(e: Explanation, language: Language, width: int) -> Iterator[str]:
    """The ledger of earlier correspondents as a table, those not yet heard of on new first."""
    rows = e.judgement.senders
    if not rows:
        yield from wrap(say("senders.none", {}, language), width)
        return
    counts = {state: sum(row.state == state for row in rows) for state in _STATES}
    yield from wrap(say("senders.sum", {"total": len(rows), **counts}, language), width)
    name = max(12, min(width - 62, max(cells(row.who) for row in rows)))
    heads = [
        say(f"senders.{head}", {}, language) for head in ("who", "before", "every", "last", "state", "due")
    ]
    yield _columns(heads, name)
    for row in sorted(rows, key=lambda row: (_STATES.index(row.state), -row.before)):
        heard = row.first_new if row.state == "new" else row.last_old or row.last_before
        state = f"{_SIGNS[row.state]} {say(f'senders.{row.state}', {}, language)}"
        every = span(row.gap, language) if row.before > 1 else "–"
        due = "" if row.state == "new" else _day(row.expected)
        yield _columns([row.who, str(row.before), every, _day(heard or row.last_before), state, due], name)


_STATES = ("overdue", "old", "silent", "new")
_SIGNS = {"new": "✓", "old": "✗", "silent": "…", "overdue": "!"}


def _columns(values: list[str], name: int) -> str:
    widths = (name, 7, 11, 11, 15, 11)
    return "  ".join(fit(value, width) for value, width in zip(values, widths, strict=True)).rstrip()


def _day(t: datetime) -> str:
    return t.astimezone().strftime("%m-%d %H:%M")


def _told(head: str, text: str, width: int) -> list[str]:
    """``text`` after ``head``, whole: what does not fit goes on below it."""
    first, *rest = wrap(text, width - cells(head)) or [""]
    return [head + first, *(" " * cells(head) + line for line in rest)]


def _moment(t: datetime) -> str:
    return t.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def observed(seen: Observation) -> str:
    """One observation in one line: who, and its raw text, made printable."""
    return printable(_said(seen), 2000)


def _said(seen: Observation) -> str:
    match seen:
        case AuthorityAnswer():
            serial = "" if seen.serial is None else f" serial {seen.serial}"
            return f"{seen.server} {seen.address} {_answer(seen)}{serial}"
        case ResolverAnswer():
            behind = f" ({seen.cache})" if seen.cache else ""
            return f"{seen.resolver}{behind} {_answer(seen)}"
        case CanarySent():
            return (
                f"{seen.route} to {seen.recipient}: {seen.outcome} by {seen.host or '-'}: {seen.reply or '-'}"
            )
        case CanaryLanded():
            took = f"{seen.latency_ms / 1000:.1f} s"
            return f"{seen.canary} landed on {seen.side}, {seen.account} {seen.folder}, {took}"
        case Mail():
            return _message(seen)
        case AccountState():
            return f"{seen.side} {seen.account}: {seen.state}: {seen.detail}"
        case Skip():
            return f"{seen.subject} not asked: {seen.reason}"
        case Coverage():
            return f"{seen.source} watched until {_moment(seen.to)}"
        case _:
            return encode(seen).decode()


def _answer(seen: AuthorityAnswer | ResolverAnswer) -> str:
    if seen.outcome != "answer":
        return f"{seen.transport} {seen.name} {seen.type}: {seen.outcome}"
    return f"{seen.transport} {seen.name} {seen.type} {', '.join(seen.rrset)} TTL {seen.ttl}"


def _message(seen: Mail) -> str:
    what = f"{seen.disposition}, {seen.origin}" + (f": {seen.reply}" if seen.reply else "")
    late = abs((seen.at - seen.accepted_at).total_seconds()) >= LATE
    taken = f"took at {_moment(seen.accepted_at)}" if late else "took"
    name = seen.message_id or seen.digest or seen.queue_id or "-"
    client = (seen.client or "-") + (f" ({seen.helo})" if seen.helo else "")
    verb = "refused" if seen.disposition == "rejected" else taken
    return f"{seen.side} {verb} {name} for {seen.recipient} from {client} ({what})"


def document(e: Explanation) -> dict[str, Any]:
    """Plain values: the verdict as ``status --json`` has it, and for each requirement its evidence."""
    return {
        "at": stamp(e.at),
        "judgement": as_json(e.judgement),
        "requirements": [_as_object(one, e) for one in e.requirements],
        "senders": msgspec.to_builtins(e.judgement.senders),
        "switched_off": {
            "at": stamp(e.at), "until": stamp(e.until), "lost": len(e.lost),
            "messages": [_plain(seen) for seen in e.lost],
        },
    }  # fmt: skip


def _as_object(one: Explained, e: Explanation) -> dict[str, Any]:
    f = one.finding
    told = {word: text for word, text in advice(f, e, "en") if word != "eta"}
    return {
        "name": f.name, "state": f.state, "code": f.code, "reason": say(f.code, f.args, "en", e.at),
        "eta": None if f.eta is None else stamp(f.eta), "waived": [printable(w) for w in f.waived],
        **told, "evidence": [_plain(seen) for seen in one.evidence],
    }  # fmt: skip


def _plain(seen: Observation) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.json.decode(encode(seen))
    return found
