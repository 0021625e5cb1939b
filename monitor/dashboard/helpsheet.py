"""Help: the keys, the signs, and what each verdict means."""

from __future__ import annotations

from monitor.dashboard.scene import Scene
from monitor.dashboard.text import Line, beside, box, fit, width_of, wrap
from monitor.dashboard.theme import LEADS, STATES, VERDICTS

KEYS = ("1-6", "Tab", "↑↓ j k", "PgUp PgDn", "← →", "/", "Esc", "s", "?", "q")


def help_lines(scene: Scene, width: int, height: int) -> list[Line]:
    verdicts = _verdicts(scene, width - 4)
    lower = box([(scene.ui("title.verdicts"), "title")], verdicts, width, len(verdicts) + 2)
    keys, signs = _keys(scene), _signs(scene)
    tall, half = max(len(keys), len(signs)) + 2, width // 2
    left = box([(scene.ui("title.keys"), "title")], keys, half, tall)
    return [*beside(left, box([(scene.ui("title.signs"), "title")], signs, width - half, tall)), *lower]


def _keys(scene: Scene) -> list[Line]:
    return [[(fit(key, 10), "key"), (scene.ui(f"key.{i}"), "")] for i, key in enumerate(KEYS)]


def _signs(scene: Scene) -> list[Line]:
    states: list[Line] = [
        [(f"{sign} ", style), (fit(scene.ui(f"state.{name}"), 9), style), (scene.ui(f"means.{name}"), "dim")]
        for name, (sign, style) in STATES.items()
    ]
    answers: Line = []
    rows = [*states, [], [(scene.ui("answers.lead"), "dim")]]
    for name, (sign, style) in LEADS.items():
        answers += [(f"{sign} {scene.ui(f'leads.{name}')}", style), ("  ", "")]
        if width_of(answers) > 24:
            rows.append(answers)
            answers = []
    return [*rows, answers]


def _verdicts(scene: Scene, width: int) -> list[Line]:
    words = {word: f"{sign} {scene.ui(f'word.{word}')}" for word, (sign, _) in VERDICTS.items()}
    size = max(width_of([(text, "")]) for text in words.values()) + 2
    lines: list[Line] = []
    for word, (_, style) in VERDICTS.items():
        said = wrap(scene.ui(f"means.{word}"), width - size, 3)
        lines += [[(fit(words[word] if i == 0 else "", size), style), (t, "")] for i, t in enumerate(said)]
    return lines
