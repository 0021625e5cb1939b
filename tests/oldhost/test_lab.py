"""Every step of a real Postfix's log against what really happened in it."""

from __future__ import annotations

import csv
from typing import TypeAlias

import msgspec
import pytest

from probes.observation import Mail, Observation
from probes.oldhost.reader import MailLog
from tests.oldhost.loglines import LAB, WRITTEN, facts, hits, mails, parser, unread

LOGS = ("postfix-short.syslog.log", "postfix-long.syslog.log", "postfix-short.rfc3339.log")

Steps: TypeAlias = dict[int, tuple[str, list[tuple[str, str, str]]]]

# step -> Message-ID, and (recipient, origin, disposition) of each hit; other steps have none.
EXAMPLE: Steps = {
    1: ("real-1@sender.example", [("bob", "outside", "delivered")]),
    2: ("real-2@sender.example", [("bob", "outside", "delivered"), ("carol", "outside", "delivered")]),
    5: ("canary.tok5@watch.example", [("bob", "canary", "delivered")]),
    6: ("dsn-6@sender.example", [("bob", "outside", "delivered")]),
    7: ("real-7@sender.example", [("fwd", "outside", "relayed")]),
    12: ("real-12@sender.example", [("bob", "outside", "delivered"), ("carol", "outside", "delivered")]),
    13: ("list-13@lists.sender.example", [("bob", "outside", "delivered")]),
    14: ("spoof-14@bad.example", [("bob", "outside", "delivered")]),
}
SPLIT: Steps = {
    11: ("real-11@sender.example", [("dave", "outside", "relayed")]),
    16: ("real-16@sender.example", [("nosuch", "outside", "delivered")]),
}


def lines(name: str) -> list[bytes]:
    return (LAB / name).read_bytes().splitlines()


def read(log: MailLog, name: str) -> list[Observation]:
    return log.feed(lines(name), WRITTEN) + log.flush()


@pytest.mark.parametrize("name", LOGS)
@pytest.mark.parametrize(("domain", "steps"), [("example.com", EXAMPLE), ("split.example.com", SPLIT)])
def test_each_step_counts_as_it_must(
    name: str, domain: str, steps: dict[int, tuple[str, list[tuple[str, str, str]]]]
) -> None:
    seen = read(parser(domain), name)
    by_id: dict[str, list[tuple[str, str, str]]] = {}
    for mail in mails(seen):
        if mail.disposition != "rejected":
            user = mail.recipient.removesuffix(f"@{domain}")
            by_id.setdefault(str(mail.message_id), []).append((user, mail.origin, mail.disposition))
    expected = {f"<{message_id}>": sorted(found) for message_id, found in steps.values()}
    assert {k: sorted(v) for k, v in by_id.items()} == expected
    assert unread(seen) == 0


def test_the_expected_steps_are_those_that_the_ground_truth_counts() -> None:
    with (LAB / "GROUND-TRUTH.tsv").open(encoding="utf-8") as file:
        rows = {int(row["step"]): row for row in csv.DictReader(file, delimiter="\t")}
    counted = {step for step, row in rows.items() if row["verdict"].startswith("COUNT")}
    apart = {5, 6}  # the canary and the null sender are reported with an origin of their own
    assert counted == (EXAMPLE.keys() | SPLIT.keys()) - apart
    assert rows[5]["verdict"].startswith("OWN") and rows[6]["verdict"].startswith("BOUNCE")
    for step, (message_id, _) in (EXAMPLE | SPLIT).items():
        assert rows[step]["message_id"] == message_id


@pytest.mark.parametrize("name", LOGS)
def test_messages_are_counted_by_queue_id_and_bear_their_client(name: str) -> None:
    taken = [m for m in mails(read(parser(), name)) if m.disposition != "rejected"]
    assert len(taken) == 10
    assert len({m.queue_id for m in taken}) == 8
    clients = {str(m.message_id): m.client for m in taken}
    assert clients["<real-7@sender.example>"] == "203.0.113.77"  # through an alias that leads away
    assert clients["<spoof-14@bad.example>"] == "203.0.113.78"


@pytest.mark.parametrize("name", LOGS)
def test_refusals_bear_the_reply_and_the_helo(name: str) -> None:
    refused = [m for m in mails(read(parser(), name)) if m.disposition == "rejected"]
    assert [(m.recipient, m.client, m.helo) for m in refused] == [
        ("nosuchuser@example.com", "203.0.113.78", "spam.bad.example"),
        ("nosuchuser@example.com", "203.0.113.77", "mx.sender.example"),
    ]
    assert all((m.reply or "").startswith("550 5.1.1 <nosuchuser@example.com>") for m in refused)


OTHERS = {
    "sender.example": [("alice@sender.example", "bounce", "delivered")],  # waits in the queue
    "oldhost.example.com": [("bob@oldhost.example.com", "local", "delivered")],
    "newhost.example.net": [  # what leaves for it: by itself, and through an alias
        ("dave@newhost.example.net", "outside", "relayed"),
        ("someone@newhost.example.net", "local", "relayed"),
    ],
    "com": [],
}


@pytest.mark.parametrize("domain", OTHERS)
def test_other_domains_of_the_same_log(domain: str) -> None:
    assert sorted(hits(read(parser(domain), "postfix-long.syslog.log"))) == OTHERS[domain]


@pytest.mark.parametrize("name", LOGS[1:])
def test_a_stop_after_any_line_loses_nothing_and_tells_nothing_twice(name: str) -> None:
    whole = lines(name)
    expected = facts(read(parser(), name))
    for cut in range(len(whole) + 1):
        first, second = parser(), parser()
        seen = first.feed(whole[:cut], WRITTEN)
        second.restore(msgspec.json.decode(msgspec.json.encode(first.state())))
        seen += second.feed(whole[cut:], WRITTEN) + second.flush()
        assert facts(seen) == expected, whole[cut - 1]


def test_what_is_proven_is_told_with_the_line_that_proves_it() -> None:
    """Not at the end, not by client= or message-id: with the line that says it is gone."""
    log = parser()
    told: dict[str, bytes] = {}
    for line in lines("postfix-long.syslog.log"):
        for one in log.feed([line], WRITTEN):
            if isinstance(one, Mail) and one.disposition == "delivered":
                told[str(one.queue_id)] = line
    assert told and all(line.endswith(f"{queue_id}: removed".encode()) for queue_id, line in told.items())
