"""Continued pretraining, and a model from scratch: all tokens are learned, none is lost, and the loss falls."""

import architectures
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from finetop.core.data import text_chunks as texts
from finetop.core.data.formats import Text
from finetop.core.data.sources import Row
from finetop.core.errors import BadInput
from finetop.core.models.resolved import ResolvedModel
from finetop.core.protocol import events
from finetop.core.train.objectives import pretrain

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def test_continued_pretraining_learns_every_token(train, texts):
    run = train(texts, objective={"name": "continued-pretraining"}, data={"eval": {"share": 0.2}})
    assert run.ended == events.Ended("finished")
    loss = run.values("loss")
    assert len(loss) == 8
    assert loss[-1] < 0.9 * loss[0]
    (read, aside) = run.of(events.DataRead)
    assert (read.rows, read.kept, read.dropped, aside.rows) == (10, 10, 0, 2)
    assert run.values("eval_loss")[-1] < loss[0]


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
    loss = run.values("loss")
    assert loss[-1] < 0.8 * loss[0]
    (saved,) = (run.folder / "checkpoints").glob("step-*")
    model = AutoModelForCausalLM.from_pretrained(saved)
    tokenizer = AutoTokenizer.from_pretrained(saved)
    assert (model.config.num_hidden_layers, model.config.hidden_size) == (1, 32)
    assert 300 <= len(tokenizer) == model.config.vocab_size <= 330
    assert tokenizer.decode(tokenizer("We mend clocks.").input_ids) == "We mend clocks."


SMALL = pretrain.Options(
    layers=3, hidden_size=48, heads=4, key_value_heads=2, intermediate_size=64, vocabulary=320
)
UNSIZED = pretrain.Options(layers=None, hidden_size=None, heads=None, key_value_heads=None, tokenizer="reuse")


@pytest.mark.filterwarnings("ignore")  # the libraries', about settings that do not matter here
@pytest.mark.parametrize("architecture", architectures.MODELS)
def test_a_new_model_of_each_architecture_learns_and_loads_again(architecture, tmp_path):
    config = AutoConfig.for_model(architecture, **architectures.MODELS[architecture])
    config.pad_token_id = 399  # outside the new vocabulary
    config.save_pretrained(tmp_path)
    base = ResolvedModel(architecture, tmp_path, None, None, "", "")
    assert pretrain.PLUGIN.causal_shape(UNSIZED, base).hidden == config.hidden_size
    shape = pretrain.PLUGIN.causal_shape(SMALL, base)
    model = pretrain.PLUGIN.build(SMALL, AutoConfig.from_pretrained(tmp_path))
    assert (shape.layers, shape.hidden, shape.vocabulary) == (3, 48, 320)
    ids = torch.arange(12).reshape(1, 12)
    loss = model(input_ids=ids, labels=ids).loss
    loss.backward()
    assert loss.isfinite()
    model.save_pretrained(tmp_path / "saved")
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "saved")
    assert torch.equal(again(input_ids=ids).logits, model.eval()(input_ids=ids).logits)


@pytest.mark.parametrize(("architecture", "sizes", "reason"), [
    ("gpt_neo", {"num_layers": 2, "attention_types": [[["global", "local"], 1]]}, "no gpt_neo model can be made"),
    ("llama", {"num_attention_heads": 64}, "its rotary positions need an even number per head, not 3."),
])  # fmt: skip
def test_sizes_that_an_architecture_does_not_come_in_are_refused_before_the_job(
    architecture, sizes, reason, tmp_path
):
    AutoConfig.for_model(architecture, **sizes).save_pretrained(tmp_path)
    base = ResolvedModel(architecture, tmp_path, None, None, "", "")
    with pytest.raises(BadInput) as refused:
        pretrain.PLUGIN.causal_shape(pretrain.Options(heads=64 if architecture == "llama" else 6), base)
    assert reason in refused.value.message and "\n" not in refused.value.message
