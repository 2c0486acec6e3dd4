"""Counts what methods train that rotate or reflect the inputs of a layer: OFT, BOFT, HRA."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from finetop.core.plan.method_options import Trained, names_of, option_of, targets_of

if TYPE_CHECKING:
    from finetop.core.models.shape import Shape


def oft(shape: Shape, options: Any) -> Trained:
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
    return Trained(
        numbers, numbers, held=held, learning=names_of(targets), adapted=targets, rebuilt=8.0 * squares
    )


def boft(shape: Shape, options: Any) -> Trained:
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
    return Trained(
        numbers,
        numbers,
        held=held,
        learning=names_of(targets),
        adapted=targets,
        rebuilt=rebuilt,
        batch_flops=flops,
    )


def hra(shape: Shape, options: Any) -> Trained:
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
