"""Outliers by the base model's loss: which answers stand out among those of similar length, and a pass with a model."""

from __future__ import annotations

import random

import pytest
from lint_run import lint
from tiny_run import chat, write_rows

from finetop.core.errors import BadInput
from finetop.core.features.lint.findings.outliers import outliers, spread


def test_an_answer_stands_out_among_those_of_its_length_in_a_sample_that_is_spread_evenly() -> None:
    chance = random.Random(1)
    short = [(at, 3, chance.lognormvariate(1.0, 0.8)) for at in range(500)]
    long = [(1000 + at, 60, chance.lognormvariate(0.5, 0.2)) for at in range(500)]
    extremes = outliers([*short, *long, (2000, 60, 6.5), (2001, 60, 0.02), (2002, 3, 6.5)])
    assert {outlier.at for outlier in extremes} >= {2000, 2001}
    assert len(extremes) <= 4  # of 1,000 normal answers; 2002 is usual for an answer of three tokens
    assert 2002 not in {outlier.at for outlier in extremes}
    # too few answers say nothing
    assert outliers([(at, 9, 1.0 + at) for at in range(10)]) == []
    # a sample is spread evenly
    assert spread(5, 10) == [0, 1, 2, 3, 4]
    assert spread(1000, 4) == [0, 250, 500, 750]


def test_rows_are_scored_by_the_model_and_scores_are_kept(tmp_path, tiny_model):
    path = write_rows(tmp_path / "a.jsonl", [chat("Where are you?", "We are behind the station.")] * 30)
    loss = {"only": ("outliers",), "options": ("loss",)}
    with pytest.raises(BadInput, match="--loss needs a model"):
        lint(tmp_path, path, **loss)
    phases: list[str] = []
    say = lambda phase, *_: phases.append(phase)  # noqa: E731
    report = lint(tmp_path, path, model=str(tiny_model), sample=25, say=say, **loss)
    assert report.looked_for == ("outliers",)
    assert report.findings == ()  # all are alike
    assert "scoring answers" in phases
    assert any((tmp_path / "scores").rglob("*"))
