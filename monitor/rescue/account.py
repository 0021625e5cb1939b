"""One account's stragglers: found on old, looked for on new, copied, read back."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from msgspec import Struct

from monitor.rescue.content import content, named, unix
from monitor.rescue.ledger import Copied, Ledger
from monitor.rescue.model import Outcome, Rescued
from monitor.rescue.shelf import Lying, Shelf
from monitor.snapshot import StragglerRow
from probes.mail.carrier import Carrier, Entry, Folder, Refused, Source
from probes.mail.header import first
from probes.observation import now

EARLIER = timedelta(days=1)  # a mailbox stamps a message at the latest when it was taken, by its own clock
# An APPEND whose client was killed may still be carried out: for so long it is waited for.
SETTLE = 10.0
_POLL = 0.5


class Found(Struct, frozen=True, kw_only=True):
    """A message on old that a straggler may mean."""

    folder: Folder
    entry: Entry


class Rescuer:
    """For a worker thread. ``dry``: only tell what would be done. Raises ``Gone`` where a session ends, and
    ``Failure`` where the ledger cannot be written."""

    def __init__(self, account: str, old: Source, new: Carrier, ledger: Ledger, *, dry: bool) -> None:
        self._account, self._old, self._new, self._ledger = account, old, new, ledger
        self._dry = dry
        self._shelf: Shelf | None = None
        self._since = datetime.max

    def run(self, stragglers: Sequence[StragglerRow]) -> Iterator[Rescued]:
        """One or more for each straggler, as each is done."""
        self._since = min(s.accepted_at for s in stragglers) - EARLIER
        found = self._find(stragglers)
        for straggler in stragglers:
            mine = found.get(straggler, ())
            if not mine:
                yield self._said(straggler, "absent")
            seen: set[str] = set()
            for one in mine:
                yield from self._message(straggler, one, seen)

    def _find(self, stragglers: Sequence[StragglerRow]) -> dict[StragglerRow, list[Found]]:
        """INBOX first, so that of two copies the one there is taken."""
        wanted: dict[str, list[StragglerRow]] = {}
        for straggler in stragglers:
            if straggler.message_id:
                wanted.setdefault(straggler.message_id, []).append(straggler)
        found: dict[StragglerRow, list[Found]] = {}
        for folder in self._old.folders():
            try:
                for entry in self._old.entries(folder.name, self._since):
                    for straggler in {s for name in entry.identities for s in wanted.get(name, ())}:
                        found.setdefault(straggler, []).append(Found(folder=folder, entry=entry))
            except Refused:
                continue  # a folder that nobody can open
        return found

    def _message(self, straggler: StragglerRow, one: Found, seen: set[str]) -> Iterator[Rescued]:
        try:
            raw = self._old.whole(one.folder.name, one.entry)
        except Refused as error:
            yield self._said(straggler, "refused", one, detail=str(error))
            return
        # Another message under its UID: the folder has become another one meanwhile (UIDVALIDITY).
        if raw is None or named(raw) != one.entry.name or (key := content(raw)) in seen:
            return
        seen.add(key)
        yield self._copied(straggler, one, raw, key)

    def _copied(self, straggler: StragglerRow, one: Found, raw: bytes, key: str) -> Rescued:
        shelf = self._new_shelf()
        before = self._ledger.of(self._account, key)
        target = before.folder if before is not None else shelf.place_for(one.folder)
        shelf.refresh(target)
        there = shelf.holding(one.entry.name, key)
        if before is None or before.stage == "done":
            if there is not None:
                outcome: Outcome = "there" if before is None else "earlier"
                return self._said(straggler, outcome, one, there.folder, raw=raw)
            if before is not None:
                detail = f"copied at {before.at:%Y-%m-%d %H:%MZ}, and taken away since"
                return self._said(straggler, "gone", one, target, detail, raw)
        if before is not None and before.stage == "differs":
            return self._said(straggler, "differs", one, target, f"an earlier copy: {before.detail}", raw)
        if self._dry:
            return self._said(straggler, "would", one, target, raw=raw)
        if before is not None and there is None:
            there = self._waited_for(before, one, key)
        if there is not None:  # an earlier run was ended between APPEND and reading it back
            return self._read_back(straggler, one, raw, key, there.folder, there.entry)
        return self._append(straggler, one, raw, key, target)

    def _new_shelf(self) -> Shelf:
        if self._shelf is None:
            self._shelf = Shelf(self._new, self._since)
        return self._shelf

    def _waited_for(self, before: Copied, one: Found, key: str) -> Lying | None:
        """What an earlier run began to hand over, once the server had its time to be done with it."""
        shelf = self._new_shelf()
        left = min(SETTLE, SETTLE - (now() - before.at).total_seconds())
        until = time.monotonic() + left
        while (there := shelf.holding(one.entry.name, key)) is None and time.monotonic() < until:
            time.sleep(_POLL)
            shelf.refresh(before.folder)
        return there

    def _append(self, straggler: StragglerRow, one: Found, raw: bytes, key: str, target: str) -> Rescued:
        self._ledger.put(self._account, key, "meant", target)
        date = one.entry.date or straggler.accepted_at
        try:
            uid = self._new.add(target, raw, one.entry.flags, date)
        except Refused as error:
            self._ledger.forget(self._account, key)
            return self._said(straggler, "refused", one, target, str(error), raw)
        shelf = self._new_shelf()
        shelf.refresh(target)
        there = shelf.holding(one.entry.name, key) if uid is None else None
        if uid is None and there is not None:
            return self._read_back(straggler, one, raw, key, there.folder, there.entry)
        entries = self._new.listed(target, [uid]) if uid is not None else []
        if not entries:
            self._ledger.put(self._account, key, "differs", target, uid, "not to be read back")
            return self._said(straggler, "differs", one, target, "new took it, and does not show it", raw)
        return self._read_back(straggler, one, raw, key, target, entries[0])

    def _read_back(
        self, straggler: StragglerRow, one: Found, raw: bytes, key: str, target: str, entry: Entry
    ) -> Rescued:
        kept = self._new.whole(target, entry)
        uid = entry.key
        if kept is None or unix(kept) != unix(raw):
            detail = f"{len(raw)} bytes were handed over, {len(kept or b'')} others came back"
            self._ledger.put(self._account, key, "differs", target, uid, detail)
            return self._said(straggler, "differs", one, target, detail, raw)
        remark = "; ".join(_remarks(one, entry, kept == raw, straggler))
        self._ledger.put(self._account, key, "done", target, uid, remark)
        return self._said(straggler, "copied", one, target, remark, raw)

    def _said(
        self, straggler: StragglerRow, outcome: Outcome, one: Found | None = None, target: str = "",
        detail: str = "", raw: bytes = b"",
    ) -> Rescued:  # fmt: skip
        return Rescued(
            straggler=straggler, account=self._account, outcome=outcome, target=target, detail=detail,
            source=one.folder.name if one else "",
            sender=(first(one.entry.header, "from") or "") if one else "",
            date=one.entry.date if one else None, size=len(raw),
        )  # fmt: skip


def _remarks(one: Found, entry: Entry, same: bool, straggler: StragglerRow) -> Iterator[str]:
    """What new did not keep as it was given: bytes are the same but for these."""
    if not same:
        yield "new keeps other line ends"
    date = one.entry.date or straggler.accepted_at
    if entry.date is None or abs((entry.date - date).total_seconds()) >= 1:
        yield "new keeps another date"
    lost = {f.lower() for f in one.entry.flags} - {f.lower() for f in entry.flags}
    if lost:
        yield f"new does not keep {' '.join(sorted(lost))}"
