"""The batch that comes next is packed while a GPU works at the one before, and scores as it does alone."""

from __future__ import annotations

from typing import Any

import pytest
from choice_suite import write_choice_suite

from finetop.core.check.scoring import packing
from finetop.core.check.scoring.batch_plan import BatchPlan
from finetop.core.check.scoring.batches import PreparedSuite, ScoredModel, prepare, score_batch
from finetop.core.check.tasks.requests import build
from finetop.core.check.tasks.suite import find_suite
from finetop.core.models import forward
from finetop.core.runtime.home import Home


@pytest.fixture
def prepared(tmp_path, tiny_tokenizer) -> PreparedSuite:
    """Prepare two tasks of six questions."""
    rows = {
        name: [
            {"question": f"{name} {n} and", "choices": ["one", "two", "six"], "gold": n % 3} for n in range(6)
        ]
        for name in ("add", "spell")
    }
    write_choice_suite(tmp_path, rows)
    return prepare(build(find_suite("tiny", Home(tmp_path))), tiny_tokenizer, 512, 1)


def scored_model(model: Any) -> ScoredModel:
    return ScoredModel("base", None, lambda: model, BatchPlan("packed", 512))


def test_the_next_batch_is_packed_before_the_scores_of_this_one_are_read(prepared, loud_model, monkeypatch):
    batches = prepared.batches
    alone = [score_batch(prepared, scored_model(loud_model), batch) for batch in batches]
    happened: list[str] = []
    for place, name in ((packing, "_sheet"), (forward, "logits_at")):
        monkeypatch.setattr(place, name, noted(happened, name, getattr(place, name)))
    in_turn = scored_model(loud_model)
    first = score_batch(prepared, in_turn, *batches)
    assert happened == ["_sheet", "logits_at", "_sheet"]
    second = score_batch(prepared, in_turn, batches[1])
    assert happened[3:] == ["logits_at"], "it was packed already"
    assert [first, second] == alone
    assert not in_turn.ahead


def test_a_batch_that_can_not_be_packed_fails_at_its_turn(prepared, loud_model, monkeypatch):
    sheet, in_turn = packing._sheet, scored_model(loud_model)
    last = {tokens.tokens for item in prepared.batches[1].items for tokens in prepared.inputs["spell", item]}

    def bad(rows: Any, sequences: Any) -> Any:
        if {one.tokens for one in sequences} & last:
            raise IndexError("a bad item")
        return sheet(rows, sequences)

    monkeypatch.setattr(packing, "_sheet", bad)
    assert len(score_batch(prepared, in_turn, *prepared.batches)) == 6
    with pytest.raises(IndexError, match="a bad item"):
        score_batch(prepared, in_turn, prepared.batches[1])


def noted(happened: list[str], call: str, function: Any) -> Any:
    """Return the function, with its calls noted."""

    def call_noted(*given: Any, **more: Any) -> Any:
        happened.append(call)
        return function(*given, **more)

    return call_noted
