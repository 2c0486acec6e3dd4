"""Fused kernels of liger-kernel in a model's norms, activations and rotary positions; whether they can be built."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from finetop.core.errors import EnvironmentTrouble
from finetop.core.models import attention
from finetop.core.runtime import compiler

if TYPE_CHECKING:
    from finetop.core.recipe.schema import Recipe


Kernels = Literal["none", "liger", "auto"]
LISTED = re.compile(r"^MODEL_TYPE_TO_APPLY_LIGER_FN = \{$(.*?)^\}$", re.MULTILINE | re.DOTALL)


def fuse(model: Any, kernels: Kernels, device: str) -> None:
    """Put fused kernels into a model that trains on a device, except its loss. Raises EnvironmentTrouble."""
    require(kernels, device)
    if kernels != "liger":
        return
    from liger_kernel.transformers import _apply_liger_kernel_to_instance

    _apply_liger_kernel_to_instance(model, fused_linear_cross_entropy=False, cross_entropy=False)


def require(kernels: Kernels, device: str, family: str = "") -> None:
    """Check that fused kernels are installed, can be built for a device, and are made for a family of models.

    Raises EnvironmentTrouble. `family` is the model_type of a config.json; without it any is taken.
    """
    if kernels != "liger":
        return
    if find_spec("liger_kernel") is None:
        hint = "Install it (pip install liger-kernel), or set train.kernels to none."
        message = "train.kernels: liger needs liger-kernel, which is not installed."
        raise EnvironmentTrouble(message, hint=hint)
    if not device.startswith("cuda"):
        hint = "Set train.kernels to none."
        raise EnvironmentTrouble(f"train.kernels: liger needs a GPU, and this runs on {device}.", hint=hint)
    require_triton("train.kernels: liger", "set train.kernels to none")
    known = families()
    if family and known and family not in known:  # liger-kernel itself would leave the model as it is, unsaid
        message = f"train.kernels: liger-kernel has no kernels for models of type {family}."
        raise EnvironmentTrouble(message, hint="Set train.kernels to none.")


def families() -> frozenset[str]:
    """Return the types of models that the installed liger-kernel lists, read without importing it: it imports torch.

    Empty where it is not installed, or does not say.
    """
    found = find_spec("liger_kernel")
    folders = getattr(found, "submodule_search_locations", None) or ()
    for folder in folders:
        try:
            listed = LISTED.search((Path(folder) / "transformers" / "monkey_patch.py").read_text("utf-8"))
        except (OSError, UnicodeDecodeError):
            continue
        if listed is not None:
            return frozenset(re.findall(r'^\s*"(\w+)":', listed[1], re.MULTILINE))
    return frozenset()


def suit(family: str) -> bool:
    """Return whether fused kernels are installed, can be built here, and are made for a family of models."""
    return family in families() and not compiler.triton_lacks()


def requirements(
    recipe: Recipe, device: str, config: Mapping[str, Any]
) -> Iterator[tuple[str, Callable[[], None]]]:
    """Yield the settings of a recipe that need kernels which a machine may lack, each with a function that checks them.

    `config` is the model's config.json. The functions raise EnvironmentTrouble, or BadInput for an unsuitable model.
    """
    yield "train.kernels", partial(require, recipe.train.kernels, device, str(config.get("model_type") or ""))
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
