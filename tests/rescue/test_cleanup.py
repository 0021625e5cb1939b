"""``mxcutover cleanup`` on two real servers: canaries go, whatever resembles one stays."""

from __future__ import annotations

import json
import quopri
import re
import subprocess
from datetime import datetime, timedelta
from typing import Any

import pytest
from imapclient.imap_utf7 import encode

from monitor.watch.world import signer_of
from probes.mail.canary import Signer, compose
from probes.observation import CanarySent
from tests.mail.test_dovecot import JUNK
from tests.rescue.stage import ANNA, RUN, Stage, kept, put

pytestmark = pytest.mark.servers


def cleanup(stage: Stage, *arguments: str) -> tuple[int, list[dict[str, Any]]]:
    command = [*RUN, "cleanup", str(stage.plan), "--json", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr == ""
    return done.returncode, [json.loads(row) for row in done.stdout.splitlines()]


def canary(signer: Signer, at: datetime, to: str = ANNA, language: str = "en") -> bytes:
    return compose(signer, signer.mint(), "mx", "watch@example.jp", to, at, language)  # type: ignore[arg-type]


def delivered(raw: bytes) -> bytes:
    """As its way leaves it: trace fields on top, a field of a filter, another transfer encoding."""
    head, _, body = raw.partition(b"\r\n\r\n")
    head = head.replace(b"Content-Transfer-Encoding: 7bit", b"Content-Transfer-Encoding: quoted-printable")
    body = quopri.encodestring(body).replace(b"\n", b"\r\n").replace(b"\r\r", b"\r")
    return b"Received: from a by b; x\r\nX-Spam-Score: 3\r\n" + head + b"\r\n\r\n" + body


def field(raw: bytes, name: bytes) -> bytes:
    """With its folded lines."""
    found = re.search(name + rb": (.*\r\n[ \t])*.*\r\n", raw)
    assert found is not None
    return found[0]


def sent(at: datetime) -> CanarySent:
    return CanarySent(
        at=at, canary="c-1", route="mx", recipient=ANNA, outcome="accepted", host=None, address=None,
        reply=None,
    )  # fmt: skip


def test_only_what_is_a_canary_through_and_through_goes(stage: Stage) -> None:
    signer, stranger = signer_of(stage.journal), Signer(b"s" * 32)
    at = stage.changed.replace(microsecond=5000)
    good = [canary(signer, at), delivered(canary(signer, at)), canary(signer, at, language="ja")]
    model = canary(signer, at)
    head, _, _ = model.partition(b"\r\n\r\n")
    name, token = field(model, b"Message-ID"), field(model, b"Mxcutover-Canary")
    own = b"From: boss@example.jp\r\nTo: <anna@example.jp>\r\n" + field(model, b"Date")
    offer = b"Subject: Offer\r\n\r\nHello.\r\n"
    word = b"Subject: mxcutover test message\r\nMessage-ID: <mxcutover.1@x>\r\n\r\nHm.\r\n"
    stays = {
        "forged by a stranger": canary(stranger, at),
        "signed fields copied into a letter": own + name + token + offer,
        "the header alone, another text": head + b"\r\n\r\nPlease call me back.\r\n",
        "a canary with a text put below it": model + b"By the way, the contract is attached.\r\n",
        "one field alone": own + token + offer,
        "the other field alone": own + name + offer,
        "to somebody else, forwarded here": canary(signer, at, "ben@example.jp"),
        "a word about mxcutover": word,
        "sent at another time": model.replace(b"Date: ", b"Date: Thu, 01 Jan 2026 09:00:00 +0000\r\nOld: "),
    }  # fmt: skip
    for host in (stage.old, stage.new):
        for raw in (*good, *stays.values()):
            put(host, raw, at)
        put(host, canary(signer, at), at, folder=encode(JUNK).decode())
        put(
            host, stays["a word about mxcutover"], at, "\\Deleted"
        )  # flagged by its owner, and not ours to purge
    stage.record(sent(at))
    before = kept(stage.old)
    code, rows = cleanup(stage)
    assert (code, sum(row["outcome"] == "found" for row in rows)) == (0, 8) and kept(stage.old) == before
    code, rows = cleanup(stage, "--delete")
    assert sum(row["outcome"] == "deleted" for row in rows) == 8, rows
    left = [one.raw for one in kept(stage.new)]
    assert sorted(left) == sorted([*stays.values(), word])
    assert sorted(one.raw for one in kept(stage.old)) == sorted(left)
    assert code == 10 and {row["outcome"] for row in cleanup(stage)[1]} == {"kept"}


def test_a_young_canary_is_still_waited_for(stage: Stage) -> None:
    signer = signer_of(stage.journal)
    at = stage.changed + timedelta(hours=6)
    put(stage.new, canary(signer, at), at)
    stage.record(sent(at))
    assert cleanup(stage, "--delete")[1][0]["outcome"] == "young"
    assert len(kept(stage.new)) == 1
