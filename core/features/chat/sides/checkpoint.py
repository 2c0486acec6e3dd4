"""A run's checkpoint or its base, in memory here: an adapter and its base are one model, switched off for the base."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetop.core.data.weight_files import gguf_file
from finetop.core.errors import BadInput, FinetopError
from finetop.core.features.chat.generate import Kept, generate
from finetop.core.features.chat.sides import Answered, Opening, Request, SideKind, Writer
from finetop.core.features.chat.sides.gguf import open_file
from finetop.core.features.remedies.messages import candidate_of
from finetop.core.models import checkpoint, load, resolve, weight_formats
from finetop.core.models.devices import free_memory, scoring_dtype
from finetop.core.models.load_checkpoint import load_checkpoint
from finetop.core.models.resolved import ResolvedModel
from finetop.core.plugins import REMEDIES
from finetop.core.protocol.events import Phase
from finetop.core.runtime.failures import is_out_of_memory

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase as Tokenizer

    from finetop.core.features.chat.transcript import Side


@dataclass(frozen=True)
class InMemory:
    """A loaded model, and the base that it is or has inside."""

    model: Any
    base: ResolvedModel
    dtype: str
    has_base: bool  # the base itself, or an adapter on it that can be switched off

    def is_of(self, base: ResolvedModel, dtype: str) -> bool:
        """Return whether it can answer as this base."""
        own = (self.base.weights_hash, self.base.quantize, self.dtype)
        return self.has_base and own == (base.weights_hash, base.quantize, dtype)


@dataclass
class ModelWriter(Writer):
    """Answers with a model in memory."""

    model: Any
    tokenizer: Tokenizer
    device: str
    is_base: bool
    kept: Kept = field(default_factory=Kept)

    def forget(self) -> None:
        # what both conversations begin with would be read in other pieces: in 16 bits that rounds differently
        self.kept = Kept()

    def answer(self, request: Request) -> Answered:
        from finetop.core.data.render import prompt_ids

        if request.settings.raw:
            text, bos = request.messages[-1].content, self.tokenizer.bos_token
            begins = not (bos and text.startswith(bos))
            ids = list(self.tokenizer(text, add_special_tokens=begins, verbose=False)["input_ids"])
        else:
            ids = prompt_ids(request.messages, self.tokenizer, "the conversation")
        if not ids:
            raise BadInput("the prompt has no tokens.", hint="Type some text.")
        kept = Kept() if request.settings.raw else self.kept
        how = (request.settings, kept, request.piece, request.is_stopped)
        try:
            with self.switched():
                return generate(self.model, self.tokenizer, ids, *how)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            self.kept = Kept()
            free_memory(self.device)
            message = f"out of memory with a conversation of {len(ids):,} tokens"
            raise FinetopError(f"{message}.", hint="Begin a new one, or lower max_new_tokens.") from error

    def switched(self) -> AbstractContextManager[Any]:
        """Switch the adapter off meanwhile, if this is the base inside it."""
        is_inside = self.is_base and hasattr(self.model, "disable_adapter")
        switched: AbstractContextManager[Any] = self.model.disable_adapter() if is_inside else nullcontext()
        return switched


class Checkpoint(SideKind):
    about = "a checkpoint of a run, or of a remedy of it"
    needs_model = True

    def open(self, side: Side, place: int, opening: Opening) -> Writer:
        run_folder = opening.home.root / side.place.folder
        folder = run_folder / side.place.checkpoint
        while True:
            try:
                if folder.is_dir():
                    return _open(side, folder, opening)
                named = f"{side.place.checkpoint} of {side.side.run}"
                hint = "It may have been removed: pick another."
                raise BadInput(f"there is no {named}.", hint=hint)
            except (FinetopError, OSError):
                # A run that goes on removes its old checkpoints, also while one is read here.
                kept = checkpoint.complete(run_folder) if side.place.follows and not folder.is_dir() else []
                if not kept:
                    raise
                folder = kept[-1]
                step = checkpoint.step_of(folder)
                said = f"{side.side.label} was removed by its run meanwhile"
                opening.tell(place, f"{said}: step {step:,}, the newest, answers here instead.")


def _open(side: Side, folder: Path, opening: Opening) -> Writer:
    """Load a side's model from a checkpoint's folder. Raises FinetopError, OSError."""
    recipe = resolve.recipe_of(opening.home.root / side.place.folder)
    if (file := gguf_file(folder)) is not None:
        opening.events.write(Phase(f"loading {side.side.label}"))
        return open_file(file)
    base = resolve.resolve_model(recipe.model, opening.home, opening.events)
    dtype = scoring_dtype(recipe.model.dtype, base.path, opening.device)
    opening.events.write(Phase(f"loading {side.side.label}"))
    kind = load.torch_dtype(dtype, opening.device)
    model: Any = load_checkpoint(base, folder, kind, opening.device)[0]
    has_base = load.is_adapter(folder)
    if side.place.candidate is not None:
        model, has_base = remedied(model, side, base, folder, has_base=has_base)
    model = model.eval()
    opening.models.append(InMemory(model, base, dtype, has_base))
    return ModelWriter(model, load.tokenizer_of(base, folder), opening.device, False)


def remedied(
    model: Any, side: Side, base: ResolvedModel, folder: Path, *, has_base: bool
) -> tuple[Any, bool]:
    """Rebuild a remedy's model from a loaded checkpoint. Return it, and whether its base is still inside."""
    candidate = candidate_of(side.place.candidate or {})
    change = REMEDIES.load(candidate.remedy).change(candidate, base, folder)
    if change is None:
        return model, has_base
    if weight_formats.load(base.quantize).rounds_inputs and change.makes_whole:
        raise BadInput(f"{candidate.name}: a base in {base.quantize} can't be rewritten.")
    return change.make(model), has_base and not change.makes_whole


PLUGIN = Checkpoint()
