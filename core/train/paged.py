"""Paged optimizers of bitsandbytes, whose states move between GPU and host: buffers are created once and stay paged.

bitsandbytes keeps every buffer that it creates in a list of its process, and frees none: creating an optimizer twice
holds its states twice. `load_state_dict` would replace them by tensors that are on the GPU only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

STATES = ("state1", "state2")
LEAST_NUMBERS = 100_000  # smaller states are never paged


def inner_of(optimizer: Any) -> Any:
    """Return an optimizer without accelerate's wrapper."""
    return getattr(optimizer, "optimizer", optimizer)


def is_paged(optimizer: Any) -> bool:
    """Return whether an optimizer's states are paged; False for None."""
    return bool(getattr(inner_of(optimizer), "is_paged", False))


def begin_anew(optimizer: Any) -> None:
    """Reset an optimizer to before its first step, in its existing buffers."""
    for state in inner_of(optimizer).state.values():
        state["step"] = 0
        for name, value in state.items():
            if name != "step" and not name.startswith("qmap"):  # keep the quantization maps of 8-bit states
                value.zero_()


def buffers(optimizer: Any) -> dict[Any, dict[str, Any]]:
    """Return the paged buffers of each weight; empty if the optimizer is not paged."""
    if not is_paged(optimizer):
        return {}
    states = inner_of(optimizer).state.items()
    return {weight: {name: held[name] for name in STATES if name in held} for weight, held in states}


def page_again(optimizer: Any, before: Mapping[Any, Mapping[str, Any]]) -> None:
    """Move states that were loaded into paged buffers: those of `before`, or new ones."""
    inner = inner_of(optimizer)
    if not is_paged(inner):
        return
    for weight, state in inner.state.items():
        for name in STATES:
            value = state.get(name)
            if value is None or value.numel() < LEAST_NUMBERS:
                continue
            buffer = before.get(weight, {}).get(name)
            if buffer is None or buffer.dtype != value.dtype:
                buffer = inner.get_state_buffer(weight, dtype=value.dtype)
            state[name] = buffer.copy_(value)
