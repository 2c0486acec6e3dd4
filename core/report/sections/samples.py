"""The model's first and last answers, side by side."""

from __future__ import annotations

from finetop.core.protocol.runs import RunDetail, SampleRow
from finetop.core.report import Block, Table, shortened, shortened_front
from finetop.core.report.load import RunFacts

TITLE = "Samples"


def blocks(facts: RunFacts) -> tuple[Block, ...]:
    return samples(facts.detail)


def samples(detail: RunDetail) -> tuple[Block, ...]:
    """Return each prompt's first and last text side by side."""
    by_prompt: dict[int, list[SampleRow]] = {}
    for sample in sorted(detail.samples, key=lambda sample: sample.step):
        by_prompt.setdefault(sample.index, []).append(sample)
    rows = []
    for _, texts in sorted(by_prompt.items()):
        first, last = texts[0], texts[-1]
        before = shortened(first.text) if first.step < last.step else ""
        rows.append((shortened_front(first.prompt), before, shortened(last.text)))
    if not rows:
        return ()
    steps = sorted({sample.step for sample in detail.samples})
    head = ("prompt", f"step {steps[0]:,}" if len(steps) > 1 else "", f"step {steps[-1]:,}")
    return (Table(head, tuple(rows), long=(0, 1, 2)),)
