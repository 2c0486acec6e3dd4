"""Which attention kernel a model trains with: the recipe's, or the best available. Everything else uses PyTorch's own.

A plan calls the same functions with a config.json, without torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from finetop.core.errors import BadInput, EnvironmentTrouble, first_line
from finetop.core.models import devices
from finetop.core.runtime import compiler

if TYPE_CHECKING:
    from finetop.core.recipe.schema import Attention

NAMES = {"flex": "flex_attention"}  # transformers' names, where they differ
TAKES_OUR_MASKS = ("sdpa", "eager")  # the scorer packs texts with its own masks
DROPOUTS = ("attention_dropout", "attn_pdrop", "attention_probs_dropout_prob")  # in a config.json, by family
NARROWEST_HEAD = 16  # for flex attention


def use(model: Any, wanted: Attention, device: str, *, packs: bool) -> None:
    """Set a model's attention as the recipe says. Raises BadInput, EnvironmentTrouble."""
    name = kernel_for(wanted, device, packs=packs, flex_fault=flex_fault_of(model))
    if (wanted == "auto" and name == "sdpa") or kernel_of(model) == name:
        return  # the model's own default is sdpa, if it supports it
    try:
        model.set_attn_implementation(name)
    except (ValueError, ImportError) as error:
        if wanted == "auto":
            print(f"model.attention: this model does not support {name}: {first_line(error)}", flush=True)
            return
        hint = "Set model.attention to auto."
        message = f"model.attention: this model does not support {wanted}: {first_line(error)}"
        raise BadInput(message, hint=hint) from error


def kernel_of(model: Any) -> str:
    """Return transformers' name of a model's present attention."""
    return str(getattr(model.config.get_text_config(), "_attn_implementation", ""))


@contextmanager
def beside_training(model: Any) -> Iterator[None]:
    """Temporarily use the attention of a check: for everything that reads a model during training.

    Flash and flex attention don't take our masks, and flex recompiles for texts of other lengths.
    """
    kernel = kernel_of(model)
    if kernel in (*TAKES_OUR_MASKS, ""):
        yield
        return
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    inner.set_attn_implementation("sdpa" if getattr(inner, "_supports_sdpa", True) else "eager")
    try:
        yield
    finally:
        inner.set_attn_implementation(kernel)


def kernel_for(wanted: Attention, device: str, *, packs: bool, flex_fault: str = "") -> str:
    """Return transformers' name of the attention to train with. Raises like `require`."""
    if wanted == "auto":
        on_gpu, flash = device.startswith("cuda"), devices.has_bfloat16(device)
        best, why = best_kernel(on_gpu=on_gpu, packs=packs, flash=flash, flex_fault=flex_fault)
        if why:
            print(f"model.attention: {why}", flush=True)
        return NAMES.get(best, best)
    require(wanted, device, flex_fault)
    return NAMES.get(wanted, wanted)


def require(wanted: Attention, device: str, flex_fault: str = "") -> None:
    """Check that an attention can be computed here. Raises EnvironmentTrouble, or BadInput for a model without it."""
    if wanted not in ("flash_attention_2", "flex"):
        return
    hint = "Set model.attention to auto, or to sdpa."
    if not device.startswith("cuda"):
        message = f"model.attention: {wanted} needs a GPU, and this runs on {device}."
        raise EnvironmentTrouble(message, hint=hint)
    if wanted == "flash_attention_2" and not _has("flash_attn"):
        hint = "Install it (pip install flash-attn), or set model.attention to auto."
        message = f"model.attention: {wanted} needs flash-attn, which is not installed."
        raise EnvironmentTrouble(message, hint=hint)
    if wanted == "flex" and flex_fault:
        raise BadInput(f"model.attention: flex attention {flex_fault}.", hint=hint)
    if wanted == "flex" and (lacks := compiler.triton_lacks()):
        hint = f"{compiler.fix()} Or set model.attention to auto."
        raise EnvironmentTrouble(f"model.attention: flex needs {lacks}, which this machine lacks.", hint=hint)


def best_kernel(
    *, on_gpu: bool, packs: bool, flash: bool = True, flex_fault: str = ""
) -> tuple[Attention, str]:
    """Return the best attention available here, and in a text what packed rows miss without flash-attn.

    Several rows in one sequence must each attend only to themselves. SDPA needs a matrix of all tokens by all tokens
    for that; flash and flex attention do not. `flash`: the GPU has bfloat16, which flash-attn requires.
    """
    if not packs or not on_gpu:
        return "sdpa", ""
    if flash and _has("flash_attn"):
        return "flash_attention_2", ""
    missing = f"flash-attn {'is not installed' if flash else 'does not run on this card'}"
    lacks = compiler.triton_lacks()
    fault = flex_fault or (f"needs {lacks}" if lacks else "")
    if not fault:
        return "flex", f"{missing}: packed rows use flex attention"
    consequence = "packed rows use sdpa, whose mask has an entry for every pair of tokens"
    return "sdpa", f"{missing}, and flex attention {fault}: {consequence}"


def flex_fault_of(model: Any) -> str:
    """Return why a model can't train with flex attention; empty if it can."""
    config = model.config.get_text_config()
    heads, hidden = (of_every_layer(config, name) for name in ("num_attention_heads", "hidden_size"))
    width = of_every_layer(config, "head_dim") or (hidden // heads if heads and hidden else None)
    is_supported = bool(getattr(model, "_supports_flex_attn", False))
    return flex_fault(config.to_dict(), width, is_supported=is_supported)


def of_every_layer(config: Any, name: str) -> Any:
    """Return a setting of a model's config; None where it has none, or its layers differ (Gemma 4)."""
    try:
        return getattr(config, name, None)
    except RuntimeError:
        return None


def flex_fault(config: Mapping[str, Any], head_width: int | None, *, is_supported: bool) -> str:
    """Return why a model of this config.json can't train with flex attention; empty if it can."""
    if not is_supported:
        return "is not in this model's code"
    inner = config.get("attn_config")
    known = [config.get(name) for name in DROPOUTS]
    known += [inner.get(name) for name in DROPOUTS] if isinstance(inner, dict) else []
    dropout = max((part for part in known if isinstance(part, float | int)), default=0)
    if dropout:
        return f"has no dropout, but this model trains with attention dropout {dropout:g}"
    if head_width is not None and head_width < NARROWEST_HEAD:
        return f"needs heads of at least {NARROWEST_HEAD} dimensions, but this model's have {head_width}"
    return ""


def _has(package: str) -> bool:
    return find_spec(package) is not None
