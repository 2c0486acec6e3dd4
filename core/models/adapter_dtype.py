"""Adapters on weights in 8 or 4 bits that answer in the number format of what they are given, as their base layers do.

Some of PEFT 0.21's do not in bfloat16: IA3 and AdaLoRA give float32, which attention and the head refuse beside what is
bfloat16, and SHiRA multiplies by float32, on 8 bits, what is bfloat16.
"""

from __future__ import annotations

from typing import Any


def answer_in_kind(wrapped: Any) -> None:
    """See to it in every adapted layer of a wrapped model whose weights are in 8 or 4 bits."""
    from bitsandbytes.nn import Linear4bit, Linear8bitLt
    from peft.tuners.shira.layer import ShiraLayer
    from peft.tuners.tuners_utils import BaseTunerLayer

    for module in wrapped.modules():
        base = module.get_base_layer() if isinstance(module, BaseTunerLayer) else None
        if isinstance(base, Linear4bit | Linear8bitLt):
            _watch(module, widened=isinstance(module, ShiraLayer) and isinstance(base, Linear8bitLt))


def _watch(module: Any, *, widened: bool) -> None:
    kinds: list[Any] = []  # a layer may be entered again (activation checkpointing) only after it was left

    def enter(module: Any, given: tuple[Any, ...]) -> tuple[Any, ...]:
        kinds.append(given[0].dtype)
        return (given[0].float(), *given[1:]) if widened else given

    def leave(module: Any, given: tuple[Any, ...], answer: Any) -> Any:
        return answer.to(kinds.pop())

    module.register_forward_pre_hook(enter)
    module.register_forward_hook(leave)
