"""The samples tab of the Run screen: each prompt with what the model answered at the start, half-way and last."""

from __future__ import annotations

from typing import TYPE_CHECKING

from finetop.core.text import count
from finetop.tui.line import Line, rule
from finetop.tui.widgets.wrap import wrapped

if TYPE_CHECKING:
    from collections.abc import Sequence

    from finetop.core.protocol.runs import SampleRow

_PROMPT_ROWS, _ANSWER_ROWS = 3, 4


def sample_lines(samples: Sequence[SampleRow], width: int, *, all_steps: bool) -> list[Line]:
    """Write the whole tab: per prompt three answers, or all with their whole text."""
    if not samples:
        return [(), (("   No samples yet: answers are written at each evaluation.", "dim"),)]
    prompts = sorted({sample.index for sample in samples})
    lines: list[Line] = []
    for at, index in enumerate(prompts):
        own = sorted((sample for sample in samples if sample.index == index), key=lambda sample: sample.step)
        lines.append(rule(((f"prompt {at + 1} of {len(prompts)}", ""),), width))
        for text in wrapped(own[0].prompt, width - 2, None if all_steps else _PROMPT_ROWS):
            lines.append(((f" {text}", "bold"),))
        for sample in own if all_steps else _three(own):
            lines += _answer(sample, width, None if all_steps else _ANSWER_ROWS)
    return lines


def _three(samples: list[SampleRow]) -> list[SampleRow]:
    """Choose the first, the middle and the last."""
    places = sorted({0, len(samples) // 2, len(samples) - 1})
    return [samples[place] for place in places]


def _answer(sample: SampleRow, width: int, rows: int | None) -> list[Line]:
    label = f" step {count(sample.step)}"
    text = wrapped(sample.text, width - 14, rows) if sample.text.strip() else []
    if not text:
        return [((f"{label:<13}", "dim"), ("(nothing)", "dim"))]
    return [((f"{label if not at else '':<13}", "dim"), (row, "")) for at, row in enumerate(text)]
