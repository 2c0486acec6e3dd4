"""What a method trains of a model, counted from its shape: numbers, and the memory they cost in a step.

Counts follow PEFT 0.21's layers. An unknown method is counted as LoRA, and marked as unknown.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from finetop.core.models.shape import Shape, small
from finetop.core.plan import whole_matrices
from finetop.core.plan.method_options import (
    Trained,
    count_of,
    names_of,
    numbers_of_rank,
    option_of,
    saved_modules,
    targets_of,
    widest,
)
from finetop.core.recipe.master import is_wide


def trained(shape: Shape, method: str, options: Any) -> Trained:
    """Count what a method trains with these options; settings that its struct lacks take PEFT's defaults."""
    if method in _COUNTS:
        return _COUNTS[method](shape, options)
    if method == "peft":
        kind = str(option_of(options, "type", default="")).lower()
        settings = {"target_modules": options.target_modules, **options.options}
        name = _PEFT_TYPES.get(kind, kind)
        counted = _MORE.get(name, _COUNTS.get(name) if name not in _OURS else None)
        return counted(shape, settings) if counted else replace(_lora(shape, settings), is_known=False)
    return replace(_lora(shape, options), is_known=False)


_OURS = ("full", "freeze", "loftq", "pissa", "olora", "corda")  # not types of PEFT
_PEFT_TYPES = {"ln_tuning": "layernorm", "prompt_tuning": "prompt-tuning", "prefix_tuning": "prefix-tuning",
               "p_tuning": "p-tuning"}  # fmt: skip


def _full(shape: Shape, options: Any) -> Trained:
    return Trained(
        numbers=shape.parameters,
        beside=0,
        wide=shape.embeddings + shape.positions + shape.small,
        learning=names_of(shape.linears),
        norms_move=True,
        head_moves=True,
    )


def _freeze(shape: Shape, options: Any) -> Trained:
    """Count the last N layers and the norm after them; embeddings and head if requested."""
    layers = min(shape.layers, count_of(options, "layers", default=2))
    embeddings = bool(option_of(options, "embeddings", default=False))
    head = bool(option_of(options, "head", default=False))
    ends = ("project_in", "project_out")
    of_layers = sum(linear.parameters for linear in shape.linears if linear.name not in ends)
    of_layers += shape.experts + shape.other + shape.norms - shape.end_norm
    numbers = of_layers * layers // shape.layers + (shape.end_norm if layers else 0)
    end = shape.end_norm * is_wide(shape.hidden)
    wide = (shape.small - end) * layers // shape.layers + (end if layers else 0)
    if head:
        numbers += shape.head
    if embeddings or (head and not shape.head):
        numbers += shape.embeddings
        wide += shape.embeddings
    return Trained(
        numbers=numbers,
        beside=0,
        wide=wide,
        learning=names_of(shape.linears),
        norms_move=True,
        head_moves=head,
        depth=1.0 if embeddings else layers / shape.layers,
    )


def _lora(shape: Shape, options: Any) -> Trained:
    rank, targets = count_of(options, "rank", "r", default=8), targets_of(shape, options)
    whole, embedded, head = saved_modules(shape, options)
    numbers = numbers_of_rank(rank, targets) + whole
    wide = sum(small((rank * each.inputs, each.count), (rank * each.outputs, each.count)) for each in targets)
    return Trained(
        numbers=numbers,
        beside=numbers,
        wide=wide + embedded,
        learning=names_of(targets),
        adapted=targets,
        inner=rank,
        head_moves=head,
        uncast=True,
        dropout=bool(option_of(options, "dropout", "lora_dropout", default=0.0)),
    )


def _dora(shape: Shape, options: Any) -> Trained:
    """Count LoRA and a length per output; the norm of base and update together is computed one layer at a time."""
    lora = _lora(shape, options)
    lengths = sum(linear.outputs * linear.count for linear in lora.adapted)
    numbers = lora.numbers + lengths
    return replace(
        lora,
        numbers=numbers,
        beside=numbers,
        wide=lora.wide + sum(small((linear.outputs, linear.count)) for linear in lora.adapted),
        scratch=3.0 * widest(lora.adapted),
        output_copies=2.0,  # base and update, each times a trained length
        uncast=False,
    )


def _anchored(shape: Shape, options: Any) -> Trained:
    """Count LoRA beside a fixed copy of its start (PiSSA, OLoRA, CorDA); the two run as one."""
    lora = _lora(shape, options)
    start = numbers_of_rank(lora.inner, lora.adapted)
    return replace(lora, held=start, inner=2 * lora.inner, rebuilt=2.0 * start)


def _corda(shape: Shape, options: Any) -> Trained:
    """Count CorDA: before training, the covariances of every adapted layer's inputs are summed: in x in numbers each.

    Then the layers are decomposed one by one: for W C (out x in) there are C, its inverse and four more of its size
    while the inverse is tested, and the three factors of W C with LAPACK's workspace (4 k^2, k the smaller side).
    """
    anchored = _anchored(shape, options)
    covariances = sum(linear.inputs**2 * linear.count for linear in anchored.adapted)
    sides = [(linear.inputs, linear.outputs) for linear in anchored.adapted]
    apart = max((6 * a**2 + 5 * a * b + 4 * min(a, b) ** 2 for a, b in sides), default=0)
    return replace(anchored, preparing=float(covariances + apart))


