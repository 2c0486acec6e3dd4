"""The step on the longest rows: what it covers, that it changes nothing in a run, and how it fails."""

import random

import numpy
import pytest
import tiny_run
import torch
from tiny_run import of, write_rows

from finetop.core.protocol import events
from finetop.core.runtime import event_log, stop_signal
from finetop.core.runtime.home import Home
from finetop.core.train import longest_batch
from finetop.core.train.objectives import sft

CONVERSATIONS = [
    {"prompt": f"What is {n}?", "completion": f"It is {n * n}. " * (1 + n % 5)} for n in range(1, 19)
]
PAIRS = [
    {"prompt": f"What is {n}?", "chosen": f"It is {n * n}.", "rejected": "I do not know." * (n % 3 + 1)}
    for n in range(1, 17)
]
PROMPTS = [{"prompt": "Say it. " * (n % 7 + 1)} for n in range(24)]
WRITES = {
    name: {
        "name": name,
        "reward": {"rules": [{"rule": "regex", "value": "^ ?[a-m]"}]},
        "max_new_tokens": 5,
        **({} if name == "ppo" else {"generations": 4}),
    }
    for name in ("ppo", "rloo", "grpo")
}


def recipe_of(
    tmp_path, tiny_model, *, tries=True, rows=CONVERSATIONS, objective="sft", trainer_args=None, **method
):
    own = {
        "method": {"name": "lora", **method},
        "objective": WRITES.get(objective, {"name": objective}),
        "data": {"on_long": "truncate"},
        "train": {"max_steps": 2, "grad_accumulation": 2, "learning_rate": 0.01, "try_worst_batch": tries},
        "trainer_args": trainer_args or {},
    }
    return tiny_run.recipe_of(tiny_model, write_rows(tmp_path / "rows.jsonl", rows), own)


def measured(happened):
    """Return all numbers of a run except time and memory."""
    return [
        (event.step, {k: v for k, v in event.values.items() if k not in ("tokens_per_s", "memory_gib")})
        for event in of(events.Metrics, happened)
    ]


@pytest.mark.slow
@pytest.mark.parametrize("settings", [
    {"name": "full"},
    {"dropout": 0.2},
    {"objective": "dpo", "rows": PAIRS},
    {"objective": "ppo", "rows": PROMPTS, "name": "full"},
    {"objective": "rloo", "rows": PROMPTS},
    {"objective": "grpo", "rows": PROMPTS},
], ids=["full", "lora", "dpo", "ppo", "rloo", "grpo"])  # fmt: skip
def test_a_run_is_the_same_to_the_bit_with_it_and_without(settings, tiny_model, tmp_path):
    runs, home = {}, Home(tmp_path / "home")
    for tries in (False, True):
        recipe = recipe_of(tmp_path, tiny_model, tries=tries, **settings)
        ended, runs[tries] = tiny_run.train(recipe, home.root / "runs" / f"000{int(tries) + 1}-tiny", home)
        assert ended.status == "finished"
        phases = [phase.name for phase in of(events.Phase, runs[tries])]
        assert phases.count("trying the longest rows") == tries
    assert measured(runs[True]) == measured(runs[False])
    assert len(measured(runs[True])) >= 2


@pytest.mark.parametrize("objective", WRITES)
def test_answers_are_as_long_as_they_may_be_and_are_paid(objective, tiny_model, tmp_path, monkeypatch):
    from transformers import GenerationMixin

    from finetop.core.train.trainers.reward_sum import RewardSum

    written, paid = [], []
    generate, pay = GenerationMixin.generate, RewardSum.pay

    def generating(model, **given):
        made = generate(model, **given)
        width = given["input_ids"].shape[1]
        written.append((width, made[:, width:].tolist()))
        return made

    def paying(payer, prompts, answers, right):
        paid.append(len(answers))
        return pay(payer, prompts, answers, right)

    monkeypatch.setattr(GenerationMixin, "generate", generating)
    monkeypatch.setattr(RewardSum, "pay", paying)
    trainer, _ = prepared(tmp_path, tiny_model, monkeypatch, objective=objective, rows=PROMPTS, name="full")
    ends = set(trainer.writer.ends if objective == "ppo" else trainer.eos_token_ids)
    assert [len(answers) for _, answers in written] == paid == [8, 8 if objective == "ppo" else 4]
    assert all(len(answer) == 5 and not ends & set(answer) for _, answers in written for answer in answers)
    for rows, (width, _) in zip((trainer.train_dataset, trainer.eval_dataset), written, strict=True):
        assert width == max(len(row.prompt_ids if objective == "ppo" else row["prompt"]) for row in rows)
    if objective != "ppo":
        assert trainer.generation_config.min_new_tokens is None
        assert trainer._buffered_inputs is None and trainer._step == 0
        assert not any(trainer._logs["prompt"]) and trainer.state.num_input_tokens_seen == 0
    else:
        assert trainer.rollout == [] and trainer.drawn == 0
        assert not trainer.value.layers[-1].weight.any()  # it begins at 0, and the trial trained it
        assert trainer.value_optimizer is None


class Memory(RuntimeError):
    """The error that torch raises on a GPU, by its name."""


Memory.__name__ = "OutOfMemoryError"


