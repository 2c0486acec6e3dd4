"""LoRA initialised from a part of the weights, with the base left as it is: shared by PiSSA, OLoRA and CorDA.

They take s B0 A0 out of a weight W and train [A, B] from [A0, B0], so W' = W - s B0 A0 + s B A. PEFT changes W in
memory; then switching the adapter off does not restore the base, and the saved adapter does not fit it. Here W stays,
and the adapter has twice the rank: [A; A0] and [B, -B0], whose second halves are frozen. Function and gradients are the
same, without the rounding of W - s B0 A0; at the start it changes nothing, up to the rounding of B0 A0 - B0 A0; saved,
merged and loaded it is a plain LoRA. It costs r (in + out) more numbers per layer in the forward pass.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from finetop.core.errors import BadInput
from finetop.core.train.methods._adapter import lora_config, wrap

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

NAME = "default"  # PEFT's name of the adapter


class Anchored(nn.Module):  # type: ignore[misc]  # the library is untyped
    """A linear map whose first half is trained: `weight` is [moving, start] along `along`, and is saved as one."""

    def __init__(self, moving: Tensor, start: Tensor, along: int) -> None:
        super().__init__()
        self.moving = nn.Parameter(moving.contiguous())
        self.register_buffer("start", start.contiguous(), persistent=False)
        self.along = along

    @property
    def weight(self) -> Tensor:
        return torch.cat([self.moving, self.get_buffer("start")], self.along)

    def forward(self, inputs: Tensor) -> Tensor:
        return nn.functional.linear(inputs, self.weight)

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        destination[f"{prefix}weight"] = self.weight if keep_vars else self.weight.detach()

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *others: Any) -> None:
        saved = state_dict.get(f"{prefix}weight")
        if saved is None:
            return  # the state belongs to another adapter, or has none
        moving, start = saved.chunk(2, self.along)
        with torch.no_grad():
            self.moving.copy_(moving)
            self.get_buffer("start").copy_(start)


def anchor(model: PreTrainedModel, options: Any, begin: Callable[[Any], None]) -> PeftModel:
    """Wrap a model with an adapter initialised by `begin`; the base's weights are left as they were.

    `begin` gets PEFT's layer, and sets its two matrices at rank `options.rank`; it may change the base's weight, which
    is a float32 copy meanwhile.
    """
    wrapped = wrap(model, lora_config(options, r=2 * options.rank, lora_alpha=2 * options.alpha))
    require_matrices(wrapped)
    for layer in wrapped.modules():
        if NAME in getattr(layer, "lora_A", ()):
            first, second = _factors(layer, options.rank, begin)
            layer.lora_A[NAME] = Anchored(first, first.clone(), along=0)
            layer.lora_B[NAME] = Anchored(second, -second, along=1)
    return wrapped


def require_matrices(wrapped: PeftModel) -> None:
    """Check that every adapted layer has a single matrix: the experts of a mixture are many in one. Raises BadInput."""
    from peft.tuners.lora.layer import ParamWrapper

    path = next((path for path, layer in wrapped.named_modules() if isinstance(layer, ParamWrapper)), None)
    if path is not None:
        name = path.rpartition(".")[2]
        raise BadInput(
            f"method: it can't be initialised from the weights of {name}, which hold many experts in one.",
            hint="Name others as method.target_modules, such as [q_proj, k_proj, v_proj, o_proj]; or use lora.",
        )


def _factors(layer: Any, rank: int, begin: Callable[[Any], None]) -> tuple[Tensor, Tensor]:
    """Compute A0 [rank, in] and B0 [out, rank] of one layer, in float32, on the layer's device."""
    base = layer.get_base_layer()
    held = base.weight
    if held.is_meta:  # a rehearsal: the weights have no values
        return layer.lora_A[NAME].weight.data[:rank], layer.lora_B[NAME].weight.data[:, :rank]
    base.weight = nn.Parameter(_whole(base).to(torch.float32, copy=True), requires_grad=False)
    layer.r[NAME] = rank
    try:
        begin(layer)
    finally:
        layer.r[NAME] = 2 * rank
        base.weight = held
    first, second = layer.lora_A[NAME].weight.data, layer.lora_B[NAME].weight.data
    return first.to(held.device), second.to(held.device)


def _whole(base: Any) -> Tensor:
    """Return a layer's weight in floating point, dequantized if necessary."""
    from peft.utils.integrations import dequantize_module_weight

    whole: Tensor = dequantize_module_weight(base)  # as it is, if it is not quantized
    return whole.detach()
