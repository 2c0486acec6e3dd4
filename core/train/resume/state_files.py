"""Trees of numbers and tensors on disk: tensors as safetensors, the rest as JSON; no pickle is ever opened."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from finetop.core.errors import EnvironmentTrouble, first_line

TREE, TENSORS = "state.json", "tensors.safetensors"
# Values that JSON lacks are written as a mapping with one key that names the kind.
TENSOR, MAPPING, LIST, TUPLE = "tensor", "mapping", "list", "tuple"


def save(tree: Any, folder: Path) -> None:
    """Write a tree of dicts, lists, tuples, tensors, texts and numbers to an existing folder.

    A tensor that occurs twice (8-bit optimizers share their tables) is written once. Raises OSError or the
    library's own error on a full disk, TypeError for anything else in the tree.
    """
    from safetensors.torch import save_file

    tensors: dict[str, Tensor] = {}
    names: dict[Any, str] = {}
    written = _written(tree, tensors, names)
    (folder / TREE).write_text(json.dumps(written), encoding="utf-8")
    save_file(tensors, folder / TENSORS)


def load(folder: Path) -> Any:
    """Read what `save` wrote, tensors on the CPU. Raises EnvironmentTrouble."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        written = json.loads((folder / TREE).read_text(encoding="utf-8"))
        return _read(written, load_file(folder / TENSORS))
    except (OSError, ValueError, KeyError, TypeError, RecursionError, SafetensorError) as error:
        message = f"{folder}: the trainer's state can't be read: {first_line(error)}."
        hint = "Resume from another checkpoint: finetop resume RUN@STEP."
        raise EnvironmentTrouble(message, hint=hint) from error


def _written(value: Any, tensors: dict[str, Tensor], names: dict[Any, str]) -> Any:
    if isinstance(value, torch.Tensor):
        return {TENSOR: _named(value.detach(), tensors, names)}
    if isinstance(value, dict):
        pairs = [[_key(key), _written(held, tensors, names)] for key, held in value.items()]
        return {MAPPING: pairs}
    if isinstance(value, list | tuple):
        kind = LIST if isinstance(value, list) else TUPLE
        return {kind: [_written(held, tensors, names) for held in value]}
    if value is None or isinstance(value, str | bool | int | float):
        return value
    raise TypeError(f"a {type(value).__name__} can't be kept in a trainer's state")


def _key(key: Any) -> str | int:
    if isinstance(key, str | int):
        return key
    raise TypeError(f"a {type(key).__name__} can't be a key in a trainer's state")


def _named(tensor: Tensor, tensors: dict[str, Tensor], names: dict[Any, str]) -> str:
    """Add a tensor under a new name, or return the name of the same tensor if it was added before."""
    place = (tensor.data_ptr(), tensor.dtype, tuple(tensor.shape), tuple(tensor.stride()), tensor.device)
    if tensor.numel() == 0 or place not in names:
        name = f"{len(tensors):06d}"
        names[place] = name
        # a view would be refused, or its whole storage written
        tensors[name] = tensor.to("cpu", copy=True).contiguous() if _is_view(tensor) else tensor.contiguous()
    else:
        name = names[place]
    return name


def _is_view(tensor: Tensor) -> bool:
    return bool(tensor.untyped_storage().nbytes() != tensor.numel() * tensor.element_size())


def _read(written: Any, tensors: dict[str, Tensor]) -> Any:
    if not isinstance(written, dict):
        return written
    ((kind, held),) = written.items()
    if kind == TENSOR:
        return tensors[held]
    if kind == MAPPING:
        return {key: _read(value, tensors) for key, value in held}
    if kind in (LIST, TUPLE):
        values = [_read(value, tensors) for value in held]
        return values if kind == LIST else tuple(values)
    raise ValueError(f"{kind!r} is not a supported value")
