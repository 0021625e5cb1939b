"""Streams of observations that nobody planned for: any kind at any time, few subjects, so that they meet."""

from __future__ import annotations

import random
from typing import Any

from hypothesis import strategies as st

from probes.observation import Observation
from tests.scenarios.world import ACCOUNT, NEW, NEW_IP, OLD, OLD_IP, World, clock, cutover

OTHER, MIXED = ("10 mx.elsewhere.example.",), (*NEW, "20 mail.example.jp.")
DIFFERS = ("20 mx1.new.example.",)
SECOND = f"post{ACCOUNT}"
STEPS = (0, 0, 0.001, 0.5, 1, 5, 10, 30, 30, 60, 125, 400)
SUBJECTS = (
    "authority:203.0.113.1", "resolver:8.8.8.8", "resolver:9.9.9.9", "route:mx", "route:to-old",
    "sender:203.0.113.77", f"account:{ACCOUNT}", "message:<1@sender.example>",
)  # fmt: skip
PLANS: tuple[dict[str, Any], ...] = (
    {},
    {"routes": ["via-old", "mx", "to-old"], "accounts": [ACCOUNT, SECOND]},
    {"platforms": {"8.8.8.8": "p", "9.9.9.9": "p"}, "resolvers": ["8.8.8.8", "9.9.9.9", "1.1.1.1"]},
    {"accounts": [], "authorities": ["203.0.113.1"]},
)
POLICIES: tuple[dict[str, Any], ...] = (
    {}, {"quiet_for": 60, "settle_samples": 1, "canary_streak": 1}, {"quiet_for": 0, "share_bound": 0.3},
    {"freshness": 60, "quiet_ceiling": 90, "quiet_for": 60, "old_ttl": 300},
    {"sensitivity": 120, "quorum": 0.5},
)  # fmt: skip


