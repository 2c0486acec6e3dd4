"""What a model consists of, read from its config.json alone: its linear layers, embeddings, norms; all counted.

A family (`model_type`) is one row of families.py, which describes its layers. One without a row is counted as a
Llama of the same widths, and marked as unknown.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from finetop.core.errors import BadInput
from finetop.core.models import attention, config_file
from finetop.core.plan.families import FAMILIES, LLAMA, ON_IN, ON_UNLESS_SAID, SAME, Family
from finetop.core.recipe.master import is_wide

Role = Literal["attention in", "attention out", "mlp in", "mlp out", "other"]


@dataclass(frozen=True, slots=True)
class Linear:
    """Linear layers of one name and shape, `count` of them in the whole model."""

    name: str  # as target_modules name it
    role: Role
    inputs: int
    outputs: int
    count: int
    bias: bool = False

    @property
    def weights(self) -> int:
        """Return the numbers of all `count` matrices, without biases."""
        return self.inputs * self.outputs * self.count

    @property
    def parameters(self) -> int:
        return (self.inputs + self.bias) * self.outputs * self.count


@dataclass(frozen=True, slots=True)
class Shape:
    """A decoder model's parts. Widths are in numbers per token, sizes in parameters of the whole model."""

    family: str
    is_known: bool  # the family has a row: the count is exact
    hidden: int
    layers: int
    vocabulary: int
    heads: int
    query_width: int  # heads times their width
    key_width: int  # the same for key or value: less with grouped queries
    mlp_width: int  # of what one token passes through: with experts, the chosen ones
    is_gated: bool
    linears: tuple[Linear, ...]  # without the head
    experts: int  # fused expert tensors: not covered by adapters on linear layers, and not quantised
    embeddings: int
    positions: int
    head: int  # 0 if it is tied to the embedding
    norms: int
    end_norm: int  # of these, after the last layer
    norms_per_layer: int
    norm_in_float32: bool  # RMSNorm of transformers computes in, and keeps, a float32 copy of its input
    other: int  # routers, sinks, scales
    keeps_scores: bool  # attention that keeps its square matrix of scores: no fused kernel supports it
    flex_fault: str  # why it can't train with flex attention; empty if it can
    scanned: int  # numbers of a scan's state in each layer; 0 without a scan
    kinds: tuple[int, ...]  # layers of each kind of attention: full, or windowed
    max_positions: int
    dtype: str  # in which the weights were saved

    @property
    def linear_weights(self) -> int:
        """Return the numbers in the matrices of linear layers except the head: what quantising shrinks."""
        return sum(linear.weights for linear in self.linears)

    @property
    def parameters(self) -> int:
        """Return all parameters, tied ones once."""
        linears = sum(linear.parameters for linear in self.linears)
        rest = self.embeddings + self.positions + self.head + self.norms + self.other
        return linears + self.experts + rest

    @property
    def small(self) -> int:
        """Return the layers' and last norm's numbers in tensors that an 8-bit optimizer holds in 32 bits."""
        count = sum(
            small(
                (linear.inputs * linear.outputs, linear.count), (linear.outputs, linear.count * linear.bias)
            )
            for linear in self.linears
        )
        return count + self.norms * is_wide(self.hidden)

    @property
    def output_weights(self) -> int:
        """Return the numbers of the matrix that makes logits, its own or the embedding's."""
        return self.vocabulary * self.hidden

    def named(self, names: Iterable[str] | Literal["all-linear"]) -> tuple[Linear, ...]:
        """Return the linear layers of these names; all of them for all-linear."""
        if names == "all-linear":
            return self.linears
        wanted = {name.rsplit(".", 1)[-1] for name in names}
        return tuple(linear for linear in self.linears if linear.name in wanted)


def small(*tensors: tuple[int, int]) -> int:
    """Return the numbers in tensors that are small for an 8-bit optimizer, given as (numbers, copies)."""
    return sum(numbers * count for numbers, count in tensors if is_wide(numbers))


def read_config(place: Path) -> dict[str, Any]:
    """Read a model's config.json, given its path or its folder. Raises BadInput."""
    return config_file.read(place / "config.json" if place.is_dir() else place)


def read_shape(config: Mapping[str, Any]) -> Shape:
    """Compute a model's parts from its config; cached, because the app asks on every key press.

    Raises BadInput for a config without hidden size, layers, heads or vocabulary.
    """
    return _read_shape(json.dumps(config, sort_keys=True, default=str))


@lru_cache(maxsize=16)
def _read_shape(text: str) -> Shape:
    config = json.loads(text)
    inner = config.get("text_config")
    if isinstance(inner, dict):  # a model that also sees; its vision part is not counted
        config = {**{key: value for key, value in config.items() if key != "text_config"}, **inner}
    name = str(config.get("model_type") or "")
    name = SAME.get(name, name)
    family = FAMILIES.get(name, LLAMA)
    return _Reader(config, name, family).shape(is_known=name in FAMILIES)


