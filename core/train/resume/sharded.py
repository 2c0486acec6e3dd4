"""Large states of sharded training: each rank writes its own part, with torch's distributed checkpoints.

The optimizer's state and the float32 weights would otherwise be gathered on the first rank: 96 GB for an 8B model. The
parts are safetensors, so that no pickle is ever opened, and can be read by any number of ranks.
"""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from finetop.core.models import collectives, shards
from finetop.core.recipe.parallel import IN_PARTS_ABOVE, PART_BYTES, STATE_BYTES

ABOVE = IN_PARTS_ABOVE  # below this size, one file is as fast
FOLDER = "shards"  # in a checkpoint's state
ASIDE = ".step-shards.partial"  # beside the checkpoints, until the rest of the checkpoint is written
NAMES = "sharded"  # key in a state's tree: number format of each tensor written in parts
WEIGHT = "weight."


def is_wanted(model: Any) -> bool:
    """Return whether the training state is large enough to be written in parts."""
    weights = [w for w in model.parameters() if w.requires_grad or not shards.is_adapter(model)]
    return shards.is_divided(model) and STATE_BYTES * sum(w.numel() for w in weights) > ABOVE


def save(model: Any, state: Mapping[int, Mapping[str, Any]], folder: Path) -> dict[str, str]:
    """Write an optimizer's sharded tensors, and weights that the checkpoint itself rounds; all ranks take part.

    Returns their names with their number formats. Raises OSError, or the library's own error, on a full disk.
    """
    from torch.distributed.tensor import DTensor

    named = {f"{index}.{key}": held for index, values in state.items() for key, held in values.items()}
    tensors = {name: value for name, value in named.items() if isinstance(value, DTensor)}
    if shards.is_rounded(model):
        tensors |= {f"{WEIGHT}{name}": weight.detach() for name, weight in model.named_parameters()}
    collectives.from_first(lambda: _make(folder))
    _write(tensors, folder)
    return {name: str(tensor.dtype).removeprefix("torch.") for name, tensor in tensors.items()}


def without(state: Mapping[int, Mapping[str, Any]], names: Mapping[str, str]) -> dict[int, dict[str, Any]]:
    """Return an optimizer's state without the tensors that are written in parts."""
    return {
        index: {key: value for key, value in values.items() if f"{index}.{key}" not in names}
        for index, values in state.items()
    }


def read_state(
    state: dict[int, dict[str, Any]], names: Mapping[str, str], weights: list[Tensor], folder: Path
) -> None:
    """Read the missing parts of an optimizer's state of these weights in place, sharded as the weights are."""
    wanted = {name: dtype for name, dtype in names.items() if not name.startswith(WEIGHT)}
    tensors = {}
    for name, dtype in wanted.items():
        index, _, key = name.partition(".")
        like = weights[int(index)]
        kind = getattr(torch, dtype)
        tensors[name] = state[int(index)][key] = torch.empty_like(like, dtype=kind, requires_grad=False)
    _read(tensors, folder)


def read_weights(model: Any, names: Mapping[str, str], folder: Path) -> None:
    """Copy the saved unrounded weights over a model's, one at a time."""
    held = dict(model.named_parameters())
    for name, dtype in names.items():
        if name.startswith(WEIGHT):
            weight = held[name.removeprefix(WEIGHT)]
            tensor = torch.empty_like(weight, dtype=getattr(torch, dtype), requires_grad=False)
            _read({name: tensor}, folder)
            shards.fill(held, {name.removeprefix(WEIGHT): tensor})


def _make(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700, parents=True)


def _write(tensors: dict[str, Tensor], folder: Path) -> None:
    from torch.distributed import checkpoint as dcp
    from torch.distributed.checkpoint.api import CheckpointException

    writer = dcp.HuggingFaceStorageWriter(str(folder), _files_of(tensors), save_distributed=True)
    try:
        dcp.save(tensors, storage_writer=writer, process_group=collectives.plain_group())
    except CheckpointException as error:  # an error of any rank is raised on all
        raise next(iter(error.failures.values()))[0] from error


def _files_of(tensors: dict[str, Tensor]) -> dict[str, int]:
    """Assign each tensor to a numbered file, from 1: torch holds all of a file in memory, three times."""
    files, written = {}, 0
    for name, tensor in tensors.items():
        files[name] = 1 + written // PART_BYTES
        written += shards.local(tensor).nbytes
    return files


def _read(tensors: dict[str, Tensor], folder: Path) -> None:
    from torch.distributed import checkpoint as dcp

    group = collectives.plain_group()
    reader = dcp.HuggingFaceStorageReader(str(folder))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "torch.distributed is disabled")  # expected for a single process
        dcp.load(tensors, storage_reader=reader, process_group=group, no_dist=group is None)
