"""The number format in which a recipe computes on a device, and what it can't train there: one rule of plan and job.

NVIDIA GPUs have bfloat16 from compute capability 8.0; a T4 (7.5) or V100 (7.0) has only float16. Its range ends at
65,504 and at 6e-8: the loss is scaled up so that small gradients are not lost, and a step whose gradients overflow is
skipped while the scale falls (core/train/loss_scale.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from finetop.core.plugins import METHODS
from finetop.core.recipe.parallel import way_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from finetop.core.recipe.protections import Problem
    from finetop.core.recipe.schema import Recipe

# Families trained in bfloat16 whose activations are known to exceed the range of float16.
OVERFLOWS = ("gemma2", "gemma3", "gemma3n", "t5", "mt5", "umt5")


def chosen(wanted: str, saved: str, *, on_cpu: bool, has_bfloat16: bool) -> str:
    """Return the number format that a device computes in; `saved` is the format of the saved model.

    `auto` is bfloat16. A GPU without it uses float16 if the recipe leaves the choice. A CPU uses float32: it holds
    the same weights exactly, and multiplies them 3 to 8 times faster (GFLOP/s per core in float32 and in bfloat16: 74
    and 9.5 on AVX2, 74 and 22 on AVX-512).
    """
    number_format = {"auto": "bfloat16", "saved": saved}.get(wanted, wanted)
    if number_format != "bfloat16" or has_bfloat16:
        return number_format
    if on_cpu:
        return "float32"
    return number_format if wanted == "bfloat16" else "float16"


def refusals(
    recipe: Recipe, dtype: str, card: str, *, on_cpu: bool, has_bfloat16: bool, ranks: int = 1
) -> Iterator[Problem]:
    """Yield what can't be trained in a number format on a device, called `card` in messages."""
    lacks = not on_cpu and not has_bfloat16
    if dtype == "bfloat16" and lacks:
        message = f"model.dtype is bfloat16, and {card} can't compute in it."
        yield "model.dtype", message, "Set model.dtype to auto, which is float16 there, or to float32."
    if recipe.model.attention == "flash_attention_2" and lacks:
        message = f"model.attention is flash_attention_2, which does not support {card}."
        yield "model.attention", message, "Set model.attention to auto."
    if dtype != "float16":
        return
    other = "float32" if lacks else "bfloat16, or to float32"
    if on_cpu:
        yield "model.dtype", "model.dtype: float16 can't train on the CPU.", f"Set model.dtype to {other}."
        return
    whole, rounding = not METHODS.load(recipe.method.name).keeps_base, recipe.train.master
    if whole and rounding in ("stochastic", "nearest"):
        message = f"train.master: {rounding} rounding works with bfloat16 weights, not with float16."
        hint = "Set train.master to float32"
        yield "train.master", message, f"{hint}." if lacks else f"{hint}, or model.dtype to bfloat16."
    if way_of(recipe, ranks) == "fsdp":
        message = "train.parallel: fsdp does not train in float16, because each GPU would scale its loss on its own."
        yield "train.parallel", message, f"Set model.dtype to {other}, or budget.gpus to 1."


def float16_warnings(recipe: Recipe, saved: str, family: str, card: str, *, has_bfloat16: bool) -> list[str]:
    """Return warnings for training in float16 on a card."""
    lines = [] if has_bfloat16 else [f"float16: this card ({card}) has no bfloat16"]
    if is_risky(family):
        fix = "set model.dtype to float32, or use a card with bfloat16"
        lines.append(f"{family} is known to overflow in float16: {fix}")
    elif saved == "bfloat16":
        wider = "whose range is wider than float16's: watch loss_scale and the loss"
        lines.append(f"the model was saved in bfloat16, {wider}")
    if not METHODS.load(recipe.method.name).keeps_base:
        lines.append("trained weights are held in float32, because updates in float16 are not exact enough")
    return lines


def is_risky(family: str) -> bool:
    """Return True if models of a family are known to overflow in float16."""
    return any(family == name or family.startswith(f"{name}_") for name in OVERFLOWS)
