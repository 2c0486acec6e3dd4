"""The two models of a check: found, identified for the cache, and loaded when needed, never both at once.

With an adapter there is one model in memory, with its adapter off for the base and on for the tuned one. A
full checkpoint and its base replace each other in memory; a base whose scores are all known is never loaded.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetop.core.check.checked_weights import hash_in
from finetop.core.check.scoring.batch_plan import VERSION, Name
from finetop.core.data import weight_files
from finetop.core.errors import BadInput, EnvironmentTrouble
from finetop.core.models import load, weight_formats
from finetop.core.models.devices import device_kind, free_memory, scoring_dtype
from finetop.core.models.forward import has_virtual_tokens
from finetop.core.models.llama_cpp.model import open_model
from finetop.core.models.load_checkpoint import load_checkpoint
from finetop.core.models.resolved import ResolvedModel
from finetop.core.runtime.home import Home

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase as Tokenizer


TOKENS_FIRST = ("PROMPT_TUNING", "P_TUNING", "PREFIX_TUNING")  # PEFT's types


@dataclass(frozen=True)
class Change:
    """A change applied to a checkpoint once it is loaded, before it is scored: see core/features/remedies."""

    facts: Mapping[str, Any]  # what the scores of the changed model depend on
    makes_whole: bool  # the result is a whole model, not an adapter on its base
    make: Callable[[Any], Any]  # the loaded checkpoint, which it consumes -> the changed model
    report: list[str] = field(default_factory=list)  # what `make` reports of its work


@dataclass
class ModelPair:
    """Base and checkpoint, their number format and device, and whichever is loaded.

    During training there is no checkpoint: `loaded` is the model in memory, as "base" before its first step and
    as "tuned" after it. With a `change` the tuned model is the changed checkpoint.
    """

    base: ResolvedModel
    checkpoint: Path | None
    dtype: str
    device: str
    loaded: Any = None
    loaded_name: str = ""
    change: Change | None = None
    room: int = 0  # tokens that a GGUF file must have a context for
    opened: ExitStack = field(default_factory=ExitStack)  # llama.cpp's process, while it is loaded

    @property
    def gguf(self) -> Path | None:
        """Return the GGUF file that the tuned model is, which llama.cpp scores; else None."""
        return None if self.checkpoint is None else weight_files.gguf_file(self.checkpoint)

    @property
    def is_adapter(self) -> bool:
        """Return whether the tuned model, as it is scored, is an adapter on the base model."""
        if self.checkpoint is None:
            return hasattr(self.loaded, "disable_adapter")
        return load.is_adapter(self.checkpoint) and not (self.change is not None and self.change.makes_whole)

    @property
    def reads_rows_alone(self) -> bool:
        """Return whether the tuned model's adapter puts learned tokens before each row, which prevents packing."""
        if self.checkpoint is None:
            return has_virtual_tokens(self.loaded)
        return load.adapter_config(self.checkpoint).get("peft_type") in TOKENS_FIRST

    def is_loaded(self, name: Name) -> bool:
        """Return whether this model is available without loading; a model in training is in memory."""
        return self.checkpoint is None or self.loaded_name == ("tuned" if self.is_adapter else name)


def open_pair(base: ResolvedModel, checkpoint: Path, dtype: str, device: str) -> ModelPair:
    """Return the pair of base and checkpoint. Raises BadInput if the checkpoint does not exist."""
    if not checkpoint.is_dir():
        hint = "It may have been removed: pick another step."
        raise BadInput(f"there is no checkpoint {checkpoint}.", hint=hint)
    return ModelPair(base, checkpoint, scoring_dtype(dtype, base.path, device), device)


