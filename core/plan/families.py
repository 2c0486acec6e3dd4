"""Families of models, one row each: what their layers hold, in the names and shapes of transformers 5.24."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal


@dataclass(frozen=True, slots=True)
class Family:
    """How the layers of a family are built. A text instead of a flag is the config key that decides it."""

    attention: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj")  # two names: a fused one, and out
    mlp: tuple[str, ...] = ("gate_proj", "up_proj", "down_proj")  # two names: not gated, unless `fused_gate`
    fused_gate: bool = False
    qkv_bias: bool | str = False
    out_bias: bool | str = False
    mlp_bias: bool | str = False
    norms: int = 2  # of hidden width, per layer
    norm_bias: bool = False
    has_norm_weights: bool = True
    norm_in_float32: bool = True
    head_norms: Literal["none", "width", "hidden", "each"] = (
        "none"  # of queries and keys; `each`: separate for each head
    )
    head_norms_if: str = ""  # the config key that turns them on; "" for always
    is_tied: bool = False  # default, if the config has no setting
    has_positions: bool = False
    positions_offset: int = 0
    head_bias: bool = False
    embedding_norm: bool = False
    keeps_scores: bool = False
    has_flex: bool = True  # flex attention
    scans: bool = False  # blocks of a state-space model: neither attention nor MLP
    heads_keep_width: int | None = None  # default width of a head
    full_every: int = 0  # one of this many layers attends to all tokens, the others to a window; 0: all alike


_GPT = Family(
    attention=("c_attn", "c_proj"),
    mlp=("c_fc", "c_proj"),
    qkv_bias=True,
    out_bias=True,
    mlp_bias=True,
    norm_bias=True,
    norm_in_float32=False,
    is_tied=True,
    has_positions=True,
    has_flex=False,
)
LLAMA = Family(qkv_bias="attention_bias", out_bias="attention_bias", mlp_bias="mlp_bias")
_GEMMA = replace(LLAMA, is_tied=True, mlp_bias=False, heads_keep_width=256)
_NEOX = Family(
    attention=("query_key_value", "dense"),
    mlp=("dense_h_to_4h", "dense_4h_to_h"),
    qkv_bias="attention_bias",
    out_bias="attention_bias",
    mlp_bias=True,
    norm_bias=True,
    norm_in_float32=False,
)
FAMILIES: Mapping[str, Family] = {
    "llama": LLAMA,
    "mistral": Family(),
    "ministral": Family(),
    "qwen2": Family(qkv_bias=True),
    "qwen3": replace(LLAMA, mlp_bias=False, head_norms="width", heads_keep_width=128),
    "gemma": _GEMMA,
    "gemma2": replace(_GEMMA, norms=4, keeps_scores=True, full_every=2),
    "gemma3_text": replace(_GEMMA, norms=4, head_norms="width", full_every=6),
    "phi": Family(
        attention=("q_proj", "k_proj", "v_proj", "dense"),
        mlp=("fc1", "fc2"),
        qkv_bias=True,
        out_bias=True,
        mlp_bias=True,
        norms=1,
        norm_bias=True,
        norm_in_float32=False,
        head_bias=True,
    ),
    "phi3": Family(attention=("qkv_proj", "o_proj"), mlp=("gate_up_proj", "down_proj"), fused_gate=True),
    "gpt2": _GPT,
    "gpt_bigcode": _GPT,
    "gpt_neox": _NEOX,
    "gptj": Family(
        attention=("q_proj", "k_proj", "v_proj", "out_proj"),
        mlp=("fc_in", "fc_out"),
        mlp_bias=True,
        norms=1,
        norm_bias=True,
        norm_in_float32=False,
        head_bias=True,
    ),
    "falcon": replace(_NEOX, qkv_bias="bias", out_bias="bias", mlp_bias="bias", is_tied=True, has_flex=False),
    "bloom": replace(
        _NEOX, qkv_bias=True, out_bias=True, is_tied=True, embedding_norm=True, keeps_scores=True, has_flex=False
    ),
    "opt": Family(
        attention=("q_proj", "k_proj", "v_proj", "out_proj"),
        mlp=("fc1", "fc2"),
        qkv_bias="enable_bias",
        out_bias="enable_bias",
        mlp_bias="enable_bias",
        norm_bias=True,
        norm_in_float32=False,
        is_tied=True,
        has_positions=True,
        positions_offset=2,
    ),
    "stablelm": Family(qkv_bias="use_qkv_bias", norm_bias=True, norm_in_float32=False, has_flex=False),
    "starcoder2": Family(
        mlp=("c_fc", "c_proj"),
        qkv_bias="use_bias",
        out_bias="use_bias",
        mlp_bias="use_bias",
        norm_bias=True,
        norm_in_float32=False,
        is_tied=True,
    ),
    "olmo": replace(LLAMA, mlp_bias=False, has_norm_weights=False),
    "olmo2": replace(LLAMA, mlp_bias=False, head_norms="hidden"),
    "olmo3": replace(LLAMA, mlp_bias=False, head_norms="hidden", full_every=4),
    "granite": LLAMA,
    "smollm3": replace(LLAMA, is_tied=True),
    "cohere": replace(LLAMA, mlp_bias=False, norms=1, is_tied=True, head_norms="each", head_norms_if="use_qk_norm"),
    "glm": Family(qkv_bias="attention_bias", mlp=("gate_up_proj", "down_proj"), fused_gate=True, heads_keep_width=128),
    "exaone4": Family(head_norms="width", full_every=4),
    "mixtral": Family(),
    "mamba": Family(scans=True, norms=1, is_tied=True, has_flex=False),
    "qwen2_moe": Family(qkv_bias="qkv_bias"),
    "qwen3_moe": replace(LLAMA, mlp_bias=False, head_norms="width"),
    "olmoe": replace(LLAMA, mlp_bias=False, head_norms="hidden", has_flex=False),
    "granitemoe": replace(LLAMA, mlp_bias=False),
    "gpt_oss": replace(LLAMA, mlp_bias=False, keeps_scores=True, heads_keep_width=64, full_every=2),
}  # fmt: skip
SAME = {"gemma3": "gemma3_text", "mistral3": "mistral", "qwen2_5_vl": "qwen2"}
ON_UNLESS_SAID = {"enable_bias", "use_bias", "qkv_bias"}
ON_IN = {("gpt_neox", "attention_bias"), ("gpt_oss", "attention_bias")}