def _adalora(shape: Shape, options: Any) -> Trained:
    """Count three factors, at the starting rank (arXiv:2303.10512); three sums per number track its importance."""
    rank, targets = count_of(options, "first_rank", "init_r", default=12), targets_of(shape, options)
    numbers = numbers_of_rank(rank, targets) + sum(rank * linear.count for linear in targets)
    sides = [((each.inputs * rank, each.count), (each.outputs * rank, each.count)) for each in targets]
    wide = sum(small(*pair) for pair in sides) + small(*((rank, each.count) for each in targets))
    names, sums = names_of(targets), 3 * numbers
    return Trained(
        numbers, numbers, wide=wide, sums=sums, learning=names, adapted=targets, inner=2 * rank, uncast=True
    )


# Families in which PEFT scales queries and values instead of keys and values.
_SCALES_QUERIES = {"gemma", "gemma2", "gemma3_text", "gptj", "gpt_neo", "phi", "qwen2", "qwen3", "llama4"}


def _ia3(shape: Shape, options: Any) -> Trained:
    """Count a factor for each key, value and inner activation (arXiv:2205.05638).

    For a scaled output that output is kept; for a scaled input a float32 copy, as the factors are float32.
    """
    inner = [linear.name for linear in shape.linears if linear.role == "mlp out"]
    heads = [linear.name for linear in shape.linears if linear.role == "attention in"]
    if len(heads) == 3:
        first = heads[0] if shape.family in _SCALES_QUERIES else heads[1]
        heads = heads[:2] if shape.family == "opt" else [first, heads[2]]
    targets = targets_of(shape, options, [*heads, *inner])
    feedforward = set(option_of(options, "feedforward_modules") or inner)
    scaled_in = tuple(linear for linear in targets if linear.name in feedforward)
    scaled_out = tuple(linear for linear in targets if linear.name not in feedforward)
    widths = sum(linear.inputs * linear.count for linear in scaled_in)
    numbers = widths + sum(linear.outputs * linear.count for linear in scaled_out)
    scaled = [(linear.inputs, linear.count) for linear in scaled_in]
    wide = small(*scaled, *((linear.outputs, linear.count) for linear in scaled_out))
    floats = float(widths)
    return Trained(numbers, numbers, wide=wide, adapted=scaled_out, output_copies=1.0, token_floats=floats)


def _vera(shape: Shape, options: Any) -> Trained:
    """Count two vectors per layer; the random matrices between them are one pair for all (arXiv:2310.11454)."""
    rank, targets = count_of(options, "rank", "r", default=256), targets_of(shape, options)
    numbers = sum((rank + linear.outputs) * linear.count for linear in targets)
    inputs = max((linear.inputs for linear in targets), default=0)
    outputs = max((linear.outputs for linear in targets), default=0)
    return Trained(
        numbers,
        numbers,
        wide=sum(small((rank, linear.count), (linear.outputs, linear.count)) for linear in targets),
        held=rank * (inputs + outputs),
        adapted=targets,
        inner=2 * rank,
        output_copies=1.0,
    )


def _layernorm(shape: Shape, options: Any) -> Trained:
    """Count the norms' weights, as copies beside them (arXiv:2312.11420)."""
    return Trained(shape.norms, shape.norms, wide=shape.norms * is_wide(shape.hidden), norms_move=True)


def _prompt_tuning(shape: Shape, options: Any) -> Trained:
    tokens = count_of(options, "tokens", "num_virtual_tokens", default=20)
    numbers = tokens * shape.hidden
    return Trained(numbers, numbers, wide=numbers, virtual_tokens=tokens)


def _p_tuning(shape: Shape, options: Any) -> Trained:
    """Count virtual tokens written by a small network of three layers (arXiv:2103.10385)."""
    tokens = count_of(options, "tokens", "num_virtual_tokens", default=20)
    inner = count_of(options, "hidden", "encoder_hidden_size", default=shape.hidden)
    hidden = shape.hidden
    network = (hidden + 1) * inner + (inner + 1) * inner + (inner + 1) * hidden
    numbers = tokens * hidden + network
    biases = small((inner, 2), (hidden, 1), (hidden * inner, 2), (inner * inner, 1))
    return Trained(numbers, numbers, wide=tokens * hidden + biases, virtual_tokens=tokens)


def _prefix_tuning(shape: Shape, options: Any) -> Trained:
    """Count keys and values in front of every layer's own (arXiv:2101.00190)."""
    tokens = count_of(options, "tokens", "num_virtual_tokens", default=20)
    numbers = embedded = tokens * shape.layers * 2 * shape.key_width
    if option_of(options, "prefix_projection", default=False):
        inner = count_of(options, "encoder_hidden_size", default=shape.hidden)
        wide = shape.layers * 2 * shape.key_width
        embedded = tokens * shape.key_width
        numbers = embedded + (shape.key_width + 1) * inner + (inner + 1) * wide
    return Trained(numbers, numbers, wide=embedded, virtual_tokens=tokens)


_COUNTS: Mapping[str, Callable[[Shape, Any], Trained]] = {
    "full": _full,
    "freeze": _freeze,
    "lora": _lora,
    "rslora": _lora,
    "lora-plus": _lora,
    "dora": _dora,
    "pissa": _anchored,
    "olora": _anchored,
    "corda": _corda,
    "loftq": _lora,
    "adalora": _adalora,
    "oft": whole_matrices.oft,
    "boft": whole_matrices.boft,
    "ia3": _ia3,
    "vera": _vera,
    "shira": whole_matrices.shira,
    "hra": whole_matrices.hra,
    "osf": whole_matrices.osf,
    "prompt-tuning": _prompt_tuning,
    "p-tuning": _p_tuning,
    "prefix-tuning": _prefix_tuning,
    "layernorm": _layernorm,
}
# PEFT types that have no method of their own here.
_MORE: Mapping[str, Callable[[Shape, Any], Trained]] = {
    "lokr": whole_matrices.lokr,
    "loha": whole_matrices.loha,
}
