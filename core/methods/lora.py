"""LoRA: small low-rank matrices beside frozen weights (arXiv:2106.09685), by PEFT."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
from msgspec import Meta

from finetop.core.errors import BadInput, did_you_mean

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

ABOUT = "few weights, one GPU, easy to undo"


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Settings under `method:` when its name is lora."""

    rank: Annotated[
        int, Meta(ge=1, le=4096, description="Width of the added matrices. 8 to 64 is usual.")
    ] = 16
    alpha: Annotated[
        float,
        Meta(
            gt=0,
            le=65536,
            description="Strength: the update is scaled by alpha / rank. Often twice the rank.",
        ),
    ] = 32.0
    dropout: Annotated[
        float, Meta(ge=0, lt=1, description="Share of adapter inputs dropped in training.")
    ] = 0.0
    target_modules: Annotated[
        Literal["all-linear"] | tuple[str, ...],
        Meta(description="all-linear, or a list of module names such as [q_proj, v_proj]."),
    ] = "all-linear"
    rslora: Annotated[
        bool, Meta(description="Scale by alpha / sqrt(rank), for high ranks (arXiv:2312.03732).")
    ] = False
    modules_to_save: Annotated[
        tuple[str, ...],
        Meta(description="Modules trained whole and saved beside the adapter, such as [lm_head]."),
    ] = ()


def prepare(model: PreTrainedModel, options: Options) -> PeftModel:
    """Wrap the model with a fresh adapter: it alone is trainable, and at the start it changes nothing.

    Raises BadInput if a named module is not in the model.
    """
    from peft import LoraConfig, PeftModel, get_peft_model

    named = () if options.target_modules == "all-linear" else options.target_modules
    _check_modules(model, named, "method.target_modules")
    _check_modules(model, options.modules_to_save, "method.modules_to_save")
    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=options.rank,
        lora_alpha=options.alpha,  # typed as int, but only ever divided
        lora_dropout=options.dropout,
        target_modules=list(named) or "all-linear",
        use_rslora=options.rslora,
        modules_to_save=list(options.modules_to_save) or None,
    )
    with warnings.catch_warnings():
        # PEFT 0.21 still asks transformers by the old name of activation checkpointing
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
        wrapped = get_peft_model(model, config)
    assert isinstance(wrapped, PeftModel)  # mixed models are not asked for
    return wrapped


def _check_modules(model: PreTrainedModel, wanted: tuple[str, ...], key: str) -> None:
    paths = [path for path, _ in model.named_modules() if path]
    for name in wanted:
        if not any(path == name or path.endswith(f".{name}") for path in paths):
            known = {path.rsplit(".", 1)[-1] for path in paths} - {str(n) for n in range(1000)}
            raise BadInput(f"{key}: the model has no module {name!r}.", hint=did_you_mean(name, known))
