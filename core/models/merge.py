"""Loads a checkpoint as it was trained, and merges it into one whole model."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetop.core.errors import BadInput, FinetopError, first_line
from finetop.core.models import load
from finetop.core.models.load import answer_in_kind, is_adapter
from finetop.core.models.resolved import ResolvedModel

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase as Tokenizer


def load_tuned(base: ResolvedModel, folder: Path, dtype: torch.dtype, device: str) -> tuple[Any, Tokenizer]:
    """Load a checkpoint and its tokenizer as trained, an adapter on its base. Raises BadInput, EnvironmentTrouble."""
    tokenizer = load.tokenizer_of(base, folder)
    if not is_adapter(folder):
        return load_whole(replace(base, path=folder, quantize="none"), dtype, device), tokenizer
    return _with_adapter(_load_base(base, folder, dtype, device), folder, device), tokenizer


def load_whole(resolved: ResolvedModel, dtype: torch.dtype, device: str) -> Any:
    """Load a whole model for evaluation; it may be a reward model."""
    return _load_base(resolved, resolved.path, dtype, device).eval()


def load_written_out(base: ResolvedModel, folder: Path, dtype: torch.dtype, device: str) -> Any:
    """Load an adapter on its quantized base, which is dequantized to `dtype`."""
    return _with_adapter(_load_base(base, folder, dtype, device).dequantize(dtype), folder, device)


def whole(base: ResolvedModel, folder: Path, dtype: torch.dtype, device: str) -> Any:
    """Return a checkpoint as one whole model: see `merged`."""
    if not is_adapter(folder):
        return load_whole(replace(base, path=folder, quantize="none"), dtype, device)
    if base.quantize != "none":
        return merged(load_written_out(base, folder, dtype, device), folder)
    return merged(_with_adapter(_load_base(base, folder, dtype, device), folder, device), folder)


def merged(tuned: Any, folder: Path) -> Any:
    """Merge an adapter into its base's unquantized weights, consuming `tuned`. Raises FinetopError."""
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="peft")
            return tuned.merge_and_unload(safe_merge=True)
    except (ValueError, NotImplementedError, AttributeError) as error:
        hint = "Use the checkpoint as a PEFT adapter with the base model."
        raise FinetopError(f"{folder.name} can't be merged: {first_line(error)}", hint=hint) from error


def _load_base(base: ResolvedModel, folder: Path, dtype: torch.dtype, device: str) -> Any:
    if load.is_reward_model(folder):
        from finetop.core.models import reward_model

        return reward_model.make(base, load.load_tokenizer(replace(base, path=folder)), dtype, device)
    return load.load_model(base, dtype, device)[0]


def _with_adapter(model: Any, folder: Path, device: str) -> Any:
    from peft import PeftModel

    if not (folder / "adapter_model.safetensors").is_file():
        raise BadInput(f"{folder}: it has no adapter_model.safetensors.", hint="Pick another checkpoint.")
    with warnings.catch_warnings():
        # PEFT 0.21 uses an old name of transformers', and looks for AdaLoRA's ranks by module names.
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
        warnings.filterwarnings("ignore", "The following rank_pattern keys", RuntimeWarning)
        tuned = PeftModel.from_pretrained(model, folder, torch_device=device).eval()
    answer_in_kind(tuned)
    return tuned
