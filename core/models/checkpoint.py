"""Writes checkpoints: a folder that appears completely or not at all, with a manifest of its files' sizes."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Collection, Mapping
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

import msgspec

from finetop.core.errors import NotFound
from finetop.core.models import collectives, shards
from finetop.core.protocol.events import Checkpoint
from finetop.core.recipe.references import parse
from finetop.core.runtime.crash_points import abort_at
from finetop.core.runtime.files import open_regular, publish
from finetop.core.text import quoted

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase as Tokenizer

    from finetop.core.models.resolved import ResolvedModel
    from finetop.core.runtime.event_log import EventLog
    from finetop.core.runtime.home import Home

    # Collects what resuming needs, on all ranks; returns a function that writes it to a checkpoint's folder.
    KeepState = Callable[[], Callable[[Path], None]]

FORMAT = 1
MANIFEST = "manifest.json"
MANIFEST_LIMIT = 4 << 20  # bytes
_NAME = re.compile(r"step-[0-9]{1,12}", re.ASCII)
MERGED = "merged"  # folder in the home's models: whole models that runs start from, made of others' adapters
STATE = "state"  # folder of what resuming needs beside the weights: see core/train/resume/training_state.py


class Base(msgspec.Struct, frozen=True):
    """The base model that a checkpoint was trained from."""

    weights_hash: str | None = None


class Manifest(msgspec.Struct, frozen=True):
    """The parts of a manifest that are read."""

    files: dict[str, int]
    format: int = FORMAT
    step: int | None = None
    base: Base = Base()


_manifest = msgspec.json.Decoder(Manifest)


def write(
    model: Any,
    tokenizer: Tokenizer,
    base: ResolvedModel,
    run_folder: Path,
    step: int,
    events: EventLog,
    keep_state: KeepState | None = None,
) -> Path:
    """Write the model (only the adapter, if there is one) and its tokenizer to checkpoints/step-000120.

    `keep_state` adds what resuming from there needs. The event is written once everything is on disk. All ranks take
    part to gather sharded weights; the first one writes.
    Raises OSError, or the library's own error, on a full disk; then nothing of the checkpoint is left.
    """
    target = folder_of(run_folder, step)
    if collectives.from_first(target.is_dir):
        return target  # it exists already; folders appear atomically, so it is complete
    weights = shards.state_of(model) if shards.is_divided(model) else None
    state = keep_state() if keep_state is not None else None
    collectives.from_first(lambda: _write(model, tokenizer, base, run_folder, step, events, weights, state))
    return target


def _write(
    model: Any,
    tokenizer: Tokenizer,
    base: ResolvedModel,
    run_folder: Path,
    step: int,
    events: EventLog,
    weights: dict[str, Any] | None,
    keep_state: Callable[[Path], None] | None,
) -> None:
    """Write a checkpoint to a temporary folder, rename it into place, and write its event."""
    target = folder_of(run_folder, step)
    aside = target.with_name(f".{target.name}.partial")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(mode=0o700, parents=True)
    try:
        kind = _save(model, base, aside, weights)
        tokenizer.save_pretrained(aside)
        if keep_state is not None:
            keep_state(aside)
        known = {"id": base.id, "revision": base.revision, "weights_hash": base.weights_hash}
        size = write_manifest(aside, {"format": FORMAT, "step": step, "kind": kind, "base": known})
        publish(aside, target)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    events.write(Checkpoint(step, str(target.relative_to(run_folder)), size, kind))
    events.sync()


def write_manifest(folder: Path, facts: Mapping[str, Any]) -> int:
    """Write the facts of a checkpoint and the sizes of all its files. Returns their sum. Raises OSError."""
    files = [file for file in sorted(folder.rglob("*")) if file.is_file()]
    sizes = {str(file.relative_to(folder)): file.stat().st_size for file in files}
    (folder / MANIFEST).write_text(json.dumps({**facts, "files": sizes}, indent=1), encoding="utf-8")
    return sum(sizes.values())


def folder_of(run_folder: Path, step: int) -> Path:
    """Return the folder of a step's checkpoint."""
    return run_folder / "checkpoints" / f"step-{step:06d}"


