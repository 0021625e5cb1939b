"""What lies in one mailbox on new: looked through once, and again wherever something may have come."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime

from msgspec import Struct

from monitor.rescue.content import content
from probes.mail.carrier import Carrier, Entry, Folder, Refused
from probes.mail.imap import BATCH

MOST_ALIKE = 20  # messages of one name that are compared whole
_SORTED = ("\\junk", "\\trash", "\\archive")


class Lying(Struct, frozen=True, kw_only=True):
    """A message on new: its folder, and its entry there."""

    folder: str
    entry: Entry


class Shelf:
    """``since``: what came into the mailbox before is not looked at. Blocking; raises ``Gone``."""

    def __init__(self, new: Carrier, since: datetime) -> None:
        self._new, self._since = new, since
        self._folders: list[Folder] = new.folders()
        self._next: dict[str, int] = {}
        self._named: dict[str, list[Lying]] = defaultdict(list)
        self._contents: dict[tuple[str, int], str] = {}
        for folder in self._folders:
            self._load(folder.name)

    def _load(self, folder: str) -> None:
        try:
            self._next[folder] = self._new.look_at(folder).uid_next
        except Refused:
            return  # nobody can open it, its owner included
        for entry in self._new.entries(folder, self._since):
            self._put(folder, entry)

    def _put(self, folder: str, entry: Entry) -> None:
        if all(one.entry.key != entry.key or one.folder != folder for one in self._named[entry.name]):
            self._named[entry.name].append(Lying(folder=folder, entry=entry))

    def refresh(self, folder: str) -> None:
        """See what has come into it since."""
        state = self._new.look_at(folder)
        uids = self._new.uids(self._next.get(folder, 1))
        for start in range(0, len(uids), BATCH):
            for entry in self._new.listed(folder, uids[start : start + BATCH]):
                self._put(folder, entry)
        self._next[folder] = max([state.uid_next, *(u + 1 for u in uids[-1:])])

    def holding(self, name: str, key: str) -> Lying | None:
        """The message of this name and content, where it is on new."""
        for lying in self._named.get(name, ())[:MOST_ALIKE]:
            if self._content(lying) == key:
                return lying
        return None

    def _content(self, lying: Lying) -> str:
        place = (lying.folder, lying.entry.key)
        if place not in self._contents:
            try:
                raw = self._new.whole(lying.folder, lying.entry)
            except Refused:
                raw = None
            self._contents[place] = content(raw) if raw is not None else ""
        return self._contents[place]

    def place_for(self, folder: Folder) -> str:
        """Where on new a message of this folder belongs: the folder of the same use, else of the same name,
        else INBOX, where it is seen."""
        if folder.use in _SORTED:
            same = next((f.name for f in self._folders if f.use == folder.use), None)
            if same is not None:
                return same
        return next((f.name for f in self._folders if f.path == folder.path), "INBOX")
