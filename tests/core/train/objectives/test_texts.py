"""Continued pretraining, and a model from scratch: all tokens are learned, none is lost, and the loss falls."""

from __future__ import annotations

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from finetop.core.data import text_chunks as texts
from finetop.core.data.formats import Text
from finetop.core.data.sources import Row
from finetop.core.errors import RecipeError
from finetop.core.protocol import events
from finetop.core.recipe.load import resolve_text

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def test_continued_pretraining_learns_every_token(train, texts):
    run = train(texts, objective={"name": "continued-pretraining"}, data={"eval": {"share": 0.2}})
    assert run.ended == events.Ended("finished")
    loss = run.curve("loss")
    assert len(loss) == 8
    assert loss[-1] < 0.9 * loss[0]
    (read, aside) = run.of(events.DataRead)
    assert (read.rows, read.kept, read.dropped, aside.rows) == (10, 10, 0, 2)
    assert run.curve("eval_loss")[-1] < loss[0]


def test_pieces_hold_the_whole_text(tiny_model):
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    long = "We mend radios, lamps and clocks. " * 9
    (pieces,) = texts.examples([Row("a:1", Text(long))], tokenizer, 16, end_of_text=True)
    joined = [token for piece in pieces for token in piece.input_ids]
    assert all(piece.tokens <= 16 and piece.labels == piece.input_ids for piece in pieces)
    assert tokenizer.decode(joined) == long + tokenizer.eos_token


def test_pretraining_makes_a_model_and_a_tokenizer_of_its_own(train, texts):
    options = {
        "name": "pretrain", "layers": 1, "hidden_size": 32, "heads": 4, "key_value_heads": 2,
        "vocabulary": 320,
    }  # fmt: skip
    run = train(texts, objective=options, method={"name": "full"}, train={"max_steps": 20})
    loss = run.curve("loss")
    assert loss[-1] < 0.8 * loss[0]
    (saved,) = (run.folder / "checkpoints").glob("step-*")
    model = AutoModelForCausalLM.from_pretrained(saved)
    tokenizer = AutoTokenizer.from_pretrained(saved)
    assert (model.config.num_hidden_layers, model.config.hidden_size) == (1, 32)
    assert 300 <= len(tokenizer) == model.config.vocab_size <= 330
    assert tokenizer.decode(tokenizer("We mend clocks.").input_ids) == "We mend clocks."


@pytest.mark.parametrize(("written", "says"), [
    ("method: {name: lora}",
     "method.name: pretrain trains all weights from scratch, but lora trains only some. Set method.name"),
    ("objective: {name: pretrain, heads: 5}", "objective.heads: 5 heads do not divide hidden_size 192."),
    ("check: {general: {suite: quick}}",
     "check.general: pretrain produces no model to compare with its base."),
])  # fmt: skip
def test_what_can_not_be_is_refused_before_anything_is_loaded(written, says):
    whole = ["method: {name: full}", "objective: {name: pretrain}", "check: {general: null}"]
    sections = {line.partition(":")[0]: line for line in (*whole, written)}
    with pytest.raises(RecipeError) as caught:
        resolve_text("recipe: 1\nname: x\n" + "\n".join(sections.values()))
    assert says in str(caught.value)
