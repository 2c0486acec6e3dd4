"""What is read of a model that transformers builds on its meta device, and what its config.json alone tells."""

from __future__ import annotations

import json
from collections import Counter

import msgspec
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.generation.continuous_batching.cache import group_layers_by_attn_type

from finetop.core.errors import BadInput
from finetop.core.models import shape
from finetop.core.plan.shape import billions, read_config, read_shape

WIDE = {"hidden_size": 96, "num_hidden_layers": 3, "num_attention_heads": 6, "vocab_size": 331}
USUAL = {**WIDE, "num_key_value_heads": 2, "intermediate_size": 136}
GPT = {"n_embd": 96, "n_layer": 3, "n_head": 6, "n_positions": 77, "vocab_size": 331}
MOE = {**USUAL, "num_experts_per_tok": 2}
CONFIGS = [
    ("llama", {**USUAL, "attention_bias": True, "mlp_bias": True, "tie_word_embeddings": True}),
    ("llama", {**USUAL, "head_dim": 24}),
    *((name, {**USUAL, "head_dim": 24}) for name in ("qwen3", "gemma", "gemma2", "gemma3_text")),
    *((name, USUAL) for name in ("mistral", "qwen2", "phi", "starcoder2", "olmo", "olmo2", "olmo3", "granite",
                                 "exaone4", "cohere2", "lfm2")),
    ("phi3", {**USUAL, "pad_token_id": 0}),
    ("gpt2", GPT),
    ("gpt_bigcode", GPT),
    ("gpt_neox", {**WIDE, "intermediate_size": 136}),
    ("gptj", {**GPT, "rotary_dim": 8}),
    ("falcon", WIDE),
    ("falcon", {**WIDE, "new_decoder_architecture": True, "num_kv_heads": 2, "bias": True}),
    ("falcon", {**WIDE, "parallel_attn": False, "multi_query": False, "alibi": True}),
    ("bloom", {"hidden_size": 96, "n_layer": 3, "n_head": 6, "vocab_size": 331}),
    ("opt", {**WIDE, "ffn_dim": 136, "word_embed_proj_dim": 48, "max_position_embeddings": 77}),
    ("stablelm", {**USUAL, "use_qkv_bias": True}),
    ("smollm3", {**USUAL, "pad_token_id": 0}),
    ("cohere", {**USUAL, "use_qk_norm": True}),
    ("glm", {**USUAL, "head_dim": 24, "pad_token_id": 0}),
    ("mixtral", {**MOE, "num_local_experts": 4}),
    ("qwen2_moe", {**MOE, "num_experts": 4, "moe_intermediate_size": 40, "shared_expert_intermediate_size": 56,
                   "decoder_sparse_step": 2}),
    ("qwen3_moe", {**MOE, "num_experts": 4, "moe_intermediate_size": 40, "head_dim": 24, "mlp_only_layers": [1]}),
    ("olmoe", {**MOE, "num_experts": 4}),
    ("granitemoe", {**MOE, "num_local_experts": 4}),
    ("gpt_oss", {**MOE, "num_local_experts": 4, "head_dim": 24}),
    ("deepseek_v3", {**MOE, "n_routed_experts": 4, "n_group": 1, "topk_group": 1, "first_k_dense_replace": 1}),
    ("gemma4_text", {**USUAL, "vocab_size_per_layer_input": 331}),
    ("glm4", {**USUAL, "pad_token_id": 0}),
    ("mamba", {"hidden_size": 96, "num_hidden_layers": 3, "vocab_size": 331, "state_size": 8}),
    ("mamba", {"hidden_size": 96, "num_hidden_layers": 3, "vocab_size": 331, "use_bias": True, "use_conv_bias": False}),
]  # fmt: skip


def made(family, settings):
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(AutoConfig.for_model(family, **settings))


@pytest.mark.parametrize(
    ("family", "settings"), CONFIGS, ids=[f"{name}{i}" for i, (name, _) in enumerate(CONFIGS)]
)
def test_every_number_of_a_model_is_in_a_part(family, settings):
    model = made(family, settings)
    read = shape.read(model)
    assert read.is_known
    assert read.parameters == sum(p.numel() for p in model.parameters())
    head = model.get_output_embeddings()
    real, counted = Counter[str](), Counter[str]()
    for path, module in model.named_modules():
        is_linear = isinstance(module, torch.nn.Linear) or type(module).__name__ == "Conv1D"
        if is_linear and module is not head:
            real[path.rsplit(".", 1)[-1]] += module.weight.numel()
    for linear in read.linears:
        counted[linear.name] += linear.weights
    assert counted == real