class _Reader:
    """Reads one config; the names of its settings differ by family."""

    def __init__(self, config: Mapping[str, Any], name: str, family: Family) -> None:
        self.config = config
        self.name = name
        self.family = family
        self.hidden = self.number("hidden_size", "n_embd", "d_model")
        self.layers = self.number("num_hidden_layers", "n_layer", "n_layers", "num_layers")
        heads = ("num_attention_heads", "n_head", "n_heads", "num_heads")
        self.heads = 1 if family.scans else self.number(*heads)
        self.vocabulary = self.number("vocab_size")
        self.head_width = (
            self.maybe("head_dim") or family.heads_keep_width or max(1, self.hidden // self.heads)
        )
        self.query_width = self.heads * self.head_width
        self.key_width = self.key_heads() * self.head_width

    def number(self, *names: str) -> int:
        value = self.maybe(*names)
        if value is None:
            raise BadInput(
                f"config.json has no {names[0]} ({self.name or 'no model_type'}).",
                hint="Give the config.json of a model that generates text.",
            )
        return value

    def maybe(self, *names: str) -> int | None:
        for name in names:
            value = self.config.get(name)
            if isinstance(value, int) and not isinstance(value, bool) and value > 0:
                return value
        return None

    def flag(self, setting: bool | str) -> bool:
        if isinstance(setting, bool):
            return setting
        default = setting in ON_UNLESS_SAID or (self.name, setting) in ON_IN
        return bool(self.config.get(setting, default))

    def key_heads(self) -> int:
        if self.name == "falcon":
            if self.config.get("new_decoder_architecture"):
                return self.maybe("num_kv_heads") or self.heads
            return 1 if self.config.get("multi_query", True) else self.heads
        if self.name == "gpt_bigcode":
            return 1 if self.config.get("multi_query", True) else self.heads
        return self.maybe("num_key_value_heads") or self.heads

    def scan(self) -> list[Linear]:
        """Return the layers of a state-space block (arXiv:2312.00752), which has neither attention nor MLP."""
        inner, rank, bias = self.scan_width(), self.scan_rank(), bool(self.config.get("use_bias"))
        wide = rank + 2 * (self.maybe("state_size") or 16)
        return [
            Linear("in_proj", "mlp in", self.hidden, 2 * inner, self.layers, bias),
            Linear("x_proj", "other", inner, wide, self.layers),
            Linear("dt_proj", "other", rank, inner, self.layers, bias=True),
            Linear("out_proj", "mlp out", inner, self.hidden, self.layers, bias),
        ]

    def scan_width(self) -> int:
        return self.maybe("intermediate_size") or (self.maybe("expand") or 2) * self.hidden

    def scan_rank(self) -> int:
        return self.maybe("time_step_rank") or -(-self.hidden // 16)

    def scan_numbers(self) -> int:
        """Return the numbers of all blocks beside the linear layers: the convolution, A and D."""
        taps = (self.maybe("conv_kernel") or 4) + bool(self.config.get("use_conv_bias", True))
        return self.layers * self.scan_width() * (taps + (self.maybe("state_size") or 16) + 1)

    def attention(self) -> list[Linear]:
        query, key, out = self.query_width, self.key_width, self.family.attention[-1]
        names = self.family.attention[:-1]
        widths = (query, key, key) if len(names) == 3 else (query + 2 * key,)
        bias = self.flag(self.family.qkv_bias)
        inputs = [
            Linear(name, "attention in", self.hidden, width, self.layers, bias)
            for name, width in zip(names, widths, strict=True)
        ]
        last = Linear(out, "attention out", query, self.hidden, self.layers, self.flag(self.family.out_bias))
        return [*inputs, last]

    def mlp(self, width: int, count: int) -> list[Linear]:
        *first, last = self.family.mlp
        bias = self.flag(self.family.mlp_bias)
        wide = 2 * width if self.family.fused_gate else width
        inputs = [Linear(name, "mlp in", self.hidden, wide, count, bias) for name in first]
        return [*inputs, Linear(last, "mlp out", width, self.hidden, count, bias)] if count else []

    @property
    def is_gated(self) -> bool:
        return len(self.family.mlp) == 3 or self.family.fused_gate

    def dense_width(self) -> int:
        return self.maybe("intermediate_size", "n_inner", "ffn_dim", "ffn_hidden_size") or 4 * self.hidden

    def sparse_layers(self) -> int:
        """Return how many layers have experts: all, unless the config excludes some."""
        step = self.maybe("decoder_sparse_step") or 1
        plain = set(self.config.get("mlp_only_layers") or ())
        return sum((i + 1) % step == 0 and i not in plain for i in range(self.layers))

    def shape(self, *, is_known: bool) -> Shape:
        family, hidden = self.family, self.hidden
        experts = self.maybe("num_local_experts", "num_experts", "n_routed_experts")
        linears = self.scan() if family.scans else self.attention()
        expert_numbers = other = 0
        width = self.dense_width()
        if family.scans:
            width, other = self.scan_width(), self.scan_numbers()
        elif experts is None:
            linears += self.mlp(width, self.layers)
        else:
            sparse = self.sparse_layers()
            linears += self.mlp(width, self.layers - sparse)
            each = self.maybe("moe_intermediate_size") or width
            chosen = self.maybe("num_experts_per_tok", "num_experts_per_token") or 1
            expert_numbers = sparse * experts * 3 * hidden * each
            other = sparse * experts * hidden  # the router
            width = chosen * each
            shared = self.maybe("shared_expert_intermediate_size")
            if shared:
                linears += [
                    *self.mlp(shared, sparse),
                    Linear("shared_expert_gate", "other", hidden, 1, sparse),
                ]
                width += shared
            if self.name == "gpt_oss":
                expert_numbers += sparse * experts * (2 * each + hidden)  # biases
                other += sparse * experts + self.layers * self.heads  # the router's bias, the sinks
        if self.maybe("word_embed_proj_dim") not in (None, hidden):
            narrow = self.number("word_embed_proj_dim")
            linears += [
                Linear("project_in", "other", narrow, hidden, 1),
                Linear("project_out", "other", hidden, narrow, 1),
            ]
        embedding_width = self.maybe("word_embed_proj_dim") or hidden
        tied = bool(self.config.get("tie_word_embeddings", family.is_tied))
        positions = (self.maybe("max_position_embeddings", "n_positions") or 0) + family.positions_offset
        return Shape(
            family=self.name,
            is_known=is_known,
            hidden=hidden,
            layers=self.layers,
            vocabulary=self.vocabulary,
            heads=self.heads,
            query_width=self.query_width,
            key_width=self.key_width,
            mlp_width=width,
            is_gated=self.is_gated,
            linears=tuple(linears),
            experts=expert_numbers,
            embeddings=self.vocabulary * embedding_width,
            positions=positions * hidden if family.has_positions else 0,
            head=self.head(tied, embedding_width),
            norms=self.norms(),
            end_norm=self.end_norm(),
            norms_per_layer=self.norms_per_layer(),
            norm_in_float32=family.norm_in_float32,
            other=other,
            keeps_scores=family.keeps_scores,
            flex_fault=attention.flex_fault(self.config, self.head_width, is_supported=family.has_flex),
            scanned=self.scan_width() * (self.maybe("state_size") or 16) if family.scans else 0,
            kinds=self.kinds(),
            max_positions=self.maybe("max_position_embeddings", "n_positions") or 0,
            dtype=str(self.config.get("dtype") or self.config.get("torch_dtype") or "float32"),
        )

    def head(self, tied: bool, width: int) -> int:
        return (0 if tied else self.vocabulary * width) + self.vocabulary * self.family.head_bias

    def kinds(self) -> tuple[int, ...]:
        """Return the number of layers of each kind of attention, from the config's list or the family's pattern."""
        types, every = self.config.get("layer_types"), self.family.full_every
        if isinstance(types, list):
            return tuple(Counter(map(str, types[: self.layers])).values())
        if not every or self.config.get("sliding_window", 1) is None:
            return (self.layers,)
        full = self.layers // (self.maybe("sliding_window_pattern") or every)
        return tuple(count for count in (self.layers - full, full) if count)

    def norms_per_layer(self) -> int:
        if self.name == "falcon" and self.config.get("parallel_attn", True):
            if not self.config.get("new_decoder_architecture"):
                return 1
            return self.maybe("num_ln_in_parallel_attn") or 2
        if self.name == "stablelm" and self.config.get("use_parallel_residual"):
            return 1
        return self.family.norms

    def end_norm(self) -> int:
        plain = self.config.get("do_layer_norm_before", True) and not self.config.get(
            "_remove_final_layer_norm"
        )
        has_one = self.family.has_norm_weights and (self.name != "opt" or plain)
        return self.hidden * (1 + self.family.norm_bias) if has_one else 0

    def norms(self) -> int:
        family = self.family
        if not family.has_norm_weights:
            return 0
        width = self.hidden * (1 + family.norm_bias)
        total = (self.layers * self.norms_per_layer() + family.embedding_norm) * width + self.end_norm()
        if family.head_norms == "none" or (
            family.head_norms_if and not self.config.get(family.head_norms_if)
        ):
            return total
        own = {
            "width": 2 * self.head_width,
            "hidden": self.query_width + self.key_width,
            "each": self.query_width + self.key_width,
        }[family.head_norms]
        return total + self.layers * own


def billions(count: float) -> str:
    """Format a count of parameters: 135M, 7.2B."""
    if count <= 0:
        return "0"
    size, unit = (1e9, "B") if count >= 1e9 else (1e6, "M") if count >= 1e6 else (1e3, "k")
    digits = max(0, 2 - math.floor(math.log10(count / size))) if count >= 1e3 else 0
    return f"{count / size:.{min(digits, 2)}f}{unit}" if count >= 1e3 else str(int(count))
