"""A message of which old's log and its mailbox both tell counts once, and is looked for where it is seen."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest

from monitor.verdict.context import Context
from monitor.verdict.judge import Judge
from monitor.verdict.mail import missing_on_new
from probes.observation import Plan
from tests.scenarios.world import ACCOUNT, World, clock

MESSAGE = "<m@sender.example>"
LOG = {"source": "log", "queue_id": "4F1", "client": "203.0.113.77", "helo": "mta.sender.example"}
BOX = {"source": "mailbox", "queue_id": "4F1", "client": None, "origin": "unknown", "message_id": MESSAGE}
NEW = {"source": "mailbox", "side": "new", "queue_id": "N1", "message_id": MESSAGE}
OTHER = "hayashi@example.jp"

# what is told of old; how many messages that is; how many new lacks when it has MESSAGE for ACCOUNT
CASES: dict[str, tuple[list[dict[str, Any]], int, int]] = {
    "the log knows no Message-ID": ([LOG | {"message_id": None}, BOX], 1, 0),
    "both know it": ([LOG | {"message_id": MESSAGE}, BOX], 1, 0),
    "an alias in the log": ([LOG | {"message_id": MESSAGE, "recipient": "info@example.jp"}, BOX], 1, 0),
    "an alias, and no Message-ID": ([LOG | {"message_id": None, "recipient": "info@example.jp"}, BOX], 1, 0),
    "no recipient in the log": ([LOG | {"message_id": None, "recipient": ""}, BOX], 1, 0),
    "another account's is not this one's": ([LOG | {"message_id": MESSAGE, "recipient": OTHER}, BOX], 2, 1),
    "the alias beside the mailbox itself": (
        [LOG | {"message_id": MESSAGE}, LOG | {"message_id": MESSAGE, "recipient": "info@example.jp"}, BOX],
        2, 1,
    ),
    "the queue id used again later": ([LOG | {"message_id": None, "accepted": -900}, BOX], 2, 1),
    "another message under this queue id": ([LOG | {"message_id": "<n@sender.example>"}, BOX], 2, 1),
    "refused once, taken later": ([LOG | {"message_id": None, "disposition": "rejected"}, BOX], 2, 0),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_in_whatever_order_they_come(case: str) -> None:
    told, count, lacking = CASES[case]
    for order in permutations([*told, NEW]):
        world = World(accounts=[ACCOUNT, OTHER])
        world.operator(10, "cutover")
        for n, one in enumerate(order):
            more = {k: v for k, v in one.items() if k not in ("side", "accepted")}
            world.mail(2000 + n, str(one.get("side", "old")), 1, **more)
            world.lines[-1]["accepted_at"] = clock(1990 + float(one.get("accepted", 0)))
        observations = world.observations()
        plan = observations[0]
        assert isinstance(plan, Plan)
        judge = Judge(plan)
        list(judge.run(observations))
        old = judge.evidence.mail.old
        assert len(old) == count, (order, old)
        left = missing_on_new(Context(judge.evidence, judge.now or 0))
        assert len(left) == lacking, (order, left)
        if count == 1:
            assert (old[0].client, old[0].recipient, old[0].origin) == ("203.0.113.77", ACCOUNT, "outside")
