"""Writes checkpoints: a folder that appears whole or not at all, with a manifest of its files' sizes."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

from finetop.core.events import Checkpoint
from finetop.core.fault_points import abort_at
from finetop.core.folders import publish

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path

    from transformers import PreTrainedTokenizerBase

    from finetop.core.events import EventLog
    from finetop.core.models import ResolvedModel

FORMAT = 1
MANIFEST = "manifest.json"
STATE = "state"  # folder of what training needs beside the weights to go on: see core/train/keeping/resume.py


def write(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    base: ResolvedModel,
    run_folder: Path,
    step: int,
    events: EventLog,
    keep_state: Callable[[Path], None] | None = None,
) -> Path:
    """Write the model (an adapter alone, where there is one) and its tokenizer to checkpoints/step-000120.

    `keep_state` adds what training needs to go on from there. The event follows when all of it is on the disk.
    Raises OSError, or the library's own error, on a full disk; then nothing of the checkpoint is left.
    """
    target = folder_of(run_folder, step)
    if target.is_dir():
        return target  # a checkpoint of that step is there: written at once, it is complete
    aside = target.with_name(f".{target.name}.partial")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(mode=0o700, parents=True)
    try:
        kind = _save(model, base, aside)
        tokenizer.save_pretrained(aside)
        if keep_state is not None:
            keep_state(aside)
        sizes = {
            str(file.relative_to(aside)): file.stat().st_size
            for file in sorted(aside.rglob("*"))
            if file.is_file()
        }
        manifest = {
            "format": FORMAT,
            "step": step,
            "kind": kind,
            "base": {"id": base.id, "revision": base.revision, "weights_hash": base.weights_hash},
            "files": sizes,
        }
        (aside / MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
        publish(aside, target)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    events.write(Checkpoint(step, str(target.relative_to(run_folder)), sum(sizes.values()), kind))
    events.sync()
    return target


def folder_of(run_folder: Path, step: int) -> Path:
    """Name the folder of a step's checkpoint."""
    return run_folder / "checkpoints" / f"step-{step:06d}"


def _save(model: Any, base: ResolvedModel, folder: Path) -> str:
    from peft import PeftModel

    inner = model.get_base_model() if isinstance(model, PeftModel) else model
    is_reward = type(inner).__name__.endswith("ForSequenceClassification")
    if not isinstance(model, PeftModel):
        model.save_pretrained(folder)
        return "reward" if is_reward else "full"
    for config in model.peft_config.values():
        config.base_model_name_or_path = base.hub_id or str(base.path)
        config.revision = base.revision
    # "auto" would ask the hub, perhaps for a long time, whether the vocabulary has grown; it has not.
    model.save_pretrained(folder, save_embedding_layers=False)
    (folder / "README.md").unlink(missing_ok=True)  # PEFT's empty model card
    return "reward" if is_reward else "adapter"


def complete(run_folder: Path) -> list[Path]:
    """List a run's checkpoints, oldest first: those whose manifest names files that all have their size."""
    return [folder for folder in sorted((run_folder / "checkpoints").glob("step-*")) if is_complete(folder)]


def is_complete(folder: Path) -> bool:
    """Tell whether every file that the manifest names is there in its size."""
    try:
        sizes = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["files"]
        return all((folder / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def manifest_of(folder: Path) -> dict[str, Any]:
    """Read a checkpoint's manifest; nothing where there is none that can be read."""
    try:
        found = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def bytes_of(folder: Path) -> float:
    """Say how many bytes a checkpoint's files have, as its manifest says; 0 where it can't be read."""
    files = manifest_of(folder).get("files", {})
    return float(sum(files.values())) if isinstance(files, dict) else 0.0


def likely_bytes(model: Any, *, with_state: bool) -> float:
    """Say about how many bytes the first checkpoint will have: the weights, and two numbers each that AdamW keeps."""
    weights = list(model.parameters())
    moving = float(sum(one.numel() * one.element_size() for one in weights if one.requires_grad))
    whole = float(sum(one.numel() * one.element_size() for one in weights))
    saved = moving if hasattr(model, "peft_config") else whole
    return saved + 2 * moving if with_state else saved


def is_resumable(folder: Path) -> bool:
    """Tell whether a checkpoint is complete and training can go on from it."""
    return (folder / STATE).is_dir() and is_complete(folder)


def step_of(folder: Path) -> int:
    """Read the step from a checkpoint's name."""
    return int(folder.name.removeprefix("step-"))


def remove(folder: Path) -> None:
    """Remove a checkpoint: it vanishes from sight before its files go."""
    gone = folder.with_name(f".{folder.name}.gone")
    folder.rename(gone)
    abort_at("checkpoint-out-of-sight")
    shutil.rmtree(gone, ignore_errors=True)


def prune(run_folder: Path, keep: int | None, spared: Collection[int] = ()) -> None:
    """Remove all but the newest `keep` checkpoints and those of the spared steps."""
    if keep is None:
        return
    for folder in complete(run_folder)[:-keep]:
        if folder in {folder_of(run_folder, step) for step in spared}:
            continue
        remove(folder)


def clear_leftovers(run_folder: Path) -> None:
    """Remove what a killed process left half written or half removed."""
    for pattern in (".step-*.partial", ".step-*.gone"):
        for folder in (run_folder / "checkpoints").glob(pattern):
            shutil.rmtree(folder, ignore_errors=True)
