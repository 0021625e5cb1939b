"""An :class:`Explanation` as a person reads it, and as plain values for JSON."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from monitor.evidence.mail import Taken
from monitor.explain.build import Explanation, Reason
from monitor.printable import printable
from monitor.verdict.bound import percent_up
from monitor.verdict.model import Finding
from monitor.verdict.output import as_json
from monitor.verdict.senders import Sender
from monitor.wording import SIGNS, Language, known, say
from probes.observation import (
    AuthorityAnswer,
    CanaryLanded,
    CanarySent,
    Coverage,
    Mail,
    Observation,
    Plan,
    ResolverAnswer,
    encode,
    from_ms,
    stamp,
)

LOST = 20  # shown; JSON has them all
SENDERS = 20
WIDE = 160  # characters of raw text in a line
_PLAIN = ("at", "kind", "vantage", "domain", "name", "type", "transport")


def todo(finding: Finding, language: Language = "en") -> str | None:
    """What the operator can do now; None where there is nothing to be done."""
    if finding.state in ("met", "waived"):
        return None
    code = f"todo.{finding.code}"
    if not known(code):  # one instruction for all that is wrong with signatures
        code = code.partition("_")[0]
    return say(code, finding.args, language)


def need(finding: Finding, plan: Plan, language: Language = "en") -> str:
    """What would have to happen for the requirement to be met, by this plan."""
    policy = plan.policy
    ceiling = 3 * policy.quiet_for if policy.quiet_ceiling is None else policy.quiet_ceiling
    args: dict[str, Any] = {
        "freshness": float(policy.freshness), "quorum": round(policy.quorum * 100),
        "samples": policy.settle_samples, "streak": policy.canary_streak,
        "deadline": float(policy.canary_deadline), "quiet": float(policy.quiet_for),
        "share": f"{percent_up(policy.share_bound)} %", "ceiling": float(ceiling),
    }  # fmt: skip
    return say(f"explain.need.{finding.name}", args, language)


def source(seen: Observation) -> str:
    """Whom an observation is from: kind, subject, and the observer where it is not the usual one."""
    subject = ""
    match seen:
        case AuthorityAnswer():
            subject = f"{seen.server} {seen.address}"
        case ResolverAnswer():
            subject = f"{seen.resolver} {seen.cache}" if seen.cache else seen.resolver
        case CanarySent():
            subject = f"{seen.route} {seen.canary}"
        case CanaryLanded():
            subject = f"{seen.side} {seen.canary}"
        case Mail():
            subject = f"{seen.side} {seen.source}"
        case Coverage():
            subject = seen.source
        case _:
            pass
    where = "" if seen.vantage == "local" else f" @{seen.vantage}"
    return f"{_kind(seen)} {subject}".rstrip() + where


def _kind(seen: Observation) -> str:
    return str(type(seen).__struct_config__.tag)


def raw(seen: Observation) -> dict[str, Any]:
    """The observation as it is kept."""
    fields: dict[str, Any] = json.loads(encode(seen))
    return fields


def lines(found: Explanation, only: str | None, language: Language = "en") -> Iterator[str]:
    """The text; ``only``: of one requirement, or of the ``senders``."""
    judgement = found.judgement
    yield f"{stamp(judgement.at)}  {judgement.verdict}: {say(judgement.code, judgement.args, language)}"
    for reason in found.reasons:
        if only in (None, reason.finding.name):
            yield ""
            yield from _requirement(reason, found.policy, language)
    if only in (None, "quiet", "stragglers"):
        yield ""
        yield from _lost(found, language)
    if only in (None, "senders"):
        yield ""
        yield from _senders(found, language, None if only else SENDERS)


def _requirement(reason: Reason, plan: Plan, language: Language) -> Iterator[str]:
    finding = reason.finding
    said = say(finding.code, finding.args, language)
    yield f"{SIGNS[finding.state]} {finding.state:<7} {finding.name}: {said}"
    if (what := todo(finding, language)) is not None:
        yield f"  {need(finding, plan, language)}"
        yield f"  {say('explain.todo', {}, language)}: {what}"
        if finding.eta is not None:
            yield f"  {say('explain.eta', {'eta': stamp(finding.eta)}, language)}"
    shown = len(reason.evidence)
    if not shown:
        yield f"  {say('explain.no_evidence', {}, language)}"
        return
    args = {"shown": shown, "total": reason.total, "more": reason.total > shown}
    yield f"  {say('explain.evidence', args, language)}:"
    for seen in reason.evidence:
        yield f"    {stamp(seen.at)}  {printable(source(seen), 60)}  {printable(_text(seen), WIDE)}"


def _text(seen: Observation) -> str:
    """What it says, in its own words: the fields that its source does not name already."""
    match seen:
        case AuthorityAnswer() | ResolverAnswer():
            said = " ".join((seen.type, seen.outcome, *seen.rrset))
            return f"{said} ttl {seen.ttl}" if seen.rrset else said
        case _:
            fields = {k: v for k, v in raw(seen).items() if k not in _PLAIN and v not in (None, "", [])}
            return " ".join(f"{k}={v}" for k, v in fields.items())


def _lost(found: Explanation, language: Language) -> Iterator[str]:
    if found.off_at is None:
        yield say("explain.lost_before", {}, language)
        return
    args = {"off": stamp(found.off_at), "count": len(found.lost)}
    yield say("explain.lost" if found.lost else "explain.lost_none", args, language)
    for t in found.lost[:LOST]:
        sender = " ".join(part for part in (t.client, t.helo) if part) or "?"
        message = t.message_id or t.queue_id or t.digest or "?"
        line = printable(f"{sender} -> {t.recipient or '?'}  {message}", WIDE)
        yield f"    {stamp(from_ms(t.at))}  {line}"
    if len(found.lost) > LOST:
        yield f"    {say('explain.lost_more', {'count': len(found.lost) - LOST}, language)}"


def _senders(found: Explanation, language: Language, most: int | None) -> Iterator[str]:
    count = Counter(sender.standing for sender in found.senders)
    args = {standing: count[standing] for standing in ("new", "old", "silent", "rare")}
    yield say("explain.senders", args, language)
    for sender in found.senders[:most]:
        word = say(f"explain.sender.{sender.standing}", _dates(sender), language)
        yield f"    {printable(sender.sender, 50)} ({sender.letters}): {word}"


def _dates(sender: Sender) -> dict[str, str]:
    def day(at: datetime | None) -> str:
        return f"{at:%Y-%m-%d}" if at else ""

    return {"last": day(sender.last), "since": day(sender.since), "expected": day(sender.expected)}


def as_object(found: Explanation, only: str | None, language: Language = "en") -> dict[str, Any]:
    """Plain values: the verdict's own form, with ``needs``, ``todo`` and ``evidence`` (``at``, ``source``,
    ``raw``) of each requirement; ``lost`` and ``senders``."""
    verdict = as_json(found.judgement)
    for fields, reason in zip(verdict["requirements"], found.reasons, strict=True):
        fields["needs"] = need(reason.finding, found.policy, language)
        fields["todo"] = todo(reason.finding, language)
        fields["observations"] = reason.total
        fields["evidence"] = [
            {"at": stamp(seen.at), "source": source(seen), "raw": raw(seen)} for seen in reason.evidence
        ]
    if only is not None:
        verdict["requirements"] = [r for r in verdict["requirements"] if r["name"] == only]
    verdict["switched_off_at"] = None if found.off_at is None else stamp(found.off_at)
    verdict["lost"] = [_message(t) for t in found.lost]
    verdict["senders"] = [_sender(s) for s in found.senders]
    return verdict


def _message(t: Taken) -> dict[str, Any]:
    return {
        "accepted_at": stamp(from_ms(t.at)), "recipient": t.recipient, "message_id": t.message_id,
        "client": t.client, "helo": t.helo, "origin": t.origin, "disposition": t.disposition,
        "queue_id": t.queue_id, "digest": t.digest,
    }  # fmt: skip


def _sender(s: Sender) -> dict[str, Any]:
    return {
        "sender": s.sender, "standing": s.standing, "clients": list(s.clients), "letters": s.letters,
        "last": stamp(s.last), "since": None if s.since is None else stamp(s.since),
        "expected": None if s.expected is None else stamp(s.expected),
    }  # fmt: skip
