"""Every step of every mail server's real log against what really happened in it."""

from __future__ import annotations

import pytest

from tests.oldhost.formatlab import LABS, Lab, lines, parser, refused, steps
from tests.oldhost.loglines import WRITTEN, unread

EACH = pytest.mark.parametrize("lab", LABS, ids=lambda lab: lab.name)


@EACH
@pytest.mark.parametrize("domain", ["example.com", "split.example.com"])
def test_each_step_counts_as_it_must(lab: Lab, domain: str) -> None:
    log = parser(lab, domain)
    seen = log.feed(lines(lab), WRITTEN) + log.flush()
    expected = lab.example if domain == "example.com" else lab.split
    assert steps(lab, seen, domain) == {step: sorted(hits * lab.runs) for step, hits in expected.items()}
    assert unread(seen) == 0
    if domain == "example.com":
        assert refused(seen) == list(lab.rejected)
