"""Accounts: each mailbox on both sides, what came in there, who still uses the old one."""

from __future__ import annotations

from monitor.dashboard.pane import Column, Table, heading
from monitor.dashboard.scene import Scene
from monitor.dashboard.text import Line, Part
from monitor.dashboard.theme import MAILBOXES
from monitor.snapshot import AccountRow


def _state(state: str, scene: Scene) -> Part:
    sign, style = MAILBOXES.get(state, ("?", "warn"))
    return f"{sign} {scene.ui(f'mailbox.{state}') if state in MAILBOXES else state}", style


def _old_mail(row: AccountRow, scene: Scene) -> Part:
    return str(row.old_mail), "bad" if row.old_mail and scene.snapshot.change_at else "dim"


def _use(row: AccountRow, scene: Scene) -> Part:
    return scene.since(row.last_use_old), "warn" if row.last_use_old else "dim"


def _remark(row: AccountRow, scene: Scene) -> Part:
    if row.waived is not None:
        return f"– {scene.ui('state.waived')}: {row.waived}", "dim"
    return row.new_detail or row.old_detail, "dim"


def _title(scene: Scene) -> Line:
    rows = scene.snapshot.accounts
    using = sum(row.last_use_old is not None for row in rows)
    notes: list[str | Part] = [scene.ui("accounts.ok", n=sum(r.new == "ok" for r in rows), of=len(rows))]
    if using:
        notes.append((scene.ui("accounts.using", n=using), "warn"))
    return heading(scene.ui("title.accounts"), *notes)


ACCOUNTS = Table(
    columns=(
        Column(title="col.account", width=18, flex=2, most=44, cell=lambda r, s: (r.address, "bold")),
        Column(title="col.old.state", width=11, flex=1, most=15, cell=lambda r, s: _state(r.old, s)),
        Column(title="col.old.mail", width=5, align="right", cell=_old_mail),
        Column(title="col.last.old", width=6, align="right", cell=lambda r, s: (s.since(r.last_old), "")),
        Column(title="col.use", width=6, align="right", cell=_use),
        Column(title="col.new.state", width=11, flex=1, most=15, cell=lambda r, s: _state(r.new, s)),
        Column(title="col.new.mail", width=5, align="right", cell=lambda r, s: (str(r.new_mail), "")),
        Column(title="col.last.new", width=6, align="right", cell=lambda r, s: (s.since(r.last_new), "")),
        Column(title="col.remark", width=12, flex=5, most=80, keep=100, cell=_remark),
    ),
    rows=lambda snapshot: snapshot.accounts,
    title=_title,
    find=lambda r: f"{r.address} {r.old} {r.new} {r.old_detail} {r.new_detail}",
    empty="empty.accounts",
)
