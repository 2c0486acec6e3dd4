"""Finds the model of a run that another begins from (`run:7@120`), as a folder; adapters are merged once and kept."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec

from finetop.core.errors import BadInput
from finetop.core.models.checkpoint import checkpoint_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from finetop.core.models.resolved import ResolvedModel
    from finetop.core.recipe.schema import Model, Recipe
    from finetop.core.runtime.event_log import EventLog
    from finetop.core.runtime.home import Home

KEPT = "merged"  # below the home's models


def recipe_of(run_folder: Path) -> Recipe:
    """Read the recipe that a run was made by. Raises BadInput where its folder is damaged."""
    from finetop.core.recipe.load import recipe_from_mapping

    try:
        facts = msgspec.json.decode((run_folder / "run.json").read_bytes())
        return recipe_from_mapping(facts["recipe"], "run.json", to_train=False)
    except (OSError, msgspec.DecodeError, KeyError, TypeError) as error:
        raise BadInput(f"{run_folder}: its run.json can't be read.", hint="Pick another run.") from error


def whole_model(
    text: str, home: Home, events: EventLog, resolve: Callable[[Model, Home, EventLog], ResolvedModel]
) -> tuple[Path, str]:
    """Find a run's model as a folder with whole weights, and say in words where it comes from.

    An adapter is merged into its base the first time, and kept in the home's models/merged; `resolve` finds that base.
    Raises NotFound, BadInput, EnvironmentTrouble, and FinetopError where it can't be merged.
    """
    from finetop.core.models import load, merge

    folder = checkpoint_of(text, home)
    run_folder = folder.parent.parent
    said = f"run {run_folder.name}, step {int(folder.name.removeprefix('step-'))}"
    if load.is_reward_model(folder):
        raise BadInput(
            f"model.id: {text} is a reward model, which writes no text.", hint="Begin from another run."
        )
    if not merge.is_adapter(folder):
        return folder, said
    return _merged(folder, run_folder, home, events, resolve), f"{said}, merged"


def _merged(
    folder: Path,
    run_folder: Path,
    home: Home,
    events: EventLog,
    resolve: Callable[[Model, Home, EventLog], ResolvedModel],
) -> Path:
    from finetop.core.models import checkpoint, devices, load, merge, save
    from finetop.core.models.devices import free_memory
    from finetop.core.models.hashes import adapter_hash
    from finetop.core.protocol.events import Phase

    recipe = recipe_of(run_folder)
    base = resolve(recipe.model, home, events)
    known = checkpoint.weights_hash_of(folder)
    if known not in (None, base.weights_hash):
        hint = "Put back the weights that it was trained from."
        raise BadInput(f"model.id: the base of {run_folder.name} has other weights than then.", hint=hint)
    device = devices.pick_device()
    dtype = devices.number_format(recipe.model.dtype, base.path, device)
    parts = [base.weights_hash, adapter_hash(folder), dtype, base.quantize]
    key = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:24]
    target = home.models / KEPT / key
    if target.is_dir():
        return target
    events.write(Phase("merging the model it begins from"))
    save.require_room(target, base.path, dtype)
    number_format = load.torch_dtype(dtype, device)
    model = merge.whole(base, folder, number_format, device)
    tokenizer = load.load_tokenizer(replace(base, path=folder, chat_template=None))  # with its template
    facts = {
        "run": run_folder.name,
        "checkpoint": folder.name,
        "base": base.id,
        "weights_hash": base.weights_hash,
    }
    with save.beside(target) as aside:
        save.write(model, tokenizer, facts, aside)
        save.put(aside, target)
    del model
    free_memory(device)
    return target
