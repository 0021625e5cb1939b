"""The story as lines on standard output: what happens in the world, and what the watch makes of it."""

from __future__ import annotations

import time
from collections.abc import Callable

from monitor.rehearsal.scenarios import Act
from monitor.verdict.model import Finding, Judgement
from monitor.wording import SIGNS, Language, say


class Lines:
    """Each line begins with the story's own second. Of a judgement only what changed is said."""

    def __init__(
        self, speed: float, language: Language, out: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._speed, self._language, self._out, self._clock = speed, language, out, clock
        self._began = clock()
        self._headline = ""
        self._states: dict[str, str] = {}

    def acted(self, act: Act) -> None:
        self._line(say(f"rehearsal.{act.do}", {"subject": act.subject}, self._language))

    def judged(self, judgement: Judgement) -> None:
        word = say(f"ui.word.{judgement.verdict}", {}, self._language)
        if judgement.verdict != self._headline:
            self._headline = judgement.verdict
            self._line(f"» {word}: {say(judgement.code, judgement.args, self._language)}")
        for finding in judgement.findings:
            if self._states.get(finding.name) != finding.state:
                self._states[finding.name] = finding.state
                self._line("    " + self._reason(finding))

    def _reason(self, finding: Finding) -> str:
        name = say(f"ui.requirement.{finding.name}", {}, self._language)
        return f"{SIGNS[finding.state]} {name}: {say(finding.code, finding.args, self._language)}"

    def _line(self, text: str) -> None:
        self._out(f"{(self._clock() - self._began) * self._speed:5.0f} s  {text}")
