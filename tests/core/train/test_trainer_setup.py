"""A method in the real trainer: gradients through quantized weights, its optimizer, its ranks, what it saves."""

from collections.abc import Callable

import pytest
import torch
from tiny_run import recipe_of
from transformers import TrainerCallback

from finetop.core.data.examples import Example
from finetop.core.models import checkpoint, load, resolve
from finetop.core.models.load_checkpoint import load_checkpoint
from finetop.core.runtime.event_log import EventLog
from finetop.core.runtime.home import Home, prepare
from finetop.core.train import methods, objectives, plain_loss, trainer_args, trainer_setup
from finetop.core.train.trainer_setup import Setup

Begin = Callable[..., Setup]

QUIET = "ignore::UserWarning", "ignore::FutureWarning", "ignore::DeprecationWarning"
pytestmark = pytest.mark.filterwarnings(*QUIET)

IDS = [[6 + (3 * n + at) % 90 for at in range(20)] for n in range(8)]
ROWS = [Example(ids, ids) for ids in IDS]


@pytest.fixture
def begin(tiny_model, tmp_path):
    """Return a function that makes what a training job has when its trainer is built, from sections of a recipe."""
    home, events = Home(tmp_path / "home"), EventLog(tmp_path / "events.jsonl")
    prepare(home)

    def made(method, quantize="none", **train):
        sections = {"model": {"quantize": quantize}, "method": method}
        sections["train"] = {"epochs": 1.0, "learning_rate": 5e-3, **train}
        recipe = recipe_of(tiny_model, tmp_path / "rows.jsonl", sections)
        base = resolve.resolve_model(recipe.model, home, events)
        methods.rehearse(recipe.method.name, recipe.method.options, base)
        torch.manual_seed(1)
        loaded, tokenizer = load.load_model(base, torch.float32, "cpu")
        return Setup(
            recipe=recipe, base=base, tokenizer=tokenizer,
            model=trainer_setup.prepare(recipe, base, tokenizer, loaded, ROWS, home), dtype="float32",
            device="cpu", run_folder=tmp_path / "run", home=home, events=events, train=ROWS, eval=[],
            arguments=trainer_args.common(recipe, "float32", "cpu", tmp_path / "out"),
        )  # fmt: skip

    yield made
    events.close()


def trained(setup, steps):
    """Train for some steps, after reading the model as a run's samples and its drift probe do."""
    look(setup.model)
    trainer = trainer_setup.make_trainer(objectives.load("sft").make_trainer, setup)
    trainer.args.max_steps = steps
    trainer.train()
    return trainer


def look(model):
    was_training = model.training
    model.eval()
    with torch.no_grad():
        read = model(input_ids=torch.tensor([ROWS[0].input_ids])).logits[:, -len(ROWS[0].input_ids) :]
    model.train(was_training)
    return read


def losses(trainer):
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


def test_lora_on_nf4_weights_learns_in_float32_with_activations_kept_or_not(begin):
    plain = trained(begin({"name": "lora", "rank": 4}, "nf4"), 3)
    moved = {name: w for name, w in plain.model.named_parameters() if "lora_B" in name}
    assert len(moved) == 14
    assert all(weight.dtype == torch.float32 and weight.any() for weight in moved.values())
    again = trained(begin({"name": "lora", "rank": 4}, "nf4", activation_checkpointing=True), 3)
    assert losses(again) == pytest.approx(losses(plain), abs=1e-5)
    assert losses(plain)[-1] < losses(plain)[0]


def test_the_second_matrix_of_lora_plus_learns_faster(begin):
    options = {"name": "lora-plus", "rank": 4, "ratio": 4}
    trainer = trained(begin(options, schedule="constant", warmup_steps=0), 2)
    slow, fast = trainer.optimizer.param_groups
    assert (slow["lr"], fast["lr"]) == (pytest.approx(5e-3), pytest.approx(2e-2))
    assert len(slow["params"]) == len(fast["params"]) == 14
    seconds = {id(w) for name, w in trainer.model.named_parameters() if "lora_B" in name}
    assert {id(weight) for weight in fast["params"]} == seconds
    assert losses(trainer)[-1] < losses(trainer)[0]


def test_ranks_of_adalora_end_at_their_mean_and_are_saved_on_the_way_too(begin, tmp_path):
    options = {"name": "adalora", "rank": 2, "first_rank": 4, "wait": 0.1, "settle": 0.4}
    setup = begin(options, epochs=None, max_steps=10)
    kept = {}

    class Keeper(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            step, model = state.global_step, kwargs["model"]
            if step in (4, 10):
                checkpoint.write(model, setup.tokenizer, setup.base, tmp_path, step, setup.events)
                kept[step] = look(model)

    setup.hooks.append(Keeper())
    trainer = trained(setup, 10)
    config = trainer.model.peft_config["default"]
    ranks = [sum(alive) for alive in config.rank_pattern.values()]
    assert sum(ranks) == 2 * 14
    assert (config.tinit, config.tfinal, config.total_step) == (1, 4, 10)
    for step, wanted in kept.items():
        folder = checkpoint.folder_of(tmp_path, step)
        again, _ = load_checkpoint(setup.base, folder, torch.float32, "cpu")
        assert torch.allclose(look(again), wanted, atol=2e-6), step


@pytest.mark.parametrize(("steps", "settle"), [(1, 0.0), (2, 0.9)])
def test_ranks_of_adalora_are_taken_away_in_the_first_step_where_there_are_no_others(begin, steps, settle):
    options = {"name": "adalora", "rank": 2, "first_rank": 4, "wait": 0.0, "settle": settle}
    trainer = trained(begin(options, epochs=None, max_steps=steps), steps)
    ranks = [sum(alive) for alive in trainer.model.peft_config["default"].rank_pattern.values()]
    assert len(ranks) == 14 and sum(ranks) <= 2 * 14


def test_a_head_that_is_trained_whole_moves_and_comes_back(begin, tmp_path):
    setup = begin({"name": "lora", "rank": 2, "modules_to_save": ["lm_head"]})
    before = setup.model.get_output_embeddings().weight.detach().clone()
    trainer = trained(setup, 2)
    assert not torch.equal(trainer.model.get_output_embeddings().weight, before)
    assert torch.equal(trainer.model.get_input_embeddings().weight, before)  # they were tied before
    checkpoint.write(trainer.model, setup.tokenizer, setup.base, tmp_path, 2, setup.events)
    again, _ = load_checkpoint(setup.base, checkpoint.folder_of(tmp_path, 2), torch.float32, "cpu")
    assert torch.allclose(look(again), look(trainer.model), atol=2e-6)


@pytest.mark.parametrize("name", ["prompt-tuning", "prefix-tuning"])
def test_learned_tokens_learn_in_the_trainer(begin, name):
    trainer = trained(begin({"name": name, "tokens": 4}, learning_rate=0.05, schedule="constant"), 4)
    assert losses(trainer)[-1] < losses(trainer)[0]


def test_a_trainer_on_a_gpu_is_built_after_its_losses_are_chosen(begin, monkeypatch):
    told = []
    monkeypatch.setattr(plain_loss, "take_if_needed", lambda device, events: told.append(device))
    setup = begin({"name": "lora", "rank": 4})
    setup.device = "cuda:0"
    with pytest.raises(ZeroDivisionError):
        trainer_setup.make_trainer(lambda setup: 1 / 0, setup)
    assert told == ["cuda:0"]
