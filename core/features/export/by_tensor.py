"""Merges an adapter into a base in 4 bits, and writes the result tensor by tensor.

In 16 bits a base takes four times the memory that it was trained in: a 70B model of 35 GiB becomes 131. Here each
matrix is dequantized, merged, written and freed by itself: the host holds a few matrices at a time, the GPU the model
as it was trained. PEFT does the merging: a skeleton without weights determines how each layer is merged.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from finetop.core.data.weight_files import weight_files
from finetop.core.errors import FinetopError, first_line
from finetop.core.models import load, weight_formats
from finetop.core.models.resolved import ResolvedModel
from finetop.core.models.safetensors_header import Shape, read_header

INDEX = "model.safetensors.index.json"
NAMES = {torch.float32: "F32", torch.bfloat16: "BF16", torch.float16: "F16"}  # safetensors' names
FLOATS = ("F64", "F32", "F16", "BF16")
ALIGN = 8  # bytes; a header's length is a multiple of this


class Merger:
    """Computes the merged model's tensors by name; `tuned` is the model as it was trained, `kind` the number format."""

    def __init__(self, skeleton: Any, tuned: Any, kind: torch.dtype) -> None:
        self.held = dict(tuned.get_base_model().named_modules())
        self.skeleton = skeleton
        self.adapter = skeleton.active_adapter
        self.kind = kind
        self.parts: dict[str, Tensor] = {}  # of the module merged last

    def let_go(self) -> None:
        """Drop the model as it was trained, to free the device for the written one."""
        self.held = {}

    def tensor(self, name: str) -> Tensor:
        """Return a tensor of the merged model on the CPU. Raises FinetopError if it can't be merged."""
        if name not in self.parts:
            path, _, _ = name.rpartition(".")
            self.parts = {f"{path}.{key}": value for key, value in self._merged(path).items()}
        return self.parts.pop(name)

    def _merged(self, path: str) -> dict[str, Tensor]:
        from peft.tuners.tuners_utils import BaseTunerLayer
        from peft.utils import ModulesToSaveWrapper

        module = self.skeleton.get_base_model().get_submodule(path)
        if isinstance(module, ModulesToSaveWrapper):
            return own_tensors(module.modules_to_save[self.adapter])
        held = self.held[path]
        if not isinstance(module, BaseTunerLayer):
            return own_tensors(held)
        inner = module.get_base_layer()
        for name, value in unpacked(held.get_base_layer(), self.kind).items():
            setattr(inner, name, torch.nn.Parameter(value, requires_grad=False))
        try:
            module.merge(safe_merge=True, adapter_names=[self.adapter])
        except (ValueError, NotImplementedError, AttributeError) as error:
            hint = "Use the checkpoint as a PEFT adapter with the base model."
            raise FinetopError(f"{path} can't be merged: {first_line(error)}", hint=hint) from error
        merged = own_tensors(module.get_base_layer())
        for name in merged:  # empty the skeleton again
            setattr(module.get_base_layer(), name, None)
        return merged


def merger_for(base: ResolvedModel, tuned: Any, folder: Path, kind: torch.dtype) -> Merger | None:
    """Return what merges a model tensor by tensor; None where it is merged in memory.

    That is so of whole bases, of those that are listened to written out, of files that name tensors otherwise
    than the model, and of adapters whose numbers are not all in their file.
    """
    by_tensor = weight_formats.load(base.quantize).by_tensor and load.is_adapter(folder)
    if not by_tensor or base.trust_remote_code:
        return None
    if not hasattr(tuned, "merge_and_unload"):
        return None
    skeleton = skeleton_of(base, folder)
    saved = {name for file in weight_files(base.path) for name in read_header(file)}
    with torch.device("meta"):
        named = saved <= set(load.shape_of(base).state_dict())
    adapter = f".{skeleton.active_adapter}"
    own = [value for name, value in all_tensors(skeleton) if adapter in name]
    return Merger(skeleton, tuned, kind) if named and not any(value.is_meta for value in own) else None


def all_tensors(model: Any) -> list[tuple[str, Tensor]]:
    return [*model.named_parameters(), *model.named_buffers()]