class Stream:
    """A stream in the making; ``steady``: mostly as a watch would see a move, else anything goes."""

    def __init__(self, seed: int, length: int, *, steady: bool) -> None:
        self.chance = random.Random(seed)
        self.pick = self.chance.choice
        pick = self.pick
        self.world, self.at, self.steady = World(pick(POLICIES), **pick(PLANS)), 0.0, steady
        self.turn = self.chance.uniform(0, 20 * length)
        self._canary = 0
        for _ in range(length):
            self.at += pick(STEPS)
            pick((
                self.authority, self.authority, self.host, self.resolver, self.resolver, self.resolver,
                self.canary, self.landing, self.mail, self.mail, self.coverage, self.coverage, self.covered,
                self.rare,
            ))()  # fmt: skip

    def often(self, part: float = 0.9) -> bool:
        return self.chance.random() < part

    def data(self) -> tuple[str, ...]:
        if self.steady and self.often(0.97):
            return NEW if self.at > self.turn + self.pick((0, 0, 30, 60)) else OLD
        return self.pick((OLD, NEW, NEW, MIXED, OTHER, DIFFERS, tuple(reversed(MIXED))))

    def outcome(self) -> str:
        if self.often(0.95 if self.steady else 0.8):
            return "answer"
        return self.pick(("timeout", "nodata", "nxdomain", "servfail", "bogus", "lame"))

    def authority(self) -> None:
        outcome = self.outcome()
        data = self.data() if outcome in ("answer", "bogus") else ()
        self.world.authority(
            self.at, self.pick(("203.0.113.1", "203.0.113.2")), data,
            ttl=self.pick((60, 60, 60, 0, 300)), outcome=outcome,
        )  # fmt: skip

    def host(self) -> None:
        name = self.pick(("mx1.new.example.", "mail.example.jp.", "example.jp."))
        right = NEW_IP if name.startswith("mx1") else OLD_IP
        data = self.pick(([right], [right], [right], [], [OLD_IP], ["198.51.100.99"]))
        if self.steady:
            data = [right]
        if self.often(0.5):
            self.world.authority(self.at, "203.0.113.1", data, 60, name=name, type="A")
        else:
            self.world.resolver(self.at, self.who(), data, 60, name=name, type="A")

    def who(self) -> str:
        return self.pick(("8.8.8.8", "9.9.9.9", "1.1.1.1"))

    def resolver(self) -> None:
        outcome = self.outcome()
        self.world.resolver(
            self.at, self.who(), self.data() if outcome == "answer" else (), outcome=outcome,
            ttl=self.pick((60, 60, 59, 30, 0, 300)), cache=self.pick((None, None, "a", "b")),
            ede=[] if self.often(0.95) else [3], rtt_ms=self.pick((1, 1, 900)),
        )  # fmt: skip

    def canary(self) -> None:
        self._canary += 1
        self.world.add(self.at, "canary.sent", **{
            "canary": f"c-{self.pick((self._canary, self._canary, max(1, self._canary - 1)))}",
            "route": self.pick(("via-old", "mx", "to-old")), "recipient": ACCOUNT,
            "outcome": "accepted" if self.often() else self.pick(("deferred", "rejected", "unreachable")),
            "host": "mx1.new.example.", "address": NEW_IP, "reply": "250 Ok"})  # fmt: skip

    def landing(self) -> None:
        if self._canary:
            side, number = "new" if self.often(0.8) else "old", self.chance.randint(1, self._canary)
            self.world.add(self.at, "canary.landed", canary=f"c-{number}", side=side, account=ACCOUNT,
                           folder="INBOX", protocol="imap", latency_ms=1, hops=[])  # fmt: skip

    def mail(self) -> None:
        pick = self.pick
        side = pick(("old", "new")) if not self.steady else "new" if self.at > self.turn else "old"
        taken = self.at - pick((0, 0, 0, 0.3, 30, 10_000, -60))
        self.world.mail(
            self.at, side, self.chance.randint(1, 9), accepted_at=clock(taken),
            client=pick(("203.0.113.77", "203.0.113.78", OLD_IP, None)),
            recipient=pick((ACCOUNT, SECOND, "")), digest=pick((None, "d1", "d2")),
            origin=pick(("outside", "outside", "outside", "local", "canary", "unknown")),
            disposition=pick(("delivered", "delivered", "delivered", "relayed", "rejected")),
            source=pick(("log", "mailbox")), queue_id=pick((None, "4F1", "4F2")),
            reply=pick((None, None, "450 4.2.0 later", "554 5.7.1 Relay access denied")),
        )  # fmt: skip

    def coverage(self) -> None:
        source = self.pick(("log:old", "log:new", f"mailbox:old:{ACCOUNT}", f"mailbox:new:{SECOND}"))
        end = self.at - self.pick((0, 0, 0, 1, 30))
        begin = end - self.pick((0, 10, 30, 60, 300))
        more = {} if self.often(0.93) else {"not_understood": 1}
        self.world.add(self.at, "coverage", source=source, **{"from": clock(begin), "to": clock(end)} | more)

    def covered(self) -> None:
        """Both logs up to now, as a watch that misses nothing would say it."""
        for side in ("old", "new"):
            self.world.add(self.at, "coverage", source=f"log:{side}",
                           **{"from": clock(max(0, self.at - 120)), "to": clock(self.at)})  # fmt: skip

    def rare(self) -> None:
        if self.often(0.6 if self.steady else 0.2):
            return
        self.pick((self.operator, self.operator, self.account, self.replan))()

    def operator(self) -> None:
        action = self.pick(("waive", "waive", "unwaive", "cutover", "rollback", "note"))
        subject = self.pick(SUBJECTS) if "waive" in action else ""
        self.world.operator(self.at, action, subject)

    def account(self) -> None:
        state = self.pick(("ok", "missing", "refused"))
        self.world.add(self.at, "account", side=self.pick(("old", "new")), account=ACCOUNT,
                       state=state, detail="")  # fmt: skip

    def replan(self) -> None:
        plan = dict(self.world.plan)
        plan["authorities"] = self.pick((["203.0.113.1"], ["203.0.113.1", "203.0.113.2"]))
        self.world.add(self.at, "plan", **plan)


@st.composite
def streams(draw: st.DrawFn, most: int = 120) -> list[Observation]:
    """In order of time; the first is the plan."""
    seed, length, steady = draw(st.integers(0, 2**32)), draw(st.integers(5, most)), draw(st.booleans())
    return Stream(seed, length, steady=steady).world.observations()


@st.composite
def near_safe(draw: st.DrawFn) -> list[Observation]:
    """A cutover that nearly gets safe or does: without a fault, but for a few words of a stream on top."""
    policy = draw(st.sampled_from(POLICIES))
    world = cutover(World(policy | {"share_bound": 1.0}), until=draw(st.sampled_from((1100, 1400))))
    chance = Stream(draw(st.integers(0, 2**32)), 0, steady=True)
    chance.world, chance.turn = world, 300
    for _ in range(draw(st.integers(0, 6))):
        chance.at = chance.chance.uniform(0, 1100)
        chance.pick((chance.resolver, chance.mail, chance.coverage, chance.operator, chance.landing))()
    return world.observations()
