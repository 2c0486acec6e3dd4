"""LoRA layers on a CPU while they train: one pass over each layer's output, and one copy of its input.

PEFT computes an adapter's part as a separate tensor, scales it and adds it; under autocast it also casts the input to
float32 and back, once for each layer that reads it. Such passes were 45 % of the time of a LoRA step of SmolLM2-135M
(profiled, bfloat16), the products 28 %. Here the adapter's product is scaled and added as it is computed, and so is its
part of the input's gradient. PEFT's own code handles its other features and everything outside training: scores,
samples and evaluations are bit-identical to those of a loaded model.
"""

from __future__ import annotations

from typing import Any

import torch
from peft.tuners import lora
from torch import Tensor, nn


def install(model: nn.Module) -> None:
    """Make a model's plain LoRA layers train in one pass; other layers stay as they are."""
    for module in model.modules():
        if type(module) is lora.Linear and type(module.base_layer) is nn.Linear:
            module.__class__ = Linear


class Linear(lora.Linear):  # type: ignore[misc]  # the library is untyped
    """PEFT's layer, which trains in one pass."""

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        parts = None if args or kwargs else self._plain_parts(x)
        if parts is None:
            return super().forward(x, *args, **kwargs)
        output: Tensor = OnePass.apply(x, self.base_layer.weight, self.base_layer.bias, *parts)
        return output

    def _plain_parts(self, x: Tensor) -> tuple[Tensor, Tensor, float, torch.dtype] | None:
        """Return the adapter's two weights, its scale and the dtype; None if PEFT's own forward is needed."""
        active = [name for name in self.active_adapters if name in self.lora_A]
        if not (self.training and torch.is_grad_enabled() and len(active) == 1) or self.disable_adapters:
            return None
        name = active[0]
        first, second, base = self.lora_A[name], self.lora_B[name], self.base_layer
        if self.merged or name in self.lora_variant or not isinstance(self.lora_dropout[name], nn.Identity):
            return None
        if any(map(_is_watched, (base, first, second))) or second.bias is not None:
            return None
        held = [weight for weight in (base.weight, base.bias) if weight is not None]
        if any(weight.requires_grad for weight in held):
            return None
        if torch.is_autocast_enabled(x.device.type):
            dtype = torch.get_autocast_dtype(x.device.type)
        elif {x.dtype} == {weight.dtype for weight in (*held, first.weight, second.weight)}:
            dtype = x.dtype
        else:
            return None
        return first.weight, second.weight, float(self.scaling[name]), dtype


def _is_watched(module: nn.Module) -> bool:
    """Return whether a layer has hooks, or is more than a plain Linear."""
    return (
        type(module) is not nn.Linear
        or bool(module._forward_hooks or module._forward_pre_hooks)  # noqa: SLF001  # no public name
        or bool(module._backward_hooks or module._backward_pre_hooks)  # noqa: SLF001  # no public name
    )


class OnePass(torch.autograd.Function):  # type: ignore[misc]  # the library is untyped
    """x W^T + bias + scale (x A^T) B^T, with frozen W and bias."""

    @staticmethod
    def forward(
        context: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        first: Tensor,
        second: Tensor,
        scale: float,
        dtype: torch.dtype,
    ) -> Tensor:
        given, held = x.to(dtype).reshape(-1, x.shape[-1]), weight.to(dtype)
        down = torch.mm(given, first.to(dtype).t())
        output = nn.functional.linear(given, held, None if bias is None else bias.to(dtype))
        output.addmm_(down, second.to(dtype).t(), alpha=scale)
        context.save_for_backward(given, weight, first, second, down)
        context.facts = scale, dtype, x.shape, x.dtype
        return output.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(context: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        given, weight, first, second, down = context.saved_tensors
        scale, dtype, shape, kind = context.facts
        slope = slope.to(dtype).reshape(-1, slope.shape[-1])
        inner = torch.mm(slope, second.to(dtype)).mul_(scale)
        of_input = of_first = of_second = None
        if context.needs_input_grad[0]:
            of_input = torch.mm(slope, weight.to(dtype))
            of_input = of_input.addmm_(inner, first.to(dtype)).view(shape).to(kind)
        if context.needs_input_grad[3]:
            of_first = torch.mm(inner.t(), given).to(first.dtype)
        if context.needs_input_grad[4]:
            of_second = torch.mm(slope.t(), down).mul_(scale).to(second.dtype)
        return of_input, None, None, of_first, of_second, None, None