PARTS = [
    # hidden, layers, query, key, inner width, gated, norms a layer, in float32, keeps scores, other, scanned
    ("llama", USUAL, (96, 3, 96, 32, 136, True, 2, True, False, 0, 0)),
    ("gemma2", {**USUAL, "head_dim": 24}, (96, 3, 144, 48, 136, True, 4, True, True, 0, 0)),
    ("gpt2", GPT, (96, 3, 96, 96, 384, False, 2, False, False, 0, 0)),
    ("falcon", WIDE, (96, 3, 96, 16, 384, False, 1, False, False, 0, 0)),
    ("phi3", {**USUAL, "pad_token_id": 0}, (96, 3, 96, 32, 136, True, 2, True, False, 0, 0)),
    ("bloom", {"hidden_size": 96, "n_layer": 3, "n_head": 6, "vocab_size": 331},
     (96, 3, 96, 96, 384, False, 2, False, True, 0, 0)),
    ("qwen2_moe", {**MOE, "num_experts": 4, "moe_intermediate_size": 40, "shared_expert_intermediate_size": 56},
     (96, 3, 96, 32, 2 * 40 + 56, True, 2, True, False, 3 * 4 * 96, 0)),
    ("gpt_oss", {**MOE, "num_local_experts": 4, "head_dim": 24},
     (96, 3, 144, 48, 2 * 136, True, 2, True, True, 3 * 4 * 97 + 3 * 6, 0)),
    ("mamba", {"hidden_size": 96, "num_hidden_layers": 3, "vocab_size": 331, "state_size": 8},
     (96, 3, 96, 96, 192, True, 1, True, False, 3 * 192 * (4 + 1 + 8 + 1), 192 * 8)),
]  # fmt: skip


@pytest.mark.parametrize(("family", "settings", "parts"), PARTS, ids=[name for name, *_ in PARTS])
def test_what_a_step_keeps_is_told_by_the_parts(family, settings, parts):
    read = shape.read(made(family, settings))
    names = ("hidden", "layers", "query_width", "key_width", "mlp_width", "is_gated", "norms_per_layer")
    names += ("norm_in_float32", "keeps_scores", "other", "scanned")
    assert tuple(getattr(read, name) for name in names) == parts


@pytest.mark.parametrize("settings", [
    USUAL, {**USUAL, "head_dim": 24, "attention_bias": True, "mlp_bias": True},
    {**USUAL, "tie_word_embeddings": True},
])  # fmt: skip
def test_of_a_llama_the_config_alone_tells_as_much(settings):
    model = made("llama", settings)
    saved = json.loads(model.config.to_json_string(use_diff=True))
    assert read_shape(saved) == msgspec.structs.replace(shape.read(model), dtype=read_shape(saved).dtype)


@pytest.mark.parametrize(
    "family", ["llama", "mistral", "gemma2", "gemma3_text", "gpt_oss", "olmo3", "exaone4", "qwen3"]
)
def test_layers_of_each_kind_of_attention_are_those_that_transformers_counts(family):
    model = made(family, {**MOE, "num_hidden_layers": 13})
    counted = shape.read(model).kinds
    assert sorted(counted) == sorted(map(len, group_layers_by_attn_type(model.config).values()))


def test_a_model_of_other_parts_is_left_to_its_config_and_counts_are_written_short():
    assert shape.read(object()) is None
    counts = {0: "0", 512: "512", 134_515_008: "135M", 7.24e9: "7.24B", 70.6e9: "70.6B"}
    assert {count: billions(count) for count in counts} == counts


def test_an_unknown_family_is_counted_as_a_llama_and_a_model_that_sees_by_its_text_part():
    shape = read_shape({**USUAL, "model_type": "new"})
    assert not shape.is_known
    assert shape.parameters == read_shape({**USUAL, "model_type": "llama"}).parameters
    outer = {"model_type": "gemma3", "text_config": {**USUAL, "model_type": "gemma3_text", "head_dim": 24}}
    assert read_shape(outer).parameters == read_shape(outer["text_config"]).parameters


def test_a_config_that_lacks_something_is_refused_by_name(tmp_path):
    with pytest.raises(BadInput, match=r"has no num_attention_heads \(llama\)"):
        read_shape({"model_type": "llama", "hidden_size": 8, "num_hidden_layers": 2})
    for text, says in (("", "no such file"), ("[1]", "not a JSON object"), ("{", "can't be read as JSON")):
        if text:
            (tmp_path / "config.json").write_text(text)
        with pytest.raises(BadInput, match=says):
            read_config(tmp_path)
