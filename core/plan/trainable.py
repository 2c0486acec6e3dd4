"""What a method trains of a model, counted from its shape: numbers, and the memory they cost in a step.

Counts follow PEFT 0.21's layers. An unknown method is counted as LoRA, and marked as unknown.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from finetop.core.models.shape import Linear, Shape, small
from finetop.core.plan.method_options import Trained, names_of, option_of, saved_modules, targets_of
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
    layers = min(shape.layers, int(option_of(options, "layers", default=2)))
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
    rank = int(option_of(options, "rank", "r", default=8))
    targets = targets_of(shape, options)
    whole, embedded, head = saved_modules(shape, options)
    numbers = sum(rank * (linear.inputs + linear.outputs) * linear.count for linear in targets) + whole
    wide = sum(small((rank * each.inputs, each.count), (rank * each.outputs, each.count)) for each in targets)
    return Trained(
        numbers=numbers,
        beside=numbers,
        wide=wide + embedded,
        learning=names_of(targets),
        adapted=targets,
        inner=rank,
        head_moves=head,
        one_pass=True,
        dropout=bool(option_of(options, "dropout", "lora_dropout", default=0.0)),
    )


def _dora(shape: Shape, options: Any) -> Trained:
    """Count LoRA and a length per output; the norm of base and update together is computed one layer at a time."""
    lora = _lora(shape, options)
    lengths = sum(linear.outputs * linear.count for linear in lora.adapted)
    widest = max((linear.inputs * linear.outputs for linear in lora.adapted), default=0)
    numbers = lora.numbers + lengths
    return replace(
        lora,
        numbers=numbers,
        beside=numbers,
        wide=lora.wide + sum(small((linear.outputs, linear.count)) for linear in lora.adapted),
        scratch=3.0 * widest,
        output_copies=2.0,  # base and update, each times a trained length
        one_pass=False,
    )


def _anchored(shape: Shape, options: Any) -> Trained:
    """Count LoRA beside a fixed copy of its start (PiSSA, OLoRA, CorDA); the two run as one."""
    lora = _lora(shape, options)
    rank = lora.inner
    start = sum(rank * (linear.inputs + linear.outputs) * linear.count for linear in lora.adapted)
    return replace(lora, held=start, inner=2 * rank, rebuilt=2.0 * start)


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


def _lokr(shape: Shape, options: Any) -> Trained:
    """Count the Kronecker product of two matrices (arXiv:2309.14859), built whole per layer and kept for its backward.

    A width is split into two factors as close to each other as possible; the second matrix has the larger ones, as a
    product of rank r if that is smaller, and so does the first if `decompose_both` is set.
    """
    rank = int(option_of(options, "r", default=8))
    factor = int(option_of(options, "decompose_factor", default=-1))
    targets = targets_of(shape, options)
    numbers = 0
    for linear in targets:
        (rows, tall), (columns, wide) = (_factors(size, factor) for size in (linear.outputs, linear.inputs))
        both = bool(option_of(options, "decompose_both", default=False)) and rank < max(rows, columns) / 2
        first = rank * (rows + columns) if both else rows * columns
        second = rank * (tall + wide) if rank < max(tall, wide) / 2 else tall * wide
        numbers += (first + second) * linear.count
    return _delta(targets, numbers)


def _loha(shape: Shape, options: Any) -> Trained:
    """Count two products of rank r, multiplied elementwise (arXiv:2108.06098), built whole like LoKr's."""
    rank = int(option_of(options, "r", default=8))
    targets = targets_of(shape, options)
    numbers = sum(2 * rank * (linear.inputs + linear.outputs) * linear.count for linear in targets)
    return _delta(targets, numbers)


def _delta(targets: tuple[Linear, ...], numbers: int) -> Trained:
    """Count an adapter whose weight change is built whole in each forward pass, beside the weight."""
    weights = float(sum(linear.weights for linear in targets))
    widest = max((linear.inputs * linear.outputs for linear in targets), default=0)
    return Trained(
        numbers,
        numbers,
        learning=names_of(targets),
        adapted=targets,
        rebuilt=weights,
        scratch=4.0 * widest,  # in float32 before it is scaled, and after
    )


