"""The page of a comparison: its headline claims no more than the numbers show."""

from __future__ import annotations

import pytest

from finetop.core.features.approaches.messages import ApproachesAnswer, ApproachRow, Gap, Score
from finetop.core.features.report.approaches_page import ComparisonDetail, page_of_comparison


def row(name: str, gap: Gap | None) -> ApproachRow:
    facts = {"about": "", "trains": False, "state": "measured", "target": Score(0.5, 0.4, 0.6, 50)}
    return ApproachRow(name=name, gap=gap, is_best=gap is None, **facts)


OPEN, FAR = Gap(-0.1, -0.3, 0.1, 50), Gap(-0.4, -0.5, -0.3, 50)


@pytest.mark.parametrize(("gaps", "word", "tone"), [
    ((FAR, FAR), "BEST: lora", "good"),
    ((OPEN, FAR), "BEST: lora or prompt", "open"),
    ((OPEN, OPEN), "BEST: lora or 2 others", "open"),
])  # fmt: skip
def test_the_best_is_named_with_those_that_it_cant_be_told_from(gaps, word, tone):
    rows = [row("lora", None), row("prompt", gaps[0]), row("full", gaps[1])]
    answer = ApproachesAnswer([], "kb", "token_f1", rows=rows)
    page = page_of_comparison(ComparisonDetail(answer, ()), 0.0, "0")
    assert (page.word, page.tone) == (word, tone)
