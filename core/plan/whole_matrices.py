"""What methods train that compute with whole matrices in each pass: products built whole, singular values, rotations.

Counts follow PEFT 0.21's layers.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from finetop.core.plan.method_options import (
    Trained,
    count_of,
    names_of,
    numbers_of_rank,
    option_of,
    targets_of,
    widest,
)

if TYPE_CHECKING:
    from finetop.core.models.shape import Linear, Shape


def lokr(shape: Shape, options: Any) -> Trained:
    """Count the Kronecker product of two matrices (arXiv:2309.14859), built whole per layer and kept for its backward.

    A width is split into two factors as close to each other as possible; the second matrix has the larger ones, as a
    product of rank r if that is smaller, and so does the first if `decompose_both` is set.
    """
    rank, targets = count_of(options, "r", default=8), targets_of(shape, options)
    factor = count_of(options, "decompose_factor", default=-1)
    numbers = 0
    for linear in targets:
        (rows, tall), (columns, wide) = (
            two_factors(size, factor) for size in (linear.outputs, linear.inputs)
        )
        both = bool(option_of(options, "decompose_both", default=False)) and rank < max(rows, columns) / 2
        first = rank * (rows + columns) if both else rows * columns
        second = rank * (tall + wide) if rank < max(tall, wide) / 2 else tall * wide
        numbers += (first + second) * linear.count
    return delta(targets, numbers)


def loha(shape: Shape, options: Any) -> Trained:
    """Count two products of rank r, multiplied elementwise (arXiv:2108.06098), built whole like LoKr's."""
    targets = targets_of(shape, options)
    return delta(targets, numbers_of_rank(2 * count_of(options, "r", default=8), targets))


def delta(targets: tuple[Linear, ...], numbers: int) -> Trained:
    """Count an adapter whose weight change is built whole in each forward pass, beside the weight."""
    weights = float(sum(linear.weights for linear in targets))
    scratch = 4.0 * widest(targets)  # in float32 before it is scaled, and after
    names = names_of(targets)
    return Trained(numbers, numbers, learning=names, adapted=targets, rebuilt=weights, scratch=scratch)


def two_factors(size: int, factor: int) -> tuple[int, int]:
    """Split a width into two factors as PEFT's `factorization` does: the smaller first, at most `factor`."""
    if factor > 0 and size % factor == 0:
        return factor, size // factor
    bound = size if factor == -1 else factor
    small = max(n for n in range(1, math.isqrt(size) + 1) if size % n == 0 and n <= max(1, bound))
    return small, size // small


def shira(shape: Shape, options: Any) -> Trained:
    """Count as many of the weights themselves as LoRA of that rank adds (arXiv:2406.13175)."""
    targets = targets_of(shape, options)
    numbers = numbers_of_rank(count_of(options, "rank", "r", default=32), targets)
    # Their indices are two int32; in a step they become two int64, hence 3 to 8 numbers each.
    rebuilt = 6.0 * numbers + sum(linear.weights for linear in targets)
    return Trained(numbers, numbers, held=2 * numbers, learning=names_of(targets), rebuilt=rebuilt)


def osf(shape: Shape, options: Any) -> Trained:
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


def oft(shape: Shape, options: Any) -> Trained:
    """Count a rotation of a layer's inputs in blocks (arXiv:2306.07280): the upper triangle of each block.

    The rotated input is kept; it is the layer's input itself unless autocast copies it.
    """
    targets = targets_of(shape, options)
    size = count_of(options, "block_size", "oft_block_size", default=32)
    blocks = count_of(options, "r", default=0)
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


def boft(shape: Shape, options: Any) -> Trained:
    """Count butterfly rotations (arXiv:2311.06243): whole blocks, and a length for each output.

    Each factor becomes a whole matrix, in x in, and is multiplied with its permutations and the next factor; the last
    with the unit matrix. These are 3 f products, to which a backward pass adds 4 f - 1.
    """
    targets = targets_of(shape, options)
    factors = count_of(options, "factors", "boft_n_butterfly_factor", default=1)
    size = count_of(options, "block_size", "boft_block_size", default=4)
    number = count_of(options, "boft_block_num", default=0)
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


def hra(shape: Shape, options: Any) -> Trained:
    """Count a chain of reflections of a layer's inputs (arXiv:2405.17484)."""
    rank, targets = count_of(options, "rank", "r", default=8), targets_of(shape, options)
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