def _save(model: Any, base: ResolvedModel, folder: Path, weights: dict[str, Any] | None = None) -> str:
    from peft import PeftModel

    inner = model.get_base_model() if isinstance(model, PeftModel) else model
    is_reward = type(inner).__name__.endswith("ForSequenceClassification")
    if not isinstance(model, PeftModel):
        model.save_pretrained(folder, state_dict=weights)
        if weights is not None:  # kept in float32, but saved in the format that it computes in
            model.config.dtype = str(shards.saved_dtype(model)).removeprefix("torch.")
            model.config.save_pretrained(folder)
        return "reward" if is_reward else "full"
    for config in model.peft_config.values():
        config.base_model_name_or_path = base.hub_id or str(base.path)
        config.revision = base.revision
    # "auto" would ask the hub, perhaps with a long wait, whether the vocabulary has grown; it has not.
    model.save_pretrained(folder, state_dict=weights, save_embedding_layers=False)
    (folder / "README.md").unlink(missing_ok=True)  # PEFT's empty model card
    return "reward" if is_reward else "adapter"


def folders(run_folder: Path) -> list[Path]:
    """Return the folders of a run's checkpoints, oldest first, complete or not."""
    named = (run_folder / "checkpoints").glob("step-*")
    return sorted((folder for folder in named if _NAME.fullmatch(folder.name)), key=step_of)


def complete(run_folder: Path) -> list[Path]:
    """Return a run's complete checkpoints, oldest first: all files named in the manifest have their size."""
    return [folder for folder in folders(run_folder) if is_complete(folder)]


def is_complete(folder: Path) -> bool:
    """Return whether every file named in the manifest exists and has its size."""
    return not fault_of(folder)


def why_unusable(folder: Path) -> str:
    """Return why a checkpoint's model can't be loaded, as far as its files tell; empty if none is missing."""
    if not folder.is_dir():
        return "its folder is gone"
    if (folder / MANIFEST).exists():
        return fault_of(folder, with_state=False)
    return "" if any(folder.glob("*.safetensors")) else "it has no weights"  # one that was imported


def fault_of(folder: Path, *, with_state: bool = True) -> str:
    """Return what is wrong with a checkpoint's files; an empty string if all exist and have their size.

    Without state, only files that using the model needs are looked at, not those for resuming.
    """
    try:
        manifest = _read_manifest(folder)
    except FileNotFoundError:
        return f"it has no {MANIFEST}"
    except OSError as error:
        return f"its {MANIFEST} can't be read: {error.strerror}"
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return f"its {MANIFEST} is damaged"
    if manifest.format > FORMAT:
        return f"a newer finetop wrote it, in format {manifest.format}"
    if manifest.step not in (None, step_of(folder)):
        return f"its {MANIFEST} belongs to step {manifest.step}"
    if not manifest.files:
        return f"its {MANIFEST} names no file"
    faults = (
        _file_fault(folder, name, size)
        for name, size in manifest.files.items()
        if with_state or PurePath(name).parts[:1] != (STATE,)
    )
    return next(filter(None, faults), "")


def _file_fault(folder: Path, name: str, size: int) -> str:
    parts = PurePath(name).parts
    if not parts or ".." in parts or name.startswith("/"):
        return f"its {MANIFEST} names {quoted(name)}, which is elsewhere"
    try:
        actual = (folder / name).stat().st_size
    except (OSError, ValueError):
        return f"{quoted(name)} is missing"
    return "" if actual == size else f"{quoted(name)} has {actual:,} of {size:,} bytes"


