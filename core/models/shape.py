"""What a model consists of: its linear layers, embeddings and norms, read from a model that may have no memory."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import Any, Literal

import msgspec

from finetop.core.models import attention
from finetop.core.recipe.master import is_wide

Role = Literal["attention in", "attention out", "mlp in", "mlp out", "other"]


class Linear(msgspec.Struct, frozen=True):
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


class Shape(msgspec.Struct, frozen=True):
    """A decoder model's parts. Widths are in numbers per token, sizes in parameters of the whole model."""

    family: str
    is_known: bool  # counted exactly, or nearly
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
    head_norms: bool = False  # norms of queries and keys, whose float32 copies are kept too
    fused_heads: bool = False  # values are a part of what one layer computes for queries, keys and values
    inner_floats: float = (
        0.0  # numbers of 4 bytes that an activation of several operations keeps of each of its inputs
    )
    is_relu: bool = False  # whose output is all that its gradient needs

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
        found = sum(
            small((one.inputs * one.outputs, one.count), (one.outputs, one.count * one.bias))
            for one in self.linears
        )
        return found + self.norms * is_wide(self.hidden)

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


# The last linear layer of a block, where its widths do not tell; and what only chooses experts.
_OUT = ("o_proj", "out_proj", "c_proj", "dense", "down_proj", "fc2", "fc_out", "dense_4h_to_h")
_ROUTERS = ("gate", "router", "shared_expert_gate")
_IN_LAYER = re.compile(r"\.\d+\.")


def read(model: Any) -> Shape | None:
    """Read the parts of a causal language model of transformers; None where its code names them otherwise."""
    try:
        return _read(model)
    except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError, ZeroDivisionError):
        return None


def _read(model: Any) -> Shape:
    """Read the parts of a model; what it sees or hears with is not counted."""
    import torch

    config = model.config.get_text_config()
    hidden, layers = config.hidden_size, config.num_hidden_layers
    text = getattr(model.base_model, "language_model", model)
    head, embedding = model.get_output_embeddings(), model.get_input_embeddings()
    linears: Counter[tuple[str, Role, int, int, bool]] = Counter()
    norms: dict[str, int] = {}
    positions = experts = other = chosen = shared = scanned = 0
    in_float32 = False
    counted = {*head.parameters(), embedding.weight}  # a tensor of several modules counts once
    for path, module in text.named_modules():
        own = {name: one for name, one in module.named_parameters(recurse=False) if one not in counted}
        counted.update(own.values())
        numbers, kind = sum(weight.numel() for weight in own.values()), type(module).__name__
        fused = [weight for weight in own.values() if weight.ndim == 3 and kind != "Conv1d"]
        if "weight" in own and (isinstance(module, torch.nn.Linear) or kind == "Conv1D"):
            inputs, outputs = own["weight"].shape if kind == "Conv1D" else own["weight"].shape[::-1]
            role = _role(path, inputs, outputs, hidden)
            linears[path.rpartition(".")[2], role, inputs, outputs, "bias" in own] += 1
            shared = inputs if role == "mlp out" and "shared" in path else shared
        elif isinstance(module, torch.nn.Embedding):
            positions += numbers
        elif "norm" in kind.lower():
            norms[path] = numbers
            in_float32 |= not isinstance(module, torch.nn.LayerNorm | torch.nn.RMSNorm)
        elif fused:
            experts += numbers
            narrow = min(weight.numel() // (len(weight) * hidden) for weight in fused)
            chosen = narrow * (getattr(config, "num_experts_per_tok", 0) or 1)
        else:
            other += numbers
            scanned = own["A_log"].numel() if "A_log" in own else scanned
    made = tuple(Linear(*key[:4], count, key[4]) for key, count in linears.items())
    wide = sum(one.outputs * one.count for one in made if one.role == "mlp in")
    narrow = sum(one.inputs * one.count for one in made if one.role == "mlp out")
    query = next((one.inputs for one in made if one.role == "attention out"), hidden)
    ends = [numbers for path, numbers in norms.items() if not _IN_LAYER.search(path)]
    return Shape(
        family=config.model_type,
        is_known=True,
        hidden=hidden,
        layers=layers,
        vocabulary=config.vocab_size,
        heads=attention.of_every_layer(config, "num_attention_heads") or 1,
        query_width=query,
        key_width=_key_width(config, made, query),
        mlp_width=chosen + shared if chosen else narrow // layers,
        is_gated=bool(chosen) or wide > narrow,
        linears=made,
        experts=experts,
        embeddings=embedding.weight.numel(),
        positions=positions,
        head=sum(weight.numel() for weight in head.parameters() if weight is not embedding.weight),
        norms=sum(norms.values()),
        end_norm=ends[-1] if ends else 0,
        norms_per_layer=sum(bool(_IN_LAYER.search(path)) and not _is_attention(path) for path in norms) // layers,
        norm_in_float32=in_float32,
        other=other,
        keeps_scores=any(one.role == "attention out" for one in made) and not model._supports_sdpa,  # noqa: SLF001  # no public name
        flex_fault=attention.flex_fault_of(model),
        scanned=scanned,
        kinds=tuple(Counter(getattr(config, "layer_types", None) or ["all"] * layers).values()),
        max_positions=getattr(config, "max_position_embeddings", None) or 0,
        dtype=str(config.dtype or "float32").removeprefix("torch."),
        head_norms=sum(bool(_IN_LAYER.search(path)) and _is_attention(path) for path in norms) >= layers,
        fused_heads=sum(one.role == "attention in" for one in made) == 1 and not positions,
        inner_floats=_inner_floats(config),
        is_relu=_activation(config) == "relu",
    )  # fmt: skip


def _activation(config: Any) -> str:
    names = ("hidden_act", "hidden_activation", "activation_function")
    return next((str(name) for key in names if (name := getattr(config, key, None))), "")


def _inner_floats(config: Any) -> float:
    """Return what an activation keeps of each number beside its input; under autocast it computes powers in float32."""
    # gelu_new: the input's copy, the hyperbolic tangent, and one plus it
    return 3.0 if _activation(config) in ("gelu_new", "gelu_fast") else 0.0


def _is_attention(path: str) -> bool:
    parent = path.rpartition(".")[0]
    return "attn" in parent or "attention" in parent


def _role(path: str, inputs: int, outputs: int, hidden: int) -> Role:
    name = path.rpartition(".")[2]
    if not _IN_LAYER.search(path) or name in _ROUTERS:
        return "other"
    if _is_attention(path):
        return "attention out" if name in _OUT else "attention in"
    if outputs == hidden and (inputs != hidden or name in _OUT):
        return "mlp out"
    return "mlp in" if inputs == hidden else "other"


def _key_width(config: Any, linears: tuple[Linear, ...], query: int) -> int:
    first = {one.name: one.outputs for one in linears if one.role == "attention in"}
    if "k_proj" in first:
        return first["k_proj"]
    if len(first) == 1:  # queries, keys and values in one
        return (sum(first.values()) - query) // 2
    heads = attention.of_every_layer(config, "num_attention_heads") or 1
    return query // heads * (attention.of_every_layer(config, "num_key_value_heads") or heads)
