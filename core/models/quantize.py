"""Models whose linear layers are held in fewer bits: how they are loaded, and what is fixed then."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from finetop.core.errors import BadInput
from finetop.core.models import config_file, weight_formats

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

    from finetop.core.models.resolved import ResolvedModel


def copy_from_file(model: PreTrainedModel) -> None:
    """Copy the tensors that a quantized model on the CPU still reads from its mapped file: embeddings and norms.

    transformers maps the file; one tensor of it keeps all its pages: 269 MB for SmolLM2-135M, beside 55 MB in 4 bits.
    """
    if model.device.type != "cpu" or not getattr(model, "is_quantized", False):
        return
    for weight in model.parameters():
        if weight.is_floating_point():
            weight.data = weight.data.clone()


def pass_gradients(model: PreTrainedModel) -> None:
    """Keep 4-bit layers from repacking their weights on first use on a CPU with AVX512-BF16.

    Repacked, they silently pass no gradient: after one evaluation all layers below learned nothing. Without it, a
    forward pass takes 15 % longer, and its logits lose an error of up to 0.08 (bitsandbytes 0.50.2, SmolLM2-135M).
    """
    for module in model.modules():
        if getattr(module, "support_avx512bf16_for_cpu", False):
            module.support_avx512bf16_for_cpu = False


def view_as_numbers(model: Any, dtype: torch.dtype, device: str) -> None:
    """View 4-bit weights as numbers of `dtype`, several packed in each: FSDP2 can't shard their own type.

    As bnb_4bit_quant_storage does when a model is loaded; bitsandbytes finds their scales through the layer. Those go
    to the device whole: 3 % of the weights' bytes.
    """
    import torch

    for layer in _in_4_bits(model):
        weight = layer.weight
        layer.quant_state, layer.quant_storage = weight.quant_state, dtype
        layer.quant_state.to(device)
        packed = weight.data.view(-1).view(dtype).view(-1, 1)
        layer.weight = torch.nn.Parameter(packed, requires_grad=False)


def count_numbers(model: Any) -> int:
    """Return the number of a model's weights, counting each of those packed in 4 bits."""
    packed = {id(layer.weight): layer.quant_state.shape.numel() for layer in _in_4_bits(model)}
    return sum(packed.get(id(weight), weight.numel()) for weight in model.parameters())


def _in_4_bits(model: Any) -> list[Any]:
    """Return bitsandbytes' 4-bit layers; empty if it is not imported."""
    modules = sys.modules.get("bitsandbytes.nn")
    if modules is None:
        return []
    return [module for module in model.modules() if isinstance(module, modules.Linear4bit)]


def quantized(resolved: ResolvedModel, dtype: torch.dtype, device: str) -> dict[str, Any]:
    """Return from_pretrained's arguments for a model's device and the format of its linear layers (not the head)."""
    saved = config_file.read(resolved.path / "config.json").get("quantization_config")
    # To a GPU tensor by tensor: the machine's memory may be smaller than the model.
    if resolved.quantize == "none":
        if device == "auto":  # as much as fits on the GPU, the rest on the CPU
            return {"device_map": "auto"}
        # On meta only the files' headers are read.
        is_placed = saved or device.startswith("cuda") or device == "meta"
        return {"device_map": {"": device}} if is_placed else {}
    if saved:
        hint = "Set model.quantize to none."
        raise BadInput(f"model.quantize: {resolved.id} is already saved quantized.", hint=hint)
    config = weight_formats.load(resolved.quantize).config(dtype)
    return {"quantization_config": config, "device_map": {"": device}}
