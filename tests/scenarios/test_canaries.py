"""What becomes of a canary on its way."""

from __future__ import annotations

from tests.scenarios.world import World, cutover, finding


def test_a_greylisted_canary_is_late_and_never_lost() -> None:
    """Put off for longer than the deadline, then taken: its time runs from there (RFC 6647)."""
    world = cutover(World(), skip=("route:mx",))
    at = 700
    for n in range(3):
        for step, outcome in ((0, "deferred"), (70, "deferred"), (140, "accepted")):
            world.add(at + n * 60 + step, "canary.sent", canary=f"g-{n}", route="mx", outcome=outcome,
                      recipient="suga@example.jp", host="mx1.new.example.", address="198.51.100.20",
                      reply="451 4.7.1 greylisted")  # fmt: skip
        world.add(at + n * 60 + 150, "canary.landed", canary=f"g-{n}", side="new", folder="INBOX",
                  account="suga@example.jp", protocol="imap", latency_ms=150_000, hops=[])  # fmt: skip
    judgements = world.judgements()
    assert not [j for j in judgements if j.verdict == "alarm"]
    assert finding(judgements[-1], "canaries").state == "met"
    assert judgements[-1].verdict == "safe"
