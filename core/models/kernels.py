"""Fused kernels of liger-kernel in a model's norms, activations and rotary positions; whether they can be built."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal

from finetop.core.errors import EnvironmentTrouble
from finetop.core.models import attention
from finetop.core.runtime import compiler

if TYPE_CHECKING:
    from finetop.core.recipe.schema import Recipe


def fuse(model: Any, kernels: Literal["none", "liger"], device: str) -> None:
    """Put fused kernels into a model that trains on a device, except its loss. Raises EnvironmentTrouble."""
    require(kernels, device)
    if kernels == "none":
        return
    from liger_kernel.transformers import _apply_liger_kernel_to_instance

    _apply_liger_kernel_to_instance(model, fused_linear_cross_entropy=False, cross_entropy=False)


def require(kernels: Literal["none", "liger"], device: str) -> None:
    """Check that fused kernels are installed, and can be built for a device. Raises EnvironmentTrouble."""
    if kernels == "none":
        return
    if find_spec("liger_kernel") is None:
        hint = "Install it (pip install liger-kernel), or set train.kernels to none."
        message = "train.kernels: liger needs liger-kernel, which is not installed."
        raise EnvironmentTrouble(message, hint=hint)
    if not device.startswith("cuda"):
        hint = "Set train.kernels to none."
        raise EnvironmentTrouble(f"train.kernels: liger needs a GPU, and this runs on {device}.", hint=hint)
    require_triton("train.kernels: liger", "set train.kernels to none")


def requirements(
    recipe: Recipe, device: str, config: Mapping[str, Any]
) -> Iterator[tuple[str, Callable[[], None]]]:
    """Yield the settings of a recipe that need kernels which a machine may lack, each with a function that checks them.

    `config` is the model's config.json. The functions raise EnvironmentTrouble, or BadInput for an unsuitable model.
    """
    yield "train.kernels", partial(require, recipe.train.kernels, device)
    yield "train.compile", partial(_require_compiled, recipe, device)
    fault = attention.flex_fault(config, None, is_supported=True)  # its code is checked once loaded
    yield "model.attention", partial(attention.require, recipe.model.attention, device, fault)


def _require_compiled(recipe: Recipe, device: str) -> None:
    if recipe.train.compile and device.startswith("cuda"):
        require_triton("train.compile", "set train.compile to false")


def require_triton(what: str, else_: str) -> None:
    """Check that Triton can build kernels here for `what`; `else_` is the alternative. Raises EnvironmentTrouble."""
    if lacks := compiler.triton_lacks():
        message = f"{what} needs {lacks}, which this machine lacks."
        raise EnvironmentTrouble(message, hint=f"{compiler.fix()} Or {else_}.")
