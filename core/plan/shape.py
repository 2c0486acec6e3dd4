"""What a model is taken to consist of before its own code has built it: a Llama of the widths in its config.json."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from finetop.core.errors import BadInput
from finetop.core.models import attention, config_file
from finetop.core.models.shape import Linear, Shape
from finetop.core.plugins import OBJECTIVES
from finetop.core.recipe.schema import Recipe

LLAMAS = ("llama", "mistral", "ministral", "granite", "qwen2", "qwen3")  # counted to a thousandth
HEAD_NORMS = ("qwen3", "qwen3_moe", "gemma3_text")  # families that norm queries and keys


def read_config(place: Path) -> dict[str, Any]:
    """Read a model's config.json, given its path or its folder. Raises BadInput."""
    return config_file.read(place / "config.json" if place.is_dir() else place)


def read_shape(config: Mapping[str, Any]) -> Shape:
    """Count a model as a Llama of its widths, remembered for the app. Raises BadInput if the config lacks one."""
    return _read_shape(json.dumps(config, sort_keys=True, default=str))


@lru_cache(maxsize=16)
def _read_shape(text: str) -> Shape:
    config = json.loads(text)
    inner = config.get("text_config")
    if isinstance(inner, dict):  # a model that also sees; its vision part is not counted
        config = {**{key: value for key, value in config.items() if key != "text_config"}, **inner}

    def maybe(*names: str) -> int:
        values = (config.get(name) for name in names)
        return next((one for one in values if type(one) is int and one > 0), 0)

    def number(*names: str) -> int:
        if not (value := maybe(*names)):
            message = f"config.json has no {names[0]} ({config.get('model_type') or 'no model_type'})."
            raise BadInput(message, hint="Give the config.json of a model that generates text.")
        return value

    hidden = number("hidden_size", "n_embd", "d_model")
    layers = number("num_hidden_layers", "n_layer", "n_layers", "num_layers")
    named = ("num_attention_heads", "n_head", "n_heads", "num_heads")
    heads = 1 if maybe("state_size") else number(*named)  # a scan has none
    vocabulary = number("vocab_size")
    width = maybe("head_dim") or max(1, hidden // heads)
    query, key = heads * width, (maybe("num_key_value_heads") or heads) * width
    dense = maybe("intermediate_size", "n_inner", "ffn_dim", "ffn_hidden_size") or 4 * hidden
    experts = maybe("num_local_experts", "num_experts", "n_routed_experts")
    each = maybe("moe_intermediate_size") or dense
    chosen = each * (maybe("num_experts_per_tok", "num_experts_per_token") or 1)
    bias, inner_bias = bool(config.get("attention_bias")), bool(config.get("mlp_bias"))
    linears = [
        Linear("q_proj", "attention in", hidden, query, layers, bias),
        Linear("k_proj", "attention in", hidden, key, layers, bias),
        Linear("v_proj", "attention in", hidden, key, layers, bias),
        Linear("o_proj", "attention out", query, hidden, layers, bias),
    ]
    if not experts:
        linears += [
            Linear("gate_proj", "mlp in", hidden, dense, layers, inner_bias),
            Linear("up_proj", "mlp in", hidden, dense, layers, inner_bias),
            Linear("down_proj", "mlp out", dense, hidden, layers, inner_bias),
        ]
    types = config.get("layer_types")
    return Shape(
        family=str(config.get("model_type") or ""),
        is_known=config.get("model_type") in LLAMAS,
        hidden=hidden,
        layers=layers,
        vocabulary=vocabulary,
        heads=heads,
        query_width=query,
        key_width=key,
        mlp_width=chosen if experts else dense,
        is_gated=True,
        linears=tuple(linears),
        experts=layers * experts * 3 * hidden * each,
        embeddings=vocabulary * hidden,
        positions=0,
        head=0 if config.get("tie_word_embeddings") else vocabulary * hidden,
        norms=(2 * layers + 1) * hidden,
        end_norm=hidden,
        norms_per_layer=2,
        norm_in_float32=True,
        other=layers * experts * hidden,
        keeps_scores=False,
        flex_fault=attention.flex_fault(config, width, is_supported=True),
        scanned=0,
        kinds=tuple(Counter(map(str, types[:layers])).values()) if isinstance(types, list) else (layers,),
        max_positions=maybe("max_position_embeddings", "n_positions"),
        dtype=str(config.get("dtype") or config.get("torch_dtype") or "float32"),
        head_norms=config.get("model_type") in HEAD_NORMS,
    )


def shape_of(recipe: Recipe, config: Mapping[str, Any]) -> Shape:
    """Guess the model's shape from its config; of a newly made model, in the sizes that the objective says."""
    base = read_shape(config)
    objective = OBJECTIVES.load(recipe.objective.name)
    new = objective.sizes(recipe.objective.options, base.hidden, base.heads, base.vocabulary)
    return read_shape({**config, **new}) if new else base


def billions(count: float) -> str:
    """Format a count of parameters: 135M, 7.2B."""
    if count <= 0:
        return "0"
    size, unit = (1e9, "B") if count >= 1e9 else (1e6, "M") if count >= 1e6 else (1e3, "k")
    digits = max(0, 2 - math.floor(math.log10(count / size))) if count >= 1e3 else 0
    return f"{count / size:.{min(digits, 2)}f}{unit}" if count >= 1e3 else str(int(count))