def _factors(size: int, factor: int) -> tuple[int, int]:
    """Split a width into two factors as PEFT's `factorization` does: the smaller first, at most `factor`."""
    if factor > 0 and size % factor == 0:
        return factor, size // factor
    bound = size if factor == -1 else factor
    small = max(n for n in range(1, math.isqrt(size) + 1) if size % n == 0 and n <= max(1, bound))
    return small, size // small


def _adalora(shape: Shape, options: Any) -> Trained:
    """Count three factors, at the starting rank (arXiv:2303.10512); three sums per number track its importance."""
    rank = int(option_of(options, "first_rank", "init_r", default=12))
    targets = targets_of(shape, options)
    numbers = sum((rank * (linear.inputs + linear.outputs) + rank) * linear.count for linear in targets)
    sides = [((each.inputs * rank, each.count), (each.outputs * rank, each.count)) for each in targets]
    wide = sum(small(*pair) for pair in sides) + small(*((rank, each.count) for each in targets))
    names, sums = names_of(targets), 3 * numbers
    return Trained(numbers, numbers, wide=wide, sums=sums, learning=names, adapted=targets, inner=2 * rank)


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
    rank = int(option_of(options, "rank", "r", default=256))
    targets = targets_of(shape, options)
    numbers = sum((rank + linear.outputs) * linear.count for linear in targets)
    widest = max((linear.inputs for linear in targets), default=0)
    tallest = max((linear.outputs for linear in targets), default=0)
    return Trained(
        numbers,
        numbers,
        wide=sum(small((rank, linear.count), (linear.outputs, linear.count)) for linear in targets),
        held=rank * (widest + tallest),
        adapted=targets,
        inner=2 * rank,
        output_copies=1.0,
    )


def _shira(shape: Shape, options: Any) -> Trained:
    """Count as many of the weights themselves as LoRA of that rank adds (arXiv:2406.13175)."""
    rank = int(option_of(options, "rank", "r", default=32))
    targets = targets_of(shape, options)
    numbers = sum(rank * (linear.inputs + linear.outputs) * linear.count for linear in targets)
    # Their indices are two int32; in a step they become two int64, hence 3 to 8 numbers each.
    rebuilt = 6.0 * numbers + sum(linear.weights for linear in targets)
    return Trained(numbers, numbers, held=2 * numbers, learning=names_of(targets), rebuilt=rebuilt)


def _osf(shape: Shape, options: Any) -> Trained:
    """Count the lower singular directions of every layer (arXiv:2504.07097); a copy of their start is kept."""
    targets = targets_of(shape, options)
    kept = option_of(options, "kept", "effective_rank")
    numbers = held = 0
    for linear in targets:
        smaller, larger = sorted((linear.inputs, linear.outputs))
        high = smaller // 2
        if kept is not None:
            high = int(kept * smaller if isinstance(kept, float) and kept <= 1 else kept)
        low = (smaller - high) * (smaller + larger + 1) * linear.count
        numbers += low
        held += low + (high * larger * linear.count if larger > smaller else 0)
    weights = float(sum(linear.weights for linear in targets))
    return Trained(numbers, numbers, held=held, learning=names_of(targets), rebuilt=2 * weights)


