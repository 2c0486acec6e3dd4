"""What a change during a run means, and which changes are refused."""

from __future__ import annotations

import pytest

from finetop.core.errors import BadInput
from finetop.core.recipe.dotted import changes
from finetop.core.recipe.load import resolve_text

TEXT = "recipe: 1\nextends: lora\nname: x\ndata: {train: [{path: a.jsonl}]}\n"


def recipe(*sets):
    return resolve_text(TEXT, sets).resolved


@pytest.mark.parametrize(
    ("setting", "says"),
    {
        "train.epochs=5": "train.epochs: 2 -> 5.0 the learning rate follows the schedule of the new length",
        "train.seed=7": "train.seed: 1 -> 7 changes the data order",
        "train.save_every=0.5": "train.save_every: 0.25 -> 0.5",
        "objective.loss=all": "objective.loss: 'answers' -> 'all' the loss changes from here on",
        "model.trust_remote_code=true": "model.trust_remote_code: false -> true",
        "data.train=[{path: b.jsonl}]": "data.train: a list -> a list changed rows are refused without --anyway",
    }.items(),
)
def test_a_change_is_said_in_words(setting, says):
    (change,) = changes(recipe(), recipe(setting))
    assert str(change).replace("2.0 ->", "2 ->") == says


@pytest.mark.parametrize(
    ("setting", "says"),
    {
        "method.rank=4": "method.rank can't change from 16 to 4: the trained weights are in the checkpoint.",
        "model.quantize=nf4": "model.quantize can't change from 'none' to 'nf4': the run started from it.",
        "train.optimizer=sgd": "train.optimizer can't change from 'adamw' to 'sgd': the checkpoint holds",
        "name=y": "name can't change from 'x' to 'y': a run keeps its name.",
        "objective.name=continued-pretraining": "objective",
    }.items(),
)
def test_what_can_not_change_is_refused(setting, says):
    with pytest.raises(BadInput) as caught:
        changes(recipe(), recipe(setting))
    assert says in str(caught.value)
    assert changes(recipe(), recipe()) == []
