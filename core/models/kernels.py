"""Fused kernels of liger-kernel in a model's norms, activations and turned positions; and whether they can be built."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any, Literal

from finetop.core.errors import EnvironmentTrouble
from finetop.core.runtime import compiler


def fuse(model: Any, kernels: Literal["none", "liger"]) -> None:
    """Put fused kernels into a model's layers; the loss keeps finetop's own. Raises EnvironmentTrouble without them."""
    require(kernels, str(model.device))
    if kernels == "none":
        return
    from liger_kernel.transformers import _apply_liger_kernel_to_instance

    _apply_liger_kernel_to_instance(model, fused_linear_cross_entropy=False, cross_entropy=False)


def require(kernels: Literal["none", "liger"], device: str) -> None:
    """See that fused kernels are installed, and can be built for a device. Raises EnvironmentTrouble."""
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
    require_triton("train.kernels: liger", "set train.kernels to none")


def require_triton(what: str, else_: str) -> None:
    """See that Triton can build kernels here for `what`; `else_` is how to do without. Raises EnvironmentTrouble."""
    if lacks := compiler.triton_lacks():
        said = f"{what} needs {lacks}, which this machine lacks."
        raise EnvironmentTrouble(said, hint=f"{compiler.fix()} Or {else_}.")
