"""Fused kernels of liger-kernel in a model's norms, activations and turned positions, where they are installed."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any, Literal

from finetop.core.errors import EnvironmentTrouble


def fuse(model: Any, kernels: Literal["none", "liger"], device: str) -> None:
    """Put fused kernels into the layers of a model that trains on a device; the loss keeps finetop's own.

    Raises EnvironmentTrouble without them.
    """
    if kernels == "none":
        return
    if find_spec("liger_kernel") is None:
        hint = "Install it (pip install liger-kernel), or set train.kernels to none."
        raise EnvironmentTrouble(
            "train.kernels: liger needs liger-kernel, which is not installed.", hint=hint
        )
    if not device.startswith("cuda"):
        hint = "Set train.kernels to none."
        raise EnvironmentTrouble(f"train.kernels: liger needs a GPU, and this runs on {device}.", hint=hint)
    from liger_kernel.transformers import _apply_liger_kernel_to_instance

    _apply_liger_kernel_to_instance(model, fused_linear_cross_entropy=False, cross_entropy=False)
