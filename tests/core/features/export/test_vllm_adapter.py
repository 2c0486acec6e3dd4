"""vLLM's rules for adapters: which it loads, and what it must be told."""

from __future__ import annotations

import pytest

from finetop.core.features.export import adapter

LORA = {"peft_type": "LORA", "r": 16, "lora_alpha": 32, "bias": "none", "target_modules": ["q_proj"]}
NAMES = [f"base_model.model.model.layers.0.self_attn.q_proj.lora_{letter}.weight" for letter in "AB"]


@pytest.mark.parametrize(("changes", "more", "says"), [
    ({}, [], ""),
    ({"use_rslora": True, "r": 24}, [], ""),
    ({"use_dora": True}, [], "DoRA"),
    ({"peft_type": "IA3"}, [], "of the kind IA3"),
    ({"modules_to_save": ["lm_head"]}, [], "lm_head is trained as a whole"),
    ({"bias": "all"}, [], "biases"),
    ({"rank_pattern": {"q_proj": 4}}, [], "rank_pattern"),
    ({"target_parameters": ["mlp.experts.down_proj"]}, [], "experts"),
    ({"r": 1024}, [], "rank 1024 is above 512"),
    ({}, ["base_model.model.model.norm.weight"], "it has base_model.model.model.norm.weight"),
])  # fmt: skip
def test_what_vllm_loads(changes, more, says):
    why = adapter.vllm_obstacle({**LORA, **changes}, [*NAMES, *more])
    assert (says in why) if says else why == ""


def test_the_rank_that_it_must_be_told():
    told = adapter.vllm_command({**LORA, "r": 24}, "org/base", "mine-7", "./mine-7-adapter")
    options = "--enable-lora --max-lora-rank 32 --lora-modules mine-7=./mine-7-adapter"
    assert told == f"vllm serve org/base {options}"
