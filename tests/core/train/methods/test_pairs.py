"""Combinations that can't work are refused from the recipe, or from the base's shape, before weights are loaded."""

import pytest
from method_bench import base_of

from finetop.core.errors import BadInput
from finetop.core.recipe.load import find_problems
from finetop.core.train import methods

REFUSED = {
    "method: {name: full}\nmodel: {quantize: nf4}": "model.quantize: full does not work with nf4 weights: quantized",
    "method: {name: osf}\nmodel: {quantize: int8}": "model.quantize: osf does not work with int8 weights: it de",
    "method: {name: loftq}": "model.quantize: loftq does not work with whole weights: it restores what nf4 takes away",
    "method: {name: prompt-tuning}\nobjective: {name: sft, packing: true}": "objective.packing does not work with",
    "method: {name: prefix-tuning}\ntrain: {activation_checkpointing: true}": "its keys and values are lost",
}


@pytest.mark.parametrize("text", REFUSED)
def test_pairs_of_a_recipe(text):
    (problem,) = find_problems(f"recipe: 1\nname: pair\n{text}\n")
    assert REFUSED[text] in problem.message
    assert problem.hint
    assert problem.place.startswith("recipe:")


def test_pairs_that_go_together():
    for text in ("model: {quantize: nf4}", "objective: {name: sft, packing: true}"):
        assert find_problems(f"recipe: 1\nname: pair\nmethod: {{name: lora}}\n{text}\n") == []


MISFITS = [
    ("lora", {"target_modules": ("q_porj",)}, r"target_modules: .* no module 'q_porj'\. Did you mean q_proj"),
    ("dora", {"modules_to_save": ("lm_haed",)}, r"modules_to_save: .*'lm_haed'\. Did you mean lm_head"),
    ("lora", {"target_modules": ("q_proj", "lm_head")},
     r"lm_head is the output layer.* into method\.modules_to_save"),
    ("oft", {"block_size": 24}, r"24 does not divide the 64 inputs of .*Set one of 2, 4, 8, 16, 32, 64\."),
    ("boft", {"block_size": 48}, r"block_size: 48 does not divide the 64 inputs"),
    ("boft", {"factors": 2}, r"factors: 2 need PEFT's CUDA extension"),
    ("pissa", {"rank": 33}, r"rank: 33 is more than the 32 directions of k_proj\. Set 32 or less"),
    ("freeze", {"layers": 3}, r"layers: 3 is more than the model's 2 layers\. Set 2 or less"),
    ("freeze", {"head": True}, r"head: the model's output layer is its embeddings"),
    ("freeze", {"layers": 0}, r"nothing would be trained"),
    ("adalora", {"first_rank": 4}, r"first_rank: 4 is less than method\.rank \(8\)"),
    ("adalora", {"wait": 0.6, "settle": 0.5}, r"leaves no steps in between \(0\.6 \+ 0\.5\)"),
    ("peft", {"type": "lokkr"}, r"PEFT has no 'lokkr'\. Did you mean lokr"),
    ("peft", {"type": "xlora"}, r"can't be trained here: it mixes existing adapters"),
    ("peft", {"type": "p-tuning"}, r"is a method of its own\. Set method\.name to p-tuning"),
    ("peft", {"type": "lokr", "options": {"rnk": 4}}, r"method\.options\.rnk is not an option of lokr\."),
    ("peft", {"type": "lokr", "options": {"task_type": "X"}}, r"task_type: it is set elsewhere"),
    ("peft", {"type": "lora", "options": {"init_lora_weights": "pissa"}},
     r"changes the base's weights\. Set method"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "options", "says"), MISFITS)
def test_options_that_do_not_fit_the_base(name, options, says, tiny_model):
    with pytest.raises(BadInput, match=says):
        methods.rehearse(name, methods.load(name).options(**options), base_of(tiny_model))


def test_a_rank_that_is_wide_enough_fits(tiny_model):
    methods.rehearse("pissa", methods.load("pissa").options(rank=32), base_of(tiny_model))
    methods.rehearse("peft", methods.load("peft").options(type="loha", options={"r": 4}), base_of(tiny_model))
