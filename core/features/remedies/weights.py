"""Rebuild a loaded model's weights from the base's and its own, one tensor at a time, in memory.

An adapter is merged first, so the result is a whole model. The base's weights are read from its files as they are
needed: in addition to the model there are one tensor of the base and the mix of both, in float32. The base's weights
are first rounded to the model's number format, as when the base is loaded; the mix is rounded once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from finetop.core.data import weight_files
from finetop.core.errors import FinetopError
from finetop.core.models import load
from finetop.core.models.resolved import ResolvedModel

if TYPE_CHECKING:
    from torch import Tensor

    # (name, the base's weights, the tuned ones), both float32 -> the new weights
    Mix = Callable[[str, Tensor, Tensor], Tensor]


class Unchanged(FinetopError):
    """A remedy that changes nothing in this model."""


def changed(model: Any, base: ResolvedModel, mix: Mix, *, matrices_alone: bool = False) -> Any:
    """Rebuild a merged model's weights with a function (`matrices_alone`: linear layers'). Raises FinetopError."""
    import torch

    whole = merged(model)
    ends = (whole.get_input_embeddings(), whole.get_output_embeddings())
    embeddings = {id(part.weight) for part in ends if part}
    with torch.no_grad(), weights_of(base, whole) as read_weights:
        for name, weight in whole.named_parameters():
            if matrices_alone and (weight.ndim != 2 or id(weight) in embeddings):
                continue
            before = read_weights(name).to(weight.dtype)
            if before.shape != weight.shape:
                message = f"{name} has the shape {list(weight.shape)}, and {list(before.shape)} in the base."
                raise FinetopError(message, hint="Try an earlier checkpoint.")
            before = before.to(weight.device)
            if not torch.equal(before, weight):
                weight.data = mix(name, before.float(), weight.float()).to(weight.dtype)
    return whole


def merged(model: Any) -> Any:
    """Merge an adapter into its base's weights; a whole model is returned as it is. Raises FinetopError."""
    from pathlib import Path

    from finetop.core.models import merge

    return merge.merged(model, Path("the adapter")) if hasattr(model, "merge_and_unload") else model


@contextmanager
def weights_of(base: ResolvedModel, model: Any) -> Iterator[Callable[[str], Tensor]]:
    """Yield a function that reads the base's weights by their names in `model`.

    Its files use the same names, with or without the prefix of the model's body. If they don't, the base is loaded
    whole, on the CPU.
    """
    from safetensors import safe_open

    with ExitStack() as opened:
        places: dict[str, Any] = {}
        for file in weight_files.weight_files(base.path):
            reader = opened.enter_context(safe_open(file, "pt", device="cpu"))
            places.update(dict.fromkeys(reader.keys(), reader))
        prefix = model.base_model_prefix
        named = {name: _in_file(name, prefix, places) for name, _ in model.named_parameters()}
        if None not in named.values():
            yield lambda name: places[str(named[name])].get_tensor(named[name])
            return
    base_model: Any = load.load_model(base, next(model.parameters()).dtype, "cpu")[0]
    base_weights = dict(base_model.named_parameters(remove_duplicate=False))
    missing = next((name for name in named if name not in base_weights), None)
    if missing is not None:
        raise FinetopError(f"the base has no weights {missing}.", hint="Try an earlier checkpoint.")
    yield lambda name: base_weights[name]


def _in_file(name: str, prefix: str, places: dict[str, Any]) -> str | None:
    spellings = (name, name.removeprefix(f"{prefix}."), f"{prefix}.{name}")
    return next((spelling for spelling in spellings if spelling in places), None)
