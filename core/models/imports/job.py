"""The import job: a model made elsewhere; its weights are checked and linked or copied, its history imported."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from finetop.core.data.weight_files import gguf_links, model_hash, weights_hash
from finetop.core.errors import BadInput, EnvironmentTrouble
from finetop.core.models import resolve
from finetop.core.models.checkpoint import clear_leftovers, folder_of
from finetop.core.models.imports.compatibility import require_fit
from finetop.core.models.imports.inspect import (
    CONFIGS,
    FolderModel,
    ModelFolder,
    Trained,
    inspect_folder,
    models_of,
    read_json,
)
from finetop.core.models.resolved import ResolvedModel
from finetop.core.models.safetensors_header import tensors
from finetop.core.protocol.events import Best, Checkpoint, Ended, Phase, Planned, metrics
from finetop.core.protocol.metric_names import METRICS, NAMES
from finetop.core.runtime.files import publish
from finetop.core.runtime.home import Home

if TYPE_CHECKING:
    from finetop.core.recipe.job import Job
    from finetop.core.recipe.schema import Recipe
    from finetop.core.runtime.event_log import EventLog

PACKAGES = ("finetop", "torch", "transformers", "peft")
IF_STOPPED = "asked to stop"
# The files that loading a model needs; no optimizer state, no pickle, no code.
NEEDED = ("*.safetensors", "*.json", "*.jinja", "*.model", "*.txt")


def work(job: Job) -> Ended:
    """Report that the run was made elsewhere, then import it."""
    job.started("made elsewhere", "", PACKAGES)
    path, copy = job.absolute("path"), job.args.get("copy") is True
    trained = msgspec.convert(job.args["trained"], Trained) if "trained" in job.args else None
    adopt(job.recipe(), path, job.run_folder, job.home, job.events, copy=copy, trained=trained)
    return Ended("finished")


@dataclass(frozen=True)
class ChosenCheckpoints:
    """The models of a folder that become checkpoints, in order of steps, and which of them is the folder's own."""

    checkpoints: tuple[FolderModel, ...]
    best: int | None  # the step of the folder's own model, if it is not the newest


def adopt(
    recipe: Recipe,
    path: Path,
    run_folder: Path,
    home: Home,
    events: EventLog,
    *,
    copy: bool,
    trained: Trained | None = None,
) -> None:
    """Make a folder's models the checkpoints of a run, and its trainer's log the run's metrics.

    A run that was `trained` has its metrics already, and older models of the folder are not its own.

    Raises BadInput for a folder, weights or base that can't be used, EnvironmentTrouble if the base can't be reached or
    the disk is full. No event of the run is written before everything is checked.
    """
    events.write(Phase("reading the folder"))
    model_folder = inspect_folder(path) if trained is None else models_of(path, trained)
    base = find_base(recipe, home, events)
    events.write(Phase("reading the weights"))
    own = () if model_folder.own is None else (model_folder.own,)
    counts = [require_fit(model, base.path) for model in (*model_folder.checkpoints, *own)]
    history = read_history(model_folder.state if trained is None else None)
    chosen = choose(model_folder, home)
    events.write(Phase("copying" if copy else "linking"))
    clear_leftovers(run_folder)
    for model in chosen.checkpoints:
        place(model, run_folder, copy=copy)
    planned = history.steps if trained is None else trained.steps
    whole = sum(shape.count for shape in tensors(base.path).values())
    is_adapter = chosen.checkpoints[-1].kind == "adapter"
    events.write(
        Planned(
            steps=max(planned, chosen.checkpoints[-1].step) if planned else 0,
            epochs=history.epochs,
            rows=0,
            eval_rows=0,
            tokens_per_epoch=0,
            trainable_parameters=counts[-1],
            parameters=whole + counts[-1] if is_adapter else whole,
        )
    )
    for step, values in history.values:
        events.write(metrics(step, values))
    for model in chosen.checkpoints:
        target = folder_of(run_folder, model.step)
        place_of = str(target.relative_to(run_folder))
        size = sum(file.stat().st_size for file in needed(model).values())
        events.write(Checkpoint(model.step, place_of, size, model.kind))
        digest = model_hash(target, home)[:16]
        print(f"step {model.step}: {model.kind}, {model.folder}, weights sha256 {digest}")
    if chosen.best is not None:
        events.write(Best(chosen.best, f"step {chosen.best}: the folder's own model is this checkpoint"))


