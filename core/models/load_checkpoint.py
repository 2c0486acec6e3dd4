"""Loads a checkpoint: an adapter on its base model, or a full model."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetop.core.errors import BadInput, first_line
from finetop.core.models import load
from finetop.core.models.imports.compatibility import require_linked_fit
from finetop.core.models.resolved import ResolvedModel
from finetop.core.models.safetensors_header import read_header
from finetop.core.runtime.failures import is_out_of_memory
from finetop.core.text import plain

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase as Tokenizer


OTHER = "Pick another checkpoint: RUN@STEP."
WIDEST = 65_536  # the largest width that a method may have here


def load_checkpoint(
    base: ResolvedModel, folder: Path, dtype: torch.dtype, device: str
) -> tuple[PreTrainedModel, Tokenizer]:
    """Load a tuned model from a checkpoint's folder: an adapter on the base model, or a full model.

    Raises BadInput if the folder has neither, or only pickled weights, or a reward model, or one of another base.
    """
    load.require_text(folder, str(folder))
    require_linked_fit(folder, base.path)
    if not load.is_adapter(folder):
        load.check_folder(folder, str(folder))
        return load.load_model(replace(base, path=folder), dtype, device)
    if not (folder / "adapter_model.safetensors").is_file():
        raise BadInput(f"{folder}: it has no adapter_model.safetensors.", hint="Pick another checkpoint.")
    from peft import PeftModel
    from safetensors import SafetensorError

    _require_sizes(folder)
    model, tokenizer = load.load_model(base, dtype, device)
    try:
        with warnings.catch_warnings():
            # PEFT looks for modules of these names, but AdaLoRA's name matrices; it prunes them all the same.
            warnings.filterwarnings("ignore", "The following rank_pattern keys", RuntimeWarning)
            tuned: Any = PeftModel.from_pretrained(model, folder, torch_device=device)
            _unround(tuned, folder / "adapter_model.safetensors")
            load.answer_in_kind(tuned)
    except (
        OSError,
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
        RuntimeError,
        SafetensorError,
    ) as error:
        if is_out_of_memory(error):
            raise
        why = "its weights are damaged" if isinstance(error, SafetensorError) else first_line(error)
        raise BadInput(f"{folder}: the adapter can't be loaded: {why}.", hint=OTHER) from error
    return tuned, tokenizer


def _require_sizes(folder: Path) -> None:
    """Refuse settings wider than any tensor of an adapter, which PEFT would allocate first. Raises BadInput."""
    config = load.adapter_config(folder)
    try:
        shapes = read_header(folder / "adapter_model.safetensors").values()
    except BadInput as error:
        message = f"{folder}: the adapter can't be loaded: its weights are damaged."
        raise BadInput(message, hint=OTHER) from error
    widest = max((side for shape in shapes for side in shape.size), default=0)
    pattern = config.get("rank_pattern")
    ranks = {"r": config.get("r"), "num_virtual_tokens": config.get("num_virtual_tokens")}
    if isinstance(pattern, dict):
        ranks |= {f"rank_pattern.{name}": rank for name, rank in pattern.items()}
    # A Kronecker product's rank may exceed the sides of its factors.
    most = widest if config.get("peft_type") == "LORA" else max(widest, WIDEST)
    for name, rank in ranks.items():
        if isinstance(rank, int | float) and rank > most:
            raise BadInput(
                f"{plain(str(folder))}: adapter_config.json: {plain(name)} is {rank:,}, and no tensor of the adapter"
                f" has more than {widest:,} rows.",
                hint="Pick another checkpoint, or put back the file that belongs to these weights.",
            )


def _unround(tuned: Any, file: Path) -> None:
    """Fill an adapter's matrices with the exact numbers of the file.

    PEFT rounds AdaLoRA's to the base's format when it prunes them to their ranks: that moved a logit of SmolLM2-135M in
    bfloat16 by 0.81 after 12 steps; without it by 0.25, which is the base's own rounding.
    """
    from safetensors import safe_open

    with safe_open(file, "pt", device="cpu") as saved:
        saved_names = set(saved.keys())
        for name, weight in tuned.named_parameters():
            key = name.removesuffix(".default")
            if key != name and key in saved_names:
                exact = saved.get_tensor(key)
                if exact.shape == weight.shape:
                    weight.data = exact.to(weight.device)