def prepared(tmp_path, tiny_model, monkeypatch, **settings):
    """Stop a run where training would begin; return the trainer in that state."""
    seen = []

    def begin(trainer, *args, **kwargs):
        seen.append(trainer)
        raise stop_signal.StopAsked

    monkeypatch.setattr("transformers.Trainer.train", begin)
    monkeypatch.setattr("finetop.core.train.ppo.loop.PolicyTrainer.train", begin)
    recipe = recipe_of(tmp_path, tiny_model, **settings)
    run = tmp_path / "home" / "runs" / "0001-tiny"
    with pytest.raises(stop_signal.StopAsked):
        tiny_run.train(recipe, run, Home(tmp_path / "home"))
    return seen[0], recipe


def test_all_that_a_step_changes_is_put_back_even_after_a_failure(tiny_model, tmp_path, monkeypatch):
    trainer, recipe = prepared(tmp_path, tiny_model, monkeypatch, name="lora", dropout=0.1)

    def state():
        weights = {name: one.detach().clone() for name, one in trainer.model.named_parameters()}
        return weights, random.getstate(), numpy.random.get_state()[1].tolist(), torch.get_rng_state()

    before = state()
    moved = []
    step = longest_batch._evaluate

    def look_then_fail(*args):
        weights = trainer.model.named_parameters()
        moved.append(any(not torch.equal(one, before[0][name]) for name, one in weights))
        random.random(), numpy.random.rand(), torch.rand(1)
        step(*args)
        raise Memory("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr(longest_batch, "_evaluate", look_then_fail)
    log = event_log.EventLog(tmp_path / "events.jsonl")
    says = "the longest rows do not fit: out of memory"
    with pytest.raises(longest_batch.DoesNotFit, match=says) as caught:
        longest_batch.try_worst(trainer, recipe, "cpu", log)
    assert "Lower train.batch_size (now 4)" in caught.value.hint
    assert moved == [True]  # it really trained
    after = state()
    assert all(torch.equal(one, after[0][name]) for name, one in before[0].items())
    assert before[1:3] == after[1:3]
    assert torch.equal(before[3], after[3])
    assert all(one.grad is None for one in trainer.model.parameters())
    assert trainer.optimizer is None
    assert trainer.state.log_history == []


def test_the_longest_rows_are_those_that_it_takes():
    class Table(dict):
        column_names = ("prompt_ids", "chosen_ids", "rejected_ids")

        def __len__(self):
            return 3

    table = Table(
        prompt_ids=[[1], [1, 1], [1]], chosen_ids=[[2], [2], [2, 2, 2, 2]], rejected_ids=[[3, 3], [3, 3], [3]]
    )
    assert longest_batch.longest(table, 2) == [2, 1]
    assert longest_batch.longest(table, 5) == [2, 1, 0, 2, 1]


def test_it_is_done_where_the_recipe_or_the_device_wants_it(tiny_model, tmp_path):
    auto, on, off = (recipe_of(tmp_path, tiny_model, tries=tries) for tries in ("auto", True, False))
    assert [longest_batch.is_wanted(auto, device) for device in ("cpu", "cuda:0", "mps")] == [
        False,
        True,
        True,
    ]
    assert longest_batch.is_wanted(on, "cpu") and not longest_batch.is_wanted(off, "cuda:0")


def test_of_several_rows_the_last_is_a_token_shorter_so_that_a_mask_is_there_where_one_is_made():
    rows = [{"prompt_ids": [1, 2], "chosen_ids": [3, 4, 5], "rejected_ids": [6], "ref": 0.5}] * 2
    first, last = longest_batch.uneven(rows)
    assert first == rows[0]
    assert last == {"prompt_ids": [1, 2], "chosen_ids": [3, 4], "rejected_ids": [6], "ref": 0.5}
    assert longest_batch.uneven(rows[:1]) == rows[:1]
    packed = [{"input_ids": [1, 2], "seq_lengths": [2]}] * 2
    assert longest_batch.uneven(packed) == packed


def as_it_is(model): ...


def with_a_layer_that_nothing_calls(model):
    model.model.layers[0].mlp.spare = torch.nn.Linear(64, 64)


def with_experts(model):
    part = model.model.layers[0].mlp
    vars(part)["down_proj"] = part.experts = part._modules.pop("down_proj")


def with_layers_that_drop_out(model):
    model.config.layerdrop = 0.1


@pytest.mark.parametrize(("prepare", "settings", "wanted"), [
    (as_it_is, {"name": "lora"}, False),  # all weights had a gradient
    (as_it_is, {"name": "full"}, False),
    (with_experts, {"name": "lora", "target_modules": ["q_proj", "v_proj"]}, False),  # experts that do not move
    (with_a_layer_that_nothing_calls, {"name": "full"}, True),
    (with_experts, {"name": "full"}, True),
    (with_layers_that_drop_out, {"name": "full"}, True),
    (as_it_is, {"tries": False}, True),
    (as_it_is, {"trainer_args": {"ddp_find_unused_parameters": True}}, True),
])  # fmt: skip
def test_copies_search_for_weights_without_a_gradient_where_a_step_may_leave_some_out(
    tiny_model, tmp_path, monkeypatch, prepare, settings, wanted
):
    load = sft.PLUGIN.load_model

    def loaded(*given):
        model = load(*given)
        prepare(model)
        return model

    monkeypatch.setattr(sft.PLUGIN, "load_model", loaded)
    trainer, _ = prepared(tmp_path, tiny_model, monkeypatch, **settings)
    assert trainer.accelerator.ddp_handler.find_unused_parameters is wanted
