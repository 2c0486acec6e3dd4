"""Two answers to one prompt side by side, differences in bold: how the model changed as it learned."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import SequenceMatcher
from itertools import groupby, zip_longest

from finetop.core.protocol.runs import SampleRow
from finetop.core.text import clean, count
from finetop.tui.text import Line, Span, line_width, paragraph, rule, wrapped

FROM = 100  # cells; on narrower screens the answers are stacked
_PROMPT_ROWS = 3
_LONGEST = 4000  # most characters compared


def steps_of(samples: Sequence[SampleRow]) -> list[int]:
    """Return the steps that have samples."""
    return sorted({sample.step for sample in samples})


def beside_lines(samples: Sequence[SampleRow], pair: tuple[int, int], width: int) -> list[Line]:
    """Return the answers at two steps for each prompt; words that only one has are bold."""
    by_place = {(sample.index, sample.step): sample for sample in samples}
    prompts = sorted({sample.index for sample in samples})
    lines: list[Line] = []
    for number, index in enumerate(prompts, 1):
        pair_samples = [by_place.get((index, step)) for step in pair]
        prompt = next(sample.prompt for sample in samples if sample.index == index)
        lines.append(rule(((f"prompt {number} of {len(prompts)}", ""),), width))
        lines += paragraph(prompt, width, _PROMPT_ROWS, style="bold")
        texts = ["" if sample is None else clean(sample.text[:_LONGEST]) for sample in pair_samples]
        flags = differing(*texts)
        half = (width - 4) // 2 if width >= FROM else width - 2
        columns = [
            [((f"step {count(step)}", "dim"),), *_rows(text, own_flags, half, is_there=sample is not None)]
            for step, text, own_flags, sample in zip(pair, texts, flags, pair_samples, strict=True)
        ]
        if width < FROM:
            lines += [((" ", ""), *line) for column in columns for line in column]
            continue
        for left, right in zip_longest(*columns, fillvalue=()):
            gap = " " * (half - line_width(left))
            lines.append(((" ", ""), *left, (gap, ""), ("│ ", "dim"), *right))
    return lines


def differing(before: str, after: str) -> tuple[list[bool], list[bool]]:
    """Return for each non-blank letter of two texts whether its word is missing from the other text."""
    word_lists = before.split(), after.split()
    flags = [[True] * len(before_flags) for before_flags in word_lists]
    for a, b, size in SequenceMatcher(None, *word_lists, autojunk=False).get_matching_blocks():
        flags[0][a : a + size] = flags[1][b : b + size] = [False] * size
    sides = zip(word_lists, flags, strict=True)
    first, second = ([flag for word, flag in zip(*side, strict=True) for _ in word] for side in sides)
    return first, second


def _rows(text: str, flags: list[bool], width: int, *, is_there: bool) -> list[Line]:
    if not text.strip():
        return [(("(nothing)" if is_there else "(no sample)", "dim"),)]
    at = 0
    rows: list[Line] = []
    for row in wrapped(text, width):
        line: list[Span] = []
        for letter in row:
            is_bold = not letter.isspace() and flags[min(at, len(flags) - 1)]
            at += not letter.isspace()
            line.append((letter, "bold" if is_bold else ""))
        parts = groupby(line, key=lambda span: span[1])
        rows.append(tuple(("".join(text for text, _ in part), style) for style, part in parts))
    return rows
