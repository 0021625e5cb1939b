"""Dovecot's deliveries (LMTP and LDA). With a mail server's own lines beside them they are its second word.

They count only where that server's log is elsewhere: one waits ``WAIT`` for the server's word of a message
with the same Message-ID, and is dropped when it comes. Where a server was heard whose log names no
Message-IDs, or the delivery has none, the server's lines alone count. No line shows a client, so the origin
is unknown.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable
from typing import Any, ClassVar, Final

from probes.observation import Mail, Observation
from probes.oldhost.deliveries import spelled
from probes.oldhost.formats.desk import Desk, Format, Said, remember
from probes.oldhost.lines import text

WAIT = 60_000  # ms
MOST_WAITING = 5_000
NAMELESS: Final = frozenset(("qmail", "opensmtpd", "courier"))  # logs without Message-IDs
SERVERS: Final = frozenset(("postfix", "exim", "sendmail", "haraka", "exchange")) | NAMELESS

# 2.3: lmtp(bob@example.com)<246><session>: msgid=<…>: …; before: lmtp(246, bob@example.com): session: msgid=…
_LINE: Final = re.compile(
    rb"(?:Info: |dovecot: )*(?:lmtp|lda|deliver)\((?:\d+, )?([^()]*?)\)(?:<[^<>]*>)*: (?:Info: )?"
    rb"(?:[^ <>]{1,64}: )?(?:sieve: )?msgid=(.*)$"
)
# A Message-ID is the sender's text: what the last of such words says is Dovecot's own.
_DONE: Final = re.compile(
    rb"(.*): (?:saved mail to|stored mail into mailbox|fileinto action: stored"
    rb"|((?:redirect action: )?forwarded to)) "
)
_ADDED: Final = re.compile(r" \(added by [^()]*\)$")


class Dovecot(Format):
    name: ClassVar[str] = "dovecot"

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk)
        self._waiting: dict[str, tuple[int, int, str, str, str]] = {}
        self._told: dict[str, int] = {}  # Message-ID of a server's word -> when

    def read(self, said: Said) -> bool:
        found = _LINE.match(said.text)
        if found is None:
            return b"msgid=" not in said.text
        done = _DONE.match(found[2])
        if done is None:
            return True
        user = text(found[1])
        mailbox = spelled(user if "@" in user else f"{user}@{self.desk.domains[0]}")
        message_id = _ADDED.sub("", text(done[1]))
        if user and self.desk.ours(mailbox):
            message_id = message_id if message_id.startswith("<") and message_id != "<>" else ""
            key = f"{message_id} {mailbox}" if message_id else f"{said.at} {len(self._waiting)} {mailbox}"
            state = "relayed" if done[2] else "delivered"
            if key not in self._waiting:
                remember(self._waiting, key, (said.since, said.at, mailbox, message_id, state))
        return True

    def join(
        self, told: Iterable[Observation], heard: Collection[str], known: Callable[[str], bool], moment: int
    ) -> None:
        """``told``: what the servers' lines made by ``moment`` (ms), ``heard``: which servers there are,
        ``known``: whether one of them has a message of this Message-ID under way."""
        for one in told:
            if isinstance(one, Mail) and one.message_id:
                remember(self._told, one.message_id, moment)
        nameless = not NAMELESS.isdisjoint(heard)
        any_server = not SERVERS.isdisjoint(heard)
        for key, (_, _, _, message_id, _) in list(self._waiting.items()):
            joined = message_id in self._told or known(message_id) if message_id else any_server
            if joined or nameless:
                del self._waiting[key]
        self._release(moment - (WAIT if any_server else 10_000))

    def _release(self, before: int | None) -> None:
        for key, (since, at, mailbox, message_id, state) in list(self._waiting.items()):
            if before is not None and since > before:
                continue
            del self._waiting[key]
            canary = bool(message_id) and self.desk.recognise(message_id) is not None
            self.desk.tell.mail(
                at, mailbox, message_id or None, None, None, "canary" if canary else "unknown",
                "relayed" if state == "relayed" else "delivered", None, "",
            )  # fmt: skip

    def flush(self) -> None:
        super().flush()
        self._release(None)

    def state(self) -> dict[str, Any]:
        return {
            **super().state(), "told": self._told,
            "waiting": {key: list(one) for key, one in self._waiting.items()},
        }  # fmt: skip

    def restore(self, state: dict[str, Any]) -> None:
        super().restore(state)
        self._told = {str(k): int(v) for k, v in state["told"].items()}
        self._waiting = {
            str(k): (int(s), int(a), str(m), str(i), str(d))
            for k, (s, a, m, i, d) in state["waiting"].items()
        }
