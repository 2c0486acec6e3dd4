"""Writes a whole model to a folder that appears completely or not at all; checks for free disk space first."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetop.core.errors import EnvironmentTrouble, Refused
from finetop.core.models.safetensors_header import tensors
from finetop.core.runtime.failures import is_disk_full
from finetop.core.runtime.files import publish
from finetop.core.wording.units import gib_of

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase as Tokenizer

BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}
MORE = 1.02  # tokenizer, configuration, headers
FACTS = "finetop.json"  # where a model comes from


def require_room(folder: Path, model: Path, dtype: str, beside: float = 0.0) -> int:
    """Check that `folder`'s disk has room for the model in `model`; return the bytes. Raises EnvironmentTrouble.

    `beside` counts what else is written, in bytes per weight.
    """
    each = BYTES[dtype] + beside
    needed = int(sum(shape.count for shape in tensors(model).values()) * each * MORE)
    place = next(parent for parent in (folder, *folder.parents) if parent.is_dir())
    free = shutil.disk_usage(place).free
    if free < needed:
        message = f"{place} has {gib_of(free)} GiB free, but the model needs {gib_of(needed)}."
        raise EnvironmentTrouble(message, hint="Free some, or give a folder of another disk.")
    return needed


def require_absent(target: Path) -> None:
    """Refuse to write over anything. Raises Refused."""
    if target.exists() or target.is_symlink():
        hint = "Give another folder: --to DIR."
        raise Refused(f"{target} already exists and is not overwritten.", hint=hint)


def partial_of(target: Path) -> Path:
    """Return where a folder is written before it gets its name."""
    return target.with_name(f".{target.name}.partial")


def merged_of(target: Path) -> Path:
    """Return where the merged model of GGUF files is written on the way."""
    return target.with_name(f".{target.name}.merged")


def leftovers(target: Path) -> list[Path]:
    """Return the folders that a killed export to `target` left half written."""
    merged = merged_of(target)
    written = (partial_of(target), merged, partial_of(merged))
    every = (place for folder in written for place in (folder, folder.with_name(f"{folder.name}.gone")))
    return [folder for folder in every if folder.is_dir() and not folder.is_symlink()]


def clear_leftovers(target: Path) -> None:
    """Remove what a killed export left; each is renamed first, as another export to `target` may begin meanwhile."""
    with suppress(OSError):  # `finetop clean` names what can't be removed now
        for folder in leftovers(target):
            gone = folder.with_name(f"{folder.name.removesuffix('.gone')}.gone")
            if folder != gone:
                shutil.rmtree(gone, ignore_errors=True)
                folder.rename(gone)
            shutil.rmtree(gone, ignore_errors=True)


@contextmanager
def beside(target: Path) -> Iterator[Path]:
    """Yield a temporary folder beside the target, removed if the block fails. Raises EnvironmentTrouble."""
    aside = partial_of(target)
    try:
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(mode=0o700, parents=True)
        yield aside
    except BaseException as error:
        shutil.rmtree(aside, ignore_errors=True)
        if isinstance(error, OSError) or is_disk_full(error):
            message = f"can't write {target}: {getattr(error, 'strerror', '') or 'the disk is full'}."
            raise EnvironmentTrouble(message, hint="Free some room, or give another folder.") from error
        raise


def recast(model: Any, dtype: torch.dtype) -> Any:
    """Round a model's weights to another number format, except its rotary angles, which are never saved."""
    for weight in model.parameters():
        weight.data = weight.data.to(dtype)
    return model


def write(model: Any, tokenizer: Tokenizer, facts: dict[str, Any], folder: Path) -> None:
    """Save weights as safetensors, configuration, generation settings, tokenizer and template, and the facts."""
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    note(folder, facts)


def note(folder: Path, facts: dict[str, Any]) -> None:
    """Write where a model comes from into its folder."""
    (folder / FACTS).write_text(json.dumps(facts, indent=1), encoding="utf-8")


def put(aside: Path, target: Path) -> None:
    """Rename a written folder to its final name. Raises Refused if something has appeared there meanwhile."""
    require_absent(target)
    aside.chmod(0o755)
    publish(aside, target)