def skeleton_of(base: ResolvedModel, folder: Path) -> Any:
    """Build the unquantized model with its adapter; only the adapter has weights."""
    from peft import PeftModel, load_peft_weights

    with torch.device("meta"):
        empty = load.shape_of(base)
    with warnings.catch_warnings():
        # PEFT 0.21 uses an old name of transformers', and looks for AdaLoRA's ranks by module names.
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
        warnings.filterwarnings("ignore", "The following rank_pattern keys", RuntimeWarning)
        skeleton = PeftModel.from_pretrained(empty, folder, low_cpu_mem_usage=True, torch_device="cpu")
    # PEFT has put the adapter's weights on the base's device, which is meta.
    mark = f".{skeleton.active_adapter}"
    names = {name.replace(mark, ""): name for name, _ in all_tensors(skeleton) if mark in name}
    # DoRA's magnitudes are saved by names without the suffix.
    names |= {short.removesuffix(".weight"): name for short, name in names.items()}
    saved = load_peft_weights(str(folder), device="cpu")
    adapter_state = {names[name]: value for name, value in saved.items() if name in names}
    skeleton.load_state_dict(adapter_state, strict=False, assign=True)
    return skeleton


def own_tensors(module: Any) -> dict[str, Tensor]:
    """Return a module's own weights and buffers on the CPU."""
    held = (*module.named_parameters(recurse=False), *module.named_buffers(recurse=False))
    return {name: value.detach().to("cpu") for name, value in held}


def unpacked(module: Any, kind: torch.dtype) -> dict[str, Tensor]:
    """Return a linear layer's weights on the CPU, dequantized if they are in 4 bits."""
    state = getattr(module.weight, "quant_state", None)
    if state is None:
        return {name: value.to(kind) for name, value in own_tensors(module).items()}
    from bitsandbytes.functional import dequantize_4bit

    whole = {"weight": dequantize_4bit(module.weight.data, state).to("cpu", kind)}
    return whole if module.bias is None else {**whole, "bias": module.bias.detach().to("cpu", kind)}


def write(merger: Merger, base: ResolvedModel, written: torch.dtype, folder: Path) -> None:
    """Write the merged tensors to files with the base's names and contents, each with its header first."""
    total = 0
    places: dict[str, str] = {}
    for file in weight_files(base.path):
        shapes = read_header(file)
        total += write_file(folder / file.name, shapes, written, merger.tensor)
        places |= dict.fromkeys(shapes, file.name)
    if len(set(places.values())) > 1:
        index = {"metadata": {"total_size": total}, "weight_map": places}
        (folder / INDEX).write_text(json.dumps(index, indent=2), encoding="utf-8")


def write_file(
    file: Path, shapes: Mapping[str, Shape], written: torch.dtype, tensor: Callable[[str], Tensor]
) -> int:
    """Write a safetensors file whose tensors are computed one at a time. Return their bytes. Raises OSError."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name, shape in shapes.items():
        is_float = shape.dtype in FLOATS
        if not is_float:
            raise FinetopError(f"{name} is stored in {shape.dtype}, which can't be merged.")
        size = shape.count * written.itemsize
        header[name] = {"dtype": NAMES[written], "shape": shape.size, "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % ALIGN)
    with file.open("wb") as out:
        out.write(len(text).to_bytes(8, "little") + text)
        for name in shapes:
            value = tensor(name).to(written).contiguous()
            out.write(memoryview(value.reshape(-1).view(torch.uint8).numpy()))
    return at


def write_settings(base: ResolvedModel, tokenizer: Any, written: torch.dtype, folder: Path) -> None:
    """Write configuration, generation settings and tokenizer beside the weights."""
    from transformers import GenerationConfig

    config = load.read_config(base)
    config.dtype = written
    config.architectures = config.architectures or []
    config.save_pretrained(folder)
    try:
        settings = GenerationConfig.from_pretrained(base.path, local_files_only=True)
    except OSError:
        settings = GenerationConfig.from_model_config(config)
    settings.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
