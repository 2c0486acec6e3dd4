"""Optimizers of bitsandbytes whose states move between GPU and host: their buffers are made once, and stay paged.

bitsandbytes keeps every buffer that it ever made in a list of its process, and frees none: an optimizer that is made
twice holds its states twice. What `load_state_dict` puts in their place are tensors of the GPU alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

STATES = ("state1", "state2")
LEAST_NUMBERS = 100_000  # smaller states are never paged


def inner_of(optimizer: Any) -> Any:
    """Return an optimizer without accelerate's wrapper."""
    return getattr(optimizer, "optimizer", optimizer)


def is_paged(optimizer: Any) -> bool:
    """Return whether an optimizer's states are paged; false of None."""
    return bool(getattr(inner_of(optimizer), "is_paged", False))


def begin_anew(optimizer: Any) -> None:
    """Set an optimizer back to before its first step, in the buffers that it has."""
    for state in inner_of(optimizer).state.values():
        state["step"] = 0
        for name, value in state.items():
            if name != "step" and not name.startswith("qmap"):  # the tables of its 8-bit numbers
                value.zero_()


def buffers(optimizer: Any) -> dict[Any, dict[str, Any]]:
    """Return the paged buffers of each weight; nothing where the optimizer has none."""
    if not is_paged(optimizer):
        return {}
    states = inner_of(optimizer).state
    return {
        weight: {name: state[name] for name in STATES if name in state} for weight, state in states.items()
    }


def page_again(optimizer: Any, before: Mapping[Any, Mapping[str, Any]]) -> None:
    """Put states that were loaded into paged buffers: those of `before`, or new ones."""
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
