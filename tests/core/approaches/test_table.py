"""The rows of a comparison from what its runs told: paired by each metric with the best by that metric."""

import pytest

from finetop.core.approaches._table import Member, rows
from finetop.core.protocol.events import ApproachMeasured, RowScore
from finetop.core.protocol.runs import Finished, RunRow


def member(number, approach, f1, nats, **told):
    scores = {
        "token_f1": [RowScore(str(at), value, 1.0) for at, value in enumerate(f1)],
        "nats_per_token": [RowScore(str(at), 4 * value, 4.0) for at, value in enumerate(nats)],
    }
    row = RunRow(
        id=number, name=approach, model="m", method="none", objective="none", state=Finished(1.0, 2.0), created=1.0,
        step=0, steps=0, metrics={}, check=None, checking=None, needs_you=False,
    )  # fmt: skip
    measured = ApproachMeasured(approach=approach, scores=scores, prompt_tokens=9.0, **told)
    return Member(approach, 1, False, row, {}, [], measured, None, None)


def test_each_metric_has_its_own_best_and_the_others_their_paired_difference_to_it():
    found = rows(
        [
            member(1, "prompt", [0.1, 0.2, 0.3], [2.0, 2.2, 2.4]),
            member(2, "retrieval", [0.5, 0.6, 0.9], [3.0, 3.2, 3.6], index_s=2.0),
        ],
        "token_f1",
        {"lora": "no rows"},
    )
    assert [row.name for row in found] == ["retrieval", "prompt", "lora"]
    best, prompt, absent = found
    assert best.is_best and best.gap is None and prompt.gap.mean == pytest.approx(-0.4667, abs=1e-3)
    assert best.other_gaps["nats_per_token"].mean == pytest.approx(1.0667, abs=1e-3) and not prompt.other_gaps
    assert best.setup_s == 2.0 and best.retained.same_weights
    assert (absent.state, absent.said, absent.target) == ("left out", "no rows", None)