def _read_manifest(folder: Path) -> Manifest:
    """Read a manifest, if it is a regular file. Raises OSError, msgspec.DecodeError, or another decoding error."""
    with open_regular(folder / MANIFEST) as file:
        return _manifest.decode(file.read(MANIFEST_LIMIT))


def weights_hash_of(folder: Path) -> str | None:
    """Return the hash of the base's weights that a checkpoint was trained from; None if it is not recorded."""
    manifest = _manifest_of(folder)
    return None if manifest is None else manifest.base.weights_hash


def _manifest_of(folder: Path) -> Manifest | None:
    try:
        return _read_manifest(folder)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def bytes_of(folder: Path) -> float:
    """Return the total size of a checkpoint's files from its manifest; 0 if that can't be read."""
    manifest = _manifest_of(folder)
    return 0.0 if manifest is None else float(sum(manifest.files.values()))


def likely_bytes(model: Any, *, with_state: bool) -> float:
    """Estimate the size of the first checkpoint: the weights, and two numbers each that AdamW keeps."""
    weights = list(model.parameters())
    moving = float(sum(weight.numel() * weight.element_size() for weight in weights if weight.requires_grad))
    whole = float(sum(weight.numel() * weight.element_size() for weight in weights))
    saved = moving if shards.is_adapter(model) else whole
    return saved + 2 * moving if with_state else saved


def is_resumable(folder: Path) -> bool:
    """Return whether a checkpoint is complete and training can resume from it."""
    return (folder / STATE).is_dir() and is_complete(folder)


def step_of(folder: Path) -> int:
    """Read the step from a checkpoint's name."""
    return int(folder.name.removeprefix("step-"))


def remove(folder: Path) -> None:
    """Remove a checkpoint: rename it first, so that it is never seen half removed."""
    gone = folder.with_name(f".{folder.name}.gone")
    folder.rename(gone)
    abort_at("checkpoint-out-of-sight")
    shutil.rmtree(gone, ignore_errors=True)


def prune(run_folder: Path, keep: int | None, spared: Collection[int] = ()) -> None:
    """Remove all but the newest `keep` checkpoints and those of the spared steps."""
    if keep is None:
        return
    for folder in complete(run_folder)[:-keep]:
        if step_of(folder) not in spared:
            remove(folder)


def clear_leftovers(run_folder: Path) -> None:
    """Remove what a killed process left half written or half removed."""
    for pattern in (".step-*.partial", ".step-*.gone"):
        for folder in (run_folder / "checkpoints").glob(pattern):
            shutil.rmtree(folder, ignore_errors=True)


def checkpoint_of(text: str, home: Home, key: str = "model.id") -> Path:
    """Return the folder of the checkpoint that `run:NAME[@STEP]` names; without a step, of the newest complete one.

    Raises NotFound with the existing steps, BadInput for a text that is not a reference.
    """
    reference = parse(text, key)
    run_folder = _run_folder(reference.name, home, key)
    # Imported checkpoints are links, without a manifest of ours.
    kept = [folder for folder in folders(run_folder) if folder.is_symlink() or is_complete(folder)]
    by_step = {step_of(folder): folder for folder in kept}
    step = max(by_step, default=None) if reference.step is None else reference.step
    if step is None or step not in by_step:
        hint = f"It has {', '.join(map(str, sorted(by_step)))}." if by_step else "It has none yet."
        message = f"{key}: {text} has no checkpoint{f' at step {step}' if step is not None else ''}."
        raise NotFound(message, hint=hint)
    return by_step[step]


def _run_folder(name: str, home: Home, key: str) -> Path:
    """Return a run's folder by its number or name; of several with the same name, the newest."""
    pattern = re.compile(rf"0*{name}-.+" if name.isdecimal() else rf"\d+-{re.escape(name)}")
    folders = sorted(folder for folder in home.runs.glob("*") if pattern.fullmatch(folder.name))
    if not folders:
        raise NotFound(f"{key}: there is no run {name!r}.", hint="See `finetop ls`.")
    return folders[-1]
