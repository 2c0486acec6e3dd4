"""Which attention kernel a model trains with: what the recipe says, or the best that is installed."""

from __future__ import annotations

from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from finetop.core.errors import BadInput, EnvironmentTrouble, first_line
from finetop.core.models import devices

if TYPE_CHECKING:
    from collections.abc import Iterator

    from finetop.core.recipe.schema import Attention

NAMES = {"flex": "flex_attention"}  # as transformers calls them, where it differs
TAKES_OUR_MASKS = ("sdpa", "eager")  # the scorer packs texts behind masks of its own


def use(model: Any, wanted: Attention, device: str, *, packs: bool) -> None:
    """Let a model compute attention as the recipe says. Raises BadInput, EnvironmentTrouble."""
    name = kernel_for(wanted, device, packs=packs)
    if (wanted == "auto" and name == "sdpa") or kernel_of(model) == name:
        return  # its own default is sdpa, where it has that
    try:
        model.set_attn_implementation(name)
    except (ValueError, ImportError) as error:
        if wanted == "auto":
            print(f"model.attention: this model does not take {name}: {first_line(error)}", flush=True)
            return
        hint = "Set model.attention to auto."
        raise BadInput(
            f"model.attention: this model does not take {wanted}: {first_line(error)}", hint=hint
        ) from error


def kernel_of(model: Any) -> str:
    """Return transformers' name of the attention that a model computes."""
    return str(getattr(model.config.get_text_config(), "_attn_implementation", ""))


@contextmanager
def for_scoring(model: Any) -> Iterator[None]:
    """Compute attention as the check of a checkpoint does meanwhile: flash and flex attention take no mask of ours."""
    kernel = kernel_of(model)
    if kernel in (*TAKES_OUR_MASKS, ""):
        yield
        return
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    inner.set_attn_implementation("sdpa")
    try:
        yield
    finally:
        inner.set_attn_implementation(kernel)


def kernel_for(wanted: Attention, device: str, *, packs: bool) -> str:
    """Return transformers' name of the attention to train with. Raises EnvironmentTrouble for one that is not here."""
    on_gpu = device.startswith("cuda")
    if wanted == "auto":
        flash = devices.has_bfloat16(device)
        best = best_kernel(on_gpu=on_gpu, packs=packs, flash=flash)
        if packs and on_gpu and best != "flash_attention_2":
            why = "is not installed" if flash else "does not run on this card"
            print(f"model.attention: flash-attn {why}, packed rows take {best}", flush=True)
        return NAMES.get(best, best)
    if wanted in ("flash_attention_2", "flex") and not on_gpu:
        hint = "Set model.attention to auto, or to sdpa."
        raise EnvironmentTrouble(
            f"model.attention: {wanted} needs a GPU, and this runs on {device}.", hint=hint
        )
    if wanted == "flash_attention_2" and not _has("flash_attn"):
        hint = "Install it (pip install flash-attn), or set model.attention to auto."
        raise EnvironmentTrouble(
            f"model.attention: {wanted} needs flash-attn, which is not installed.", hint=hint
        )
    return NAMES.get(wanted, wanted)


def best_kernel(*, on_gpu: bool, packs: bool, flash: bool = True) -> Attention:
    """Return the best attention that is installed: several rows in one sequence must each see themselves alone.

    There SDPA makes a matrix of all tokens by all tokens, which flash and flex attention do not. `flash`: the card has
    bfloat16, with which flash-attn's kernels begin.
    """
    if not packs or not on_gpu:
        return "sdpa"
    return "flash_attention_2" if flash and _has("flash_attn") else "flex" if _has("triton") else "sdpa"


def _has(package: str) -> bool:
    return find_spec(package) is not None