def find_base(recipe: Recipe, home: Home, events: EventLog) -> ResolvedModel:
    """Resolve the base model. Raises BadInput or EnvironmentTrouble that says how to name another."""
    try:
        base = resolve.resolve_model(recipe.model, home, events)
    except (BadInput, EnvironmentTrouble) as error:
        kind = BadInput if isinstance(error, BadInput) else EnvironmentTrouble
        hint = f"{error.hint} Or name another: --base ID|FOLDER.".strip()
        raise kind(f"the base model: {error.message.removeprefix('model.id: ')}", hint=hint) from error
    print(f"base: {base.id} ({base.source}), weights sha256 {base.weights_hash[:16]}")
    return base


def choose(model_folder: ModelFolder, home: Home) -> ChosenCheckpoints:
    """Choose the checkpoints: all that exist, and the folder's own model once.

    A Trainer also saves its model into the output folder: usually its last checkpoint again, or the best one. If it is
    neither, it is the result of the training, and replaces a checkpoint of the same step.
    """
    own, others = model_folder.own, model_folder.checkpoints
    if own is None or not others:
        return ChosenCheckpoints((own,) if own is not None else others, None)
    twin = next((other for other in reversed(others) if is_same(other, own, home)), None)
    if twin is not None:
        return ChosenCheckpoints(others, None if twin == others[-1] else twin.step)
    if own.step == others[-1].step:
        print(f"the model of {own.folder} is not one of its checkpoints: it replaces step {own.step}")
        others = others[:-1]
    return ChosenCheckpoints((*others, own), None)


def is_same(model: FolderModel, other: FolderModel, home: Home) -> bool:
    """Return whether two folders have the same weights and, for adapters, the same settings."""
    if model.kind != other.kind or weights_hash(model.folder, home) != weights_hash(other.folder, home):
        return False
    if model.kind == "full":
        return True
    here, there = (read_json(place.folder / CONFIGS["adapter"]) for place in (model, other))
    return here == there


def place(model: FolderModel, run_folder: Path, *, copy: bool) -> None:
    """Link a model (`copy`: its files) to the run's checkpoint of its step. Raises EnvironmentTrouble."""
    target = folder_of(run_folder, model.step)
    if target.is_symlink() or target.exists():
        return  # done by an earlier attempt
    aside = target.with_name(f".{target.name}.partial")
    try:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not copy and model.kind != "gguf":
            target.symlink_to(model.folder, target_is_directory=True)
            return
        shutil.rmtree(aside, ignore_errors=True)  # of an attempt that was killed
        aside.mkdir(mode=0o700)
        for name, file in needed(model).items():
            if copy:
                shutil.copyfile(file, aside / name)
            else:
                (aside / name).symlink_to(file)
        publish(aside, target)
    except OSError as error:
        shutil.rmtree(aside, ignore_errors=True)
        message = f"can't put {model.folder} into {target.parent}: {error.strerror or error}."
        hint = "Free some room, or leave --copy out, which links the weights."
        raise EnvironmentTrouble(message, hint=hint) from error


def needed(model: FolderModel) -> dict[str, Path]:
    """Return the files that loading a model needs, by their names in its checkpoint."""
    if model.kind == "gguf":
        return gguf_links(model.folder)
    files = {file for pattern in NEEDED for file in model.folder.glob(pattern) if file.is_file()}
    return {file.name: file for file in sorted(files)}


@dataclass(frozen=True)
class History:
    """What a trainer recorded: planned steps and epochs (0: unknown), and values by step, in order."""

    steps: int = 0
    epochs: float = 0.0
    values: tuple[tuple[int, dict[str, float]], ...] = ()


def read_history(file: Path | None) -> History:
    """Read trainer_state.json, skipping entries that are not log lines. Raises BadInput for invalid JSON."""
    if file is None:
        return History()
    read = read_json(file)
    log = read.get("log_history")
    by_step: dict[int, dict[str, float]] = {}
    for step, values in _lines(log if isinstance(log, list) else []):
        by_step.setdefault(step, {}).update(values)
    steps, epochs = int(_number(read.get("max_steps")) or 0), _number(read.get("num_train_epochs")) or 0.0
    return History(steps, epochs, values=tuple(sorted(by_step.items())))


def _lines(log: list[Any]) -> Iterator[tuple[int, dict[str, float]]]:
    for line in log:
        step = _number(line.get("step")) if isinstance(line, dict) else None
        if step is None or not 0 <= step < 2**31:
            continue
        named = {NAMES.get(key, key): _number(value) for key, value in line.items()}
        values = {key: value for key, value in named.items() if key in METRICS and value is not None}
        if values.keys() - {"epoch"}:
            yield int(step), values


def _number(value: object) -> float | None:
    """Return a number as float, including infinities and NaN; None for anything else."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