def facts_of(pair: ModelPair, name: Name, tokenizer: Tokenizer, home: Home) -> dict[str, Any]:
    """Return everything a model's scores depend on, except the batch plan and the task."""
    import lm_eval
    import torch
    import transformers

    tuned = name == "tuned"
    if tuned and pair.checkpoint is None:
        raise AssertionError("a model in memory has no lasting identity")
    changed: dict[str, Any] = {"remedy": dict(pair.change.facts)} if tuned and pair.change is not None else {}
    if tuned and pair.gguf is not None:
        changed["llama_cpp"] = version("llama-cpp-py-sync")
    return {
        **hashes_of(pair.base, pair.checkpoint if tuned else None, home),
        "tokenizer": _sha(tokenizer.backend_tokenizer.to_str() if tokenizer.is_fast else repr(tokenizer)),
        "template": _sha(str(tokenizer.chat_template)),
        "dtype": pair.dtype,
        "quantize": _quantize(pair.base),
        "device": device_kind(pair.device),
        "scorer": VERSION,
        "torch": str(torch.__version__),
        "transformers": transformers.__version__,
        "lm_eval": lm_eval.__version__,
        **changed,
    }


def hashes_of(base: ResolvedModel, checkpoint: Path | None, home: Home) -> dict[str, str | None]:
    """Return the hashes of a model's whole weights and of its adapter; without a checkpoint, the base's."""
    if checkpoint is None:
        return {"weights": base.weights_hash, "adapter": None}
    own = weight_files.model_hash(checkpoint, home)
    if load.is_adapter(checkpoint):
        return {"weights": base.weights_hash, "adapter": own}
    return {"weights": own, "adapter": None}


def require_unchanged(pair: ModelPair, tuned: Mapping[str, Any] | None, home: Home) -> None:
    """Require that the weights on disk are those whose hash the scores are kept under. Raises EnvironmentTrouble."""
    known = [("the base", pair.base.path, pair.base.weights_hash)]
    if pair.checkpoint is not None and tuned is not None:
        known.append(("the checkpoint", pair.checkpoint, str(hash_in(tuned))))
    for what, folder, digest in known:
        if weight_files.model_hash(folder, home) != digest:
            hint = "Check it again when nothing writes there any more."
            raise EnvironmentTrouble(f"the weights of {what} changed while they were scored.", hint=hint)


@contextmanager
def as_base(pair: ModelPair) -> Iterator[Any]:
    """Yield the base model, loaded if it is not: with an adapter, the same model with the adapter off."""
    if not pair.is_adapter:
        yield _load(pair, "base")
        return
    model = pair.loaded if pair.checkpoint is None else _load(pair, "tuned")
    with model.disable_adapter():
        yield model


@contextmanager
def as_tuned(pair: ModelPair) -> Iterator[Any]:
    """Yield the tuned model, loaded if it is not."""
    yield _load(pair, "tuned")


def put_away(pair: ModelPair) -> None:
    """Drop the loaded model: two full models may not fit."""
    pair.loaded, pair.loaded_name = None, ""
    pair.opened.close()
    free_memory(pair.device)


def _load(pair: ModelPair, name: Name) -> Any:
    if pair.loaded_name != name:
        if pair.checkpoint is None:
            raise AssertionError(f"the model in memory is the {pair.loaded_name} one, not the {name}")
        put_away(pair)
        dtype = load.torch_dtype(pair.dtype, pair.device)
        if name == "base":
            model = load.load_model(pair.base, dtype, pair.device)[0].eval()
        elif (file := pair.gguf) is not None:
            model = pair.opened.enter_context(open_model(file, pair.room))
        else:
            model, _ = load_checkpoint(pair.base, pair.checkpoint, dtype, pair.device)
            if pair.change is not None:
                model = pair.change.make(model)
            model = model.eval()
        pair.loaded, pair.loaded_name = model, name
    return pair.loaded


def _quantize(base: ResolvedModel) -> str:
    """Return how the linear layers are stored, with the version of the library that does it."""
    kind, library = base.quantize, weight_formats.load(base.quantize).library
    return f"{kind}, {library} {version(library)}" if library else kind


def _sha(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()
