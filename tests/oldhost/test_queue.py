"""What waits in a queue, from the listings of several servers; a command that fails is said."""

from __future__ import annotations

import sys
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.observation import Queue, Skip, to_ms
from probes.oldhost.queue import Waiting, ask_queue, waiting

AT = datetime(2026, 11, 25, 13, tzinfo=UTC)
NOON = to_ms(datetime(2026, 11, 25, 12, 1, 2, tzinfo=UTC))
MINUTE = NOON - 2000

POSTQUEUE_J = (
    b'{"queue_name": "deferred", "queue_id": "4DBE03F01B", "arrival_time": 1795608062, "message_size": 309,'
    b' "sender": "a@x", "recipients": [{"address": "b@y", "delay_reason": "refused"}]}\n'
    b'{"queue_name": "active", "queue_id": "3x1", "arrival_time": 1795608099, "message_size": 1}\n'
)
POSTQUEUE_P = b"""\
-Queue ID-  --Size-- ----Arrival Time---- -Sender/Recipient-------
4DBE03F01B*     309 Wed Nov 25 12:01:02  alice@example.com
                                         bob@example.net

4ZqTt1Bh4Kz9!   1309 Wed Nov 25 12:03:00  MAILER-DAEMON
      (connect to mx[192.0.2.1]:25: Connection refused)
                                         Wed Nov 25 01:00:00 <x@example.net>

-- 2 Kbytes in 2 Requests.
"""
SENDMAIL = b"""\
\t\t/var/spool/mqueue (3 requests)
-----Q-ID----- --Size-- -----Q-Time----- ------------Sender/Recipient-----------
4APC1234012345*     512 Wed Nov 25 12:01 <alice@example.com>
                 (Deferred: Connection refused by mx.example.net.)
\t\t\t\t\t <bob@example.net>
4APC1234012346        8 Wed Nov 25 12:30 <alice@example.com>
4APC1234012347  (no control file)
\t\tTotal requests: 3
"""
EXIM = b"""\
25m  2.9K 1kdQyr-000B3o-Oe <alice@example.com>
          bob@example.net

 3h   544 1tFBxK-000000000Ab-1234 <> *** frozen ***
        D carol@example.net
          dave@example.net
"""
SMTPCTL = (
    b"5d6b0c2f0f4b5a11|inet4|mta|auth|a@x|b@y|b@y|1795608062|1796140862|0|1795618062|pending|100|Connection\n"
    b"5d6b0c2fffff5a12|inet4|mta||a@x|c@y|c@y|1795608062|1796140862|0|1795618062|pending|100|\n"
    b"00000c2f0f4b5a11|local|mda||a@x|d@x|d@x|1795609062|1796140862|0|0|inflight|0|\n"
)
QREAD = b"25 Nov 2026 12:01:02 GMT  #8412  410  <a@x> \n\tremote\tb@y\n25 Nov 2026 12:05:00 GMT  #84  4  <>\n"

LISTINGS = {
    "nothing": (b"", Waiting(0)),
    "postqueue -j": (POSTQUEUE_J, Waiting(2, NOON)),
    "postqueue -p": (POSTQUEUE_P, Waiting(2, NOON)),
    "postqueue -p, empty": (b"Mail queue is empty\n", Waiting(0)),
    "sendmail -bp": (SENDMAIL, Waiting(3, MINUTE)),
    "sendmail -bp, empty": (b"/var/spool/mqueue is empty\n\t\tTotal requests: 0\n", Waiting(0)),
    "exim -bp": (EXIM, Waiting(2, to_ms(AT) - 3 * 3_600_000)),
    "exim -bpc": (b"17\n", Waiting(17)),
    "smtpctl show queue": (SMTPCTL, Waiting(2, NOON)),
    "qmail-qread": (QREAD, Waiting(2, NOON)),
    "qmail-qstat": (
        b"messages in queue: 5\nmessages in queue but not yet preprocessed: 0\n",
        Waiting(5),
    ),
    "a banner": (b"Welcome to old.example\nLast login: today\n", None),
    "half an object": (POSTQUEUE_J[:250], None),
    "HTML": (b"<html>502</html>", None),
}


@pytest.mark.parametrize(("listing", "found"), LISTINGS.values(), ids=LISTINGS)
def test_a_listing(listing: bytes, found: Waiting | None) -> None:
    assert waiting(listing, to_ms(AT), "UTC") == found


def test_the_hosts_zone_is_the_listings() -> None:
    found = waiting(POSTQUEUE_P, to_ms(AT), "Asia/Tokyo")
    assert found == Waiting(2, NOON - 9 * 3_600_000)


@given(
    st.binary(max_size=300)
    | st.sampled_from([POSTQUEUE_J, POSTQUEUE_P, SENDMAIL, EXIM, SMTPCTL, QREAD]).flatmap(
        lambda text: st.tuples(st.integers(0, len(text)), st.binary(max_size=5)).map(
            lambda cut: text[: cut[0]] + cut[1] + text[cut[0] :]
        )
    )
)
def test_any_bytes_are_a_listing_or_none_and_nothing_lies_in_the_future(listing: bytes) -> None:
    found = waiting(listing, to_ms(AT), "UTC")
    assert found is None or (found.messages >= 0 and (found.oldest or 0) <= to_ms(AT))


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


async def test_a_command_that_lists() -> None:
    seen = await ask_queue(python(f"import sys; sys.stdout.buffer.write({POSTQUEUE_J!r})"))
    assert isinstance(seen, Queue) and seen.messages == 2 and seen.side == "old" and seen.oldest_at <= seen.at
    seen = await ask_queue(python("pass"))
    assert isinstance(seen, Queue) and (seen.messages, seen.oldest_at) == (0, seen.at)


FAILURES = {
    "status": (
        python("import sys; sys.exit('first\\nKey refused\\n\\n')"),
        "ended with status 1: Key refused",
    ),
    "signal": (python("import os; os.kill(os.getpid(), 9)"), "ended by signal 9"),
    "absent": (["/nowhere/postqueue"], "/nowhere/postqueue cannot be run: no such file or directory"),
    "nul": (["post\0queue"], "cannot be run: bad name"),
    "hangs": (python("import time; print(1, flush=True); time.sleep(60)"), "took longer than 1 s"),
    "endless": (python("import sys\nwhile 1: sys.stdout.write('x' * 65536)"), "printed more than 64 MiB"),
    "unknown": (python("print('hello')"), "is no listing of a queue that is known"),
}


@pytest.mark.parametrize(("argv", "why"), FAILURES.values(), ids=FAILURES)
async def test_a_command_that_does_not(argv: list[str], why: str) -> None:
    seen = await ask_queue(argv, seconds=1 if "longer" in why else 30)
    assert isinstance(seen, Skip) and seen.subject == "queue:old" and why in seen.reason