def _oft(shape: Shape, options: Any) -> Trained:
    """Count a rotation of a layer's inputs in blocks (arXiv:2306.07280): the upper triangle of each block.

    The rotated input is kept; it is the layer's input itself unless autocast copies it.
    """
    targets = targets_of(shape, options)
    size = int(option_of(options, "block_size", "oft_block_size", default=32) or 0)
    blocks = int(option_of(options, "r", default=0) or 0)
    numbers = held = squares = 0
    for linear in targets:
        width = size or max(2, linear.inputs // max(1, blocks))
        triangle = width * (width - 1) // 2
        count = 1 if option_of(options, "block_share", default=False) else linear.inputs // width
        numbers += count * triangle * linear.count
        held += 4 * triangle * linear.count  # its indices, as two int64
        squares += count * width * width * linear.count
    names = names_of(targets)
    return Trained(numbers, numbers, held=held, learning=names, adapted=targets, rebuilt=8.0 * squares)


def _boft(shape: Shape, options: Any) -> Trained:
    """Count butterfly rotations (arXiv:2311.06243): whole blocks, and a length for each output.

    Each factor becomes a whole matrix, in x in, and is multiplied with its permutations and the next factor; the last
    with the unit matrix. These are 3 f products, to which a backward pass adds 4 f - 1.
    """
    targets = targets_of(shape, options)
    factors = int(option_of(options, "factors", "boft_n_butterfly_factor", default=1))
    size = int(option_of(options, "block_size", "boft_block_size", default=4) or 0)
    number = int(option_of(options, "boft_block_num", default=0) or 0)
    numbers = held = 0
    rebuilt = flops = 0.0
    for linear in targets:
        width = size or linear.inputs // max(1, number)
        flops += 2.0 * (7 * factors - 1) * linear.inputs**3 * linear.count
        numbers += (factors * linear.inputs * width + linear.outputs) * linear.count
        held += factors * linear.inputs * linear.inputs * linear.count  # permutations, as whole matrices
        side, out = linear.inputs, linear.outputs
        rebuilt += (3 * factors * side * side + 2 * side * out) * linear.count
    names = names_of(targets)
    return Trained(
        numbers, numbers, held=held, learning=names, adapted=targets, rebuilt=rebuilt, batch_flops=flops
    )


def _hra(shape: Shape, options: Any) -> Trained:
    """Count a chain of reflections of a layer's inputs (arXiv:2405.17484)."""
    rank = int(option_of(options, "rank", "r", default=8))
    targets = targets_of(shape, options)
    numbers = sum(rank * linear.inputs * linear.count for linear in targets)
    # For each reflection the product before it; the first and the last matrix; the weights before and after.
    rebuilt = sum(
        ((rank + 2) * linear.inputs + 2 * linear.outputs) * linear.inputs * linear.count for linear in targets
    )
    # Their product is multiplied with the unit matrix and with the weights, forward and back.
    flops = sum(
        4.0 * linear.inputs**2 * (linear.inputs + linear.outputs) * linear.count for linear in targets
    )
    return Trained(numbers, numbers, learning=names_of(targets), rebuilt=float(rebuilt), batch_flops=flops)


def _layernorm(shape: Shape, options: Any) -> Trained:
    """Count the norms' weights, as copies beside them (arXiv:2312.11420)."""
    return Trained(shape.norms, shape.norms, wide=shape.norms * is_wide(shape.hidden), norms_move=True)


def _prompt_tuning(shape: Shape, options: Any) -> Trained:
    tokens = int(option_of(options, "tokens", "num_virtual_tokens", default=20))
    numbers = tokens * shape.hidden
    return Trained(numbers, numbers, wide=numbers, virtual_tokens=tokens)


def _p_tuning(shape: Shape, options: Any) -> Trained:
    """Count virtual tokens written by a small network of three layers (arXiv:2103.10385)."""
    tokens = int(option_of(options, "tokens", "num_virtual_tokens", default=20))
    inner = int(option_of(options, "hidden", "encoder_hidden_size", default=shape.hidden))
    hidden = shape.hidden
    network = (hidden + 1) * inner + (inner + 1) * inner + (inner + 1) * hidden
    numbers = tokens * hidden + network
    biases = small((inner, 2), (hidden, 1), (hidden * inner, 2), (inner * inner, 1))
    return Trained(numbers, numbers, wide=tokens * hidden + biases, virtual_tokens=tokens)


def _prefix_tuning(shape: Shape, options: Any) -> Trained:
    """Count keys and values in front of every layer's own (arXiv:2101.00190)."""
    tokens = int(option_of(options, "tokens", "num_virtual_tokens", default=20))
    numbers = embedded = tokens * shape.layers * 2 * shape.key_width
    if option_of(options, "prefix_projection", default=False):
        inner = int(option_of(options, "encoder_hidden_size", default=shape.hidden))
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
    "oft": _oft,
    "boft": _boft,
    "ia3": _ia3,
    "vera": _vera,
    "shira": _shira,
    "hra": _hra,
    "osf": _osf,
    "prompt-tuning": _prompt_tuning,
    "p-tuning": _p_tuning,
    "prefix-tuning": _prefix_tuning,
    "layernorm": _layernorm,
}
# PEFT types that have no method of their own here.
_MORE: Mapping[str, Callable[[Shape, Any], Trained]] = {"lokr": _lokr, "loha": _loha}
