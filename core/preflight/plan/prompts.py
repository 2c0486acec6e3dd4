"""Counts what methods train that put learned tokens in front of a text: prompt tuning, p-tuning, prefix tuning."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from finetop.core.preflight.plan.method_options import Trained, option_of

if TYPE_CHECKING:
    from finetop.core.preflight.plan.shape import Shape


def prompt_tuning(shape: Shape, options: Any) -> Trained:
    tokens = int(option_of(options, "tokens", "num_virtual_tokens", default=20))
    return Trained(tokens * shape.hidden, tokens * shape.hidden, virtual_tokens=tokens)


def p_tuning(shape: Shape, options: Any) -> Trained:
    """Virtual tokens that a small network of three layers writes (arXiv:2103.10385)."""
    tokens = int(option_of(options, "tokens", "num_virtual_tokens", default=20))
    inner = int(option_of(options, "hidden", "encoder_hidden_size", default=shape.hidden))
    hidden = shape.hidden
    network = (hidden + 1) * inner + (inner + 1) * inner + (inner + 1) * hidden
    return Trained(tokens * hidden + network, tokens * hidden + network, virtual_tokens=tokens)


def prefix_tuning(shape: Shape, options: Any) -> Trained:
    """Keys and values in front of every layer's own (arXiv:2101.00190)."""
    tokens = int(option_of(options, "tokens", "num_virtual_tokens", default=20))
    numbers = tokens * shape.layers * 2 * shape.key_width
    if option_of(options, "prefix_projection", default=False):
        inner = int(option_of(options, "encoder_hidden_size", default=shape.hidden))
        wide = shape.layers * 2 * shape.key_width
        numbers = tokens * shape.key_width + (shape.key_width + 1) * inner + (inner + 1) * wide
    return Trained(numbers, numbers, virtual_tokens=tokens)
