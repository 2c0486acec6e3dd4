"""The hash of a loaded model's weights; that of files is in core/data/weight_files.py."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


def fingerprint(model: Any) -> str:
    """Return the sha256 of an adapter's weights and scales, or of all weights of a whole model."""
    whole = hashlib.sha256()
    is_adapter = hasattr(model, "peft_config")
    for name, weight in model.named_parameters():
        if not is_adapter or any(f".{adapter}" in name for adapter in model.peft_config):  # the adapter's own
            whole.update(f"{name} {weight.dtype} {list(weight.shape)}".encode())
            whole.update(_bytes(weight))
    for name, layer in model.named_modules() if is_adapter else ():
        scaling = getattr(layer, "scaling", None)
        if isinstance(scaling, dict):
            whole.update(f"{name} {sorted(scaling.items())}".encode())
    return whole.hexdigest()


def _bytes(weight: Tensor) -> bytes:
    import torch

    flat = weight.detach().contiguous().cpu().view(-1)
    return bytes(flat.view(torch.uint8).numpy().data)
