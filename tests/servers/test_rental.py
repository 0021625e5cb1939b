"""Fifty accounts at a rental host: IMAP and nothing else, no log, no submission to look through. The
provider keeps the domain and the mailboxes until the contract ends; quiet is what all fifty mailboxes show.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from probes.observation import CanaryLanded, CanarySent, Coverage, Mail, Observation
from tests.servers.daemon import needs
from tests.servers.host import USERS
from tests.servers.planfile import write_plan
from tests.servers.play import copied_until_safe, watched
from tests.servers.senders import Writing
from tests.servers.stage import PROGRAMS, Stage
from tests.servers.test_cutover import (
    ORDER,
    Played,
    letters_sent,
    nothing_is_lost_and_nothing_was_touched,
    recorded,
    somebody_found_new,
)
from tests.servers.watching import mxcutover, watching
from tests.servers.zones import DOMAIN

pytestmark = pytest.mark.servers

TTL = 3
PAUSE = 0.5
ROUTES = ("via-new", "to-old", "mx")
PEOPLE = (*USERS, *(f"user{number}" for number in range(4, 51)))


@pytest.fixture
def stage() -> Iterator[Stage]:
    needs(*PROGRAMS)
    with Stage(ttl=TTL, users=PEOPLE) as built:
        yield built


async def test_fifty_mailboxes_alone_prove_that_a_rental_host_is_quiet(stage: Stage, tmp_path: Path) -> None:
    plan = write_plan(stage, tmp_path, TTL, ROUTES, log=False)
    truth, journal = stage.post.truth, plan.with_name("cutover.journal")
    async with Writing(stage.post, None, PAUSE, PEOPLE) as writing:
        await letters_sent(truth, 60)
        async with watching(plan) as watch:
            await watched(watch)
            await letters_sent(truth, 75)
            await mxcutover("cutover", "-j", str(journal))
            stage.change_mx()
            await somebody_found_new(stage)
            stage.secondary_catches_up()
            await copied_until_safe(stage, watch)
            await writing.stop()
            code = await watch.stop()
    assert watch.verdicts == ORDER and code == 0, str(watch)
    played = Played(truth=truth, watch=watch, code=code, journal=journal, relayed=[])
    seen = await recorded(played, tmp_path)
    what_old_took_is_counted_once_without_a_log(stage, played, seen)
    the_watch_has_shown_that_it_would_see(seen)
    nothing_is_lost_and_nothing_was_touched(stage, played)


def what_old_took_is_counted_once_without_a_log(
    stage: Stage, played: Played, seen: Sequence[Observation]
) -> None:
    taken = {sent.message_id: sent for sent in played.truth.taken_by(stage.old)}
    mail = [m for m in seen if isinstance(m, Mail) and m.side == "old" and m.origin != "canary"]
    assert {m.source for m in mail} == {"mailbox"}
    assert Counter(m.message_id for m in mail) == Counter(taken.keys())
    for one in mail:
        sent = taken[str(one.message_id)]
        assert (one.recipient, one.client, one.origin) == (sent.recipient, sent.client, "outside")


def the_watch_has_shown_that_it_would_see(seen: Sequence[Observation]) -> None:
    """Every old mailbox was covered, and canaries straight to old were found in it all along."""
    covered = {one.source for one in seen if isinstance(one, Coverage)}
    assert covered == {f"mailbox:{side}:{user}@{DOMAIN}" for side in ("old", "new") for user in PEOPLE}
    sent = {one.canary for one in seen if isinstance(one, CanarySent) and one.route == "to-old"}
    found = {one.canary for one in seen if isinstance(one, CanaryLanded) and one.side == "old"}
    assert len(sent & found) >= 3
