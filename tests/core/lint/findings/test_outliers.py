"""Outliers by the base model's loss: which answers stand out among those of similar length, and a pass with a model."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from finetop.core.errors import BadInput
from finetop.core.lint import lint
from finetop.core.lint.findings.outliers import outliers, spread
from finetop.core.lint.report import Given, LintRequest
from finetop.core.runtime.home import Home


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


def rows(path: Path, count: int) -> Path:
    turns = [
        {"role": "user", "content": "Where are you?"},
        {"role": "assistant", "content": "We are behind the station."},
    ]
    path.write_text("".join(json.dumps({"messages": turns}) + "\n" for _ in range(count)))
    return path


def test_rows_are_scored_by_the_model_and_scores_are_kept(tmp_path: Path, tiny_model: Path) -> None:
    path = rows(tmp_path / "a.jsonl", 30)
    request = LintRequest(
        (Given("train", {"path": str(path)}),),
        model=str(tiny_model),
        only=("outliers",),
        options=("loss",),
        sample=25,
    )
    phases: list[str] = []
    report = lint.run(request, Home(tmp_path / "home"), lambda phase, *_: phases.append(phase))
    assert report.looked_for == ("outliers",)
    assert report.findings == ()  # all are alike
    assert "scoring answers" in phases
    assert any((tmp_path / "home" / "scores").rglob("*"))


def test_a_loss_without_a_model_is_refused(tmp_path: Path) -> None:
    request = LintRequest((Given("train", {"path": str(rows(tmp_path / "a.jsonl", 1))}),), options=("loss",))
    with pytest.raises(BadInput, match="--loss needs a model"):
        lint.run(request, Home(tmp_path), lambda *_: None)
