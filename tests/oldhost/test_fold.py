"""What the evidence makes of a log's later word, and of lines that a stop kept waiting."""

from __future__ import annotations

from datetime import timedelta
from itertools import permutations

import pytest

from monitor.evidence.mail import MailFacts
from probes.observation import Coverage, Mail, to_ms
from tests.oldhost.loglines import T0


def mail(seconds: float, accepted: float, disposition: str = "delivered", reply: str | None = None) -> Mail:
    return Mail(
        at=T0 + timedelta(seconds=seconds), side="old", accepted_at=T0 + timedelta(seconds=accepted),
        source="log", recipient="info@example.com", message_id="<m@x>", client="203.0.113.77", helo=None,
        origin="outside", disposition=disposition, queue_id="10B4E3D5BD", reply=reply,  # type: ignore[arg-type]
    )  # fmt: skip


def covered(begin: float, end: float) -> Coverage:
    return Coverage(
        at=T0 + timedelta(seconds=end), source="log:old",
        from_=T0 + timedelta(seconds=begin), to=T0 + timedelta(seconds=end),
    )  # fmt: skip


@pytest.mark.parametrize("order", list(permutations(range(2))))
@pytest.mark.parametrize("again", [False, True])
def test_put_off_and_then_relayed_is_one_hit_of_its_time_and_no_straggler(
    order: tuple[int, ...], again: bool
) -> None:
    """Greylisting (RFC 6647) makes it the rule that new puts off what old passes on."""
    told = [mail(46, 0, reply="host said: 450 4.2.0 Greylisted"), mail(400, 0, "relayed")]
    facts = MailFacts()
    facts.coverage(covered(0, 30))
    for index in (*order, *(order if again else ())):
        facts.mail(told[index])
    assert [t.disposition for t in facts.old] == ["relayed"]
    assert order == (1, 0) or facts.old[0].at == to_ms(T0)


def test_what_a_stop_kept_waiting_keeps_its_time() -> None:
    facts = MailFacts()
    facts.coverage(covered(0, 60))
    facts.mail(mail(7200, 3600))
    assert [t.at for t in facts.old] == [to_ms(T0) + 3_600_000] and facts.skew_ms == 0


def test_a_line_read_live_with_a_wrong_clock_counts_when_it_was_read() -> None:
    facts = MailFacts()
    facts.coverage(covered(0, 60))
    facts.mail(mail(90, -9 * 3600))
    assert [t.at for t in facts.old] == [to_ms(T0) + 90_000] and facts.skew_ms
